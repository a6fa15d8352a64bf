"""Inputs alone, without a word of what is right: arrays of a person's own, or random numbers of the shapes that a model takes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ops.core.tasks.unlabelled import Unlabelled
from pipeline.core.download.checksums import file_digests
from pipeline.datasets.api import Count, DataError, dataset
from pipeline.datasets.division import hashed_split, limited
from pipeline.datasets.paths import check_regular, readable
from pipeline.datasets.readers.arrays import ArrayRows
from pipeline.datasets.readers.settings import Shares
from pipeline.datasets.splits import SplitDataset, SplitInstances, fingerprint

_VERSION = 1
_SHARES = Shares(evaluation=0.5, calibration=0.25)
_SEED = 0


class RandomInput(BaseModel):
    """An input of random numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shape: list[Annotated[int, Field(ge=1)]] = []
    """Of one instance."""
    dtype: Literal["float32", "int64"] = "float32"
    """Floats are normal; whole numbers are drawn from 0 to `below` - 1."""
    below: Annotated[int, Field(ge=1)] = 100


@dataset
def arrays(
    folder: Path,
    *,
    path: str | None = None,
    inputs: dict[str, RandomInput] | None = None,
    count: Count = 64,
    shares: Shares = _SHARES,
    train: Count | None = None,
    calibration: Count | None = None,
    evaluation: Count | None = None,
) -> SplitDataset:
    """A NumPy file of arrays (`path`, .npz), one for each argument of the network's forward pass, or `count` random `inputs`.

    All arrays have one row per instance. A model is compared with the one that it was made from on the evaluation rows;
    operations that look at inputs take the others. Of random numbers there are evaluation rows alone: what would learn from
    them is refused in the plan.

    Raises:
        DataError: neither or both are given, the file cannot be read, or the arrays differ in their rows.
    """
    if (path is None) == (not inputs):
        raise DataError(
            "give one of `path`, a .npz file of arrays, and `inputs`, name -> {shape: [...], dtype: float32}"
        )
    limits = {"train": train, "calibration": calibration, "evaluation": evaluation}
    settings = {"shares": shares.model_dump(), "limits": limits}
    if path is None:
        assert inputs is not None
        values = _drawn(inputs, count)
        described = [[name, one.model_dump()] for name, one in inputs.items()]
        content = hashlib.sha256(b"".join(array.tobytes() for array in values.values())).hexdigest()
        identity = fingerprint("arrays", version=_VERSION, content=content, inputs=described)
        data = SplitDataset(
            name="arrays", task=Unlabelled.name, fingerprint=identity, load=lambda: _instances(values, None)
        )
    else:
        file = Path(path).expanduser()
        check_regular(file)
        content = file_digests(file.parent, [file.name], folder / "hashes")[file.name]
        identity = fingerprint("arrays", version=_VERSION, content=content, **settings)
        data = SplitDataset(
            name="arrays",
            task=Unlabelled.name,
            fingerprint=identity,
            load=lambda: _instances(_read(file), shares, limits),
        )
    data.is_random = path is None
    return data


def _drawn(inputs: dict[str, RandomInput], count: int) -> dict[str, np.ndarray]:
    draw = np.random.Generator(np.random.PCG64(_SEED))
    return {
        name: draw.standard_normal((count, *one.shape), np.float32)
        if one.dtype == "float32"
        else draw.integers(0, one.below, (count, *one.shape))
        for name, one in inputs.items()
    }


def _read(file: Path) -> dict[str, np.ndarray]:
    place = readable(str(file))
    try:
        with np.load(file, allow_pickle=False) as stored:
            if not hasattr(stored, "files"):
                raise DataError(
                    f"{place}: is a single array without a name; save it by the name of the input: np.savez"
                )
            values = {name: _typed(stored[name], f"{place}: '{name}'") for name in stored.files}
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{place}: cannot be read as a NumPy file of arrays, .npz ({error})") from None
    sizes = {name: len(array) for name, array in values.items()}
    if not sizes or min(sizes.values()) == 0:
        raise DataError(f"{place}: holds no rows")
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise DataError(f"{place}: the arrays differ in their rows ({listed}); the first axis is that of the instances")
    return values


def _typed(array: np.ndarray, place: str) -> np.ndarray:
    if array.ndim == 0:
        raise DataError(f"{place} is a single number; the first axis is that of the instances")
    kinds = {"f": "float32", "i": "int64", "u": "int64", "b": "bool"}
    if array.dtype.kind not in kinds:
        raise DataError(f"{place} holds {array.dtype}, which is neither numbers nor truths")
    with np.errstate(over="ignore"):
        typed = array.astype(kinds[array.dtype.kind])
    lost = np.isnan(typed) | (np.isinf(typed) & np.isfinite(array)) if typed.dtype.kind == "f" else typed < 0
    if array.dtype.kind in "fu" and lost.any():
        row = int(np.argwhere(lost)[0][0])
        raise DataError(f"{place} row {row + 1} holds a value that is no {typed.dtype}; mend the row, or remove it")
    return typed


def _instances(
    values: dict[str, np.ndarray], shares: Shares | None, limits: dict[Any, int | None] | None = None
) -> SplitInstances:
    count = len(next(iter(values.values())))
    ids = [f"row-{row + 1:06d}" for row in range(count)]
    nothing, strata = np.empty(0, np.int64), np.zeros(count, np.int64)
    splits: Any = {"train": nothing, "calibration": nothing, "evaluation": np.arange(count)}
    if shares is not None:
        whole = hashed_split(ids, evaluation=shares.evaluation, calibration=shares.calibration)
        splits = limited(whole, strata, limits or {})
    return SplitInstances(
        ids=np.array(ids, object),
        labels=[""] * count,
        strata=strata,
        splits=splits,
        classes=(),
        inputs={name: (str(array.dtype), array.shape[1:]) for name, array in values.items()},
        reader=ArrayRows(values, {}),
    )
