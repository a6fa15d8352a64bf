"""A whole run on pictures of other people: 16 bits, turned by EXIF, with names that are not UTF-8."""

import json
import os

import duckdb
import numpy as np
import pytest
from PIL import Image

from pipeline.cli import main

HALVES = """\
from torch import nn


class Halves(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool, self.head = nn.AdaptiveAvgPool2d((1, 2)), nn.Linear(2, 2)

    def forward(self, x):
        return self.head(self.pool(x).flatten(1))


def make():
    return Halves()
"""


@pytest.fixture
def halves(tmp_path, monkeypatch):
    """Words that choose a network which says whether the left or the right half of a picture is brighter."""
    import torch

    name = "foreign_halves"
    (tmp_path / f"{name}.py").write_text(HALVES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    weights = {"head.weight": torch.tensor([[5.0, -5.0], [-5.0, 5.0]]), "head.bias": torch.zeros(2)}
    torch.save(weights, tmp_path / "halves.pt")
    return ("model=python", f"model.factory={name}:make", "model.weights=halves.pt")


def save_halves(root):
    """For each kind: 16-bit PNG whose levels are all above 255, JPEG upside down with its EXIF orientation, plain PNG."""
    turned = Image.Exif()
    turned[0x0112] = 3
    noise = np.random.default_rng(0)
    for kind, bright in (("left", slice(0, 16)), ("right", slice(16, 32))):
        (root / kind).mkdir(parents=True)
        for number in range(30):
            levels = np.full((32, 32), 90.0) + noise.normal(0, 8, (32, 32))
            levels[:, bright] += 90
            plain = levels.clip(2, 255).astype(np.uint8)
            name = b"s\xfcd\n%02d" % number + (b".png", b".jpg", b".png")[number % 3]
            with (root / kind / os.fsdecode(name)).open("wb") as file:
                if number % 3 == 0:
                    Image.fromarray(plain.astype(np.uint16) * 257).save(file, "PNG")
                elif number % 3 == 1:
                    Image.fromarray(plain[::-1, ::-1].copy()).save(file, "JPEG", quality=95, exif=turned)
                else:
                    Image.fromarray(plain).save(file, "PNG")


def test_a_run_judges_foreign_pictures_as_people_see_them(halves, tmp_path, capsys):
    save_halves(tmp_path / "pictures")
    words = (
        "recipe=pretrained", "~recipe.tree.base.then", *halves, "dataset=image_folder", "dataset.root=pictures",
        "dataset.size=32", "dataset.resize=32", "dataset.channels=1", "dataset.mean=0.5", "dataset.std=0.25",
        "dataset.evaluation_share=0.5", "executor=inprocess", "bench=none", "data_folder=cache",
    )  # fmt: skip
    code = main.run(list(words))
    out, err = capsys.readouterr()
    assert code == 0, out + err
    with duckdb.connect("results.duckdb", read_only=True) as db:
        rows = db.execute("SELECT instance_id, correct FROM predictions").fetchall()
        notes = json.loads(db.execute("SELECT config->'dataset_notes' FROM runs").fetchone()[0])
    assert len(rows) > 15
    assert [name for name, correct in rows if not correct] == []
    assert all(name.startswith(("left/s\\xfcd\\n", "right/s\\xfcd\\n")) for name, _ in rows)
    assert [note for note in notes if "20 of 60 pictures looked at are turned upright" in note]
    assert [note for note in notes if note.startswith("2 classes, sorted as text, as torchvision's ImageFolder")]
    assert all(note in out for note in notes)
