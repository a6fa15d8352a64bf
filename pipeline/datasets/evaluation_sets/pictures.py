"""Corruptions of pictures by severity, on the picture that a network sees, before its levels are normalised.

Kinds and severities are those of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019: of pictures whose side is below 96 pixels those of CIFAR-10-C, of larger ones those of
ImageNet-C. Theirs act on the photograph, ours on what is cut out of it, so that figures do not compare with their leaderboards.
Levels are rounded to 8 bits, as theirs are. What is drawn is drawn from each instance's id.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["PICTURE_CORRUPTIONS", "PictureCorruption"]

_SMALL = 96
"""Sides below it have the severities of CIFAR-10-C."""
_BYTE = 255


@dataclass(frozen=True, slots=True)
class PictureCorruption:
    """A kind of corruption, with its strength at each severity from 1 to 5."""

    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
    """Takes a picture float64 (channels, height, width) from 0 to 1, the strength, and what draws."""
    small: tuple[float, float, float, float, float]
    large: tuple[float, float, float, float, float]

    def corrupted(self, picture: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
        """Return a picture, uint8 (channels, height, width).

        Args:
            picture: float (channels, height, width), from 0 to 1.
            severity: 1 to 5.
            draws: of this instance.
        """
        strengths = self.small if max(picture.shape[1:]) < _SMALL else self.large
        result = self.apply(np.asarray(picture, np.float64), strengths[severity - 1], draws)
        levels: np.ndarray = np.round(np.clip(result, 0, 1) * _BYTE).astype(np.uint8)
        return levels


def _noise(picture: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Add normal noise; the strength is its standard deviation."""
    return picture + draws.normal(scale=strength, size=picture.shape)


def _blur(picture: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Blur by a Gaussian; the strength is its standard deviation in pixels."""
    from scipy.ndimage import gaussian_filter

    blurred: np.ndarray = gaussian_filter(picture, (0, strength, strength), mode="nearest")
    return blurred


def _brightness(picture: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Raise the value of every pixel (of hue, saturation, value); the strength is by how much."""
    value = picture.max(axis=0, keepdims=True)
    higher = np.clip(value + strength, 0, 1)
    brighter: np.ndarray = np.where(value > 0, picture * (higher / np.where(value > 0, value, 1)), higher)
    return brighter


def _contrast(picture: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Draw the levels of each channel to their mean; the strength is what is left of the distance."""
    middle = picture.mean(axis=(1, 2), keepdims=True)
    flatter: np.ndarray = (picture - middle) * strength + middle
    return flatter


def _jpeg(picture: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Write and read it as JPEG; the strength is the quality."""
    from PIL import Image

    levels = np.round(np.clip(picture, 0, 1) * _BYTE).astype(np.uint8)
    image = Image.fromarray(levels[0] if len(levels) == 1 else np.ascontiguousarray(levels.transpose(1, 2, 0)))
    with io.BytesIO() as file:
        image.save(file, "JPEG", quality=int(strength))
        again = np.asarray(Image.open(file), np.float64) / _BYTE
    return again[None] if again.ndim == 2 else again.transpose(2, 0, 1)  # noqa: PLR2004 - grey


def _pixelation(picture: np.ndarray, strength: float, draws: np.random.Generator) -> np.ndarray:
    """Make it smaller and larger again by boxes; the strength is the share of the side that is left."""
    from PIL import Image

    height, width = picture.shape[1:]
    size = max(1, int(width * strength)), max(1, int(height * strength))
    planes = []
    for channel in picture:
        image = Image.fromarray(channel.astype(np.float32)).resize(size, Image.Resampling.BOX)
        planes.append(np.asarray(image.resize((width, height), Image.Resampling.BOX), np.float64))
    return np.stack(planes)


PICTURE_CORRUPTIONS: Mapping[str, PictureCorruption] = {
    "brightness": PictureCorruption(_brightness, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": PictureCorruption(_contrast, (0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    "gaussian_blur": PictureCorruption(_blur, (0.4, 0.6, 0.7, 0.8, 1.0), (1, 2, 3, 4, 6)),
    "gaussian_noise": PictureCorruption(_noise, (0.04, 0.06, 0.08, 0.09, 0.1), (0.08, 0.12, 0.18, 0.26, 0.38)),
    "jpeg_compression": PictureCorruption(_jpeg, (80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
    "pixelate": PictureCorruption(_pixelation, (0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
}
