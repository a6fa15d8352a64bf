"""From a decoded picture to the square that a model sees: resized, and cut out of the middle."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

Fit = Literal["crop", "squash", "none"]
"""crop: the shorter side is resized; squash: both sides are, whatever the picture's shape; none: neither is."""
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
Rounding = Literal["nearest", "transformers", "torchvision"]
"""How sizes and offsets that are no whole numbers are rounded: to the nearest, or as a library does it."""
ChannelOrder = Literal["rgb", "bgr"]
_SHARE = 0.875


@dataclass(frozen=True, slots=True)
class Geometry:
    """Resizing and cutting of pictures. A picture that is smaller than the cut gets zeros around it."""

    size: int
    """Of the square, in pixels."""
    resize: int
    """Of the shorter side, or of both, before the cut."""
    fit: Fit = "crop"
    interpolation: Interpolation = "bilinear"
    rounding: Rounding = "nearest"
    channel_order: ChannelOrder = "rgb"

    @property
    def identity(self) -> dict[str, Any]:
        """JSON-ready, for fingerprints: what is not as usual, beside `resize`."""
        usual = {field.name: field.default for field in fields(self)}
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in ("size", "resize") and value != usual[name]
        }

    def cut(self, picture: Image, place: np.ndarray) -> np.ndarray:
        """Return (channels, size, size), uint8, or float32 of a picture of that kind.

        Args:
            picture: grey or RGB, of any size.
            place: where the cut lies, 0 to 1 from the top and from the left.
        """
        from PIL.Image import Resampling

        if self.fit != "none":
            picture = picture.resize(self.resized(*picture.size), Resampling[self.interpolation.upper()])
        column, row = (
            self._offset(side - self.size, at) for side, at in zip(picture.size, (place[1], place[0]), strict=True)
        )
        cut = np.asarray(picture.crop((column, row, column + self.size, row + self.size)))
        if cut.ndim == 2:  # noqa: PLR2004 - grey
            return cut[None]
        channels: np.ndarray = cut.transpose(2, 0, 1)
        return channels[::-1] if self.channel_order == "bgr" else channels

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height in pixels that a picture of this width and height has before the cut."""
        if self.fit == "none":
            return width, height
        if self.fit == "squash":
            return self.resize, self.resize
        if self.rounding == "nearest":
            scale = self.resize / min(width, height)
            return max(self.size, round(width * scale)), max(self.size, round(height * scale))
        longer = int(self.resize * max(width, height) / min(width, height))
        return (self.resize, longer) if width <= height else (longer, self.resize)

    def _offset(self, spare: int, at: float) -> int:
        """Pixels before the cut, of those that are left over; negative where the picture is smaller than the cut."""
        if self.rounding == "transformers" and at == 0.5:  # noqa: PLR2004 - the middle
            return spare // 2
        if self.rounding == "torchvision" and spare < 0:
            return -(-spare // 2)
        return round(spare * at)


def default_resize(size: int) -> int:
    """The shorter side from which `size` is cut: 256 for 224."""
    return round(size / _SHARE)
