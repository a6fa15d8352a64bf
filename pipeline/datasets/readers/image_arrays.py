"""Pictures as arrays: normalisation, augmentation, PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, FiniteFloat

from pipeline.datasets.api import DataError
from pipeline.datasets.reader import Arrays, targets_at

Statistic = FiniteFloat | list[FiniteFloat]
"""One number for all channels, or one for each."""
Shift = Annotated[int, Field(ge=0)]
"""Pixels by which training pictures may move."""


@dataclass(frozen=True, slots=True)
class Form:
    """The form in which a model sees a picture: float32 (channels, size, size), `(pixel / peak - mean) / std`."""

    size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    peak: int = 255

    @classmethod
    def of(cls, *, size: int, channels: int, mean: Statistic, std: Statistic, peak: int = 255) -> Form:
        """Check and complete the settings.

        Raises:
            DataError: if `mean` or `std` do not fit the channels, or a deviation is not positive.
        """
        means, deviations = _per_channel("mean", mean, channels), _per_channel("std", std, channels)
        if min(deviations) <= 0:
            raise DataError(f"std: must be greater than 0 (got {std})")
        return cls(size, channels, means, deviations, peak)

    @property
    def identity(self) -> dict[str, Any]:
        """JSON-ready, for fingerprints."""
        return asdict(self)

    @property
    def inputs(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """As `Dataset.inputs`."""
        return {"pixel_values": ("float32", (self.channels, self.size, self.size))}

    def normalise(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 (N, 1 or channels, size, size) -> float32 (N, channels, size, size)."""
        scale, shift = self._line()
        values: np.ndarray = pictures * scale - shift
        return values

    def _line(self) -> tuple[np.ndarray, np.ndarray]:
        """What levels are multiplied by, and what is taken off then: float32 (channels, 1, 1) each."""
        mean = np.asarray(self.mean, np.float32)[:, None, None]
        std = np.asarray(self.std, np.float32)[:, None, None]
        return 1 / (self.peak * std), mean / std

    def settings(self) -> dict[str, Any]:
        """JSON-ready, for programs that read pictures as this does."""
        scale, shift = self._line()
        sides = {"fields": ["image"], "size": self.size, "peak": self.peak}
        levels = {"mean": list(self.mean), "std": list(self.std)}
        return {**sides, **levels, "scale": scale.tolist(), "shift": shift.tolist()}


def _per_channel(name: str, value: Statistic, channels: int) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, list) else (value,) * channels
    if len(values) != channels:
        raise DataError(f"{name}: {len(values)} numbers for {channels} channels; give one number, or one per channel")
    return values


@dataclass(frozen=True, slots=True)
class ArrayReader:
    """Pictures that fit in memory (or a memory map)."""

    pictures: np.ndarray
    """uint8 (N, channels, height, width); at most as large as the form, centred on zeros."""
    labels: np.ndarray | Arrays
    """Numbers of classes, or the targets by name."""
    form: Form
    repeat: int = 1
    """Enlarge each pixel to so many by so many."""
    shift: int = 0
    """Augmentation: move by up to so many pixels (of the form)."""
    flip: bool = False
    """Augmentation: mirror half of the pictures."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the task's program must know besides the inputs."""

    def read(self, rows: np.ndarray, noise: np.random.Generator | None) -> tuple[Arrays, Arrays]:
        """As `Reader.read`."""
        pictures = centred(enlarged(self.pictures[rows], self.repeat), self.form.size)
        if noise is not None:
            pictures = augmented(pictures, noise, shift=self.shift, flip=self.flip)
        return {"pixel_values": self.form.normalise(pictures)}, targets_at(self.labels, rows)

    def show(self, row: int) -> Mapping[str, Any]:
        """As `Reader.show`: the picture as it was given."""
        return {"image": png(self.pictures[row], peak=self.form.peak)}

    def write_settings(self, folder: Path) -> dict[str, Any]:
        """As `RowReader.write_settings`."""
        _, channels, height, width = self.pictures.shape
        return (
            self.form.settings()
            | dict(self.facts)
            | {
                "channels": channels,
                "fit": "none",
                "rounding": "torchvision",
                "interpolation": "nearest",
                "channel_order": "rgb",
                "resize": self.form.size,
                "enlarge": self.repeat,
                "shape": [width, height],
                "background": "white",
                "bits": None,
                "deep": False,
            }
        )

    def write_row(self, row: int, folder: Path) -> dict[str, str]:
        """As `RowReader.write_row`."""
        file = folder / f"{row}.png"
        file.write_bytes(png(self.pictures[row], peak=self.form.peak))
        return {"image": str(file)}


def enlarged(pictures: np.ndarray, factor: int) -> np.ndarray:
    """(N, C, H, W) -> (N, C, H * factor, W * factor), nearest neighbour."""
    return pictures if factor == 1 else pictures.repeat(factor, axis=2).repeat(factor, axis=3)


def centred(pictures: np.ndarray, size: int) -> np.ndarray:
    """(N, C, H, W) -> (N, C, size, size) with zeros around."""
    count, channels, height, width = pictures.shape
    if (height, width) == (size, size):
        return pictures
    top, first_column = (size - height) // 2, (size - width) // 2
    larger = np.zeros((count, channels, size, size), pictures.dtype)
    larger[:, :, top : top + height, first_column : first_column + width] = pictures
    return larger


def augmented(pictures: np.ndarray, noise: np.random.Generator, *, shift: int, flip: bool) -> np.ndarray:
    """Move each picture (N, C, S, S) by its own -shift..shift pixels in both directions, and mirror half of them.

    Args:
        pictures: (N, C, S, S), normalised: what comes in at an edge is 0.
        noise: gives the shifts and the mirroring.
        shift: the furthest move, in pixels.
        flip: whether half of the pictures are mirrored left to right.
    """
    count, _, size, _ = pictures.shape
    top, first_column = noise.integers(0, 2 * shift, size=(2, count), endpoint=True)
    windows = np.lib.stride_tricks.sliding_window_view(centred(pictures, size + 2 * shift), (size, size), axis=(2, 3))
    moved: np.ndarray = windows[np.arange(count), :, top, first_column]
    if flip:
        mirrored = noise.random(count) < 0.5  # noqa: PLR2004 - one half
        moved[mirrored] = moved[mirrored, :, :, ::-1]
    return moved


def png(picture: np.ndarray, *, peak: int = 255) -> bytes:
    """uint8 (1 or 3, H, W) -> a PNG file."""
    from PIL import Image

    levels = picture if peak == 255 else (picture.astype(np.uint16) * 255 // peak).astype(np.uint8)  # noqa: PLR2004 - a byte's
    image = Image.fromarray(levels[0] if len(levels) == 1 else np.ascontiguousarray(levels.transpose(1, 2, 0)))
    with io.BytesIO() as file:
        image.save(file, "PNG")
        return file.getvalue()


def terciles(values: np.ndarray, names: Sequence[str]) -> tuple[str, ...]:
    """Name the lower, middle and upper third of `values`: an attribute that makes groups of equal size."""
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    return tuple(np.asarray(names, object)[(values > low).astype(int) + (values > high)])
