"""Columns of CSV, Parquet and JSON-lines files."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ops.core.registry import nearest
from pipeline.core.errors import reason
from pipeline.core.json_text import parse_json
from pipeline.datasets.api import DataError
from pipeline.datasets.class_order import name_list
from pipeline.datasets.paths import check_regular, readable

_GZIP = ".gz"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PIECE = 1 << 20
_LARGEST_BLOCK = 1 << 30
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one file."""

    columns: dict[str, list[Any]]
    places: list[str]
    """Where each row stands (`reviews.csv row 12`), for messages."""
    untyped: bool = False
    """Whether every cell is a text, numbers too."""
    orders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Column -> class names in the order that the file says, if it does."""


def read_table(file: Path, selection: Sequence[str] | None) -> Table:
    """Read a table, a selection of its columns or all. CSV cells are texts, empty where there is nothing.

    A file that ends in `.gz` is unpacked while it is read (not Parquet, which is compressed inside). Class labels that
    the Hugging Face library wrote into Parquet get their names.

    Raises:
        DataError: naming the file, and the column or the line that is wrong.
    """
    check_regular(file)
    reader = _READERS.get(_ending(file))
    if reader is None:
        raise DataError(f"{readable(str(file))}: a table must be one of {', '.join(_READERS)}, or .csv.gz, .jsonl.gz")
    table = reader(file, selection)
    if not any(table.columns.values()):
        raise DataError(f"{readable(str(file))}: the table has no rows")
    return table


def _ending(file: Path) -> str:
    name = file.name.lower()
    ending = Path(name.removesuffix(_GZIP)).suffix
    return name if name.endswith(_GZIP) and ending == ".parquet" else ending


def _open(file: Path) -> IO[bytes]:
    return gzip.open(file) if file.name.lower().endswith(_GZIP) else file.open("rb")  # type: ignore[return-value]


def _requested(file: Path, selection: Sequence[str] | None, present: Sequence[str]) -> list[str]:
    """Columns to read, of those that a file has.

    Raises:
        DataError: if one is not there, or stands there twice.
    """
    names = list(present if selection is None else selection)
    for name in names:
        if name not in present:
            raise DataError(f"{file}: no column is called '{name}'.{_hint(name, present)} Known: {name_list(present)}")
        if list(present).count(name) > 1:
            raise DataError(f"{file}: {list(present).count(name)} columns are called '{name}'; rename all but one")
    return names


def _hint(name: str, present: Sequence[str]) -> str:
    for separator, text in _SEPARATORS.items():
        if len(present) == 1 and separator in present[0]:
            return f" Its columns are separated by {text}: save it with commas, or with tabs as .tsv."
    return nearest(name, present)


def _csv(file: Path, selection: Sequence[str] | None) -> Table:
    import pyarrow as pa
    from pyarrow import csv

    _check_encoding(file)
    tabs = _ending(file) == ".tsv"
    options = {
        "parse_options": csv.ParseOptions(delimiter="\t" if tabs else ",", newlines_in_values=True),
        # a cell must fit into two blocks
        "read_options": csv.ReadOptions(block_size=min(max(file.stat().st_size + 1, _PIECE), _LARGEST_BLOCK)),
    }
    try:
        with csv.open_csv(file, **options) as stream:
            present = stream.schema.names
        requested = _requested(file, selection, present)
        as_text = csv.ConvertOptions(
            column_types=dict.fromkeys(present, pa.string()), strings_can_be_null=False, include_columns=requested
        )
        columns = dict(csv.read_csv(file, convert_options=as_text, **options).to_pydict())
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file}: cannot be read as CSV ({reason(error)})") from None
    return Table(columns, _rows(file, columns), untyped=True)


def _check_encoding(file: Path) -> None:
    """Refuse a text that is not UTF-8, with the line.

    Raises:
        DataError: naming the line, the byte, and a way to convert the file.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, start = 1, b""
    try:
        with _open(file) as stream:
            for piece in iter(lambda: stream.read(_PIECE), b""):
                start = start or piece[:2]
                if b"\0" in piece and start not in _UTF16:
                    line += piece[: piece.index(b"\0")].count(b"\n")
                    raise DataError(f"{file} line {line}: holds a zero byte, which no text has; save the file as UTF-8")
                line += decoder.decode(piece).count("\n")
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        if start in _UTF16:
            raise DataError(f"{file}: is UTF-16, not UTF-8; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)") from None
        line += error.object[: error.start].count(b"\n")
        raise DataError(
            f"{file} line {line}: the byte 0x{error.object[error.start]:02X} is not UTF-8; save the file as UTF-8 "
            "(iconv -f WINDOWS-1252 -t UTF-8, if it comes from Windows or an older system)"
        ) from None
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{file}: cannot be unpacked ({reason(error)})") from None


def _parquet(file: Path, selection: Sequence[str] | None) -> Table:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        schema = parquet.read_schema(file)
        requested = _requested(file, selection, schema.names)
        columns = dict(parquet.read_table(file, columns=requested).to_pydict())
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: holds text that is not UTF-8 ({reason(error)})") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: cannot be read as Parquet ({reason(error)})") from None
    orders = {name: names for name, names in _class_labels(schema.metadata or {}).items() if name in columns}
    for name, names in orders.items():
        columns[name] = [_label_name(value, names, f"{file}: '{name}'") for value in columns[name]]
    return Table(columns, _rows(file, columns), orders=orders)


def _class_labels(metadata: Mapping[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """Column -> names of its class labels, as the Hugging Face library writes them into a Parquet file."""
    try:
        features = parse_json(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {
            name: tuple(map(str, feature["names"]))
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}


def _label_name(value: Any, names: Sequence[str], place: str) -> str | None:
    """The name of a class label; None for an instance without one (-1)."""
    if value is None or value == -1:
        return None
    if not (isinstance(value, int) and 0 <= value < len(names)):
        raise DataError(f"{place} holds {value!r}, but its class labels are 0 to {len(names) - 1}")
    return names[value]


def _rows(file: Path, columns: Mapping[str, Sequence[Any]]) -> list[str]:
    count = len(next(iter(columns.values()), ()))
    return [f"{file.name} row {row + 1}" for row in range(count)]


def _json_lines(file: Path, selection: Sequence[str] | None) -> Table:
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    try:
        with _open(file) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    rows.append(_json_object(f"{file} line {number}", line))
                    places.append(f"{file.name} line {number}")
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{file}: cannot be unpacked ({reason(error)})") from None
    if not rows:
        return Table({}, [])
    requested = _requested(file, selection, list({name: None for row in rows for name in row}))
    return Table({name: [row.get(name) for row in rows] for name in requested}, places)


def _json_object(place: str, line: bytes) -> dict[str, Any]:
    try:
        row = parse_json(line, object_pairs_hook=_object)
    except ValueError as error:  # not UTF-8, not JSON, or a key twice
        raise DataError(f"{place}: not JSON ({reason(error)})") from None
    if not isinstance(row, dict):
        raise DataError(f"{place}: must be an object with a value for each column")
    return row


def _object(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f"the key '{name}' stands there twice")
        values[name] = value
    return values


_READERS: dict[str, Callable[[Path, Sequence[str] | None], Table]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
}
