"""Preprocessing of pictures as the makers of a pretrained model meant it: from the files beside the weights or a library."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.models.api import ModelError
from pipeline.models.preprocessing.beside import CONFIG, KEPT_TOGETHER, model_folder, origin, read_json
from pipeline.models.preprocessing.image_processors import PROCESSORS, image_processor_settings

_TIMM_SHARE = 0.875


@dataclass(frozen=True, slots=True)
class PictureSettings:
    """The settings with which a data set of pictures shows a model what it was made for."""

    source: str
    """The place where it is written, for people."""
    values: Mapping[str, Any]
    """size, resize, fit, interpolation, rounding, channel_order, mean, std; JSON-ready."""


def picture_settings(entry: Mapping[str, Any]) -> PictureSettings | None:
    """Return the preprocessing of a pretrained model's pictures; None where its files do not say.

    Raises:
        ModelError: if they say something that cannot be followed, naming it.
        HubError: if the hub cannot be asked.
    """
    builder = entry.get("builder")
    weights = origin(entry)
    if weights is None:
        return None
    if builder == "torchvision":
        return _of_torchvision(entry)
    folder = _picture_folder(entry, weights)
    config = read_json(folder / CONFIG) if folder is not None and (folder / CONFIG).is_file() else {}
    if isinstance(config.get("pretrained_cfg"), Mapping):
        return _of_timm(config["pretrained_cfg"], f"{folder}/{CONFIG}")
    if builder == "timm":
        return _of_timm_architecture(entry)
    if builder in KEPT_TOGETHER and folder is not None and any((folder / name).is_file() for name in PROCESSORS):
        return PictureSettings(*image_processor_settings(folder))
    return None


def _picture_folder(entry: Mapping[str, Any], weights: str) -> Path | None:
    """A folder that says how pictures were prepared; of a local one also a configuration as timm writes it."""
    local = Path(weights).expanduser().exists()
    return model_folder(entry, (*PROCESSORS, CONFIG) if local else PROCESSORS, [CONFIG])


def _of_timm_architecture(entry: Mapping[str, Any]) -> PictureSettings | None:
    """Return timm's record of an architecture, where timm is installed."""
    try:
        from timm.models import get_pretrained_cfg
    except (ImportError, RuntimeError):
        return None  # building the model says so
    result = get_pretrained_cfg(str(entry.get("architecture")), allow_unregistered=True)
    return None if result is None else _of_timm(result.to_dict(), f"timm's pretrained_cfg of '{entry['architecture']}'")


def _of_timm(config: Mapping[str, Any], source: str) -> PictureSettings:
    """As `timm.data.create_transform` prepares pictures for evaluation."""
    size = list(config.get("input_size") or (3, 224, 224))[-2:]
    if size[0] != size[1]:
        raise ModelError(f"{source}: `input_size` is {size[1]} x {size[0]} pixels; only squares can be made")
    share, mode = config.get("crop_pct") or _TIMM_SHARE, config.get("crop_mode") or "center"
    if mode not in ("center", "squash"):
        raise ModelError(f"{source}: `crop_mode` is '{mode}', which is not known here")
    interpolation = str(config.get("interpolation") or "bilinear")
    return PictureSettings(
        source,
        {
            "size": int(size[0]),
            "resize": math.floor(size[0] / share),
            "fit": "squash" if mode == "squash" else "crop",
            "interpolation": "bilinear" if interpolation == "random" else interpolation,
            "rounding": "torchvision",
            "channel_order": "rgb",
            "mean": [float(value) for value in config.get("mean") or (0.485, 0.456, 0.406)],
            "std": [float(value) for value in config.get("std") or (0.229, 0.224, 0.225)],
        },
    )


def _of_torchvision(entry: Mapping[str, Any]) -> PictureSettings | None:
    """Return the preprocessing that torchvision publishes with the weights of a name, where it is installed."""
    try:
        from torchvision import models
    except (ImportError, RuntimeError):
        return None  # building the model says so
    if entry.get("architecture") not in models.list_models(module=models):
        return None
    published = {one.name: one for one in models.get_model_weights(entry["architecture"])}
    if entry["weights"] not in published:
        return None
    result = published[entry["weights"]].transforms()
    return PictureSettings(
        f"torchvision's transforms of {entry['architecture']} {entry['weights']}",
        {
            "size": int(result.crop_size[0]),
            "resize": int(result.resize_size[0]),
            "fit": "crop",
            "interpolation": result.interpolation.value,
            "rounding": "torchvision",
            "channel_order": "rgb",
            "mean": list(result.mean),
            "std": list(result.std),
        },
    )
