"""Fashion-MNIST: 70,000 grey pictures of clothes, 28x28, of ten kinds."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ops.core.tasks.image_classification import ImageClassification
from pipeline.core.keys import digest
from pipeline.datasets.api import Count, DataError, Split, dataset
from pipeline.datasets.array_cache import derived_arrays
from pipeline.datasets.division import first_spread, limited
from pipeline.datasets.fetch import Download, fetch
from pipeline.datasets.readers.image_arrays import ArrayReader, Form, Shift, Statistic, terciles
from pipeline.datasets.splits import SplitDataset, SplitInstances, fingerprint

_VERSION = 1
_SIDE = 28
_KINDS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CONTENT = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
"""sha256 of what each .gz holds. Debian packed the files anew, so that the .gz themselves differ from the official ones."""
SYSTEM = Path("/usr/share/datasets/fashion-mnist")
DOWNLOAD = Download(
    package="dataset-fashion-mnist",
    inside="usr/share/datasets/fashion-mnist",
    address="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
)
_Side = Annotated[int, Field(ge=_SIDE)]


@dataset
def fashion_mnist(
    folder: Path,
    *,
    size: _Side = 32,
    channels: Literal[1, 3] = 3,
    calibration: Count = 1024,
    train: Count | None = None,
    evaluation: Count | None = None,
    mean: Statistic = 0.286,
    std: Statistic = 0.353,
    shift: Shift = 2,
    flip: bool = False,
) -> SplitDataset:
    """70,000 pictures of clothes in ten classes, on black, 28x28 with a margin of zeros up to `size`.

    Xiao, Rasul and Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", 2017
    (MIT licence). Evaluation is the official test set; `calibration` pictures, the same share of each class, are taken
    out of the official training set. `train` and `evaluation` limit the number of pictures. Attribute `brightness`:
    dark, medium or bright, by terciles of the mean level.
    """
    form = Form.of(size=size, channels=channels, mean=mean, std=std)
    content = digest({"what": "fashion-mnist", "files": CONTENT})
    settings = {"train": train, "calibration": calibration, "evaluation": evaluation, "shift": shift, "flip": flip}
    arrays = derived_arrays(folder, f"fashion-mnist-{content[:16]}", lambda: _read_all(folder.expanduser()))
    limits: dict[Split, int | None] = {"train": train, "evaluation": evaluation}

    def load() -> SplitInstances:
        labels, official = arrays["labels"].astype(np.int64), int(arrays["official"])
        return SplitInstances(
            ids=_ids(official, len(labels) - official),
            labels=[_KINDS[label] for label in labels],
            strata=labels,
            splits=limited(_split(labels, official, calibration), labels, limits),
            classes=_KINDS,
            inputs=form.inputs,
            reader=ArrayReader(arrays["pictures"], labels, form, shift=shift, flip=flip),
            attributes={"brightness": terciles(arrays["levels"], ["dark", "medium", "bright"])},
        )

    return SplitDataset(
        name="fashion_mnist",
        task=ImageClassification.name,
        fingerprint=fingerprint("fashion_mnist", version=_VERSION, content=content, form=form.identity, **settings),
        load=load,
    )


def _ids(train: int, test: int) -> np.ndarray:
    ids = [f"train/{row:05d}" for row in range(train)] + [f"test/{row:05d}" for row in range(test)]
    return np.array(ids, dtype=object)


def _split(labels: np.ndarray, official: int, calibration: int) -> dict[Split, np.ndarray]:
    if calibration >= official:
        raise DataError(f"calibration: must be less than the {official} training pictures (got {calibration})")
    positions = first_spread(np.arange(official), labels, calibration)
    return {
        "train": np.setdiff1d(np.arange(official), positions),
        "calibration": positions,
        "evaluation": np.arange(official, len(labels)),
    }


def _read_all(folder: Path) -> dict[str, np.ndarray]:
    names = [f"{name}.gz" for name in CONTENT]
    place = fetch(DOWNLOAD, names, folder / "fashion-mnist", system=SYSTEM, accept=_check)
    pictures = [_numbers(place / f"{part}-images-idx3-ubyte.gz", 16) for part in ("train", "t10k")]
    labels = [_numbers(place / f"{part}-labels-idx1-ubyte.gz", 8) for part in ("train", "t10k")]
    joined = np.concatenate(pictures).reshape(-1, 1, _SIDE, _SIDE)
    return {
        "pictures": joined,
        "labels": np.concatenate(labels),
        "levels": joined.mean(axis=(1, 2, 3), dtype=np.float32),
        "official": np.array(len(labels[0])),
    }


def _check(file: Path) -> None:
    if hashlib.sha256(_unpacked(file)).hexdigest() != CONTENT[file.stem]:
        raise DataError(f"{file}: not the file it should be (its sha256 differs); delete it to have it fetched again")


def _unpacked(file: Path) -> bytes:
    try:
        return gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: damaged ({error}); delete it to have it fetched again") from None


def _numbers(file: Path, header: int) -> np.ndarray:
    """The IDX format: a header of 4-byte numbers, then one byte per value."""
    return np.frombuffer(_unpacked(file), np.uint8, offset=header)
