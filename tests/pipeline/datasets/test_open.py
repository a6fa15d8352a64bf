"""From entries of conf/dataset to data sets, and what is said of wrong ones."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.datasets.api import DATASETS, DataError
from pipeline.datasets.open import check_dataset_entry, open_dataset

CONF = Path(__file__).resolve().parents[3] / "conf" / "dataset"


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_entry_of_conf_is_right_once_its_blanks_are_filled_in(file):
    entry = yaml.safe_load(file.read_text())
    assert entry["name"] == file.stem
    blanks = [key for key, value in entry.items() if value == "???"]
    if blanks:
        with pytest.raises(
            DataError, match=re.escape(f"Data set '{file.stem}': '{blanks[0]}' must be set, e.g. dataset.{blanks[0]}=")
        ):
            check_dataset_entry(entry)
    fillings = {"task": "text-classification"}
    checked = check_dataset_entry(
        {key: fillings.get(key, "somewhere") if value == "???" else value for key, value in entry.items()}
    )
    assert set(entry) - {"name", "dataset"} <= set(checked)


def test_every_data_set_has_an_entry():
    assert {yaml.safe_load(file.read_text())["dataset"] for file in CONF.glob("*.yaml")} == set(DATASETS)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "Data set 'd': no `dataset` is given. Known: arrays, cifar10, diabetes, digit_traits, digits, "),
        (
            {"dataset": "digit"},
            "Data set 'd': No dataset is called 'digit'. Did you mean 'digits'? Known: arrays, cifar10, diabetes, digit_traits, digits, ",
        ),
        (
            {"dataset": "digits", "sise": 1},
            "Data set 'd': unknown parameter 'sise'. Did you mean 'size'? Known: size, ",
        ),
        ({"dataset": "digits", "size": "big"}, "Data set 'd': size: Input should be a valid integer, unable to parse"),
        ({"dataset": "digits", "channels": 2}, "Data set 'd': channels: Input should be 1 or 3 (got 2)"),
        ({"dataset": "digits", "train": 0}, "Data set 'd': train: Input should be greater than or equal to 1 (got 0)"),
        (
            {"dataset": "digits", "shift": -1},
            "Data set 'd': shift: Input should be greater than or equal to 0 (got -1)",
        ),
        (
            {"dataset": "fashion_mnist", "size": 27},
            "Data set 'd': size: Input should be greater than or equal to 28 (got 27)",
        ),
        ({"dataset": "image_folder"}, "Data set 'd': 'root' is required"),
        (
            {"dataset": "image_folder", "root": "x", "evaluation_share": 1},
            "evaluation_share: Input should be less than 1",
        ),
        (
            {"dataset": "image_folder", "root": "???"},
            "Data set 'd': 'root' must be set, e.g. dataset.root=... on the command",
        ),
    ],
)
def test_wrong_entries_are_refused_before_anything_is_opened(entry, message):
    with pytest.raises(DataError, match=re.escape(message)):
        check_dataset_entry({"name": "d", **entry})


def test_numbers_given_as_text_are_numbers(tmp_path):
    as_text, number = (open_dataset({"dataset": "digits", "size": size}, tmp_path) for size in ("16", 16))
    assert as_text.fingerprint == number.fingerprint


def test_checking_an_entry_imports_nothing_heavy():
    code = (
        "import sys; from pipeline.datasets.open import check_dataset_entry; check_dataset_entry({'dataset': 'digits'})\n"
        "heavy = {'torch', 'transformers', 'sklearn', 'pandas', 'PIL', 'pyarrow', 'datasets', 'huggingface_hub'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
