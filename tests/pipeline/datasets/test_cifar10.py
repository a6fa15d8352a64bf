import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from pipeline.datasets.sources import cifar10 as module
from pipeline.sweep.config import Config
from tests.pipeline.dataset_contract import DatasetContract

MEANS = (0.4942, 0.4851, 0.4504)
"""Of the channels of CIFAR-10's test set."""


@pytest.fixture(scope="module")
def real_folder():
    """The cache folder that people have, with the real 10,000 pictures."""
    folder = Config.model_fields["data_folder"].default.expanduser()
    try:
        open_dataset({"dataset": "cifar10"}, folder)
    except DataError as error:
        pytest.skip(f"CIFAR-10 cannot be had here: {error}")
    return folder


class TestCifar10(DatasetContract):
    @pytest.fixture
    def folder(self, real_folder):
        return real_folder

    @pytest.fixture
    def entry(self):
        return {"name": "things", "dataset": "cifar10", "size": 32, "train": 300, "calibration": 50, "evaluation": 100}

    @pytest.fixture
    def variants(self):
        return [
            {"size": 64}, {"mean": 0.5}, {"std": 0.5}, {"shift": 1}, {"flip": False},
            {"train": 301}, {"train": None}, {"calibration": 51}, {"evaluation": 101},
        ]  # fmt: skip

    def test_content_changes_the_fingerprint(self, data, entry, folder, monkeypatch):
        """The content is that of an archive which a checksum fixes."""
        other = module.BIGBENCH.__class__(module.BIGBENCH.archive, "0" * 64)
        arrays = {"pictures": np.zeros((100, 3, 32, 32), np.uint8), "labels": np.arange(100) % 10}
        monkeypatch.setattr(module, "BIGBENCH", other)
        monkeypatch.setattr(module, "derived_arrays", lambda *_: arrays)
        assert open_dataset(entry, folder).fingerprint != data.fingerprint

    def test_the_fingerprint_does_not_depend_on_name_or_cache(self, data, entry, folder):
        assert open_dataset({**entry, "name": "other"}, folder).fingerprint == data.fingerprint

    def test_all_of_it(self, folder):
        data = open_dataset({"dataset": "cifar10", "size": 32, "mean": 0, "std": 1}, folder)
        assert {split: data.size(split) for split in ("train", "calibration", "evaluation")} == {
            "train": 7488, "calibration": 512, "evaluation": 2000,
        }  # fmt: skip
        assert {data.labels("evaluation").count(name) for name in data.classes} == {200}
        sums, count = np.zeros(3), 0
        for split in ("train", "calibration", "evaluation"):
            for batch in data.batches(split, batch_size=2000):
                sums += batch.inputs["pixel_values"].mean(axis=(2, 3)).sum(axis=0)
                count += len(batch)
        assert count == 10_000
        assert np.allclose(sums / count, MEANS, atol=2e-4)


@pytest.fixture
def task(tmp_path, monkeypatch):
    """A file in the format of the archive's, with 20 pictures of one colour each."""
    examples = []
    for row in range(20):
        with io.BytesIO() as file:
            Image.new("RGB", (32, 32), (row, 0, 255)).save(file, "PNG")
            scores = {kind: int(number == row % 10) for number, kind in enumerate(module._KINDS)}
            examples.append({"input": base64.b64encode(file.getvalue()).decode(), "target_scores": scores})
    file = tmp_path / module.CIFAR10
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"examples": examples}))
    monkeypatch.setattr(module, "bigbench", lambda _: tmp_path)
    return file


def test_pictures_and_labels_are_read_from_the_file(task, tmp_path):
    entry = {
        "name": "things",
        "dataset": "cifar10",
        "mean": 0,
        "std": 1,
        "calibration": 5,
        "evaluation": 5,
        "flip": False,
    }
    data = open_dataset(entry, tmp_path / "cache")
    batch = next(data.batches("train", batch_size=10))
    for number, one in enumerate(batch.ids):
        row = int(one.removeprefix("test/"))
        assert data.labels("train")[number] == module._KINDS[row % 10]
        assert batch.inputs["pixel_values"].shape == (10, 3, 64, 64)
        assert np.allclose(batch.inputs["pixel_values"][number].mean(axis=(1, 2)), [row / 255, 0, 1])


def test_a_damaged_file_is_named(task, tmp_path):
    task.write_text(task.read_text()[:1000])
    message = f"Data set 'things': {task}: damaged ("
    with pytest.raises(DataError, match=re.escape(message)):
        open_dataset({"name": "things", "dataset": "cifar10"}, tmp_path / "cache")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"size": 48}, "size: the pictures are 32x32, so it must be a multiple of 32 (got 48)"),
        ({"train": 9000}, "train + calibration + evaluation: there are 10000 pictures (got 11512)"),
        ({"evaluation": 9999}, "train + calibration + evaluation: there are 10000 pictures (got 10512)"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(words, message, tmp_path):
    with pytest.raises(DataError, match=re.escape(message)):
        open_dataset({"name": "things", "dataset": "cifar10", **words}, tmp_path)
