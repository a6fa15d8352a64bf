"""Activations summarised while they stream: a distribution, and values at fixed places, by which models are compared.

The places depend on the layer's name and on the original network's shape alone, so that samples of any two models, taken
at different times and by different runtimes, are pairs. Nothing else of the activations is kept.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.layers.stats.histogram import ROWS, Histogram, Moments, Summary, robust_range, value_blocks, value_rows

__all__ = ["PLACES", "Saturation", "Scene", "Site", "SiteSample", "load_samples", "save_samples"]

PLACES = 4096
"""Values per layer that are kept."""
APART = 512
"""Values per layer and instance that are kept where instances are told apart."""
_TAG = "|"


@dataclass(frozen=True, slots=True)
class Saturation:
    """The range that a quantized activation can take; None: no bound that matters on this side."""

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class SiteSample:
    """The sample of one layer's output."""

    site: str
    stage: str
    position: int
    """Place along the network."""
    module_type: str
    summary: Summary
    channels: int
    dead: int
    """Channels that were constant over the sample, or never positive before a ReLU."""
    saturated: float | None
    """Share of values outside what their quantized type can represent; None without quantization."""
    values: np.ndarray
    """float32 (PLACES,): the output at the fixed places; (rows, APART) where rows are kept apart."""
    present: np.ndarray
    """bool, of the same shape: False where the place's channel is not in this model."""


@dataclass(frozen=True, slots=True)
class Scene:
    """The settings that all sites of one model share."""

    instances: int
    channels: Mapping[str, tuple[np.ndarray, int]] = field(default_factory=dict)
    """Narrowed layer -> the output channels that are left, and the original number of them."""
    called: Mapping[str, str] = field(default_factory=dict)
    """Layer -> its name in the original, where compression gave it another."""
    apart: bool = False
    """Keep values of every row by itself, at the same places of each, instead of places spread over all rows."""


class Site:
    """One layer's output, batch after batch."""

    def __init__(
        self,
        scene: Scene,
        name: str,
        stage: str,
        *,
        position: int,
        module_type: str,
        axis: int,
        rectified: bool = False,
        saturation: Saturation | None = None,
    ) -> None:
        """`axis` is that of the channels; `rectified`: a ReLU follows."""
        self.name, self.stage, self.position, self.module_type = (
            scene.called.get(name, name),
            stage,
            position,
            module_type,
        )
        self._axis, self._instances = axis, scene.instances
        nothing: tuple[np.ndarray | None, int | None] = (None, None)
        self._channels, self._width = scene.channels.get(self.name, nothing)
        self._rectified, self._saturation = rectified, saturation
        self._instance_count = self._count = self._saturated = 0
        self._moments = Moments()
        self._low = self._high = math.nan
        self._counts = np.zeros(ROWS, np.int64)
        self._smallest: np.ndarray | None = None
        self._largest: np.ndarray | None = None
        self._apart = scene.apart
        self._values = np.zeros((0, APART) if scene.apart else PLACES, np.float32)
        self._present = np.zeros(self._values.shape, np.bool_)

    def add(self, batch: np.ndarray) -> None:
        """Take the output for the next instances into account: (instances, ...) with the channels along `axis`."""
        moved = np.moveaxis(batch, self._axis, 1).astype(np.float32, copy=False)
        moved = moved.reshape(moved.shape[0], moved.shape[1], -1)
        self._extremes(moved)
        self._distribution(moved.reshape(-1))
        self._pick(moved)
        self._instance_count += len(batch)

    def result(self) -> SiteSample:
        """Finish."""
        total = self._moments
        some = total.finite > 0
        mean = total.sum / total.finite if some else None
        spread = max(total.square_sum / total.finite - mean**2, 0.0) if mean is not None else None
        assert self._smallest is not None
        assert self._largest is not None
        summary = Summary(
            count=self._count,
            zeros=int(self._counts[-1]),
            nans=total.nans,
            infs=self._count - total.finite - total.nans,
            minimum=total.minimum if some else None,
            maximum=total.maximum if some else None,
            mean=mean,
            std=math.sqrt(spread) if spread is not None else None,
            abs_sum=total.abs_sum,
            square_sum=total.square_sum,
            histogram=Histogram(self._low, self._high, tuple(self._counts.tolist())),
        )
        dead = self._largest <= 0 if self._rectified else self._largest == self._smallest
        return SiteSample(
            self.name,
            self.stage,
            self.position,
            self.module_type,
            summary,
            len(self._largest),
            int(dead.sum()),
            self._saturated / self._count if self._saturation and self._count else None,
            self._values,
            self._present,
        )

    def _extremes(self, moved: np.ndarray) -> None:
        low, high = moved.min(axis=2).min(axis=0), moved.max(axis=2).max(axis=0)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            finite = np.where(np.isfinite(moved), moved, np.nan)
            low, high = np.fmin.reduce(finite, axis=(0, 2)), np.fmax.reduce(finite, axis=(0, 2))
        self._smallest = low if self._smallest is None else np.fmin(self._smallest, low)
        self._largest = high if self._largest is None else np.fmax(self._largest, high)

    def _distribution(self, flat: np.ndarray) -> None:
        if math.isnan(self._low):  # the first batch sets the scale; what goes beyond is counted in the outer rows
            self._low, self._high = robust_range(flat)
        self._count += flat.size
        for block in value_blocks(flat):
            finite = self._moments.add(block)
            self._counts += np.bincount(value_rows(finite, self._low, self._high), minlength=ROWS)
            if self._saturation:
                low, high = self._saturation.low, self._saturation.high
                self._saturated += int(np.count_nonzero(finite > high)) if high is not None else 0
                self._saturated += int(np.count_nonzero(finite < low)) if low is not None else 0

    def _pick(self, moved: np.ndarray) -> None:
        instances, channels, rest = _places(self.name, self._instances, self._width or moved.shape[1], moved.shape[2])
        if self._channels is not None:
            where = np.full(self._width or moved.shape[1], -1)
            where[self._channels] = np.arange(len(self._channels))
            channels = where[channels]
        if self._apart:
            self._pick_apart(moved, channels[:APART], rest[:APART])
            return
        now = (instances >= self._instance_count) & (instances < self._instance_count + len(moved)) & (channels >= 0)
        now &= channels < moved.shape[1]
        self._values[now] = moved[instances[now] - self._instance_count, channels[now], rest[now]]
        self._present |= now

    def _pick_apart(self, moved: np.ndarray, channels: np.ndarray, rest: np.ndarray) -> None:
        there = (channels >= 0) & (channels < moved.shape[1])
        values = np.where(there, moved[:, np.where(there, channels, 0), rest], np.float32(0))
        self._values = np.concatenate([self._values, values])
        self._present = np.concatenate([self._present, np.broadcast_to(there, values.shape)])


def save_samples(samples: Mapping[str, SiteSample], file: Path) -> None:
    """Write the values at the fixed places: `stage|site` -> values with NaN payloads kept, and which are present."""
    arrays: dict[str, np.ndarray] = {}
    for key, sample in samples.items():
        arrays[f"values{_TAG}{key}"] = sample.values
        arrays[f"present{_TAG}{key}"] = np.packbits(sample.present)
    np.savez(file, allow_pickle=False, **arrays)


def load_samples(file: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read them back: `stage|site` -> (values, present)."""
    with np.load(file, allow_pickle=False) as arrays:
        keys = [name.partition(_TAG)[2] for name in arrays.files if name.startswith(f"values{_TAG}")]
        return {
            key: (arrays[f"values{_TAG}{key}"], np.unpackbits(arrays[f"present{_TAG}{key}"]).astype(bool)[:PLACES])
            for key in keys
        }


def _places(name: str, instances: int, channels: int, rest: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    generator = np.random.default_rng(seed)
    return tuple(generator.integers(0, size, PLACES) for size in (instances, channels, max(1, rest)))  # type: ignore[return-value]
