"""Time of layers with and without a candidate: both files under the runtime's profiler, in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.keys import Key
from pipeline.layers.stats.onnx_profile import layer_times

if TYPE_CHECKING:
    from pipeline.targets.api import Profiler

__all__ = ["ROUNDS", "Profile", "mean_saving", "profiles", "rest_of", "total_seconds"]

ROUNDS = 5
Profile = Mapping[str, float]
"""Layer -> seconds; '' has what belongs to none."""
Saved = tuple[float, float]
"""Seconds and their standard error."""


def profiles(
    files: Sequence[Path], target: Profiler, inputs: Mapping[str, np.ndarray], scratch: Path, *, device: str
) -> list[list[Profile]]:
    """Profile files in turn on one thread, so that what else the machine does meets all of them alike.

    Args:
        files: ONNX files.
        target: a runtime that tells the time of every node.
        inputs: of one instance.
        scratch: a folder for the profiler.
        device: the machine.

    Returns:
        Of each file the profiles of all rounds.

    Raises:
        TargetError: the runtime refuses a file.
    """
    output: list[list[Profile]] = [[] for _ in files]
    for _ in range(ROUNDS):
        for place, file in enumerate(files):
            rows = layer_times(file, target, inputs, scratch, model=Key(""), threads=1, device=device)
            output[place].append({row.module: row.seconds for row in rows})
    return output


def mean_saving(before: Sequence[Profile], after: Sequence[Profile], layers: Sequence[str] | None = None) -> Saved:
    """Return how much less some layers take, or all together, and the standard error over the rounds.

    Args:
        before: profiles of the model, by round.
        after: of the changed one, in the same rounds.
        layers: names; parts of a replaced layer (`fc.0`) count to it. None: everything.
    """
    differences = [_total(one, layers) - _total(other, layers) for one, other in zip(before, after, strict=True)]
    return float(np.mean(differences)), float(np.std(differences, ddof=1) / len(differences) ** 0.5)


def _total(profile: Profile, layers: Sequence[str] | None) -> float:
    if layers is None:
        return sum(profile.values())
    return sum(
        seconds
        for name, seconds in profile.items()
        if name in layers or any(layer and name.startswith(f"{layer}.") for layer in layers)
    )


def total_seconds(rounds: Sequence[Profile], layers: Sequence[str] | None = None) -> float:
    """Return the mean time of some layers, or of all together."""
    return float(np.mean([_total(one, layers) for one in rounds]))


def rest_of(rounds: Sequence[Profile], layers: Sequence[str]) -> list[Profile]:
    """Return the profiles without some layers and their parts."""
    return [{name: seconds for name, seconds in one.items() if not _total({name: 1.0}, layers)} for one in rounds]
