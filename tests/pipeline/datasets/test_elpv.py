import io
import re

import numpy as np
import pytest
from PIL import Image

from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from pipeline.datasets.sources import elpv as module
from pipeline.sweep.config import Config
from tests.pipeline.dataset_contract import DatasetContract


@pytest.fixture(scope="module")
def real_folder():
    """The cache folder that people have, with the real 2,624 photographs."""
    folder = Config.model_fields["data_folder"].default.expanduser()
    try:
        open_dataset({"dataset": "elpv", "size": 32}, folder)
    except DataError as error:
        pytest.skip(f"ELPV cannot be had here: {error}")
    return folder


class TestElpv(DatasetContract):
    @pytest.fixture
    def folder(self, real_folder):
        return real_folder

    @pytest.fixture
    def entry(self):
        return {"name": "cells", "dataset": "elpv", "size": 32, "train": 300, "calibration": 50, "evaluation": 100}

    @pytest.fixture
    def variants(self):
        return [
            {"mean": 0.5}, {"std": 0.5}, {"shift": 1}, {"flip": False},
            {"train": 301}, {"train": None}, {"calibration": 51}, {"evaluation": 101},
        ]  # fmt: skip

    def test_content_changes_the_fingerprint(self, data, entry, folder, monkeypatch):
        """The content is that of an archive which a checksum fixes."""
        arrays = {
            "pictures": np.zeros((100, 1, 32, 32), np.uint8),
            "labels": np.arange(100) % 2,
            "types": np.zeros(100),
        }
        monkeypatch.setattr(module, "ELPV", module.PackageFile(module.ELPV.archive, "0" * 64))
        monkeypatch.setattr(module, "derived_arrays", lambda *_: arrays)
        assert open_dataset(entry, folder).fingerprint != data.fingerprint

    def test_the_fingerprint_does_not_depend_on_name_or_cache(self, data, entry, folder):
        assert open_dataset({**entry, "name": "other"}, folder).fingerprint == data.fingerprint

    def test_all_of_it(self, folder):
        data = open_dataset({"dataset": "elpv", "size": 32}, folder)
        sizes = {split: data.size(split) for split in ("train", "calibration", "evaluation")}
        assert sizes == {"train": 1500, "calibration": 224, "evaluation": 900}
        published = {"mono sound": 705, "poly sound": 1098, "mono defective": 369, "poly defective": 452}
        cases = {split: data.attributes(split)["case"] for split in sizes}
        for case, count in published.items():
            assert sum(found.count(case) for found in cases.values()) == count
            assert abs(cases["evaluation"].count(case) - 900 / 2624 * count) <= 1
        for split in sizes:
            together = zip(data.attributes(split)["cell"], data.labels(split), strict=True)
            assert cases[split] == tuple(f"{cell} {label}" for cell, label in together)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Eight small files in the published form."""
    probabilities = ["0.0", "0.3333333333333333", "0.6666666666666666", "1.0"] * 2
    (tmp_path / "images").mkdir()
    lines = []
    for row, probability in enumerate(probabilities):
        Image.new("L", (300, 300), 10 * row).save(tmp_path / f"images/cell{row + 1:04d}.png")
        lines.append(f"images/cell{row + 1:04d}.png  {probability}                 {'mono' if row < 4 else 'poly'}\n")
    (tmp_path / "labels.csv").write_text("".join(lines))
    monkeypatch.setattr(module, "_files", lambda _: tmp_path)
    return tmp_path


def _open(folder):
    words = {"size": 16, "calibration": 1, "evaluation": 3, "mean": 0, "std": 1}
    return open_dataset({"name": "cells", "dataset": "elpv", **words}, folder)


def test_a_cell_is_defective_from_one_half_on_and_keeps_its_kind(place, tmp_path):
    data = _open(tmp_path / "cache")
    for split in ("train", "calibration", "evaluation"):
        for number, one in enumerate(data.ids(split)):
            row = int(one.removeprefix("cell")) - 1
            assert data.labels(split)[number] == ("defective" if row % 4 >= 2 else "sound")
            assert data.attributes(split)["cell"][number] == ("mono" if row < 4 else "poly")
            with Image.open(io.BytesIO(data.show(one)["image"])) as picture:
                assert picture.size == (16, 16)
                assert picture.getpixel((8, 8)) == 10 * row


def test_a_picture_that_is_missing_is_named(place, tmp_path):
    (place / "images/cell0003.png").unlink()
    with pytest.raises(DataError, match=re.escape(f"Data set 'cells': {place}: damaged (")):
        _open(tmp_path / "cache")


def test_more_cells_than_there_are_are_refused(tmp_path):
    message = "Data set 'cells': train + calibration + evaluation: there are 2624 cells (got 2625)"
    with pytest.raises(DataError, match=re.escape(message)):
        open_dataset({"name": "cells", "dataset": "elpv", "train": 1501}, tmp_path)


def test_the_probability_itself_can_be_estimated(place, tmp_path):
    words = {"size": 16, "calibration": 1, "evaluation": 3, "target": "probability", "tolerance": 0.2}
    data = open_dataset({"name": "cells", "dataset": "elpv", **words}, tmp_path / "cache")
    assert data.task == "image-regression"
    assert data.tolerances == (pytest.approx(0.2),)
    for split in ("train", "evaluation"):
        (batch,) = data.batches(split, batch_size=10)
        expected = [(int(one.removeprefix("cell")) - 1) % 4 / 3 for one in batch.ids]
        assert batch.targets["values"][:, 0] == pytest.approx(expected, abs=1e-6)
        assert [float(label) for label in data.labels(split)] == pytest.approx(expected, abs=1e-5)
    plain = _open(tmp_path / "cache")
    assert data.ids("evaluation") == plain.ids("evaluation")
    assert data.fingerprint != plain.fingerprint
