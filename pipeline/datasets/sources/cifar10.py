"""CIFAR-10's test set: 10,000 colour pictures of ten kinds of things, 32x32, divided anew."""

from __future__ import annotations

import base64
import binascii
import io
import json
from pathlib import Path

import numpy as np

from ops.core.tasks.image_classification import ImageClassification
from pipeline.datasets.api import Count, DataError, dataset
from pipeline.datasets.array_cache import derived_arrays
from pipeline.datasets.division import fixed_split
from pipeline.datasets.readers.image_arrays import ArrayReader, Form, Shift, Statistic
from pipeline.datasets.readers.settings import IMAGENET_MEAN, IMAGENET_STD
from pipeline.datasets.sources._bigbench import BIGBENCH, CIFAR10, bigbench
from pipeline.datasets.splits import SplitDataset, SplitInstances, fingerprint

_VERSION = 1
_SIDE = 32
_COUNT = 10_000
_KINDS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataset
def cifar10(
    folder: Path,
    *,
    size: Count = 64,
    calibration: Count = 512,
    train: Count | None = None,
    evaluation: Count = 2000,
    mean: Statistic = IMAGENET_MEAN,
    std: Statistic = IMAGENET_STD,
    shift: Shift = 4,
    flip: bool = True,
) -> SplitDataset:
    """10,000 colour pictures in ten classes, 32x32, enlarged to `size` x `size` (a multiple of 32).

    Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009 (no licence is given). These are the 10,000
    pictures of the official test set, as they lie in the source archive of the Python package bigbench (Apache-2.0), and
    both the training and the evaluation split are taken from them, by a fixed shuffle with the same share of each
    class: accuracies do not compare with those of models that were trained on the official 50,000.

    Raises:
        DataError: `size` is no multiple of 32, or the splits together want more pictures than there are.
    """
    if size % _SIDE:
        raise DataError(f"size: the pictures are {_SIDE}x{_SIDE}, so it must be a multiple of {_SIDE} (got {size})")
    if (train or 1) + calibration + evaluation > _COUNT:
        raise DataError(
            f"train + calibration + evaluation: there are {_COUNT} pictures (got {(train or 1) + calibration + evaluation})"
        )
    form = Form.of(size=size, channels=3, mean=mean, std=std)
    arrays = derived_arrays(folder, f"cifar10-{BIGBENCH.sha256[:16]}", lambda: _read_all(bigbench(folder) / CIFAR10))
    settings = {"train": train, "calibration": calibration, "evaluation": evaluation, "shift": shift, "flip": flip}

    def load() -> SplitInstances:
        labels = arrays["labels"].astype(np.int64)
        return SplitInstances(
            ids=np.array([f"test/{row:05d}" for row in range(len(labels))], dtype=object),
            labels=[_KINDS[label] for label in labels],
            strata=labels,
            splits=fixed_split(labels, evaluation=evaluation, calibration=calibration, train=train),
            classes=_KINDS,
            inputs=form.inputs,
            reader=ArrayReader(arrays["pictures"], labels, form, repeat=size // _SIDE, shift=shift, flip=flip),
        )

    return SplitDataset(
        name="cifar10",
        task=ImageClassification.name,
        fingerprint=fingerprint("cifar10", version=_VERSION, content=BIGBENCH.sha256, form=form.identity, **settings),
        load=load,
    )


def _read_all(file: Path) -> dict[str, np.ndarray]:
    """Pictures uint8 (10000, 3, 32, 32) and labels, in the order of the file."""
    try:
        examples = json.loads(file.read_bytes())["examples"]
        pictures = [_decoded(example["input"]) for example in examples]
        labels = [_KINDS.index(max(example["target_scores"], key=example["target_scores"].get)) for example in examples]
    except (OSError, ValueError, KeyError, binascii.Error) as error:
        raise DataError(f"{file}: damaged ({error}); delete it to have it fetched again") from None
    return {"pictures": np.stack(pictures), "labels": np.array(labels, np.uint8)}


def _decoded(text: str) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        return np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
