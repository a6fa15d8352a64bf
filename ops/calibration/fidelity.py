"""Fidelity of a changed model: how near its outputs are to its parent's on calibration instances, and where a distance begins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ops.core.operation import Context

if TYPE_CHECKING:
    import numpy as np

NOTE = "fidelity"
"""Under this name the distance stands among a model's notes; a lint reads it there."""
INSTANCES = 8
"""How many instances are compared."""
_EXACT = 160.0
"""Decibels that stand for no difference at all: float32 resolves no more."""
_PLACES = 4096
"""Values of one output of one instance that are compared, evenly spaced."""


@dataclass(slots=True)
class Distances:
    """Energies of signals and of differences, added up over instances, by output or layer."""

    signal: dict[str, float] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, values: np.ndarray, reference: np.ndarray) -> None:
        """Take one output into account; one of another shape, or that is not finite where the reference is, has no likeness.

        Args:
            name: what the output is called; outputs of one name are summed.
            values: what the changed model gives, of any shape.
            reference: what the model before gives; where it is not finite, nothing is compared.
        """
        import numpy as np

        if values.shape != reference.shape:
            self.noise[name] = math.inf
            self.signal.setdefault(name, 0.0)
            return
        finite = np.isfinite(reference)
        expected = reference[finite].astype(np.float64)
        change = np.nan_to_num(values[finite].astype(np.float64) - expected, nan=math.inf)
        self.signal[name] = self.signal.get(name, 0.0) + float(np.square(expected).sum())
        self.noise[name] = self.noise.get(name, 0.0) + float(np.square(change).sum())

    def decibels(self) -> dict[str, float]:
        """Return the signal-to-noise ratio of each, between -160 and 160 dB."""
        return {name: _decibels(self.signal[name], noise) for name, noise in self.noise.items()}


def sampled(values: Any) -> np.ndarray:
    """Return evenly spaced values of an array, the same places for arrays of one shape."""
    import numpy as np

    flat = np.asarray(values).reshape(-1)
    return flat[:: max(1, flat.size // _PLACES)].copy()


def note_fidelity(
    ctx: Context, outputs: Distances, layers: Mapping[str, float], *, plausible: float, instances: int
) -> None:
    """Record how near the outputs are to the parent's, and where a distance that is implausible begins.

    Args:
        ctx: takes the note.
        outputs: of the network.
        layers: decibels of every layer's output, in the order of computation.
        plausible: decibels; below, the operation did not do what it claims.
        instances: how many were compared.
    """
    result = outputs.decibels()
    if not result:
        return
    nearest = min(result.values())
    ctx.note(
        NOTE,
        {
            "sqnr_db": round(nearest, 2),
            "plausible_db": plausible,
            "instances": instances,
            "layers": {name: round(value, 2) for name, value in layers.items()},
            "begins_at": beginning(layers, plausible) if nearest < plausible else None,
        },
    )


def beginning(layers: Mapping[str, float], plausible: float) -> str | None:
    """Return the first layer whose output is farther from the parent's than is plausible, else the one that loses most."""
    first = next((name for name, value in layers.items() if value < plausible), None)
    return first or _steepest(list(layers.items()))


def _steepest(layers: Sequence[tuple[str, float]]) -> str | None:
    drops = [(before[1] - after[1], after[0]) for before, after in zip([("", _EXACT), *layers], layers, strict=False)]
    return max(drops)[1] if drops else None


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return _EXACT
    if signal == 0 or not math.isfinite(noise):
        return -_EXACT
    return max(-_EXACT, min(_EXACT, 10 * math.log10(signal / noise)))
