import gzip
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from pipeline.datasets.sources import digits as module
from tests.pipeline.dataset_contract import DatasetContract

ENTRY = {"name": "small_digits", "dataset": "digits", "train": 100, "calibration": 40, "evaluation": 60}


class TestDigits(DatasetContract):
    @pytest.fixture
    def entry(self):
        return ENTRY

    @pytest.fixture
    def variants(self):
        return [
            {"size": 16}, {"channels": 3}, {"mean": 0.3}, {"std": [0.3]}, {"shift": 0},
            {"train": 101}, {"calibration": 41}, {"evaluation": 61},
        ]  # fmt: skip

    @pytest.fixture
    def changed_content(self, entry, tmp_path, monkeypatch):
        def change():
            content = bytearray(module._content())
            content[0:1] = b"1"
            (tmp_path / "digits.csv.gz").write_bytes(gzip.compress(bytes(content)))
            monkeypatch.setattr(module, "_file", lambda: tmp_path / "digits.csv.gz")
            return entry

        return change


def test_the_pictures_are_those_of_scikit_learn(tmp_path):
    from sklearn.datasets import load_digits

    data = open_dataset({"dataset": "digits", "mean": 0, "std": 1}, tmp_path)
    known = load_digits()
    batch = next(data.batches("evaluation", batch_size=397))
    rows = [int(one.removeprefix("digit-")) for one in batch.ids]
    assert np.allclose(batch.inputs["pixel_values"][:, 0], known.images[rows] / 16)
    assert np.array_equal(batch.targets["labels"], known.target[rows])


def test_the_default_normalisation_is_that_of_the_data(tmp_path):
    data = open_dataset({"dataset": "digits"}, tmp_path)
    values = np.concatenate([batch.inputs["pixel_values"] for batch in data.batches("train", batch_size=500)])
    assert abs(values.mean()) < 0.01
    assert abs(values.std() - 1) < 0.01


def test_larger_digits_and_three_channels_show_the_same_pixels(tmp_path):
    small, large = (
        next(
            open_dataset({"dataset": "digits", "size": size, "channels": channels}, tmp_path).batches(
                "train", batch_size=9
            )
        )
        for size, channels in ((8, 1), (32, 3))
    )
    assert large.inputs["pixel_values"].shape == (9, 3, 32, 32)
    for channel in range(3):
        assert np.array_equal(large.inputs["pixel_values"][:, channel, ::4, 3::4], small.inputs["pixel_values"][:, 0])


def test_the_evaluation_split_does_not_depend_on_the_training_data(tmp_path):
    few, many = (open_dataset({"dataset": "digits", "train": train}, tmp_path) for train in (50, 1200))
    assert few.ids("evaluation") == many.ids("evaluation")


def test_ink_makes_three_groups_of_nearly_equal_size(tmp_path):
    data = open_dataset({"dataset": "digits"}, tmp_path)
    ink = data.attributes("evaluation")["ink"]
    assert {name: 100 < ink.count(name) < 165 for name in ("light", "medium", "heavy")} == dict.fromkeys(set(ink), True)
    darkest = {
        name: np.mean(
            [_mean(data, one) for one, group in zip(data.ids("evaluation"), ink, strict=True) if group == name]
        )
        for name in set(ink)
    }
    assert darkest["light"] < darkest["medium"] < darkest["heavy"]


def _mean(data, one):
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data.show(one)["image"]))).mean()


def test_scikit_learn_is_not_imported(tmp_path):
    code = (
        "import sys; from pathlib import Path; from pipeline.datasets.open import open_dataset\n"
        f"open_dataset({{'dataset': 'digits'}}, Path({str(tmp_path)!r})).size('train')\n"
        "assert not {'sklearn', 'torch', 'transformers', 'pandas', 'PIL'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"size": 9}, "size: the digits are 8x8, so it must be a multiple of 8 (got 9)"),
        ({"train": 1500}, "train + calibration + evaluation: there are 1797 digits (got 2097)"),
        ({"mean": [0.1, 0.2]}, "mean: 2 numbers for 1 channels; give one number, or one per channel"),
        ({"std": 0}, "std: must be greater than 0 (got 0"),
    ],
)
def test_values_out_of_range_are_refused(parameters, message, tmp_path):
    with pytest.raises(DataError, match=re.escape(f"Data set 'd': {message}")):
        open_dataset({"name": "d", "dataset": "digits", **parameters}, tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda whole: whole[: len(whole) // 2], "digits.csv.gz: cannot be read (Compressed file ended before"),
        (lambda whole: b"", "digits.csv.gz: 0 lines instead of 1797; reinstall scikit-learn"),
        (lambda whole: gzip.compress(gzip.decompress(whole)[:5000]), "instead of 1797; reinstall scikit-learn"),
        (lambda whole: whole[:5000] + b"garbage" + whole[5007:], "digits.csv.gz: cannot be read ("),
    ],
)
def test_a_damaged_file_is_named(damage, message, tmp_path, monkeypatch):
    file = tmp_path / "digits.csv.gz"
    file.write_bytes(damage(module._file().read_bytes()))
    monkeypatch.setattr(module, "_file", lambda: file)
    with pytest.raises(DataError, match=re.escape(message)):
        open_dataset({"dataset": "digits"}, tmp_path)


def test_without_scikit_learn_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=re.escape("pip install scikit-learn")):
        open_dataset({"dataset": "digits"}, Path(tmp_path))
