"""A model as the original network's code would name and shape it: what two models are compared by.

Compression renames and reshapes: channels go, a layer becomes the product of factors, a normalisation is folded into
the convolution before it. A view undoes the names and records the shapes, so that what remains can be paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from pipeline.layers.tensors.constant_gathers import Lookup
from pipeline.layers.tensors.edits import Factored, Kept, follow, kept_axes, multiply
from pipeline.layers.tensors.tensor import StoredTensor

__all__ = ["Effective", "Pair", "TensorView", "make_view", "pairs"]

_EPSILON = 1e-5
"""Torch's default, where the normalisation's own is not recorded."""


def _nothing() -> np.ndarray:
    return np.empty(0, np.float32)


@dataclass(frozen=True, slots=True)
class Effective:
    """A tensor of the original network as one model has it."""

    name: str
    shape: tuple[int, ...]
    places: Kept
    """Per axis the places that are left of the original's, or None for all."""
    read: Callable[[], np.ndarray]
    how: tuple[str, ...] = ()
    output_axis: int = 0
    """As `StoredTensor.output_axis`."""


@dataclass(frozen=True, slots=True)
class TensorView:
    """A model's tensors under their original names."""

    tensors: Mapping[str, Effective]
    folds: Mapping[str, str]
    """Convolution -> the batch normalisation that was folded into it in this file."""
    lookups: Mapping[str, Lookup]
    """Tensor -> which rows of which table it consists of."""
    absent: Mapping[str, str]
    """Name -> why it is not there."""
    eps: Mapping[str, float]
    """Normalisation -> what it adds to the variance."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A tensor in two models; unless `status` is `compared`, `reason` says why there is nothing to read."""

    name: str
    status: Literal["compared", "gone", "new", "incomparable"]
    new: Callable[[], np.ndarray] = _nothing
    old: Callable[[], np.ndarray] = _nothing
    reason: str = ""
    how: tuple[str, ...] = ()
    whole: bool = False
    """Both sides are complete tensors as stored, so what is known of them holds."""


def make_view(
    tensors: Sequence[StoredTensor],
    *,
    edits: Sequence[Mapping[str, Any]] = (),
    folds: Mapping[str, str] | None = None,
    lookups: Mapping[str, Lookup] | None = None,
    original: Mapping[str, tuple[int, ...]] | None = None,
    eps: Mapping[str, float] | None = None,
) -> TensorView:
    """Return a model's view, from its tensors, its structural edits (also of an ONNX file's origin), folds and lookups.

    Args:
        tensors: those of the model's file.
        edits: structural edits from the original network to this one, in order.
        folds: convolution -> the batch normalisation that the file has folded into it.
        lookups: tensor -> which rows of which table it consists of.
        original: name -> shape in the network without edits.
        eps: normalisation -> what it adds to the variance.
    """
    stored = {tensor.name: tensor for tensor in tensors}
    edited, shapes = follow(edits), original or {}
    effective = {
        tensor.name: Effective(
            tensor.name,
            tensor.shape,
            kept_axes(edited, tensor.name, tensor.shape, shapes.get(tensor.name)),
            tensor.read,
            tensor.how,
            tensor.output_axis,
        )
        for tensor in stored.values()
    }
    for factored in edited.factored:
        _multiply(effective, factored)
    renamed = edited.renamed
    folds = {renamed.get(conv, conv): norm for conv, norm in (folds or {}).items()}
    lookups = {name: lookup for name, lookup in (lookups or {}).items() if name in effective}
    for name, lookup in lookups.items():
        table = (shapes.get(lookup.table, (0,))[0], *effective[name].shape[lookup.rows.ndim :])
        axes = kept_axes(edited, lookup.table, table, shapes.get(lookup.table))[1:]
        effective[name] = replace(effective[name], places=(*[None] * lookup.rows.ndim, *axes))
    return TensorView(effective, folds, lookups, {}, eps or {})


def _multiply(effective: dict[str, Effective], factored: Factored) -> None:
    """Put the product in the place of its factors, in place."""
    weights = [effective.get(f"{part}.weight") for part in factored.parts]
    if any(weight is None for weight in weights):
        return  # this file has the layer as one
    present = [weight for weight in weights if weight is not None]
    for part in factored.parts:
        del effective[f"{part}.weight"]
    first, last = present[0], present[-1]
    spatial = max((weight.shape[2:] for weight in present), key=math.prod)
    read = partial(multiply, [weight.read for weight in present])
    shape, remaining = (last.shape[0], first.shape[1]), (last.places[0], first.places[1])
    effective[f"{factored.layer}.weight"] = Effective(
        f"{factored.layer}.weight",
        (*(shape[::-1] if factored.turned else shape), *spatial),
        (*(remaining[::-1] if factored.turned else remaining), *[None] * len(spatial)),
        partial(_turned, read) if factored.turned else read,
        (*dict.fromkeys(step for weight in present for step in weight.how), f"{len(present)} factors multiplied"),
    )
    bias = effective.pop(f"{factored.parts[-1]}.bias", None)
    if bias is not None:
        effective[f"{factored.layer}.bias"] = replace(bias, name=f"{factored.layer}.bias")


def pairs(new: TensorView, old: TensorView) -> Iterator[Pair]:
    """Pair two models' tensors: the new one's in its order, then what only the old one has."""
    if new.folds and not old.folds:
        old = _folded(old, new.folds)
    elif old.folds and not new.folds:
        new = _folded(new, old.folds)
    new, old = _looked_up(new, old), _looked_up(old, new)
    for name, tensor in new.tensors.items():
        other = old.tensors.get(name)
        if other is None:
            yield Pair(name, "new", reason="not in the reference")
        else:
            yield _pair(tensor, other)
    for name in (*old.tensors, *old.absent):
        if name not in new.tensors and name not in new.absent:
            yield Pair(
                name,
                "gone",
                reason=f"not in this model: {old.absent[name]}" if name in old.absent else "not in this model",
            )
    for name, where in new.absent.items():
        yield Pair(name, "new", reason=f"not in the reference: {where}")


def _pair(new: Effective, old: Effective) -> Pair:
    how = tuple(dict.fromkeys([*new.how, *(f"reference: {step}" for step in old.how if step not in new.how)]))
    whole = not new.how and not old.how
    if new.shape == old.shape and all(map(_same, new.places, old.places)):
        return Pair(new.name, "compared", new.read, old.read, how=how, whole=whole)
    if len(new.shape) == 2 and new.shape == old.shape[::-1] and new.places == old.places == (None, None):  # noqa: PLR2004
        return Pair(new.name, "compared", partial(_turned, new.read), old.read, how=(*how, "transposed"))
    if len(new.shape) != len(old.shape):
        return Pair(new.name, "incomparable", reason=f"has shape {list(new.shape)}, in the reference {list(old.shape)}")
    mine, theirs = [], []
    for axis, (ours, others) in enumerate(zip(new.places, old.places, strict=True)):
        common = _common(ours, new.shape[axis], others, old.shape[axis])
        if common is None:
            reason = f"has shape {list(new.shape)}, in the reference {list(old.shape)}, and which channels were kept is not recorded"
            return Pair(new.name, "incomparable", reason=reason)
        mine.append(common[0])
        theirs.append(common[1])
    sizes = "x".join(str(len(places)) for places in mine)
    return Pair(
        new.name,
        "compared",
        partial(_subarray, new.read, mine),
        partial(_subarray, old.read, theirs),
        how=(*how, f"the {sizes} values that both have"),
    )


def _same(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)


def _common(
    ours: np.ndarray | None, size: int, others: np.ndarray | None, other_size: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return where the places of the original that both kept are in each; None if that is unknown."""
    if ours is None and others is None:
        everything = np.arange(size)
        return (everything, everything) if size == other_size else None
    first = np.arange(size) if ours is None else ours
    second = np.arange(other_size) if others is None else others
    complete = size if ours is None else other_size if others is None else None
    if complete is not None and max(first.max(initial=-1), second.max(initial=-1)) >= complete:
        return None
    _, mine, theirs = np.intersect1d(first, second, assume_unique=True, return_indices=True)
    return mine, theirs


def _subarray(read: Callable[[], np.ndarray], places: Sequence[np.ndarray]) -> np.ndarray:
    return np.ascontiguousarray(read()[np.ix_(*places)]) if places else read()


def _turned(read: Callable[[], np.ndarray]) -> np.ndarray:
    return np.ascontiguousarray(read().T)


def _looked_up(view: TensorView, other: TensorView) -> TensorView:
    """Look up in a view's tables what the other one has looked up already, and put that in their place."""
    tensors, absent = dict(view.tensors), dict(view.absent)
    for name, lookup in other.lookups.items():
        table = tensors.get(lookup.table)
        if name in tensors or table is None or lookup.rows.max(initial=-1) >= table.shape[0]:
            continue
        shape, axes = (*lookup.rows.shape, *table.shape[1:]), (*[None] * lookup.rows.ndim, *table.places[1:])
        how = (*table.how, f"rows of '{lookup.table}'")
        tensors[name] = Effective(name, shape, axes, partial(_rows, table.read, lookup.rows), how)
        if lookup.table not in other.tensors:
            del tensors[lookup.table]
            absent[lookup.table] = f"its rows are in '{name}'"
    return replace(view, tensors=tensors, absent=absent)


def _rows(read: Callable[[], np.ndarray], rows: np.ndarray) -> np.ndarray:
    selection: np.ndarray = read()[rows]
    return selection


def _folded(view: TensorView, folds: Mapping[str, str]) -> TensorView:
    """Fold batch normalisations into the convolutions before them, as the exporter does."""
    tensors, absent = dict(view.tensors), dict(view.absent)
    for conv, norm in folds.items():
        parts = [tensors.pop(f"{norm}.{part}", None) for part in ("weight", "bias", "running_mean", "running_var")]
        for part in ("weight", "bias", "running_mean", "running_var"):
            absent[f"{norm}.{part}"] = f"folded into '{conv}'"
        weight, bias = tensors.get(f"{conv}.weight"), tensors.get(f"{conv}.bias")
        if weight is None or any(part is None for part in parts):
            continue
        readers = [part.read for part in parts if part is not None]
        eps = view.eps.get(norm, _EPSILON)
        step = (*weight.how, f"'{norm}' folded in")
        fold = partial(_folded_weight, weight.read, readers, eps, weight.output_axis)
        tensors[f"{conv}.weight"] = replace(weight, read=fold, how=step)
        gamma = parts[0]
        assert gamma is not None, "all parts are there"
        outputs = gamma if weight.output_axis else weight
        read = partial(_folded_bias, bias.read if bias else None, readers, eps)
        tensors[f"{conv}.bias"] = Effective(f"{conv}.bias", outputs.shape[:1], outputs.places[:1], read, step)
    return replace(view, tensors=tensors, folds=folds, absent=absent)


def _scale(readers: Sequence[Callable[[], np.ndarray]], eps: float) -> np.ndarray:
    gamma, _, _, variance = (read().astype(np.float64) for read in readers)
    scale: np.ndarray = gamma / np.sqrt(variance + eps)
    return scale


def _folded_weight(
    read: Callable[[], np.ndarray], readers: Sequence[Callable[[], np.ndarray]], eps: float, output_axis: int
) -> np.ndarray:
    weight, scale = read(), _scale(readers, eps)
    if output_axis:  # (inputs of all groups, outputs of one group, ...)
        scale = np.repeat(scale.reshape(-1, weight.shape[1]), weight.shape[0] * weight.shape[1] // scale.size, axis=0)
    folded: np.ndarray = (weight * scale.reshape([*scale.shape, *[1] * (weight.ndim - scale.ndim)])).astype(np.float32)
    return folded


def _folded_bias(
    read: Callable[[], np.ndarray] | None, readers: Sequence[Callable[[], np.ndarray]], eps: float
) -> np.ndarray:
    _, beta, mean, _ = (part().astype(np.float64) for part in readers)
    bias = read().astype(np.float64) if read else 0.0
    folded: np.ndarray = (beta + (bias - mean) * _scale(readers, eps)).astype(np.float32)
    return folded
