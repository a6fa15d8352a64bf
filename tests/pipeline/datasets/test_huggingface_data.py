"""Data sets of the Hugging Face library, which is optional: those that it saved itself, and what is said without it."""

import importlib.util
import re

import pytest

from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from tests.pipeline.dataset_contract import DatasetContract

INSTALLED = importlib.util.find_spec("datasets") is not None
needs_datasets = pytest.mark.skipif(not INSTALLED, reason="the package `datasets` is not installed")


def _texts(first, count):
    rows = range(first, first + count)
    return {
        "text": [f"the film {row} was {'good' if row % 2 else 'bad'}" for row in rows],
        "label": [row % 2 for row in rows],
    }


@pytest.fixture
def save(tmp_path):
    """A function that saves parts as a data set of the library; labels are numbers with names."""

    def save(parts, **features):
        import datasets

        kinds = {"label": datasets.ClassLabel(names=["blame", "praise"]), "text": datasets.Value("string"), **features}
        made = {
            name: datasets.Dataset.from_dict(columns, features=datasets.Features({key: kinds[key] for key in columns}))
            for name, columns in parts.items()
        }
        datasets.disable_progress_bars()
        datasets.DatasetDict(made).save_to_disk(str(tmp_path / "saved"))
        return str(tmp_path / "saved")

    return save


@needs_datasets
class TestHuggingFace(DatasetContract):
    @pytest.fixture
    def entry(self, save, tokenizer):
        path = save({"train": _texts(0, 40), "validation": _texts(40, 10), "test": _texts(50, 5)})
        return {
            "name": "hub", "dataset": "huggingface", "path": path, "task": "text-classification",
            "text": {"tokenizer": str(tokenizer), "max_length": 12},
        }  # fmt: skip

    @pytest.fixture
    def variants(self, entry):
        return [{"text": {**entry["text"], "max_length": 10}}, {"train": 5}, {"shares": {"calibration": 0.3}}]

    @pytest.fixture
    def changed_content(self, entry, save):
        def change():
            save({"train": _texts(1, 40), "validation": _texts(40, 10)})
            return entry

        return change

    def test_validation_is_for_evaluation_and_labels_have_names(self, data):
        assert data.classes == ("blame", "praise")
        assert data.size("evaluation") == 10
        assert data.size("train") + data.size("calibration") == 40
        assert data.show(data.ids("evaluation")[0]) == {"text": "the film 40 was bad"}


@needs_datasets
def test_pictures_are_read_when_asked_for(save, save_digits, tmp_path):
    import datasets

    files = save_digits(tmp_path / "files", count=8)
    columns = {
        "image": [{"bytes": file.read_bytes(), "path": None} for file in files],
        "label": [row % 2 for row in range(24)],
    }
    path = save({"train": columns, "test": columns}, image=datasets.Image())
    entry = {
        "name": "hub",
        "dataset": "huggingface",
        "path": path,
        "task": "image-classification",
        "picture": {"size": 14},
    }
    data = open_dataset(entry, tmp_path / "cache")
    batch = next(data.batches("evaluation", batch_size=24))
    assert batch.inputs["pixel_values"].shape == (24, 3, 14, 14)
    assert data.show(data.ids("evaluation")[23])["image"][:4] == b"\x89PNG"


@needs_datasets
def test_class_labels_are_numbered_as_the_data_number_them(save, tokenizer, tmp_path):
    import datasets

    names = ["world", "sports", "business", "unused"]
    texts = {"text": [f"the film {row}" for row in range(30)], "label": [row % 3 for row in range(30)]}
    path = save({"train": texts, "test": texts}, label=datasets.ClassLabel(names=names))
    entry = {
        "name": "hub", "dataset": "huggingface", "path": path, "task": "text-classification",
        "text": {"tokenizer": str(tokenizer)},
    }  # fmt: skip
    data = open_dataset(entry, tmp_path / "cache")
    assert data.classes == tuple(names)
    assert data.class_order.rule == "data"
    batch = next(data.batches("evaluation", batch_size=30))
    assert batch.targets["labels"].tolist() == texts["label"]
    save({"train": texts, "test": texts}, label=datasets.ClassLabel(names=names[::-1]))
    assert open_dataset(entry, tmp_path / "cache").fingerprint != data.fingerprint


@needs_datasets
def test_an_unlabelled_row_and_a_missing_column_are_named(save, tokenizer, tmp_path):
    path = save({"train": _texts(0, 20), "test": {**_texts(0, 5), "label": [-1] * 5}})
    entry = {
        "name": "hub", "dataset": "huggingface", "path": path, "task": "text-classification",
        "text": {"tokenizer": str(tokenizer)},
    }  # fmt: skip
    with pytest.raises(DataError, match=re.escape(f"{path} evaluation/row 1: 'label' is empty")):
        open_dataset(entry, tmp_path / "cache").size("train")
    with pytest.raises(
        DataError, match=re.escape("no column is called 'lable'. Did you mean 'label'? Known: text, label")
    ):
        open_dataset({**entry, "columns": {"label": "lable"}}, tmp_path / "cache").size("train")


@needs_datasets
def test_a_row_without_an_id_is_named(save, tokenizer, tmp_path):
    import datasets

    keys = [*map(str, range(19)), None]
    path = save({"train": {**_texts(0, 20), "key": keys}}, key=datasets.Value("string"))
    entry = {
        "name": "hub", "dataset": "huggingface", "path": path, "task": "text-classification",
        "text": {"tokenizer": str(tokenizer)}, "columns": {"id": "key"},
    }  # fmt: skip
    with pytest.raises(DataError, match=re.escape(f"{path} row 20: 'key' is empty")):
        open_dataset(entry, tmp_path / "cache").size("train")


@needs_datasets
def test_what_cannot_be_found_is_named(tmp_path, tokenizer, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    entry = {
        "name": "hub", "dataset": "huggingface", "path": "nobody/nothing", "task": "text-classification",
        "text": {"tokenizer": str(tokenizer)},
    }  # fmt: skip
    with pytest.raises(DataError, match="Data set 'hub': Hugging Face data set 'nobody/nothing': "):
        open_dataset(entry, tmp_path / "cache")


@pytest.mark.skipif(INSTALLED, reason="the package `datasets` is installed")
def test_without_the_library_the_message_says_what_to_install(tmp_path, tokenizer):
    entry = {
        "name": "hub", "dataset": "huggingface", "path": "nobody/nothing", "task": "text-classification",
        "text": {"tokenizer": str(tokenizer)},
    }  # fmt: skip
    with pytest.raises(
        DataError, match=re.escape("Data set 'hub': Hugging Face data sets need the package `datasets`: pip install")
    ):
        open_dataset(entry, tmp_path / "cache")
