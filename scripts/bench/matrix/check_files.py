"""Checks of exported and quantized files: the same rounding made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ops.core.model import OnnxModel
from scripts.bench.matrix import by_hand
from scripts.bench.matrix.by_hand import require, require_near
from scripts.bench.matrix.dequantized import widened
from scripts.bench.matrix.subjects import Check, Stranger

_SLACK_DB = 8.0
"""How much nearer the same rounding by hand may be: it rounds other values between the layers, or fewer."""
_FAR_DB = 60.0
"""Nearer than this is near, however much nearer it may be by hand."""


def check_export(stranger: Stranger, parent: Any, result: OnnxModel, notes: Mapping[str, Any]) -> None:
    require_near(stranger.run_file(result.path), by_hand.outputs(stranger.model.module, stranger.data), "the file")


_WIDENED_DB = {"weight_only": 15.0, "float16": 80.0, "bfloat16": 80.0}
"""Files that round nothing but weights, against these weights in float; blocks of 4 bits round activations in the kernel."""


def _require_decibels(
    stranger: Stranger,
    method: str,
    values: Mapping[str, torch.Tensor],
    reference: Mapping[str, torch.Tensor],
    *,
    activations: bool,
) -> None:
    """Require outputs to be about as near to the parent's as those of the same rounding, made by hand in torch."""
    hand = by_hand.quantized(by_hand.plain(stranger.model), stranger.data, method, activations=activations)
    expected, near = by_hand.decibels(hand, reference), by_hand.decibels(values, reference)
    what = "weights and activations" if activations else "weights"
    least = min(expected - _SLACK_DB, _FAR_DB)
    require(
        near >= least, f"{near:.1f} dB from the parent's outputs, where {what} rounded by hand are at {expected:.1f}"
    )


def check_quantized(method: str) -> Check:
    """Return the check of a method: weights widened by hand against the parent, and the file against these."""

    def check(stranger: Stranger, parent: OnnxModel, result: OnnxModel, notes: Mapping[str, Any]) -> None:
        wide = stranger.folder / f"{method}-wide.onnx"
        widened(result.path, wide)
        reference = by_hand.outputs(stranger.model.module, stranger.data)
        floats, rounded = stranger.run_file(wide), stranger.run_file(result.path)
        _require_decibels(stranger, method, floats, reference, activations=False)
        if method in ("static", "dynamic"):
            _require_decibels(stranger, method, rounded, reference, activations=True)
        else:
            near = by_hand.decibels(rounded, floats)
            require(near >= _WIDENED_DB[method], f"{near:.1f} dB from its weights, widened by hand")
        noted = notes["fidelity"]["sqnr_db"]
        whole = by_hand.decibels(rounded, reference)
        require(abs(noted - whole) < 3 or min(noted, whole) > 90, f"noted are {noted:.1f} dB, and it is {whole:.1f}")

    return check
