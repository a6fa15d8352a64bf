"""One decoder for all picture files: how each kind is read, and which are refused.

| in the file | is read as |
|---|---|
| 8 bits or fewer, grey or colour, palettes | levels 0 to 255 |
| 16 bits, grey | the full range, 0 to 65,535, as 0 to 255 without rounding; 0 to 2^bits - 1 if `bits` says so |
| 12 bits, grey (TIFF); fewer than 65,536 levels (PGM) | the range that the file states |
| 16 bits, colour | the upper 8 bits |
| 32 bits or signed, grey | refused, as no range is agreed on, unless `bits` says which (0 to 2^bits - 1) |
| floating point, grey | 0 to 1 as 0 to 255; other values are refused |
| CMYK, YCbCr, L*a*b* | converted to RGB |
| transparency of any kind | laid on `background` |
| a turned picture (EXIF orientation 1 to 8) | upright, as people see it |
| several frames (GIF, PNG, WebP, phone pictures) | the first, as training tools do; several pages of a TIFF are refused |

Colour becomes one channel by ITU-R 601 luma, and one channel becomes colour by repetition. Only BMP, GIF, JPEG, PNG,
PPM, TIFF and WebP are opened: no format that another program would have to read.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pipeline.core.errors import reason
from pipeline.datasets.api import DataError
from pipeline.datasets.paths import check_regular

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = 1
"""Raise it when pictures decode to other levels than before: fingerprints hold it."""
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
ENDINGS = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".bmp",
    ".gif",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
)
MAX_PIXELS = 89_478_485
"""Pillow's own limit for pictures that are not meant to fill the memory: 256 MiB in RGB."""
Bits = Annotated[int, Field(ge=9, le=31)]
"""Bits of the levels that grey pictures of more than 8 bits really use."""
Background = Literal["white", "black"]
_ORIENTATION, _BITS, _PHOTOMETRIC, _SUBFILE, _SAMPLE_FORMAT = 0x0112, 258, 262, 254, 339
_COMPRESSION, _PLANAR = 259, 284
_WHITE_IS_ZERO, _SIGNED, _NONE, _ONE_BY_ONE = 0, 2, 1, 2
_REDUCED_OR_MASK = 1 | 4
_PEAK = 255
_BYTE_BITS = 8
_PIXELS = r"(\d+) pixels"  # in Pillow's message


@dataclass(frozen=True, slots=True)
class Decoder:
    """The decoding of a data set's pictures where their files leave it open."""

    bits: int | None = None
    background: Background = "white"

    @property
    def identity(self) -> dict[str, Any]:
        """JSON-ready, for fingerprints."""
        return {"version": VERSION, **asdict(self)}

    def decode(self, source: Path | bytes, place: str, *, channels: int) -> Image:
        """Decode a picture file, or its content.

        Args:
            source: A path, or a file's content.
            place: The name that messages call it by.
            channels: 1 or 3.

        Returns:
            A picture of mode `L` or `RGB`, or `F` with levels 0 to 255 where a grey file has more than 8 bits.

        Raises:
            DataError: with the file's name, the reason and what to do.
        """
        with open_picture(source, place) as picture:
            _check_pages(picture, place)
            self._check_colour(picture, place)
            picture.load()
            return self._convert(_upright(picture), picture, place, channels)

    def _check_colour(self, picture: Image, place: str) -> None:
        """Refuse colours of more than 8 bits that would be read as other levels than are meant."""
        bits = _colour_bits(picture)
        if bits == _BYTE_BITS:
            return
        if self.bits not in (None, bits):
            raise DataError(
                f"{place}: a colour picture of {bits} bits is read by its upper 8, so that `bits: {self.bits}` cannot hold; "
                "save it with 8 bits"
            )
        if _tag(picture, _PLANAR) == _ONE_BY_ONE and _tag(picture, _COMPRESSION) == _NONE:
            raise DataError(  # Pillow takes the bytes of such planes for levels
                f"{place}: holds uncompressed planes of {bits} bits, one for each colour, which cannot be decoded; save it "
                "compressed, or with the colours of a pixel together"
            )

    def _convert(self, upright: Image, file: Image, place: str, channels: int) -> Image:
        if is_deep(upright):
            return self._from_deep(upright, file, place)
        if _tag(file, _SAMPLE_FORMAT) == _SIGNED:
            raise DataError(
                f"{place}: holds signed levels, for which no range is agreed on; save it with 8 bits from 0"
            )
        if upright.has_transparency_data:
            upright = self._on_background(upright.convert("RGBA"))
        return upright.convert("L" if channels == 1 else "RGB")

    def _on_background(self, picture: Image) -> Image:
        from PIL import Image as PILImage

        ground = PILImage.new("RGBA", picture.size, (*(3 * [_PEAK if self.background == "white" else 0]), _PEAK))
        return PILImage.alpha_composite(ground, picture)

    def _from_deep(self, upright: Image, file: Image, place: str) -> Image:
        """Levels of more than 8 bits, as float32 0 to 255."""
        from PIL import Image as PILImage

        levels = np.asarray(upright)
        peak = self._peak(file, place)
        low, high = float(levels.min()), float(levels.max())
        if not (low >= 0 and high <= peak):  # also where a value is not a number
            raise DataError(f"{place}: {_range(file, low, high, peak)}")
        values = np.multiply(levels, _PEAK / peak, dtype=np.float32)
        if _tag(file, _PHOTOMETRIC) == _WHITE_IS_ZERO:
            values = _PEAK - values
        clear_level = file.info.get("transparency")
        if isinstance(clear_level, int):
            values[levels == clear_level] = _PEAK if self.background == "white" else 0
        return PILImage.fromarray(values)

    def _peak(self, file: Image, place: str) -> float:
        """The level of full brightness."""
        if file.mode == "F":
            return 1.0
        is_pgm = file.format == "PPM"  # by the decoder, to 16 bits, from the range that the file states
        bits = _tag(file, _BITS)
        header_bits = bits[0] if isinstance(bits, tuple) and bits[0] not in (None, 16, 32) else None
        whole = is_pgm or (file.mode != "I" and _tag(file, _SAMPLE_FORMAT) != _SIGNED)
        if self.bits is None and header_bits is None and not whole:
            raise DataError(
                f"{place}: holds levels of 32 bits or signed ones, for which no range is agreed on; save it with 8 or 16 "
                "bits, or set `bits` to those that the levels use"
            )
        level_bits = 16 if is_pgm else header_bits or self.bits or 16
        return float(2**level_bits - 1)


def _range(file: Image, low: float, high: float, peak: float) -> str:
    if file.mode == "F":
        return (
            f"holds values from {low:g} to {high:g}; floating-point pictures must hold 0 to 1. Scale them, or save them with 8 "
            "or 16 bits"
        )
    return (
        f"holds levels from {low:g} to {high:g}, but the brightest is to be {peak:g}; set `bits` to those that are used"
    )


@contextmanager
def open_picture(source: Path | bytes, place: str) -> Iterator[Image]:
    """Open a picture of the formats on the list, without decoding it; errors until its end name the picture.

    Raises:
        DataError: if it is no such picture, damaged, or of more than `MAX_PIXELS` pixels.
    """
    from PIL import Image as PILImage
    from PIL import UnidentifiedImageError

    _quiet()
    if isinstance(source, Path):
        check_regular(source)
    try:
        with PILImage.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as picture:
            _check_size(picture.size, place)
            yield picture
    except DataError:
        raise
    except (PILImage.DecompressionBombError, PILImage.DecompressionBombWarning) as error:
        raise DataError(f"{place}: {_too_large(int(next(iter(re.findall(_PIXELS, str(error))), 0)))}") from None
    except UnidentifiedImageError:
        raise DataError(
            f"{place}: cannot be decoded (it is none of {', '.join(FORMATS)}, or damaged); replace or remove it"
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - boundary: a damaged file can make its decoder raise anything
        raise DataError(f"{place}: cannot be decoded ({reason(error)}); replace or remove it") from None


@cache
def _quiet() -> None:
    """Pillow warns of large pictures from `MAX_PIXELS` on; here, they are refused by name.

    Its readers also warn, in lines without the file's name, of damaged tags that they pass over.
    """
    from PIL import Image as PILImage

    warnings.filterwarnings("ignore", category=PILImage.DecompressionBombWarning)
    warnings.filterwarnings("ignore", module=r"PIL\.\w+ImagePlugin")


def _check_size(size: tuple[int, int], place: str) -> None:
    width, height = size
    if min(width, height) < 1:
        raise DataError(f"{place}: has no pixels; remove it")
    if width * height > MAX_PIXELS:
        raise DataError(f"{place}: {_too_large(width * height)}")


def _too_large(pixels: int) -> str:
    return f"has {pixels / 1e6:.0f} million pixels, and the most is {MAX_PIXELS / 1e6:.0f} million; make it smaller, or remove it"


def _check_pages(picture: Image, place: str) -> None:
    """Refuse a TIFF of several pages, of which none is said to be meant; thumbnails and masks are no pages."""
    if picture.format != "TIFF":
        return
    count = getattr(picture, "n_frames", 1)
    pages = 1
    for page in range(1, count):
        picture.seek(page)
        pages += not int(_tag(picture, _SUBFILE) or 0) & _REDUCED_OR_MASK
    if count > 1:
        picture.seek(0)
    if pages > 1:
        raise DataError(f"{place}: holds {pages} pages, and a picture is one; save the page that is meant")


def _upright(picture: Image) -> Image:
    """Turn a picture as its EXIF orientation says (Pillow does so itself for TIFF)."""
    from PIL import ImageOps

    if orientation_of(picture) == 1:
        return picture
    result: Image = ImageOps.exif_transpose(picture)
    return result


def orientation_of(picture: Image) -> int:
    """EXIF orientation, 1 to 8; 1 (upright) where it is not said, or EXIF is damaged."""
    if picture.format == "TIFF":
        return 1
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - boundary: notes of a camera that cannot be read do not make the picture unreadable
        return 1
    return value if value in range(1, 9) else 1


def is_deep(picture: Image) -> bool:
    """Whether a grey picture has more than 8 bits, or is of floating point."""
    return picture.mode.startswith("I") or picture.mode == "F"


def _colour_bits(picture: Image) -> int:
    """Bits of each colour of a picture that is not decoded yet; 8 where there are fewer, of a grey one, and in PPM."""
    if is_deep(picture):
        return _BYTE_BITS
    bits = _tag(picture, _BITS)
    if isinstance(bits, tuple):
        return max(_BYTE_BITS, *map(int, bits))
    # a PPM states its range, to which its decoder scales
    is_deep_png = picture.format == "PNG" and any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ()))
    return 2 * _BYTE_BITS if is_deep_png else _BYTE_BITS


def _tag(file: Image, number: int) -> Any:
    """A tag of a TIFF; None for other formats."""
    tags = getattr(file, "tag_v2", None)
    value = None if tags is None else tags.get(number)
    return value[0] if number != _BITS and isinstance(value, tuple) and value else value
