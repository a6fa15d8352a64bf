"""Structural edits in terms of single tensors: the channels that are left, and the factors of tensors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["Edited", "Factored", "Kept", "follow", "kept_axes", "multiply"]

Kept = tuple[np.ndarray | None, ...]
"""Per axis the sorted places of the original that are left, or None for all."""
Side = Literal["out", "in"]


@dataclass(frozen=True, slots=True)
class Factored:
    """A layer that became a sequence of smaller ones."""

    layer: str
    parts: tuple[str, ...]
    """The layers that it is now, in the order of computation; the last has its bias."""
    turned: bool = False
    """The layer's own weight is (inputs, outputs)."""


@dataclass(frozen=True, slots=True)
class Edited:
    """The sum of all edits of a network."""

    channels: Mapping[tuple[str, Side], np.ndarray]
    """(layer, side) -> the original's channels that are left; a side that lost nothing is absent."""
    factored: tuple[Factored, ...]
    turned: frozenset[str] = frozenset()
    """Narrowed layers whose weight is (inputs, outputs)."""

    @property
    def renamed(self) -> dict[str, str]:
        """Last part of a factorised layer -> the layer: it gives the layer's outputs and has its bias."""
        return {factors.parts[-1]: factors.layer for factors in self.factored}


def follow(edits: Sequence[Mapping[str, Any]]) -> Edited:
    """Go through the edits in order: later ones name channels of what earlier ones left."""
    channels: dict[tuple[str, Side], np.ndarray] = {}
    factored: list[Factored] = []
    turned: set[str] = set()
    for edit in edits:
        if edit["edit"] == "channels":
            _narrow(channels, edit["layers"])
            turned |= set(edit.get("turned", ()))
        elif edit["edit"] == "factorize":
            factored.extend(_factorize(channels, edit["layers"], set(edit.get("turned", ()))))
    return Edited(channels, tuple(factored), frozenset(turned))


def _narrow(channels: dict[tuple[str, Side], np.ndarray], layers: Mapping[str, Mapping[Side, Sequence[int]]]) -> None:
    for layer, sides in layers.items():
        for side, indices in sides.items():
            before = channels.get((layer, side))
            positions = np.asarray(indices, np.int64)
            channels[layer, side] = positions if before is None else before[positions]


def _factorize(
    channels: dict[tuple[str, Side], np.ndarray], layers: Mapping[str, Sequence[int]], turned: Collection[str]
) -> Iterator[Factored]:
    """Pass on to the factors what a layer had lost: of the inputs to its first, of the outputs to its last."""
    for layer, ranks in layers.items():
        factors = Factored(layer, tuple(f"{layer}.{part}" for part in range(len(ranks) + 1)), layer in turned)
        ends: tuple[tuple[Side, str], ...] = (("in", factors.parts[0]), ("out", factors.parts[-1]))
        for side, part in ends:
            if (before := channels.pop((layer, side), None)) is not None:
                channels[part, side] = before
        yield factors


def kept_axes(edited: Edited, name: str, shape: tuple[int, ...], original: tuple[int, ...] | None) -> Kept:
    """Return what is left along each axis of a tensor of `shape`, which was `original` in the unedited network.

    Args:
        edited: the sum of the model's edits.
        name: the tensor's, as the model has it.
        shape: in the model.
        original: in the unedited network; None: not known, as of a tensor that it has not.

    Returns:
        Per axis the original's places that are left, or None for all.
    """
    layer, _, parameter = name.rpartition(".")
    out, into = edited.channels.get((layer, "out")), edited.channels.get((layer, "in"))
    axes: list[np.ndarray | None] = [None] * len(shape)
    if layer in edited.turned and parameter == "weight":
        return into, out
    if out is not None and shape:
        # an embedding's channels lie along its second axis; its first, the vocabulary, stays
        across = len(shape) > 1 and original is not None and shape[0] == original[0] and shape[1] == len(out)
        axis = 1 if across and parameter == "weight" and shape[0] != len(out) else 0
        if shape[axis] == len(out):
            axes[axis] = out
    if into is not None and parameter == "weight" and len(shape) > 1 and shape[1] <= len(into):
        axes[1] = into[: shape[1]]  # of a grouped convolution every group keeps the same ones
    return tuple(axes)


def multiply(readers: Sequence[Callable[[], np.ndarray]]) -> np.ndarray:
    """Return the weight that a sequence of factors amounts to: (out, in) or (out, in, height, width), float32.

    Two factors are a matrix product, of linear layers or 1x1 convolutions; three are Tucker-2: a convolution between two
    1x1 convolutions.
    """
    first, *rest = (read().astype(np.float64) for read in readers)
    product = first
    for factor in rest:
        if factor.ndim > 2 and factor.shape[2:] != (1, 1):  # noqa: PLR2004 - channels before space
            entering = product.reshape(product.shape[0], -1)
            product = np.einsum("bahw,ai->bihw", factor, entering)
        else:
            product = np.tensordot(factor.reshape(factor.shape[0], -1), product, axes=1)
    values: np.ndarray = product.astype(np.float32)
    return values
