import io
import re
from hashlib import blake2b

import numpy as np
import pytest
from PIL import Image

from ops.core.tasks.task import TASKS
from pipeline.core.plugins import load_plugins
from pipeline.datasets.api import DataError, group_names
from pipeline.datasets.open import open_dataset
from pipeline.datasets.tabular.by_task import READINGS
from tests.pipeline.dataset_contract import DatasetContract
from tests.pipeline.datasets.tables import reviews, save


@pytest.fixture
def text(tokenizer):
    return {"tokenizer": str(tokenizer), "max_length": 16}


class TestTexts(DatasetContract):
    @pytest.fixture
    def rows(self):
        return reviews()

    @pytest.fixture
    def entry(self, tmp_path, rows, text):
        return {
            "name": "reviews", "dataset": "table", "path": save(tmp_path / "reviews.csv", rows),
            "task": "text-classification", "text": text, "columns": {"id": "key", "attributes": ["source"]},
        }  # fmt: skip

    @pytest.fixture
    def variants(self, text, tmp_path, tokenizer):
        other = tmp_path / "tokenizer"
        other.mkdir()
        for file in tokenizer.iterdir():
            (other / file.name).write_text(file.read_text().replace('"film"', '"movie"'))
        return [
            {"text": {**text, "max_length": 12}}, {"text": {**text, "token_type_ids": False}},
            {"text": {**text, "tokenizer": str(other)}}, {"columns": {"id": "key", "text": "source"}},
            {"columns": {"id": "key", "group": "label"}}, {"columns": {"id": "key"}}, {"classes": ["praise", "blame"]},
            {"shares": {"evaluation": 0.4}}, {"train": 10}, {"evaluation": 5},
        ]  # fmt: skip

    @pytest.fixture
    def changed_content(self, entry, tmp_path, rows):
        def change():
            rows[3]["text"] += " ?"
            save(tmp_path / "reviews.csv", rows)
            return entry

        return change

    def test_texts_become_padded_tokens(self, data, rows):
        assert data.classes == ("blame", "praise")
        assert data.inputs == dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), ("int64", (16,)))
        batch = next(data.batches("evaluation", batch_size=1))
        row = next(row for row in rows if row["key"] == batch.ids[0])
        ids, mask = batch.inputs["input_ids"][0], batch.inputs["attention_mask"][0]
        assert data.show(batch.ids[0]) == {"text": row["text"]}
        assert ids[0] == 2  # [CLS]
        assert ids[mask.sum() - 1] == 3  # [SEP]
        assert not ids[mask.sum() :].any()
        known = [4, 6, 7, 9, 1, 12] if row["label"] == "praise" else [5, 11, 10, 6]
        assert list(ids[1 : 1 + len(known)]) == known

    def test_attributes_are_those_of_the_rows(self, data, rows):
        source = {row["key"]: row["source"] for row in rows}
        assert list(data.attributes("train")["source"]) == [source[one] for one in data.ids("train")]

    def test_tokens_are_kept_and_the_tokenizer_is_not_needed_again(self, entry, folder, data, monkeypatch):
        data.size("train")
        import transformers

        monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", None)
        again = open_dataset({**entry, "train": 7}, folder)
        assert len(next(again.batches("train", batch_size=10))) == 7


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "jsonl"])
@pytest.mark.parametrize("numbers", [True, False])
def test_what_an_attribute_lacks_is_no_group(ending, numbers, tmp_path, text):
    """As pandas and NumPy write it: an empty cell, null, NaN, or the text `nan`. `None` is a word like others."""
    rows, nothing = reviews(40), [None, float("nan")] if numbers else [None, "nan", "NaN", " ", ""]
    values = [1.5, 2.5, *nothing] if numbers else ["None", "film", *nothing]
    for number, row in enumerate(rows):
        row["grade"] = values[number % len(values)]
    path = save(tmp_path / f"reviews.{ending}", rows)
    columns = {"id": "key", "attributes": ["grade"]}
    entry = {"dataset": "table", "path": path, "task": "text-classification", "text": text, "columns": columns}
    data = open_dataset(entry, tmp_path / "cache")
    grade = {row["key"]: row["grade"] for row in rows}
    for split in ("train", "evaluation"):
        expected = [
            "" if grade[one] in nothing or grade[one] != grade[one] else str(grade[one]) for one in data.ids(split)
        ]
        assert list(group_names(data, split)["grade"]) == expected
        assert {"", str(values[0])} <= set(expected)


def test_groups_of_a_data_set_of_the_users_may_hold_numbers_and_arrays():
    class Own:
        def attributes(self, split):
            return {"age": np.array([1.0, np.nan], np.float32), "sex": ["f", None], "when": [np.datetime64("NaT"), 3]}

    found = group_names(Own(), "evaluation")
    assert found == {"age": ("1.0", ""), "sex": ("f", ""), "when": ("", "3")}


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "jsonl"])
def test_every_format_gives_the_same_instances(ending, tmp_path, text):
    rows = reviews(30)
    rows[0]["text"] = 'a film,\nby "the" city'  # needs quoting
    path = save(tmp_path / f"reviews.{ending}", rows)
    entry = {"dataset": "table", "path": path, "task": "text-classification", "text": text, "columns": {"id": "key"}}
    data = open_dataset(entry, tmp_path / "cache")
    shown = {one: data.show(one)["text"] for split in ("train", "calibration", "evaluation") for one in data.ids(split)}
    assert shown == {row["key"]: row["text"] for row in rows}


def test_pairs_of_texts_are_two_segments(tmp_path, text):
    rows = [{"a": "the film", "b": f"was good {row}", "label": str(row % 11)} for row in range(60)]
    entry = {
        "dataset": "table", "path": save(tmp_path / "pairs.csv", rows), "task": "text-classification", "text": text,
        "columns": {"text": ["a", "b"]},
    }  # fmt: skip
    data = open_dataset(entry, tmp_path / "cache")
    batch = next(data.batches("train", batch_size=1))
    assert list(batch.inputs["input_ids"][0][:7]) == [2, 4, 6, 3, 7, 9, 1]
    assert list(batch.inputs["token_type_ids"][0][:8]) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert data.classes == tuple(map(str, range(11)))  # numbers by value, not as text
    assert set(data.show(batch.ids[0])) == {"text", "text_pair"}


def test_a_split_column_decides_and_calibration_is_taken_from_training(tmp_path, text):
    rows = [{**row, "part": "test" if number < 20 else "train"} for number, row in enumerate(reviews())]
    entry = {
        "dataset": "table", "path": save(tmp_path / "reviews.csv", rows), "task": "text-classification", "text": text,
        "columns": {"id": "key", "split": "part"},
    }  # fmt: skip
    data = open_dataset(entry, tmp_path / "cache")
    assert list(data.ids("evaluation")) == [f"r{row:03d}" for row in range(20)]
    assert data.size("train") + data.size("calibration") == 60
    assert data.size("calibration") > 0
    save(tmp_path / "reviews.csv", [{**row, "part": "tset"} for row in rows])
    with pytest.raises(DataError, match=r"reviews.csv row 1: 'tset' is no split. Did you mean 'test'\? Known: train, "):
        open_dataset(entry, tmp_path / "cache").size("train")


def test_a_file_for_each_split(tmp_path, text):
    rows = reviews(30)
    paths = {
        "train": save(tmp_path / "train.jsonl", rows[:15]),
        "validation": save(tmp_path / "dev.parquet", rows[15:25]),
        "calibration": save(tmp_path / "extra.csv", rows[25:]),
    }
    entry = {"dataset": "table", "path": paths, "task": "text-classification", "text": text}
    data = open_dataset(entry, tmp_path / "cache")
    assert [data.size(split) for split in ("train", "calibration", "evaluation")] == [15, 5, 10]
    assert data.ids("evaluation")[0] == "evaluation/000001"
    with pytest.raises(DataError, match=re.escape("path: two of val, test mean the same split")):
        open_dataset({**entry, "path": {"val": paths["train"], "test": paths["train"]}}, tmp_path / "cache")


@pytest.mark.parametrize("by", ["files", "column"])
def test_evaluation_is_held_out_of_training_rows_where_no_part_is_named_so(tmp_path, text, by):
    rows = [{**row, "part": "calibration" if number < 10 else "train"} for number, row in enumerate(reviews())]
    parts = {name: [row for row in rows if row["part"] == name] for name in ("train", "calibration")}
    columns = {"id": "key", "group": "key"}
    if by == "files":
        path = {name: save(tmp_path / f"{name}.csv", part) for name, part in parts.items()}
    else:
        path, columns = save(tmp_path / "reviews.csv", rows), {**columns, "split": "part"}
    entry = {"dataset": "table", "path": path, "task": "text-classification", "text": text, "columns": columns}
    data = open_dataset({**entry, "shares": {"evaluation": 0.25}}, tmp_path / "cache")
    assert list(data.ids("calibration")) == [row["key"] for row in parts["calibration"]]
    digests = {row["key"]: blake2b(row["key"].encode(), digest_size=8).digest() for row in parts["train"]}
    expected = {key for key, value in digests.items() if int.from_bytes(value) < 0.25 * 2**64}
    assert set(data.ids("evaluation")) == expected
    assert set(data.ids("train")) == set(digests) - expected
    with pytest.raises(DataError, match=r"80 rows, but none for evaluation; name a split column, or raise shares.eval"):
        open_dataset({**entry, "shares": {"evaluation": 0}}, tmp_path / "cache").size("train")


PLUGIN = """
from dataclasses import replace
from ops.core.tasks.task import task
from ops.core.tasks.text_classification import TextClassification
from pipeline.datasets.tabular.by_task import READINGS

@task
class Mood(TextClassification):
    name = "toy-mood"

def load(rules, records, *more):
    return ours.load(rules, replace(records, columns=records.columns | {{"text": [
        text.{change}() for text in records.columns["text"]]}}), *more)

ours = READINGS["text-classification"]
READINGS.add("toy-mood", replace(ours, load=load))
"""


def test_a_plug_in_adds_a_task_for_tables_and_its_code_counts(tmp_path, text, monkeypatch):
    rows = reviews(20)
    path = save(tmp_path / "reviews.csv", rows)
    entry = {"dataset": "table", "path": path, "task": "toy-mood", "text": text, "columns": {"id": "key"}}
    with pytest.raises(DataError, match="task: No task for tables is called 'toy-mood'"):
        open_dataset(entry, tmp_path / "cache")
    monkeypatch.syspath_prepend(str(tmp_path))
    fingerprints = set()
    for change in ("title", "swapcase"):
        (tmp_path / f"toy_mood_{change}.py").write_text(PLUGIN.format(change=change))
        try:
            load_plugins([f"toy_mood_{change}"])
            data = open_dataset(entry, tmp_path / "cache")
            one = data.ids("train")[0]
            (right,) = (getattr(row["text"], change)() for row in rows if row["key"] == one)
            assert data.show(one) == {"text": right}
            assert data.task == "toy-mood"
            fingerprints.add(data.fingerprint)
            with pytest.raises(DataError, match=r"'toy-moot'\. Did you mean 'toy-mood'\?"):
                open_dataset({**entry, "task": "toy-moot"}, tmp_path / "cache")
        finally:
            READINGS._items.pop("toy-mood", None)
            TASKS._items.pop("toy-mood", None)
    assert len(fingerprints) == 2


def test_rows_of_one_group_stay_together(tmp_path, text):
    rows = [{**row, "writer": f"w{number // 4}"} for number, row in enumerate(reviews())]
    entry = {
        "dataset": "table", "path": save(tmp_path / "reviews.csv", rows), "task": "text-classification", "text": text,
        "columns": {"id": "key", "group": "writer", "attributes": ["writer"]},
    }  # fmt: skip
    data = open_dataset(entry, tmp_path / "cache")
    writers = [set(data.attributes(split)["writer"]) for split in ("train", "calibration", "evaluation")]
    assert sum(map(len, writers)) == 20


class TestPictures(DatasetContract):
    @pytest.fixture
    def files(self, tmp_path, save_digits):
        return save_digits(tmp_path / "pictures", count=25)

    @pytest.fixture
    def entry(self, tmp_path, files):
        rows = [
            {"image": f"pictures/{file.parent.name}/{file.name}", "label": file.parent.name, "even": str(row % 2 == 0)}
            for row, file in enumerate(files)
        ]
        return {
            "name": "drawn", "dataset": "table", "path": save(tmp_path / "pictures.csv", rows),
            "task": "image-classification", "picture": {"size": 14, "channels": 1, "mean": 0.3, "std": 0.3},
            "columns": {"attributes": ["even"]},
        }  # fmt: skip

    @pytest.fixture
    def variants(self, entry):
        return [
            {"picture": {**entry["picture"], "size": 12}}, {"picture": {**entry["picture"], "flip": False}},
            {"picture": {"size": 14}}, {"shares": {"calibration": 0.2}}, {"calibration": 2},
        ]  # fmt: skip

    @pytest.fixture
    def changed_content(self, entry, files):
        def change():
            Image.open(files[4]).rotate(90).save(files[4])
            return entry

        return change

    def test_a_missing_picture_is_named(self, entry, files, folder, tmp_path):
        files[2].unlink()
        with pytest.raises(
            DataError, match=re.escape(f"{files[2]}: there is no such picture; paths start at {tmp_path}")
        ):
            open_dataset(entry, folder)


def test_pictures_outside_of_the_root_are_read_and_said(tmp_path, save_digits):
    files = save_digits(tmp_path / "pictures", count=4)
    (tmp_path / "pictures" / "link.png").symlink_to(tmp_path / "far.png")
    Image.open(files[0]).save(tmp_path / "far.png")
    places = [*files[:-2], f"../{files[-2].relative_to(tmp_path)}", tmp_path / "pictures" / "link.png"]

    def notes(names):
        rows = [{"image": str(name), "label": files[row].parent.name} for row, name in enumerate(names)]
        (tmp_path / "tables").mkdir(exist_ok=True)
        entry = {
            "dataset": "table", "path": save(tmp_path / "tables" / "pictures.csv", rows), "task": "image-classification",
            "picture": {"size": 14, "channels": 1, "mean": 0, "std": 1, "root": str(root)},
        }  # fmt: skip
        data = open_dataset(entry, tmp_path / "cache")
        assert sum(data.size(split) for split in ("train", "calibration", "evaluation")) == len(names)
        return data.notes

    root = tmp_path / "pictures"
    assert notes([file.relative_to(root) for file in files]) == ()
    assert notes(places[:-2]) == ()  # in full, and still inside
    outside = f"1 of {len(places) - 1} pictures lie outside of {root} (picture.root), the first is {tmp_path}/far.png, and are read"
    assert notes([*places[:-2], places[-1]]) == (outside,)
    root = tmp_path / "tables"
    first = f"{len(places)} of {len(places)} pictures lie outside of {root} (picture.root), the first is {files[0]}, and are read"
    assert notes(places) == (first,)


def test_pictures_inside_a_parquet_table(tmp_path, save_digits):
    files = save_digits(tmp_path / "pictures", count=12)
    rows = [
        {
            "image": {"bytes": file.read_bytes(), "path": None} if row % 2 else {"bytes": None, "path": str(file)},
            "label": file.parent.name,
        }
        for row, file in enumerate(files)
    ]
    entry = {
        "dataset": "table", "path": save(tmp_path / "pictures.parquet", rows), "task": "image-classification",
        "picture": {"size": 16, "resize": 16, "channels": 1, "mean": 0, "std": 1},
    }  # fmt: skip
    data = open_dataset(entry, tmp_path / "cache")
    batch = next(data.batches("train", batch_size=50))
    expected = [np.asarray(Image.open(files[int(one) - 1])) / 255 for one in batch.ids]
    assert np.allclose(batch.inputs["pixel_values"][:, 0], expected, atol=1e-6)
    rows[1]["image"]["bytes"] = b"broken"
    save(tmp_path / "pictures.parquet", rows)
    broken = open_dataset({**entry, "shares": {"evaluation": 0.99, "calibration": 0}}, tmp_path / "cache")
    with pytest.raises(DataError, match=r"the picture in row 2: cannot be decoded"):
        next(broken.batches("evaluation", batch_size=100))
    with Image.open(io.BytesIO(data.show(batch.ids[0])["image"])) as picture:
        assert picture.size == (16, 16)
