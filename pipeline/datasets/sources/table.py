"""A person's own table: texts, pairs, pictures or questions, one instance per row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.download.checksums import file_digests
from pipeline.core.keys import digest
from pipeline.datasets.api import Count, DataError, Split, dataset
from pipeline.datasets.paths import check_regular
from pipeline.datasets.readers.settings import Columns, Features, Picture, Shares, Targets, Text
from pipeline.datasets.splits import SplitDataset
from pipeline.datasets.tabular.by_task import Rules, TaskName, dataset_of
from pipeline.datasets.tabular.files import read_table
from pipeline.datasets.tabular.rows import Records, common_orders, split_named

_COLUMNS, _TEXT, _PICTURE, _SHARES = Columns(), Text(), Picture(), Shares()
_TARGETS, _FEATURES = Targets(), Features()


@dataset
def table(
    folder: Path,
    *,
    path: str | dict[str, str],
    task: TaskName,
    columns: Columns = _COLUMNS,
    text: Text = _TEXT,
    picture: Picture = _PICTURE,
    features: Features = _FEATURES,
    targets: Targets = _TARGETS,
    shares: Shares = _SHARES,
    classes: list[str] | None = None,
    train: Count | None = None,
    calibration: Count | None = None,
    evaluation: Count | None = None,
) -> SplitDataset:
    """A CSV, TSV, Parquet or JSON-lines file; or one for each split (`path: {train: ..., evaluation: ...}`).

    `classes` fixes the order of the classes to that of a pretrained model. `train`, `calibration` and `evaluation` limit
    the number of instances. Splits come from the files, from `columns.split`, or from a hash of the id (of the context
    for question answering).
    """
    rules = Rules(
        task,
        columns,
        text,
        picture,
        shares,
        classes,
        {"train": train, "calibration": calibration, "evaluation": evaluation},
        targets,
        features,
    )
    rules.check()
    files = _files(path)
    return dataset_of(
        "table",
        rules,
        content=_content(files, folder),
        read=lambda: _read(files, rules),
        folder=folder,
        root=Path(picture.root).expanduser() if picture.root else next(iter(files.values())).parent,
    )


def _files(path: str | Mapping[str, str]) -> dict[Split | None, Path]:
    """Split -> file; one file for all has no split."""
    if isinstance(path, str):
        return {None: Path(path).expanduser()}
    files: dict[Split | None, Path] = {
        split_named(name, "path"): Path(file).expanduser() for name, file in path.items()
    }
    if len(files) < len(path):
        raise DataError(f"path: two of {', '.join(path)} mean the same split")
    return files


def _content(files: Mapping[Split | None, Path], folder: Path) -> str:
    digests = {}
    for split, file in files.items():
        check_regular(file)
        digests[split or "all"] = file_digests(file.parent, [file.name], folder / "hashes")[file.name]
    return digest({"what": "tables", "files": digests})


def _read(files: Mapping[Split | None, Path], rules: Rules) -> Records:
    expected = rules.column_names()
    columns: dict[str, list[Any]] = {name: [] for name in expected}
    ids: list[str] = []
    places: list[str] = []
    splits: list[Split | None] = []
    tables = {split: read_table(file, expected) for split, file in files.items()}
    for split, table in tables.items():
        rows = len(table.places)
        for name in expected:
            columns[name] += table.columns[name]
        ids += _numbers(rows, split)
        places += table.places
        splits += [split] * rows
    return Records(
        columns,
        tuple(ids),
        tuple(places),
        tuple(splits),
        untyped=any(table.untyped for table in tables.values()),
        orders=common_orders([t.orders for t in tables.values()]),
    ).with_ids(rules.columns.id)


def _numbers(rows: int, split: Split | None) -> Sequence[str]:
    prefix = f"{split}/" if split else ""
    return [f"{prefix}{row + 1:06d}" for row in range(rows)]
