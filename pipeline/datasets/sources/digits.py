"""Handwritten digits of 8x8 pixels that come with scikit-learn: nothing to download."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from ops.core.tasks.image_classification import ImageClassification
from ops.core.tasks.multi_label import ImageMultiLabel, label_sets
from pipeline.datasets.api import Count, DataError, dataset
from pipeline.datasets.division import fixed_split
from pipeline.datasets.readers.image_arrays import ArrayReader, Form, Shift, Statistic, terciles
from pipeline.datasets.readers.settings import Targets, Thresholds
from pipeline.datasets.splits import SplitDataset, SplitInstances, fingerprint
from pipeline.datasets.tabular.outcomes import check_thresholds, label_facts, label_targets

_VERSION = 1
_SIDE, _PEAK, _COUNT = 8, 16, 1797
_TRAITS = ("even", "prime", "large", "loop", "heavy")


@dataset
def digits(
    folder: Path,
    *,
    size: Count = 8,
    channels: Literal[1, 3] = 1,
    train: Count = 1200,
    calibration: Count = 200,
    evaluation: Count = 397,
    mean: Statistic = 0.305,
    std: Statistic = 0.376,
    shift: Shift = 1,
) -> SplitDataset:
    """1,797 handwritten digits, 8x8 pixels of 17 grey levels, enlarged to `size` x `size` (a multiple of 8).

    Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998 (CC BY 4.0).
    Attribute `ink`: light, medium or heavy, by terciles of mean darkness. Training pictures may move by up to `shift`
    pixels of the 8x8.

    Raises:
        DataError: `size` is no multiple of 8, or the splits together want more digits than there are.
    """
    if size % _SIDE:
        raise DataError(f"size: the digits are {_SIDE}x{_SIDE}, so it must be a multiple of {_SIDE} (got {size})")
    if train + calibration + evaluation > _COUNT:
        total = train + calibration + evaluation
        raise DataError(f"train + calibration + evaluation: there are {_COUNT} digits (got {total})")
    form = Form.of(size=size, channels=channels, mean=mean, std=std, peak=_PEAK)
    content = _content()
    settings = {"train": train, "calibration": calibration, "evaluation": evaluation, "shift": shift}
    return SplitDataset(
        name="digits",
        task=ImageClassification.name,
        fingerprint=fingerprint(
            "digits", version=_VERSION, content=hashlib.sha256(content).hexdigest(), form=form.identity, **settings
        ),
        load=lambda: _instances(content, form, (evaluation, calibration, train), shift),
    )


@dataset
def digit_traits(
    folder: Path,
    *,
    size: Count = 8,
    channels: Literal[1, 3] = 1,
    train: Count = 1200,
    calibration: Count = 200,
    evaluation: Count = 397,
    mean: Statistic = 0.305,
    std: Statistic = 0.376,
    shift: Shift = 1,
    thresholds: Thresholds = 0.5,
) -> SplitDataset:
    """The same digits with what holds of each: any number of the labels even, prime, large (5 or more), loop and heavy.

    `loop` holds of 0, 6, 8 and 9; `heavy` of the third of the pictures with the most ink. A label is given from the
    probability `thresholds` on. Otherwise as `digits`.

    Raises:
        DataError: as `digits`, and for a threshold of a label that there is not.
    """
    numbers = digits(
        folder,
        size=size,
        channels=channels,
        train=train,
        calibration=calibration,
        evaluation=evaluation,
        mean=mean,
        std=std,
        shift=shift,
    )
    learned = Targets(thresholds=thresholds)
    check_thresholds(learned, _TRAITS)
    form = Form.of(size=size, channels=channels, mean=mean, std=std, peak=_PEAK)
    content, sizes = _content(), (evaluation, calibration, train)
    return SplitDataset(
        name="digit_traits",
        task=ImageMultiLabel.name,
        fingerprint=fingerprint(
            "digit_traits", version=_VERSION, content=numbers.fingerprint, targets=learned.model_dump()
        ),
        load=lambda: _with_traits(_instances(content, form, sizes, shift), learned),
    )


def _with_traits(instances: SplitInstances, learned: Targets) -> SplitInstances:
    number, heavy = instances.strata, np.array(instances.attributes["ink"]) == "heavy"
    holds = [number % 2 == 0, np.isin(number, (2, 3, 5, 7)), number >= 5, np.isin(number, (0, 6, 8, 9)), heavy]  # noqa: PLR2004
    present = np.stack(holds, axis=1)
    targets = label_targets(present, _TRAITS, learned)
    assert isinstance(instances.reader, ArrayReader)
    return replace(
        instances,
        labels=label_sets(present, _TRAITS),
        classes=_TRAITS,
        reader=replace(instances.reader, labels=targets, facts=label_facts(targets)),
    )


def _file() -> Path:
    # found without importing scikit-learn, which takes a second
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise DataError("The digits come with scikit-learn, which is not installed: pip install scikit-learn")
    return Path(package.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")


def _content() -> bytes:
    """The table: 64 levels and the label per line."""
    file = _file()
    try:
        content = gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read ({error}); reinstall scikit-learn") from None
    lines = content.count(b"\n")
    if lines != _COUNT:
        raise DataError(f"{file}: {lines} lines instead of {_COUNT}; reinstall scikit-learn")
    return content


def _instances(content: bytes, form: Form, sizes: tuple[int, int, int], shift: int) -> SplitInstances:
    numbers = np.array(content.replace(b"\n", b",").rstrip(b",").split(b","), dtype=np.float64).astype(np.uint8)
    table = numbers.reshape(_COUNT, _SIDE * _SIDE + 1)
    pictures, labels = table[:, :-1].reshape(-1, 1, _SIDE, _SIDE), table[:, -1].astype(np.int64)
    classes = tuple(str(digit) for digit in range(10))
    scale = form.size // _SIDE
    return SplitInstances(
        ids=np.array([f"digit-{row:04d}" for row in range(_COUNT)], dtype=object),
        labels=[classes[label] for label in labels],
        strata=labels,
        splits=fixed_split(labels, evaluation=sizes[0], calibration=sizes[1], train=sizes[2]),
        classes=classes,
        inputs=form.inputs,
        reader=ArrayReader(pictures, labels, form, repeat=scale, shift=shift * scale),
        attributes={"ink": terciles(pictures.mean(axis=(1, 2, 3)), ["light", "medium", "heavy"])},
    )
