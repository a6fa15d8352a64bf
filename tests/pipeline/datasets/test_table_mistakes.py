"""Tables that cannot be read as asked: one line that names the file, the row and the fix."""

import re

import pytest

from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from tests.pipeline.datasets.tables import reviews, save


@pytest.fixture
def text(tokenizer):
    return {"tokenizer": str(tokenizer), "max_length": 16}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"task": "text-clasification"},
            "task: No task for tables is called 'text-clasification'. Did you mean 'text-classification'? Known: gen",
        ),
        (
            {"columns": {"lable": "label"}},
            "unknown parameter 'columns.lable'. Did you mean 'label'? Known: id, split, group",
        ),
        (
            {"text": {"max_length": 10}},
            "text.tokenizer: text-classification needs one, a folder or a Hugging Face hub id",
        ),
        (
            {"text": {"tokeniser": "x"}},
            "unknown parameter 'text.tokeniser'. Did you mean 'tokenizer'? Known: tokenizer, max_length",
        ),
        ({"columns": {"text": ["text", "label", "key"]}}, "columns.text: name one column, or two for pairs (got 3)"),
        (
            {"shares": {"evaluation": 0.7, "calibration": 0.3}},
            "shares: evaluation and calibration together leave nothing",
        ),
        (
            {"task": "question-answering", "text": {"tokenizer": "x", "padding": "longest"}},
            "text.padding: `longest` does not apply to question-answering, whose texts are padded to max_length",
        ),
        (
            {"task": "generative-question-answering", "text": {"tokenizer": "x", "padding": "longest"}},
            "text.padding: `longest` does not apply to generative-question-answering",
        ),
        ({"path": "nowhere.csv"}, "nowhere.csv: there is no such file"),
        ({"text": {"tokenizer": "./nowhere"}}, "tokenizer: ./nowhere: there is no such folder"),
        ({"path": {"training": "a", "trian": "b"}}, "path: 'trian' is no split. Did you mean 'train'?"),
    ],
)
def test_what_cannot_be_is_refused_at_once(changes, message, tmp_path, text):
    path = save(tmp_path / "reviews.csv", reviews())
    entry = {"name": "mine", "dataset": "table", "path": path, "task": "text-classification", "text": text}
    with pytest.raises(DataError, match=re.escape(f"Data set 'mine': {message}")):
        open_dataset({**entry, **changes}, tmp_path / "cache")


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("text,label\n", {}, "reviews.csv: the table has no rows"),
        ("", {}, "reviews.csv: cannot be read as CSV (Empty CSV file)"),
        (
            "text,label\na,b,c\n",
            {},
            "reviews.csv: cannot be read as CSV (CSV parse error: ",
        ),
        ("text,lable\na,b\n", {}, "reviews.csv: no column is called 'label'. Did you mean 'lable'? Known: text, lable"),
        ("text,label\na,x\nb,\n", {}, "reviews.csv row 2: 'label' is empty"),
        ("text,label\na,x\n,y\n", {}, "reviews.csv row 2: 'text' is empty"),
        ("text,label\na,x\nb,x\n", {}, "only one class (x): classification needs two"),
        (
            "k,text,label\n" + "".join(f"{row % 19},a,{row % 2}\n" for row in range(20)),
            {"id": "k"},
            "the instance id '0' is twice in '",
        ),
    ],
)
def test_a_table_with_mistakes_is_refused_with_the_row(content, columns, message, tmp_path, text):
    (tmp_path / "reviews.csv").write_text(content)
    entry = {
        "name": "mine", "dataset": "table", "path": str(tmp_path / "reviews.csv"), "task": "text-classification",
        "text": text, "columns": columns, "shares": {"evaluation": 0.5},
    }  # fmt: skip
    with pytest.raises(DataError, match=r"^Data set 'mine': .*" + re.escape(message)):
        open_dataset(entry, tmp_path / "cache").size("train")


@pytest.mark.parametrize(
    ("ending", "content", "message"),
    [
        ("jsonl", b'{"text": "a", "label": "x"}\n{"text": "b"\n', "reviews.jsonl line 2: not JSON ("),
        (
            "jsonl",
            b'{"text": "a", "label": "x"}\n[1]\n',
            "reviews.jsonl line 2: must be an object with a value for each",
        ),
        ("jsonl", b'{"text": "\xff"}\n', "reviews.jsonl line 1: not JSON ("),
        ("jsonl", b"\n", "reviews.jsonl: the table has no rows"),
        ("parquet", b"PAR1 but cut off", "reviews.parquet: cannot be read as Parquet ("),
        ("xlsx", b"", "reviews.xlsx: a table must be one of .csv, .tsv, .parquet, .jsonl, .ndjson"),
    ],
)
def test_damaged_files_of_other_formats_are_named(ending, content, message, tmp_path, text):
    (tmp_path / f"reviews.{ending}").write_bytes(content)
    entry = {
        "dataset": "table",
        "path": str(tmp_path / f"reviews.{ending}"),
        "task": "text-classification",
        "text": text,
    }
    with pytest.raises(DataError, match=re.escape(message)):
        open_dataset(entry, tmp_path / "cache").size("train")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", "{half", ": no tokenizer can be made of these files ("),
        (
            "tokenizer_config.json",
            '{"tokenizer_class": "PreTrainedTokenizerFast"}',
            ": the tokenizer has no padding token; set",
        ),
    ],
)
def test_a_damaged_tokenizer_is_named(name, content, message, tmp_path, tokenizer):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    for file in tokenizer.iterdir():
        (folder / file.name).write_text(file.read_text())
    (folder / name).write_text(content)
    entry = {
        "dataset": "table", "path": save(tmp_path / "reviews.csv", reviews()), "task": "text-classification",
        "text": {"tokenizer": str(folder)},
    }  # fmt: skip
    with pytest.raises(DataError, match=re.escape(f"{folder}{message}")):
        open_dataset(entry, tmp_path / "cache").size("train")
