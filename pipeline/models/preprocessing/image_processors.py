"""Image processors of transformers as settings of data sets: what they do to pictures, class by class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.errors import reason
from pipeline.models.api import ModelError

PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_LARGE = 384
"""ConvNeXt's processor cuts nothing off pictures of this size or more."""
_CONVNEXT_SHARE = 0.875
_LEVIT = 256 / 224
_NAMES = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Pillow's filters, by number."""


def image_processor_settings(folder: Path) -> tuple[str, dict[str, Any]]:
    """The file that describes a folder's image processor, and what it does to pictures, with the defaults of its class.

    Raises:
        ModelError: if it does something that data sets cannot do, naming it.
    """
    file = next(folder / name for name in PROCESSORS if (folder / name).is_file())
    processor = _image_processor(folder, file)
    name = type(processor).__name__.removesuffix("Pil").removesuffix("Fast").removesuffix("ImageProcessor")
    settings = {key: _plain(value) for key, value in processor.to_dict().items()}
    unknown = _unknown_steps(type(processor), name)
    if unknown:
        raise ModelError(f"{file}: {unknown}")
    geometry = _geometry(name, settings, file)
    factor = settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1.0
    mean, std = _levels(name, settings)
    return (
        str(file),
        {
            **geometry,
            "interpolation": _filter(settings.get("resample"), file),
            "rounding": "transformers",
            "channel_order": "bgr" if settings.get("do_flip_channel_order") else "rgb",
            "mean": [_scaled(value, factor) for value in mean],
            "std": [_scaled(value, factor) for value in std],
        },
    )


def _image_processor(folder: Path, file: Path) -> Any:
    from transformers import AutoImageProcessor
    from transformers.utils import logging

    logging.set_verbosity_error()
    try:
        return AutoImageProcessor.from_pretrained(str(folder), backend="pil", trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError) as error:
        raise ModelError(f"{file}: cannot be used ({reason(error)})") from None


def _plain(value: Any) -> Any:
    """Sizes are objects of transformers' own in some versions, mappings in others."""
    if isinstance(value, Mapping):
        return {key: item for key, item in value.items() if item is not None}
    if hasattr(value, "shortest_edge") and hasattr(value, "height"):
        names = ("height", "width", "shortest_edge", "longest_edge", "max_height", "max_width")
        return {name: getattr(value, name) for name in names if getattr(value, name, None) is not None}
    return value


def _unknown_steps(kind: type, name: str) -> str:
    """Return what a class does otherwise than the library's common steps, if that is not known here; else empty."""
    from transformers.image_processing_backends import PilBackend

    if name in _OWN_STEPS:
        return ""
    steps = ("_preprocess", "resize", "rescale", "normalize", "center_crop")
    own = [step for step in steps if getattr(kind, step, None) is not getattr(PilBackend, step, None)]
    if not own:
        return ""
    return f"'{name}' prepares pictures in a way of its own ({', '.join(own)}), which is not known here"


_OWN_STEPS = ("Beit", "ConvNext", "EfficientNet", "Levit", "MobileNetV2", "MobileViT", "PoolFormer", "Segformer")
"""Processors with steps of their own that `_geometry` and `_levels` follow."""


def _geometry(name: str, settings: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """size, resize and fit."""
    size, crop = settings.get("size") or {}, settings.get("crop_size") or {}
    for unsupported in ("longest_edge", "max_height", "max_width"):
        if settings.get("do_resize", True) and unsupported in size:
            raise ModelError(f"{file}: pictures are resized by `{unsupported}`, which is not known here")
    if settings.get("do_pad"):
        raise ModelError(f"{file}: pictures are padded (`do_pad`), which is not known here")
    resize, fit = _resizing(name, settings, size, file)
    cut = _square(crop, "crop_size", file) if settings.get("do_center_crop") else None
    if name == "ConvNext" and fit == "crop":
        cut = cut or int(size["shortest_edge"])
    if cut is None and fit == "crop":
        raise ModelError(f"{file}: pictures are resized by their shorter side and not cut, so that they differ in size")
    if cut is None and fit == "none":
        raise ModelError(f"{file}: pictures are neither resized nor cut, so that they differ in size")
    return {"size": cut or resize, "resize": resize or cut, "fit": fit}


def _resizing(name: str, settings: Mapping[str, Any], size: Mapping[str, Any], file: Path) -> tuple[int | None, str]:
    if not settings.get("do_resize", True):
        return None, "none"
    share = settings.get("crop_pct")
    if "shortest_edge" not in size:
        side = _square(size, "size", file)
        if name == "PoolFormer" and share:
            return int(side / share), "crop"
        return side, "squash"
    shorter = int(size["shortest_edge"])
    if name == "ConvNext":
        return (int(shorter / (share or _CONVNEXT_SHARE)), "crop") if shorter < _LARGE else (shorter, "squash")
    if name == "PoolFormer" and share:
        return int(shorter / share), "crop"
    return (int(_LEVIT * shorter) if name == "Levit" else shorter), "crop"


def _square(size: Mapping[str, Any], called: str, file: Path) -> int:
    height, width = size.get("height"), size.get("width")
    if height != width or height is None:
        raise ModelError(f"{file}: `{called}` is {width} x {height} pixels; only squares can be made")
    return int(height)


def _levels(name: str, settings: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    """Mean and deviation of rescaled levels."""
    mean, std = _numbers(settings.get("image_mean"), 0.0), _numbers(settings.get("image_std"), 1.0)
    normalised = settings.get("do_normalize", True)
    if not normalised or name == "MobileViT":  # which has no step that normalises
        mean, std = [0.0] * len(mean), ([1.0] * len(std))
    if name == "EfficientNet":
        if settings.get("rescale_offset"):
            mean = [value + 1 for value in mean]
        if settings.get("include_top"):  # divided by the deviation once more
            again = _numbers(settings.get("image_std"), 1.0)
            std = [one * other for one, other in zip(std, again, strict=True)]
    return mean, std


def _numbers(value: Any, default: float) -> list[float]:
    if value is None:
        return [default] * 3
    return [float(one) for one in value] if isinstance(value, Sequence) else [float(value)] * 3


def _scaled(value: float, factor: float) -> float:
    """A statistic of levels times `factor`, as one of levels over 255, which data sets take."""
    exact = 255 * factor
    return value if math.isclose(exact, 1.0, rel_tol=1e-9) else value / exact


def _filter(resample: Any, file: Path) -> str:
    number = 2 if resample is None else int(resample)
    if not 0 <= number < len(_NAMES):
        raise ModelError(f"{file}: `resample` is {resample}; Pillow knows 0 to {len(_NAMES) - 1}")
    return _NAMES[number]
