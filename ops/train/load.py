"""Roots that take a model as it is: pretrained weights, or an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.core.errors import OperationError
from ops.core.operation import Ancestry, Context, Format, Kind, ModelEntry, OnnxModel, TorchModel, Uses, operation

_ONNX_BUILDER = "onnx"


def _refuse_onnx(ancestry: Ancestry, _: Mapping[str, Any]) -> str | None:
    if ancestry.model.get("builder") == _ONNX_BUILDER:
        return f"model '{ancestry.model.get('name')}' is an ONNX file; use `load_onnx`"
    return None


def _refuse_torch(ancestry: Ancestry, _: Mapping[str, Any]) -> str | None:
    if ancestry.model.get("builder", _ONNX_BUILDER) != _ONNX_BUILDER:
        return f"model '{ancestry.model.get('name')}' is no ONNX file; use `load`"
    return None


def _starts_a_head(params: Mapping[str, Any]) -> bool:
    return bool(isinstance(params["model"], Mapping) and params["model"].get("new_head"))


@operation(
    kind=Kind.BASE,
    version=2,
    consumes=None,
    uses={Uses.INTERFACE, Uses.SEED},
    refuse=_refuse_onnx,
    draws=_starts_a_head,
)
def load(ctx: Context, *, model: ModelEntry = None) -> TorchModel:
    """Take a model with its pretrained weights.

    It fits the data's classes and inputs; a new head (`new_head`) has random weights, drawn from the seed.

    Args:
        ctx: builds the model.
        model: an entry of conf/model; default: the recipe's model.
    """
    assert isinstance(model, Mapping), "the plan replaces a model's name by its entry"
    built = ctx.build(model, pretrained=True)
    if not isinstance(built, TorchModel):
        raise OperationError(f"load: model '{model.get('name')}' is an ONNX file; use `load_onnx`")
    _note(ctx, built)
    return built


@operation(kind=Kind.BASE, version=3, consumes=None, produces=Format.ONNX, uses={Uses.INTERFACE}, refuse=_refuse_torch)
def load_onnx(ctx: Context, *, model: ModelEntry = None) -> OnnxModel:
    """Take an ONNX file as it is, for the operations that work on ONNX models.

    Args:
        ctx: finds the file.
        model: an entry of conf/model whose builder is `onnx`; default: the recipe's model.
    """
    assert isinstance(model, Mapping), "the plan replaces a model's name by its entry"
    built = ctx.build(model, pretrained=True)
    if not isinstance(built, OnnxModel):
        raise OperationError(f"load_onnx: model '{model.get('name')}' is a torch network; use `load`")
    _note(ctx, built)
    return built


def _note(ctx: Context, built: TorchModel | OnnxModel) -> None:
    """Record what building the model had to say, and what its outputs are where they are no logits."""
    for name, value in built.notes.items():
        ctx.note(name, value)
    if built.architecture.output_kinds:
        ctx.note("output_kinds", dict(built.architecture.output_kinds))
