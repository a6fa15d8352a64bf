"""Pictures in folders named by their class, as ImageNet is laid out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ops.core.registry import nearest
from ops.core.tasks.image_classification import ImageClassification
from pipeline.core.download.checksums import content_digest, file_digests
from pipeline.core.keys import digest
from pipeline.datasets.api import Count, DataError, Share, Split, dataset
from pipeline.datasets.class_order import lookalikes, name_list, order_of
from pipeline.datasets.division import completed_split, limited
from pipeline.datasets.paths import check_regular, readable
from pipeline.datasets.readers.decoding import Background, Bits, Decoder
from pipeline.datasets.readers.geometry import ChannelOrder, Fit, Geometry, Interpolation, Rounding, default_resize
from pipeline.datasets.readers.image_arrays import Form, Statistic
from pipeline.datasets.readers.image_files import PictureReader
from pipeline.datasets.readers.settings import DEFAULT_SIZE, IMAGENET_MEAN, IMAGENET_STD, statistic
from pipeline.datasets.sources._folders import PictureFile, list_pictures
from pipeline.datasets.splits import SplitDataset, SplitInstances, fingerprint
from pipeline.datasets.tabular.files import read_table
from pipeline.datasets.tabular.rows import attribute_texts

_VERSION = 2
_ATTRIBUTES_VERSION = 3
"""Raise it when a table of attributes gives other texts than before."""


@dataset
def image_folder(
    folder: Path,
    *,
    root: str,
    size: Count | None = None,
    resize: Count | None = None,
    fit: Fit | None = None,
    interpolation: Interpolation | None = None,
    rounding: Rounding | None = None,
    channel_order: ChannelOrder | None = None,
    channels: Literal[1, 3] = 3,
    mean: Statistic | None = None,
    std: Statistic | None = None,
    flip: bool = True,
    bits: Bits | None = None,
    background: Background = "white",
    classes: list[str] | None = None,
    splits: bool | None = None,
    evaluation_share: Share = 0.2,
    calibration_share: Share = 0.1,
    train: Count | None = None,
    calibration: Count | None = None,
    evaluation: Count | None = None,
    attributes: str | None = None,
) -> SplitDataset:
    """`root`/train/CLASS/* with `root`/val/CLASS/* (or evaluation, validation, valid, dev, test), or all in `root`/CLASS/*.

    `splits` says whether the folders in `root` are splits or classes; null: splits if all are called so, and an error if
    it is in doubt. Pictures are decoded as `pipeline.datasets.readers.decoding` says: upright, deep greys over their full range
    (or that of `bits`), transparency on `background`. A picture's shorter side is resized to `resize` (size / 0.875 if
    not given) and the middle `size` x `size` cut out; `fit: squash` resizes both sides, `none` neither; `rounding` is how
    a library rounds sizes. What is not given of these, of `mean` and of `std` is that of the pretrained model that the
    recipe begins with, or else ImageNet's. Training cuts anywhere and mirrors half of the pictures (`flip`).
    Without a folder for evaluation, `evaluation_share` of the pictures is held out by a hash of the relative path;
    without one for calibration, `calibration_share` of the training pictures. `train`, `calibration`, `evaluation` limit
    the number of pictures. `classes` fixes the order of the classes to that of a pretrained model (null: that of the
    model's own names, else sorted as text). `attributes` is a table with a column `id` (the path relative to `root`); its
    other columns are attributes.
    """
    place = Path(root).expanduser()
    form = Form.of(
        size=size or DEFAULT_SIZE,
        channels=channels,
        mean=statistic(mean, IMAGENET_MEAN),
        std=statistic(std, IMAGENET_STD),
    )
    listing, omissions = list_pictures(place, splits)
    paths = [file.path for file in listing]
    names = [file.label for file in listing]
    order = order_of(names, setting=classes)
    decoder = Decoder(bits, background)
    table = Path(attributes).expanduser() if attributes else None
    shares = {"evaluation": evaluation_share, "calibration": calibration_share}
    limits: dict[Split, int | None] = {"train": train, "calibration": calibration, "evaluation": evaluation}
    geometry = Geometry(
        form.size,
        resize or default_resize(form.size),
        fit or "crop",
        interpolation or "bilinear",
        rounding or "nearest",
        channel_order or "rgb",
    )

    def load() -> SplitInstances:
        labels = np.array(order.numbers(names, [f"{readable(str(place))}/{file.id}" for file in listing]), np.int64)
        reader = PictureReader(paths, place, labels, form, geometry, flip, decoder)
        return SplitInstances(
            ids=np.array([file.id for file in listing], object),
            labels=names,
            strata=labels,
            splits=limited(_splits(listing, evaluation_share, calibration_share), labels, limits),
            classes=order.classes,
            inputs=form.inputs,
            reader=reader,
            attributes=_attributes(table, listing) if table else {},
            order=order,
            notes=lambda: (*omissions, *lookalikes(order.classes), *reader.notes(np.arange(len(listing)))),
        )

    content = content_digest(place, paths, folder / "hashes")
    described = _digest(table, folder) if table else None
    return SplitDataset(
        name="image_folder",
        task=ImageClassification.name,
        fingerprint=fingerprint(
            "image_folder",
            version=_VERSION,
            content=content,
            attributes=described,
            form=form.identity,
            resize=geometry.resize,
            **geometry.identity,
            flip=flip,
            decoding=decoder.identity,
            classes=order.classes,
            layout=_tops(listing),
            shares=shares,
            limits=limits,
        ),
        load=load,
        is_own=True,
    )


def _tops(files: Sequence[PictureFile]) -> dict[str, Split]:
    """Top folder -> split, of the folders that are splits."""
    return {file.path.partition("/")[0]: file.split for file in files if file.split}


def _splits(files: Sequence[PictureFile], evaluation: float, calibration: float) -> dict[Split, np.ndarray]:
    """As the folders say; what they do not say is held out by the hash of the path."""
    splits = completed_split(
        [file.split for file in files], [file.path for file in files], evaluation=evaluation, calibration=calibration
    )
    if not len(splits["evaluation"]):
        raise DataError("no picture is held out for evaluation: add a folder `val`, or raise evaluation_share")
    return splits


def _digest(table: Path, folder: Path) -> str:
    try:
        check_regular(table)
    except DataError as error:
        raise DataError(f"attributes: {error}") from None
    content = file_digests(table.parent, [table.name], folder / "hashes")[table.name]
    return digest({"what": "attributes", "version": _ATTRIBUTES_VERSION, "content": content})


def _attributes(file: Path, pictures: Sequence[PictureFile]) -> dict[str, Sequence[str]]:
    """Attribute name -> one text per picture."""
    table = read_table(file, None)
    if "id" not in table.columns:
        raise DataError(f"{file}: a column `id` must hold the pictures' paths. Known: {name_list(list(table.columns))}")
    row_of: dict[str, int] = {}
    for row, value in enumerate(table.columns["id"]):
        first = row_of.setdefault(str(value), row)
        if first != row:
            raise DataError(
                f"{table.places[row]}: the id '{value}' is that of {table.places[first]} too; remove one of them"
            )
    rows = []
    for picture in pictures:
        match = row_of.get(picture.path, row_of.get(picture.id))
        if match is None:
            raise DataError(f"{file}: no row has the id '{picture.id}'.{nearest(picture.id, row_of)}")
        rows.append(match)
    places = [table.places[row] for row in rows]
    return {
        name: attribute_texts([values[row] for row in rows], places, name)
        for name, values in table.columns.items()
        if name != "id"
    }
