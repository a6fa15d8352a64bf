"""Pictures in files, decoded when they are asked for."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.datasets.api import DataError
from pipeline.datasets.paths import readable
from pipeline.datasets.reader import Arrays, targets_at
from pipeline.datasets.readers.decoding import MAX_PIXELS, Decoder, is_deep, open_picture, orientation_of
from pipeline.datasets.readers.geometry import Geometry
from pipeline.datasets.readers.image_arrays import Form

if TYPE_CHECKING:
    from PIL.Image import Image

_THREADS = 4  # PIL decodes and resizes without the interpreter lock
_SHOWN = 512
_LOOKED_AT, _MEASURED = 256, 16
"""Pictures whose headers, and deep pictures whose levels, are looked at to say how a data set is read."""
_TWELVE_BITS = 4096


@dataclass(frozen=True, slots=True)
class PictureReader:
    """Resize, cut out the middle (or, augmenting, any part), normalise."""

    sources: Sequence[Any]
    """A path, a file's content, or {bytes: ..., path: ...} as Hugging Face stores pictures."""
    root: Path
    """Where relative paths start."""
    labels: np.ndarray | Arrays
    """Numbers of classes, or the targets by name."""
    form: Form
    geometry: Geometry
    flip: bool
    decoder: Decoder = Decoder()  # noqa: RUF009 - frozen
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the task's program must know besides the inputs."""

    def read(self, rows: np.ndarray, noise: np.random.Generator | None) -> tuple[Arrays, Arrays]:
        """As `Reader.read`. Raises DataError, naming the file, for a picture that cannot be decoded."""
        places = np.full((len(rows), 3), 0.5) if noise is None else noise.random((len(rows), 3))
        with ThreadPoolExecutor(_THREADS) as pool:
            pictures = np.stack(list(pool.map(self._cut, rows, places)))
        if noise is not None and self.flip:
            mirrored = places[:, 2] < 0.5  # noqa: PLR2004 - one half
            pictures[mirrored] = pictures[mirrored, :, :, ::-1]
        return {"pixel_values": self.form.normalise(pictures)}, targets_at(self.labels, rows)

    def show(self, row: int) -> Mapping[str, Any]:
        """As `Reader.show`: the whole picture, at most 512 pixels wide and high."""
        from PIL import Image as PILImage

        picture = self._decode(row, channels=3)
        if picture.mode == "F":
            picture = PILImage.fromarray(np.asarray(picture).round().astype(np.uint8))
        picture.thumbnail((_SHOWN, _SHOWN))
        with io.BytesIO() as file:
            picture.save(file, "PNG")
            return {"image": file.getvalue()}

    def write_settings(self, folder: Path) -> dict[str, Any]:
        """As `RowReader.write_settings`."""
        geometry = asdict(self.geometry)
        traits = [self._traits(row) for row in self._spread(np.arange(len(self.sources)))]
        return (
            self.form.settings()
            | geometry
            | dict(self.facts)
            | {
                "channels": self.form.channels,
                "enlarge": 1,
                "shape": None,
                "background": self.decoder.background,
                "bits": self.decoder.bits,
                "deep": any(_DEEP in one or _FLOAT in one for one in traits),
            }
        )

    def write_row(self, row: int, folder: Path) -> dict[str, str]:
        """As `RowReader.write_row`."""
        source, _ = self._source(row)
        if isinstance(source, Path):
            return {"image": str(source.resolve())}
        file = folder / str(row)
        file.write_bytes(source)
        return {"image": str(file)}

    def _spread(self, rows: np.ndarray) -> np.ndarray:
        """Return some of the rows, from all over."""
        spread: np.ndarray = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _LOOKED_AT)).astype(int))]
        return spread

    def notes(self, rows: np.ndarray) -> tuple[str, ...]:
        """Say how the pictures of some rows are read where other programs may read them in another way.

        Only headers are read, of at most 256 pictures, and the levels of at most 16 that have more than 8 bits.

        Raises:
            DataError: for a picture that cannot be opened.
        """
        spread = self._spread(rows)
        with ThreadPoolExecutor(_THREADS) as pool:
            traits = list(pool.map(self._traits, spread))
        counts = Counter(trait for one in traits for trait in one)
        notes = [
            f"{counts[trait]} of {len(spread)} pictures looked at {text}" for trait, text in _TRAITS if counts[trait]
        ]
        deep = [int(row) for row, one in zip(spread, traits, strict=True) if _DEEP in one][:_MEASURED]
        return (*notes, *self._dark(deep))

    def _traits(self, row: int) -> set[str]:
        source, place = self._source(row)
        with open_picture(source, place) as picture:
            animated = picture.format in ("GIF", "PNG", "WEBP") and getattr(picture, "is_animated", False)
            traits = {
                _TURNED: orientation_of(picture) != 1,
                _CLEAR: picture.has_transparency_data,
                _MOVING: animated,
                _DEEP: is_deep(picture) and picture.mode != "F",
                _FLOAT: picture.mode == "F",
            }
        return {trait for trait, holds in traits.items() if holds}

    def _dark(self, rows: Sequence[int]) -> tuple[str, ...]:
        """Levels of 12 bits in files of 16 are a sixteenth of the brightness that is meant."""
        if not rows or self.decoder.bits is not None:
            return ()
        brightest = max(float(np.asarray(self._decode(row, channels=1)).max()) for row in rows) / 255 * 65535
        if brightest >= _TWELVE_BITS:
            return ()
        bits = max(9, round(brightest).bit_length())
        return (
            f"no level of the {len(rows)} pictures of 16 bits that were looked at is above {brightest:.0f} of 65535, so that "
            f"models see dark pictures: set `bits: {bits}` (or 12, ...) if fewer bits are used",
        )

    def _cut(self, row: int, place: np.ndarray) -> np.ndarray:
        """(channels, size, size), uint8 or float32 0 to 255; `place` is where the cut lies, 0 to 1 from the top and from the left.

        Raises:
            DataError: naming the file, where the picture is too narrow for the cut.
        """
        picture = self._decode(row, channels=self.form.channels)
        width, height = self.geometry.resized(*picture.size)
        if width * height > MAX_PIXELS:
            raise DataError(
                f"{self._source(row)[1]}: {picture.width} x {picture.height} pixels are too narrow for a cut of "
                f"{self.form.size} x {self.form.size}; remove it"
            )
        planes = self.geometry.cut(picture, place)
        return np.broadcast_to(planes, (self.form.channels, *planes.shape[1:]))

    def _decode(self, row: int, *, channels: int) -> Image:
        source, place = self._source(row)
        return self.decoder.decode(source, place, channels=channels)

    def _source(self, row: int) -> tuple[Path | bytes, str]:
        """The file or its content, and the name that messages call it by."""
        source = source_of(self.sources[int(row)])
        if not source:
            raise DataError(f"row {int(row) + 1}: there is no picture; remove the row")
        if isinstance(source, bytes):
            return source, f"the picture in row {int(row) + 1}"
        return self.root / source, readable(str(self.root / source))


_TURNED, _CLEAR, _MOVING, _DEEP, _FLOAT = "turned", "transparent", "moving", "deep", "float"
_TRAITS = (
    (
        _TURNED,
        "are turned upright, as their EXIF orientation says (as `datasets` does, and torchvision's loader does not)",
    ),
    (_CLEAR, "have transparency, which is laid on `background`"),
    (_MOVING, "have several frames, of which the first is taken, as training tools do"),
)


def source_of(value: Any) -> bytes | str:
    """The content of a picture's file if the value holds it, else its path; empty where there is neither."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    return value if isinstance(value, bytes) else str(value or "")
