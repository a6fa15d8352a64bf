"""Pictures in folders named by their class, as ImageNet is laid out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ops.core.registry import nearest
from pipeline.core.download.checksums import content_digest, file_digests
from pipeline.datasets.api import SPLITS, Count, DataError, Share, Split, dataset
from pipeline.datasets.readers.image_arrays import Form, Statistic
from pipeline.datasets.readers.image_files import PictureReader, default_resize
from pipeline.datasets.readers.settings import IMAGENET_MEAN, IMAGENET_STD
from pipeline.datasets.splits import Instances, SplitDataset, fingerprint, hashed_split, limited
from pipeline.datasets.tabular.files import read_columns
from pipeline.datasets.tabular.rows import encoded, shown, split_named

_VERSION = 1
_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_EVALUATION = ("evaluation", "val", "validation", "test")


@dataset
def image_folder(
    folder: Path,
    *,
    root: str,
    size: Count = 224,
    resize: Count | None = None,
    channels: Literal[1, 3] = 3,
    mean: Statistic = IMAGENET_MEAN,
    std: Statistic = IMAGENET_STD,
    flip: bool = True,
    classes: list[str] | None = None,
    evaluation_share: Share = 0.2,
    calibration_share: Share = 0.1,
    train: Count | None = None,
    calibration: Count | None = None,
    evaluation: Count | None = None,
    attributes: str | None = None,
) -> SplitDataset:
    """`root`/train/CLASS/* with `root`/val/CLASS/* (or evaluation, validation, test), or all in `root`/CLASS/*.

    A picture's shorter side is resized to `resize` (size / 0.875 if not given) and the middle `size` x `size` cut out;
    training cuts anywhere and mirrors half of the pictures (`flip`). Without a folder for evaluation, `evaluation_share`
    of the pictures is held out by a hash of the relative path; without one for calibration, `calibration_share` of the
    training pictures. `train`, `calibration`, `evaluation` limit the number of pictures. `classes` fixes the order of
    the classes to that of a pretrained model. `attributes` is a table with a column `id` (the path relative to `root`);
    its other columns are attributes.
    """
    place = Path(root).expanduser()
    form = Form.of(size=size, channels=channels, mean=mean, std=std)
    listing = _listed(place)
    table = Path(attributes).expanduser() if attributes else None
    shares = {"evaluation": evaluation_share, "calibration": calibration_share}
    limits: dict[Split, int | None] = {"train": train, "calibration": calibration, "evaluation": evaluation}
    side = resize or default_resize(size)

    def load() -> Instances:
        names = [file.label for file in listing]
        labels, known = encoded(names, classes, [f"{place / file.path}" for file in listing])
        splits = limited(_splits(listing, evaluation_share, calibration_share), labels, limits)
        return Instances(
            ids=np.array([file.path for file in listing], object),
            labels=names,
            strata=labels,
            splits=splits,
            classes=known,
            inputs=form.inputs,
            reader=PictureReader([file.path for file in listing], place, labels, form, side, flip),
            attributes=_attributes(table, listing) if table else {},
        )

    content = content_digest(place, [file.path for file in listing], folder / "hashes")
    described = _digest(table, folder) if table else None
    return SplitDataset(
        name="image_folder",
        task="image-classification",
        fingerprint=fingerprint(
            "image_folder", version=_VERSION, content=content, attributes=described, form=form.identity,
            resize=side, flip=flip, classes=classes, shares=shares, limits=limits,
        ),
        load=load,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    """Relative to the root, with slashes: the instance's id."""
    label: str
    split: Split | None


def _listed(root: Path) -> list[_File]:
    """All pictures, sorted by path.

    Raises:
        DataError: if there are none, or a class of one split is missing from the training pictures.
    """
    if not root.is_dir():
        raise DataError(f"root: {root}: there is no such folder")
    parts = _parts(root)
    files = [
        _File(f"{part}/{path}" if part else path, label, split)
        for part, split in parts.items()
        for path, label in _pictures(root / part)
    ]
    if not files:
        raise DataError(f"{root}: no pictures in {root}/CLASS/* or {root}/train/CLASS/* ({', '.join(_ENDINGS)})")
    if "train" in parts:
        _check_classes(root, files)
    return sorted(files, key=lambda file: file.path)


def _parts(root: Path) -> dict[str, Split | None]:
    """Subfolder -> split; the root itself where there is no `train`."""
    if not (root / "train").is_dir():
        return {"": None}
    evaluation = [name for name in _EVALUATION if (root / name).is_dir()][:1]
    calibration = [name for name in ("calibration",) if (root / name).is_dir()]
    return {part: split_named(part, str(root)) for part in ("train", *calibration, *evaluation)}


def _pictures(folder: Path) -> Iterator[tuple[str, str]]:
    """Relative path and class of every picture below the class folders."""
    for kind in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")):
        for place, _, names in os.walk(folder / kind, followlinks=True):
            for name in names:
                if name.lower().endswith(_ENDINGS) and not name.startswith("."):
                    yield Path(place, name).relative_to(folder).as_posix(), kind


def _check_classes(root: Path, files: Sequence[_File]) -> None:
    trained = {file.label for file in files if file.split == "train"}
    for file in files:
        if file.label not in trained:
            hint = nearest(file.label, trained)
            raise DataError(
                f"{root / file.path}: no training picture is of class '{file.label}'.{hint} Known: {shown(sorted(trained))}"
            )


def _splits(files: Sequence[_File], evaluation: float, calibration: float) -> dict[Split, np.ndarray]:
    """As the folders say; what they do not say is held out by the hash of the path."""
    given = np.array([file.split for file in files], object)
    paths = [file.path for file in files]
    if None in given:
        return _checked(hashed_split(paths, evaluation=evaluation, calibration=calibration))
    splits: dict[Split, np.ndarray] = {split: np.flatnonzero(given == split) for split in SPLITS}
    within = splits["train"]
    held = hashed_split(
        [paths[row] for row in within],
        evaluation=0 if len(splits["evaluation"]) else evaluation,
        calibration=0 if len(splits["calibration"]) else calibration,
    )
    for split in SPLITS[1:]:
        splits[split] = np.concatenate([splits[split], within[held[split]]])
    return _checked(splits | {"train": within[held["train"]]})


def _checked(splits: dict[Split, np.ndarray]) -> dict[Split, np.ndarray]:
    if not len(splits["evaluation"]):
        raise DataError("no picture is held out for evaluation: add a folder `val`, or raise evaluation_share")
    return splits


def _digest(table: Path, folder: Path) -> str:
    if not table.is_file():
        raise DataError(f"attributes: {table}: there is no such file")
    return file_digests(table.parent, [table.name], folder / "hashes")[table.name]


def _attributes(table: Path, files: Sequence[_File]) -> dict[str, Sequence[str]]:
    """Attribute name -> one text per picture."""
    columns = read_columns(table, None)
    if "id" not in columns:
        raise DataError(f"{table}: a column `id` must hold the pictures' paths. Known: {shown(list(columns))}")
    row_of = {str(one): row for row, one in enumerate(columns["id"])}
    for file in files:
        if file.path not in row_of:
            raise DataError(f"{table}: no row has the id '{file.path}'.{nearest(file.path, row_of)}")
    rows = [row_of[file.path] for file in files]
    return {name: [str(values[row]) for row in rows] for name, values in columns.items() if name != "id"}
