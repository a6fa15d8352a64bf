"""Tables as other programs write them: what is read, and what is refused with its line."""

import gzip
import json
import os
import re

import numpy as np
import pytest

from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from pipeline.datasets.tabular.files import read_table

ROWS = {"text": ["good", 'a "b",\nc', "ü"], "label": ["x", "y", "x"]}
CSV = 'text,label\ngood,x\n"a ""b"",\nc",y\nü,x\n'
LINES = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in zip(*ROWS.values(), strict=True))


def refused(file, content, message, columns=("text", "label")):
    file.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(file, list(columns))
    text = str(caught.value)
    assert text.startswith(f"{file}")
    assert "\n" not in text
    assert message in text, text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", CSV.encode()),
        ("t.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("t.csv", CSV.replace("\n", "\r\n").replace("\r\nc", "\nc").encode()),
        ("t.csv", CSV.replace("ü", "\nü").replace("\n\n", "\r\n\r\n").encode()),
        ("t.csv", CSV.rstrip("\n").encode()),
        ("T.CSV", CSV.encode()),
        ("t.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        (
            "t.tsv",
            CSV.replace("text,label", "text\tlabel")
            .replace("good,", "good\t")
            .replace('",y', '"\ty')
            .replace("ü,", "ü\t")
            .encode(),
        ),
        ("t.jsonl", LINES.encode()),
        ("t.jsonl", b"\xef\xbb\xbf" + LINES.encode()),
        ("t.jsonl", ("\n" + LINES.replace("\n", "\r\n \r\n")).encode()),
        ("t.ndjson", LINES.rstrip("\n").encode()),
        ("t.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)),
    ],
)
def test_every_spelling_of_a_table_gives_its_rows(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    table = read_table(tmp_path / name, ["text", "label"])
    assert table.columns == ROWS
    assert len(table.places) == 3


def test_a_large_cell_is_read_whole(tmp_path):
    text = "line\n" * 1_000_000
    (tmp_path / "t.csv").write_text(f'text,label\n"{text}",x\n' * 2)
    assert read_table(tmp_path / "t.csv", ["text"]).columns["text"][0] == text


def test_rows_of_json_lines_are_called_by_their_line(tmp_path):
    (tmp_path / "t.jsonl").write_text('\n{"label": "a"}\n\n{"label": "b"}\n')
    assert read_table(tmp_path / "t.jsonl", ["label"]).places == ["t.jsonl line 2", "t.jsonl line 4"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "text,label\na,x\nsüd,y\n".encode("latin-1"),
            " line 3: the byte 0xFC is not UTF-8; save the file as UTF-8 (iconv -f",
        ),
        (b"text,label\n" + b"a,x\n" * 400_000 + b"\x93quoted\x94,y\n", " line 400002: the byte 0x93 is not UTF-8"),
        (CSV.encode("utf-16-le"), " line 1: holds a zero byte, which no text has; save the file as UTF-8"),
        (CSV.encode("utf-16"), ": is UTF-16, not UTF-8; save it as UTF-8"),
        (b"text,label\na,x\n\xc3", " line 3: the byte 0xC3 is not UTF-8"),
        (b"text,label,label\na,x,y\n", ": 2 columns are called 'label'; rename all but one"),
        (
            b"text;label\na;x\n",
            "no column is called 'text'. Its columns are separated by semicolons: save it with commas",
        ),
        (b"text,label\na,x,y\n", "Expected 2 columns, got 3"),
        (b"\n\n", "cannot be read as CSV ("),
        (b"text,label\n\n", "the table has no rows"),
    ],
)
def test_csv_that_is_wrong_is_refused_with_its_line(tmp_path, content, message):
    refused(tmp_path / "t.csv", content, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a", "text": "b", "label": "x"}\n', " line 1: not JSON (the key 'text' stands there twice)"),
        (b'{"text": "a", "label": "x"}\n{"text": "s\xfcd"}\n', " line 2: not JSON ("),
        (b"[" * 100_000 + b"\n", " line 1: not JSON ("),
        (b"", ": the table has no rows"),
        (b"\r\n \n", ": the table has no rows"),
    ],
)
def test_json_lines_that_are_wrong_are_refused_with_their_line(tmp_path, content, message):
    refused(tmp_path / "t.jsonl", content, message)


@pytest.mark.parametrize(("name", "content"), [("t.csv.gz", CSV), ("t.jsonl.gz", LINES)])
def test_what_cannot_be_unpacked_is_refused(tmp_path, name, content):
    refused(tmp_path / name, gzip.compress((content * 100).encode())[:-9], "cannot be unpacked (")
    refused(tmp_path / name, content.encode(), "cannot be unpacked (")


def test_tables_that_are_no_files_are_never_opened(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    entry = {"dataset": "table", "path": str(tmp_path / "t.csv"), "task": "image-classification"}
    with pytest.raises(DataError, match=r"t.csv: is a named pipe, not a file with content; remove it"):
        open_dataset(entry, tmp_path / "cache")
    (tmp_path / "t.parquet.gz").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"t.parquet.gz: a table must be one of .csv, .tsv, .parquet, .jsonl, .ndjson, or .csv.gz"
    ):
        read_table(tmp_path / "t.parquet.gz", None)


def parquet(file, columns, metadata=None):
    import pyarrow as pa
    from pyarrow import parquet

    arrays = list(columns.values()) if isinstance(columns, dict) else [values for _, values in columns]
    names = list(columns) if isinstance(columns, dict) else [name for name, _ in columns]
    parquet.write_table(
        pa.Table.from_arrays([pa.array(one) for one in arrays], names=names).replace_schema_metadata(metadata), file
    )


def test_parquet_columns_are_those_of_their_name(tmp_path):
    nested = [{"b": 1, "label": "no"}, {"b": 2, "label": "no"}]
    parquet(tmp_path / "t.parquet", {"a": nested, "a.b": ["yes", "yes"], "label": ["x", "y"]})
    assert read_table(tmp_path / "t.parquet", ["a.b", "label"]).columns == {"a.b": ["yes", "yes"], "label": ["x", "y"]}
    assert read_table(tmp_path / "t.parquet", ["a"]).columns == {"a": nested}
    parquet(tmp_path / "t.parquet", [("label", ["x"]), ("label", ["y"])])
    with pytest.raises(DataError, match=r"t.parquet: 2 columns are called 'label'"):
        read_table(tmp_path / "t.parquet", ["label"])


def test_class_labels_inside_parquet_have_names_and_an_order(tmp_path):
    features = {
        "label": {"names": ["World", "Sports", "Business"], "_type": "ClassLabel"},
        "id": {"dtype": "int64", "_type": "Value"},
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    parquet(tmp_path / "t.parquet", {"id": [1, 2, 3, 4], "label": [2, 0, 1, -1]}, metadata)
    table = read_table(tmp_path / "t.parquet", ["id", "label"])
    assert table.columns["label"] == ["Business", "World", "Sports", None]
    assert table.orders == {"label": ("World", "Sports", "Business")}
    parquet(tmp_path / "t.parquet", {"id": [1], "label": [3]}, metadata)
    with pytest.raises(DataError, match="'label' holds 3, but its class labels are 0 to 2"):
        read_table(tmp_path / "t.parquet", ["label"])
    parquet(tmp_path / "t.parquet", {"label": [3]}, {"huggingface": "{broken"})
    assert read_table(tmp_path / "t.parquet", ["label"]).columns == {"label": [3]}


@pytest.fixture
def classes(tmp_path):
    """A function that opens a table of pictures with some labels, and returns its classes."""
    from PIL import Image

    Image.new("L", (8, 8)).save(tmp_path / "p.png")

    def classes(name, content, **words):
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            parquet(tmp_path / name, {"image": ["p.png"] * len(content), "label": content}, words.pop("metadata", None))
        entry = {
            "dataset": "table",
            "path": str(tmp_path / name),
            "task": "image-classification",
            "shares": {"evaluation": 0.5},
        }
        return open_dataset({**entry, **words}, tmp_path / "cache").classes

    return classes


def test_labels_are_ordered_as_their_type_means_them(classes):
    numbers = list(range(1, 13))
    by_value, as_text = tuple(map(str, numbers)), tuple(sorted(map(str, numbers)))
    assert classes("t.csv", b"image,label\n" + b"".join(b"p.png,%d\n" % one for one in numbers)) == by_value
    assert classes("ints.parquet", numbers) == by_value
    assert classes("texts.parquet", list(map(str, numbers))) == as_text
    lines = "".join(json.dumps({"image": "p.png", "label": one}) + "\n" for one in numbers)
    assert classes("t.jsonl", lines.encode()) == by_value
    assert classes("t.ndjson", re.sub(r'"label": (\d+)', r'"label": "\1"', lines).encode()) == as_text
    assert classes("bools.parquet", [True, False] * 4) == ("False", "True")
    assert classes("floats.parquet", [10.0, 9.0, 1.0]) == ("1.0", "9.0", "10.0")
    assert classes("t.csv", b"image,label\np.png,10\np.png,9\n", classes=["10", "9"]) == ("10", "9")


def test_truth_values_beside_other_labels_are_refused_for_which_is_which_cannot_be_told(classes):
    lines = b'{"image": "p.png", "label": true}\n{"image": "p.png", "label": 1}\n{"image": "p.png", "label": false}\n'
    with pytest.raises(
        DataError, match=r"t.jsonl line 1: 'label' is true, and '1' in t.jsonl line 2; write all labels"
    ):
        classes("t.jsonl", lines)


def test_class_labels_keep_their_order_and_their_unused_names(classes):
    features = {"label": {"names": ["z", "y", "unused", "x"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    assert classes("t.parquet", [0, 1, 3, 0, 1, 3], metadata=metadata) == ("z", "y", "unused", "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"image,label\np.png,a\np.png,nan\n",
            "t.csv row 2: 'label' is nan, which stands for no value; remove the row",
        ),
        (b"image,label\np.png,a\np.png,\n", "t.csv row 2: 'label' is empty"),
        (b"image,label\np.png,1\np.png,1.0\np.png,2\n", "'1' and '1.0' are one number written in two ways"),
        (b"image,label\np.png,a\n,b\n", "t.csv row 2: 'image' is empty"),
    ],
)
def test_labels_that_are_none_are_refused(classes, content, message):
    with pytest.raises(DataError, match=re.escape(message)):
        classes("t.csv", content)


def test_an_empty_part_of_a_data_set_is_refused_by_name(tmp_path):
    from PIL import Image

    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "p.png")
    (tmp_path / "train.jsonl").write_text('{"image": "p.png", "label": "a"}\n{"image": "p.png", "label": "b"}\n')
    (tmp_path / "test.jsonl").write_text("")
    path = {"train": str(tmp_path / "train.jsonl"), "test": str(tmp_path / "test.jsonl")}
    entry = {"dataset": "table", "path": path, "task": "image-classification"}
    with pytest.raises(DataError, match=rf"{re.escape(str(tmp_path))}/test.jsonl: the table has no rows"):
        open_dataset(entry, tmp_path / "cache")
