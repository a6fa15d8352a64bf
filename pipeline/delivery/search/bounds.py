"""Budgets that no chain can keep, found without running any: from the figures of the model at the top, and what steps can do.

Only what holds for certain is said. A file cannot become smaller than the share of its weights that the steps leave; a share
cannot be more than one. Of a step of which nothing is known, nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ops.core.operation import OPERATIONS, Kind
from pipeline.core.metric_kinds import Better, MetricRole
from pipeline.delivery.gate_rules import JudgedFigure
from pipeline.delivery.search.budget import Bound, Figures, amount_text
from pipeline.delivery.search.space import SearchSpace
from pipeline.measure.metrics.size import file_bytes, parameters

__all__ = ["impossible", "least_share"]

_MARGIN = 0.9
"""Of the least size: what a file has besides weights may shrink, too."""
_SIZES = (file_bytes.__name__, parameters.__name__)
_FLOAT_BITS, _BYTE = 32, 8
_SAME_SIZE = (Kind.CALIBRATE, Kind.FINETUNE, Kind.RESTORE)


def impossible(bounds: Sequence[Bound], space: SearchSpace, top: Figures) -> Iterator[str]:
    """Yield each bound that no chain can keep, with by how much it is missed and why.

    Args:
        bounds: the budget.
        space: the chains.
        top: figures of the model that all chains begin with; empty: not measured yet.
    """
    for bound in bounds:
        name = bound.metric.metric
        before = top.get(name)
        if before is None:
            continue
        if name in _SIZES and bound.is_upper and bound.figure is JudgedFigure.VALUE:
            share = least_share(space, in_bits=name == file_bytes.__name__) * _MARGIN
            least = share * before
            if least > bound.bound:
                yield (
                    f"{bound.text}: the model at the top has {bound.text_of(before)}, of which these steps leave at least "
                    f"{share:.1%}: {bound.text_of(least)}, {bound.text_of(least - bound.bound)} too much"
                )
        elif _is_share(bound) and bound.figure is not JudgedFigure.VALUE and not bound.is_relative:
            yield from _beyond_one(bound, before)


def _is_share(bound: Bound) -> bool:
    return bound.metric.format.endswith("%") and not bound.metric.unit and bound.metric.role == MetricRole.QUALITY


def _beyond_one(bound: Bound, before: float) -> Iterator[str]:
    """A share that would have to rise above one."""
    if bound.metric.better != Better.HIGHER:
        return
    rise = -bound.bound if bound.figure is JudgedFigure.DROP and bound.is_upper else bound.bound
    asks_rise = (bound.figure is JudgedFigure.DROP) == bound.is_upper
    if asks_rise and before + rise > 1:
        yield (
            f"{bound.text}: the model at the top has {amount_text(before, bound.metric)}, and would need "
            f"{before + rise:.1%}, {100 * (before + rise - 1):.3g}pt more than there is"
        )


def least_share(space: SearchSpace, *, in_bits: bool) -> float:
    """Return the least share of a model's size that any chain can leave; 0 where nothing can be said.

    The product over all steps that a chain may have, each at its strongest: no chain can leave less.

    Args:
        space: the chains.
        in_bits: whether the size counts bits, else weights.
    """
    share = 1.0
    for op, params in space.strongest_steps():
        share *= _share(op, params, in_bits=in_bits)
    return share


def _share(op: str, values: Mapping[str, Sequence[Any]], *, in_bits: bool) -> float:
    """Return the share that a step leaves at least, from all the values that each parameter may take."""
    kind = OPERATIONS[op].kind if op in OPERATIONS else None
    if (
        kind is Kind.BASE
        or kind in _SAME_SIZE
        or op in ("magnitude_prune", "gradient_prune", "activation_prune", "nm_prune")
    ):
        return 1.0
    if op == "quantize" and "weight_only" not in values.get("method", ["static"]):
        return _BYTE / _FLOAT_BITS if in_bits else 1.0
    if op in ("quantize", "palettize"):
        bits = values.get("bits", [4])
        is_known = all(isinstance(each, int) for each in bits)
        return (min(*bits, _BYTE) / _FLOAT_BITS if is_known else 0.0) if in_bits else 1.0
    return 0.0  # channels, for one, are cut to multiples that suit the target: more may go than the ratio says
