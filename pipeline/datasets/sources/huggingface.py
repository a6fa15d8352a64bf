"""A data set of the Hugging Face hub, or one saved with `save_to_disk`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ops.core.registry import nearest
from pipeline.core.download.checksums import file_digests
from pipeline.core.errors import reason
from pipeline.core.extras import install_command
from pipeline.core.keys import digest
from pipeline.datasets.api import Count, DataError, Split, dataset
from pipeline.datasets.class_order import name_list
from pipeline.datasets.readers.settings import Columns, Features, Picture, Shares, Targets, Text
from pipeline.datasets.splits import SplitDataset
from pipeline.datasets.tabular.by_task import Rules, TaskName, dataset_of
from pipeline.datasets.tabular.rows import Records, common_orders, split_named

if TYPE_CHECKING:
    from datasets import Dataset as HubDataset

_COLUMNS, _TEXT, _PICTURE, _SHARES = Columns(), Text(), Picture(), Shares()
_TARGETS, _FEATURES = Targets(), Features()
_EVALUATION = ("evaluation", "validation", "test")


@dataset
def huggingface(
    folder: Path,
    *,
    path: str,
    subset: str | None = None,
    revision: str | None = None,
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
    """A data set of the Hugging Face hub (`path`, `subset`, `revision`), or a folder made by `save_to_disk`.

    Needs the package `datasets`. Its splits are used as they are (for evaluation `validation` before `test`, which is
    often unlabelled); what is missing is held out as `shares` say. Class labels get their names.
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
    parts = _parts(path, subset, revision, folder)
    return dataset_of(
        "huggingface",
        rules,
        content=_content(parts, folder),
        read=lambda: _read(parts, rules, path),
        folder=folder,
        root=Path(picture.root).expanduser() if picture.root else Path(),
    )


def _parts(path: str, subset: str | None, revision: str | None, folder: Path) -> dict[Split | None, HubDataset]:
    """Split -> its rows; all rows under None where the data set has only one part."""
    try:
        import datasets
        from datasets.exceptions import DatasetsError
    except ImportError:
        raise DataError(f"Hugging Face data sets need the package `datasets`: {install_command('datasets')}") from None
    place = Path(path).expanduser()
    try:
        if (place / "dataset_dict.json").exists() or (place / "state.json").exists():
            loaded = datasets.load_from_disk(str(place))
        else:
            loaded = datasets.load_dataset(path, subset, revision=revision, cache_dir=str(folder / "huggingface"))
    except (DatasetsError, OSError, ValueError) as error:
        raise DataError(f"Hugging Face data set '{path}': {reason(error)}") from None
    if not isinstance(loaded, Mapping):
        return {None: loaded}
    names = ["train", "calibration", *[name for name in _EVALUATION if name in loaded][:1]]
    result: dict[Split | None, HubDataset] = {split_named(name, path): loaded[name] for name in names if name in loaded}
    if "train" not in result:
        raise DataError(f"Hugging Face data set '{path}': no split is called 'train'. Known: {name_list(list(loaded))}")
    return {None: result["train"]} if len(result) == 1 else result


def _content(parts: Mapping[Split | None, HubDataset], folder: Path) -> str:
    digests = {}
    for split, part in parts.items():
        files = [Path(file["filename"]) for file in part.cache_files]
        digests[split or "all"] = [
            *(file_digests(file.parent, [file.name], folder / "hashes")[file.name] for file in files),
            str(part.features.to_dict()),  # names of class labels are kept beside the rows
        ]
    return digest({"what": "arrow tables", "files": digests})


def _read(parts: Mapping[Split | None, HubDataset], rules: Rules, path: str) -> Records:
    ids: list[str] = []
    places: list[str] = []
    splits: list[Split | None] = []
    columns: dict[str, list[Sequence[Any]]] = {name: [] for name in rules.column_names()}
    for split, part in parts.items():
        for name, values in columns.items():
            if name not in part.column_names:
                present = part.column_names
                raise DataError(
                    f"'{path}': no column is called '{name}'.{nearest(name, present)} Known: {name_list(present)}"
                )
            values.append(_values(part, name))
        prefix = f"{split}/" if split else ""
        ids += [f"{prefix}{row + 1:06d}" for row in range(len(part))]
        places += [f"{path} {prefix}row {row + 1}" for row in range(len(part))]
        splits += [split] * len(part)
    joined = {name: _joined(values) for name, values in columns.items()}
    orders = common_orders([_orders(part, columns) for part in parts.values()])
    return Records(joined, tuple(ids), tuple(places), tuple(splits), orders=orders).with_ids(rules.columns.id)


def _orders(part: HubDataset, columns: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Column -> class names in the order of their numbers."""
    import datasets

    kinds = {name: part.features[name] for name in columns}
    return {name: tuple(kind.names) for name, kind in kinds.items() if isinstance(kind, datasets.ClassLabel)}


def _values(part: HubDataset, name: str) -> Sequence[Any]:
    """A column: class labels by name, pictures undecoded and read when asked for."""
    import datasets

    feature = part.features[name]
    if isinstance(feature, datasets.ClassLabel):
        return [None if value is None or value < 0 else feature.names[value] for value in part[name]]
    if isinstance(feature, datasets.Image):
        pictures: Sequence[Any] = part.cast_column(name, datasets.Image(decode=False))[name]
        inside = len(pictures) and pictures[0]["bytes"]
        return pictures if inside else [picture["path"] for picture in pictures]
    return list(part[name])


def _joined(parts: Sequence[Sequence[Any]]) -> Sequence[Any]:
    if all(isinstance(part, list) for part in parts):
        return [value for part in parts for value in part]
    return parts[0] if len(parts) == 1 else _Joined(parts)


class _Joined(Sequence[Any]):
    """Columns one after the other, without reading them."""

    def __init__(self, parts: Sequence[Sequence[Any]]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, row: Any) -> Any:
        part = int(np.searchsorted(self._starts, row, "right")) - 1
        return self._parts[part][int(row - self._starts[part])]
