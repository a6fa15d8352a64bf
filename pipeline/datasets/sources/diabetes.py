"""Ten measurements of patients with diabetes, and how the disease went on: a table that comes with scikit-learn."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import zlib
from pathlib import Path

import numpy as np

from ops.core.tasks.regression import TableRegression, number_texts
from pipeline.datasets.api import Count, DataError, dataset
from pipeline.datasets.division import fixed_split
from pipeline.datasets.readers.features import FeatureReader
from pipeline.datasets.readers.image_arrays import terciles
from pipeline.datasets.readers.settings import Positive, Targets
from pipeline.datasets.splits import SplitDataset, SplitInstances, fingerprint
from pipeline.datasets.tabular.outcomes import number_facts, number_targets, quantile_groups, tolerances_of

_VERSION = 1
_COUNT = 442
_FEATURES = ("age", "sex", "bmi", "blood_pressure", "s1", "s2", "s3", "s4", "s5", "s6")
_TARGETS = ("progression",)


@dataset
def diabetes(
    folder: Path,
    *,
    train: Count = 262,
    calibration: Count = 60,
    evaluation: Count = 120,
    tolerance: Positive = 50.0,
    standardise: bool = True,
) -> SplitDataset:
    """442 patients: ten measurements, and how far the disease went on within a year, a number from 25 to 346.

    Efron, Hastie, Johnstone and Tibshirani, "Least angle regression", Annals of Statistics 32, 2004. An estimate counts as
    right within `tolerance` of that number. `standardise`: models learn the number by mean and deviation of the
    training patients. Attribute `age`: young, middle or old, by terciles.

    Raises:
        DataError: the splits together want more patients than there are.
    """
    total = train + calibration + evaluation
    if total > _COUNT:
        raise DataError(f"train + calibration + evaluation: there are {_COUNT} patients (got {total})")
    features, target = (_content(name) for name in ("diabetes_data_raw.csv.gz", "diabetes_target.csv.gz"))
    settings = {"train": train, "calibration": calibration, "evaluation": evaluation}
    learned = Targets(tolerance=tolerance, standardise=standardise)
    return SplitDataset(
        name="diabetes",
        task=TableRegression.name,
        fingerprint=fingerprint(
            "diabetes",
            version=_VERSION,
            content=hashlib.sha256(features + target).hexdigest(),
            targets=learned.model_dump(),
            **settings,
        ),
        load=lambda: _instances(features, target, (evaluation, calibration, train), learned),
    )


def _content(name: str) -> bytes:
    # found without importing scikit-learn, which takes a second
    package = importlib.util.find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise DataError("The table comes with scikit-learn, which is not installed: pip install scikit-learn")
    file = Path(package.submodule_search_locations[0], "datasets", "data", name)
    try:
        content = gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read ({error}); reinstall scikit-learn") from None
    lines = content.count(b"\n")
    if lines != _COUNT:
        raise DataError(f"{file}: {lines} lines instead of {_COUNT}; reinstall scikit-learn")
    return content


def _instances(features: bytes, target: bytes, sizes: tuple[int, int, int], learned: Targets) -> SplitInstances:
    values = np.array(features.split(), np.float64).reshape(_COUNT, len(_FEATURES))
    numbers = np.array(target.split(), np.float64).reshape(_COUNT, 1)
    strata = quantile_groups(numbers[:, 0])
    splits = fixed_split(strata, evaluation=sizes[0], calibration=sizes[1], train=sizes[2])
    targets = number_targets(numbers, _TARGETS, splits["train"], learned)
    reader = FeatureReader.of(
        values, _FEATURES, splits["train"], targets, standardise=True, facts=number_facts(_TARGETS, targets)
    )
    return SplitInstances(
        ids=np.array([f"patient-{row + 1:03d}" for row in range(_COUNT)], dtype=object),
        labels=number_texts(numbers),
        strata=strata,
        splits=splits,
        classes=_TARGETS,
        inputs=reader.inputs,
        reader=reader,
        attributes={"age": terciles(values[:, 0], ["young", "middle", "old"])},
        tolerances=tolerances_of(targets),
    )
