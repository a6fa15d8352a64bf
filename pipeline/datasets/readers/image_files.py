"""Pictures in files, decoded when they are asked for."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.datasets.api import DataError
from pipeline.datasets.readers.image_arrays import Form
from pipeline.datasets.splits import Arrays

if TYPE_CHECKING:
    from PIL.Image import Image

_THREADS = 4  # PIL decodes and resizes without the interpreter lock
_SHOWN = 512


@dataclass(frozen=True, slots=True)
class PictureReader:
    """Resize the shorter side, cut out the middle (or, augmenting, any part), normalise."""

    sources: Sequence[Any]
    """A path, a file's content, or {bytes: ..., path: ...} as Hugging Face stores pictures."""
    root: Path
    """Where relative paths start."""
    labels: np.ndarray
    form: Form
    resize: int
    flip: bool

    def read(self, rows: np.ndarray, noise: np.random.Generator | None) -> tuple[Arrays, Arrays]:
        """As `Reader.read`. Raises DataError, naming the file, for a picture that cannot be decoded."""
        places = np.full((len(rows), 3), 0.5) if noise is None else noise.random((len(rows), 3))
        with ThreadPoolExecutor(_THREADS) as pool:
            pictures = np.stack(list(pool.map(self._cut, rows, places)))
        if noise is not None and self.flip:
            mirrored = places[:, 2] < 0.5  # noqa: PLR2004 - one half
            pictures[mirrored] = pictures[mirrored, :, :, ::-1]
        return {"pixel_values": self.form.normalise(pictures)}, {"labels": self.labels[rows].astype(np.int64)}

    def show(self, row: int) -> Mapping[str, Any]:
        """As `Reader.show`: the whole picture, at most 512 pixels wide and high."""
        picture = self._decoded(row, "RGB")
        picture.thumbnail((_SHOWN, _SHOWN))
        with io.BytesIO() as file:
            picture.save(file, "PNG")
            return {"image": file.getvalue()}

    def _cut(self, row: int, place: np.ndarray) -> np.ndarray:
        """uint8 (channels, size, size); `place` is where the cut lies, 0 to 1 from the top and from the left."""
        from PIL.Image import Resampling

        picture = self._decoded(row, "L" if self.form.channels == 1 else "RGB")
        scale = self.resize / min(picture.size)
        width, height = (max(self.form.size, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Resampling.BILINEAR)
        top, left = (round((side - self.form.size) * at) for side, at in zip((height, width), place[:2], strict=True))
        cut = np.asarray(picture.crop((left, top, left + self.form.size, top + self.form.size)))
        return cut[None] if self.form.channels == 1 else cut.transpose(2, 0, 1)

    def _decoded(self, row: int, mode: str) -> Image:
        from PIL import Image, UnidentifiedImageError

        source = source_of(self.sources[int(row)])
        try:
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else self.root / source) as picture:
                return picture.convert(mode)
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            what = f"the picture in row {row + 1}" if isinstance(source, bytes) else self.root / source
            raise DataError(f"{what}: cannot be decoded ({error}); replace or remove it") from None


def source_of(value: Any) -> bytes | str:
    """The content of a picture's file if the value holds it, else its path."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    return value if isinstance(value, bytes) else str(value)


def default_resize(size: int) -> int:
    """The shorter side from which `size` is cut: 256 for 224."""
    return round(size / 0.875)
