"""Rows and curves of the page of effects, as its template has them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from viewer.compare.effects.curve_chart import Curve, CurvePoint, curve_chart
from viewer.compare.effects.effects import Effect, Effects, effects
from viewer.compare.effects.places import AppliedOperation, AppliedPlace
from viewer.compare.effects.sweeps import Sweep, SweptLineage, sweeps
from viewer.compare.effects.words import EffectText, describe_effect
from viewer.format.palette import SERIES, kind_color
from viewer.results.results import Results
from viewer.session.state import EffectsState

__all__ = ["MOST_PLACES", "PAGE", "EffectsPage", "parameter_sweeps"]

PAGE = 50
MOST_PLACES = 40
"""Of an operation that is unfolded."""
_MOST_CURVES = 5
_MOST_SWEEPS = 24


def parameter_sweeps(results: Results) -> list[Sweep]:
    """Return the sweeps of these results; found once for all visitors."""
    return results.shared(_Sweeps).all


class _Sweeps:
    def __init__(self, results: Results) -> None:
        self.all = sweeps(effects(results).operations)


class EffectsPage:
    """The page in one state."""

    def __init__(
        self, results: Results, state: EffectsState, columns: Sequence[str], selected: Collection[str]
    ) -> None:
        """`columns` are the metrics, `selected` the keys of models."""
        self._results, self._state, self._columns = results, state, columns
        self._selected = frozenset(selected)
        self._effects: Effects = effects(results)

    # ---- order
    def operations(self) -> list[AppliedOperation]:
        """Return all operations in the order asked for, those of one operation together unless the list is flat."""
        ordered = self._ordered()
        if self._state.flat:
            return ordered
        rank: dict[str, int] = {}
        for each in ordered:
            rank.setdefault(each.op, len(rank))
        return sorted(ordered, key=lambda each: rank[each.op])

    def _ordered(self) -> list[AppliedOperation]:
        order, sign = self._state.order, 1 if self._state.gain else -1
        if order == " places":
            return sorted(self._effects.operations, key=lambda each: sign * len(each.places))
        if order not in self._columns:
            return self._effects.operations
        means = self._effects.means(order)

        def key(operation: AppliedOperation) -> tuple[bool, float]:
            mean = means.get(operation.id, math.nan)
            return not math.isfinite(mean), sign * self._effects.harm(order, mean) if math.isfinite(mean) else 0.0

        return sorted(self._effects.operations, key=key)

    # ---- the table
    def headings(self) -> list[dict[str, Any]]:
        """Return the columns: each metric with how its changes are written."""
        results = self._results
        return [
            {
                "name": metric,
                "label": results.label(metric),
                "about": results.about(metric),
                "unit": self._unit(metric),
                "sorted": "" if self._state.order != metric else self._direction(metric),
            }
            for metric in self._columns
        ]

    def _unit(self, metric: str) -> str:
        if self._effects.is_factor(metric):
            return "times the parent's"
        return "change" if self._results.spec(metric).points is None else "points"

    def _direction(self, metric: str) -> str:
        if not self._results.direction(metric):
            return "smallest first" if self._state.gain else "largest first"
        return "gain first" if self._state.gain else "harm first"

    def rows(self, start: int) -> list[dict[str, Any]]:
        """Return one page of operations, each with its places if it is open."""
        page = self.operations()[start : start + PAGE]
        groups = [None, *(each.op for each in page)]
        return [
            {
                "id": each.id,
                "group": "" if self._state.flat or each.op == before else each.op.replace("_", " "),
                "color": kind_color(each.kind),
                "operation": each.op.replace("_", " "),
                "text": each.text,
                "whole": each.whole,
                "count": self._count(each),
                "failed": each.failed,
                "cells": [self._cell(self._effects.of_operation(each, metric), metric) for metric in self._columns],
                "open": each.id in self._state.open,
                "places": self._places(each) if each.id in self._state.open else [],
                "left_out": max(0, len(each.places) - MOST_PLACES),
                "chosen": self._is_chosen(each.places),
            }
            for each, before in zip(page, groups, strict=False)
        ]

    def _cell(self, effect: Effect | None, metric: str) -> EffectText:
        return describe_effect(effect, self._results.spec(metric), is_factor=self._effects.is_factor(metric))

    def _count(self, operation: AppliedOperation) -> str:
        count, pairs = len(operation.places), len(operation.pairs)
        places = f"{count:,} place{'' if count == 1 else 's'}"
        return f"{places}, {pairs:,} models" if operation.has_seeds else places

    def _places(self, operation: AppliedOperation) -> list[dict[str, Any]]:
        """Return the places of an operation, by the column that the table is sorted by, else as in the recipe."""
        order, places = self._state.order, list(operation.places)
        if order in self._columns:
            sign = 1 if self._state.gain else -1
            changes = {place: self._effects.of_place(place, order) for place in places}
            places.sort(
                key=lambda place: (
                    sign * self._effects.harm(order, effect.measured.value) if (effect := changes[place]) else math.inf
                )
            )
        return [
            self._place(operation.places.index(place), place, len(operation.places)) for place in places[:MOST_PLACES]
        ]

    def _place(self, number: int, place: AppliedPlace, of: int) -> dict[str, Any]:
        first, more = place.pairs[0], len(place.pairs) - 1
        name = self._results.text.name
        return {
            "number": number,
            "child": name(first.child),
            "parent": name(first.parent),
            "more": f"and {more} more of the same steps" if more else "",
            "pairs": [(name(pair.parent), name(pair.child)) for pair in place.pairs],
            "chosen": self._is_chosen([place]),
            "cells": [self._cell(self._effects.of_place(place, metric), metric) for metric in self._columns],
        }

    def _is_chosen(self, places: Sequence[AppliedPlace]) -> bool:
        return bool(places) and bool(self._selected) and all(self._selected.issuperset(each.keys) for each in places)

    # ---- the curves
    def sweeps(self) -> list[dict[str, Any]]:
        """Return the first sweeps with a picture for each column that was measured."""
        return [self._sweep(each) for each in parameter_sweeps(self._results)[:_MOST_SWEEPS]]

    def _sweep(self, sweep: Sweep) -> dict[str, Any]:
        lineages = sweep.lineages[:_MOST_CURVES]
        names = [self._results.text.name(each.parents[0]) for each in lineages]
        charts = []
        for metric in self._columns:
            curves = [
                Curve(name, self._points(sweep, each, name, metric)) for each, name in zip(lineages, names, strict=True)
            ]
            chart = curve_chart(curves, partial(self._results.show_value, metric))
            if chart is not None:
                label, about = self._results.label(metric), self._results.about(metric)
                noise = "" if self._results.has_known_noise(metric) else "noise unknown"
                note = ", ".join(filter(None, (self._results.direction(metric), noise)))
                charts.append({"label": label, "about": about, "note": note, "drawn": chart})
        return {
            "id": sweep.id,
            "color": kind_color(sweep.kind),
            "operation": sweep.op.replace("_", " "),
            "parameter": sweep.parameter,
            "fixed": sweep.fixed,
            "curves": [
                {"name": name, "color": color, "seeds": len(each.parents)}
                for name, color, each in zip(names, SERIES, lineages, strict=False)
            ],
            "left_out": len(sweep.lineages) - len(lineages),
            "charts": charts,
        }

    def _points(self, sweep: Sweep, lineage: SweptLineage, name: str, metric: str) -> tuple[CurvePoint, ...]:
        steps = [(None, lineage.parents), *((each.value, each.children) for each in lineage.values)]
        return tuple(self._point(sweep, name, metric, at, keys) for at, keys in steps)

    def _point(self, sweep: Sweep, name: str, metric: str, at: float | None, keys: Sequence[str]) -> CurvePoint:
        column = self._results.column(metric)
        rows = [self._results.row[key] for key in keys]
        values = [float(column.value[row]) for row in rows if math.isfinite(column.value[row])]
        low, high = (min(values), max(values)) if len(values) > 1 else (math.nan, math.nan)
        if len(values) == 1 and len(rows) == 1:
            _, low, high = column.row(rows[0])
        where = (
            f"{name}, before {sweep.op.replace('_', ' ')}" if at is None else f"{sweep.parameter} {at:.6g} after {name}"
        )
        rough = bool(self._results.unsure(metric)[rows].any())
        text = f"{where}: {self._summary(metric, values, (low, high))}{', timed roughly' if rough else ''}"
        return CurvePoint(at, tuple(values), low, high, tuple(keys), text, rough)

    def _summary(self, metric: str, values: Sequence[float], ends: tuple[float, float]) -> str:
        show = partial(self._results.show_value, metric)
        if not values:
            return "not measured"
        between = f" ({show(ends[0])} to {show(ends[1])})" if math.isfinite(ends[1] - ends[0]) else ""
        seeds = f", mean of {len(values)} models" if len(values) > 1 else ""
        return f"{show(sum(values) / len(values))}{between}{seeds}"
