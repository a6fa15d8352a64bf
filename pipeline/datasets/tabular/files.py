"""Columns of CSV, Parquet and JSON-lines files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ops.core.registry import nearest
from pipeline.core.errors import reason
from pipeline.datasets.api import DataError
from pipeline.datasets.tabular.rows import shown


def read_columns(file: Path, wanted: Sequence[str] | None) -> dict[str, list[Any]]:
    """Read the wanted columns of a table, or all of them. CSV cells are texts, empty where there is nothing.

    Raises:
        DataError: naming the file, and the column or the line that is wrong.
    """
    if not file.is_file():
        raise DataError(f"{file}: there is no such file")
    reader = _READERS.get(file.suffix.lower())
    if reader is None:
        raise DataError(f"{file}: a table must be one of {', '.join(_READERS)}")
    columns = reader(file, wanted)
    if not any(columns.values()):
        raise DataError(f"{file}: the table has no rows")
    return columns


def _chosen(file: Path, wanted: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    for name in wanted or ():
        if name not in known:
            raise DataError(f"{file}: no column is called '{name}'.{nearest(name, known)} Known: {shown(known)}")
    return list(known if wanted is None else wanted)


def _csv(file: Path, wanted: Sequence[str] | None) -> dict[str, list[Any]]:
    import pyarrow as pa
    from pyarrow import csv

    parse = csv.ParseOptions(delimiter="\t" if file.suffix.lower() == ".tsv" else ",", newlines_in_values=True)
    try:
        with csv.open_csv(file, parse_options=parse) as stream:
            known = stream.schema.names
        chosen = _chosen(file, wanted, known)
        as_text = csv.ConvertOptions(
            column_types=dict.fromkeys(known, pa.string()), strings_can_be_null=False, include_columns=chosen
        )
        return dict(csv.read_csv(file, parse_options=parse, convert_options=as_text).to_pydict())
    except pa.ArrowInvalid as error:
        raise DataError(f"{file}: cannot be read as CSV ({reason(error)})") from None


def _parquet(file: Path, wanted: Sequence[str] | None) -> dict[str, list[Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        chosen = _chosen(file, wanted, parquet.read_schema(file).names)
        return dict(parquet.read_table(file, columns=chosen).to_pydict())
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file}: cannot be read as Parquet ({reason(error)})") from None


def _json_lines(file: Path, wanted: Sequence[str] | None) -> dict[str, list[Any]]:
    rows: list[dict[str, Any]] = []
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                rows.append(_json_object(f"{file} line {number}", line))
    if not rows:
        return {}
    chosen = _chosen(file, wanted, list({name: None for row in rows for name in row}))
    return {name: [row.get(name) for row in rows] for name in chosen}


def _json_object(place: str, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:  # not UTF-8, or not JSON
        raise DataError(f"{place}: not JSON ({error})") from None
    if not isinstance(row, dict):
        raise DataError(f"{place}: must be an object with a value for each column")
    return row


_READERS: dict[str, Callable[[Path, Sequence[str] | None], dict[str, list[Any]]]] = {
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
}
