"""Puts a visitor's Behaviours page together: state and answers in, what the template draws out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pipeline.core.answer_text import AnswerKind
from viewer.behaviours.groups import error_groups
from viewer.behaviours.instance_filter import InstanceFilter
from viewer.behaviours.measures import MEASURES, Measure, ModelAnswers
from viewer.behaviours.prediction_changes import flip_texts, matrix_of
from viewer.behaviours.queries import Sheet
from viewer.behaviours.statistics import (
    Cells,
    Members,
    agreement_rate,
    cells,
    count_bins,
    negative_flips,
)
from viewer.behaviours.table import (
    ALPHA,
    Brush,
    Cell,
    Look,
    Order,
    cell,
    change_text,
    corrected,
    edges_of,
    harm,
    marked,
    order_rows,
    overall,
    relative_text,
)
from viewer.format.numbers import format_number
from viewer.session.notes import Notes
from viewer.session.state import ViewState

__all__ = ["PAGE", "BehaviourPage"]

PAGE = 50
_FARTHEST = 3.0
"""Of relative changes: what grew from almost nothing would hide all else."""


@dataclass(frozen=True, slots=True)
class _Column:
    key: str
    answers: ModelAnswers
    values: np.ndarray
    histogram_values: np.ndarray
    """What the histogram shows: values, or differences to the base."""


class BehaviourPage:
    """One drawing of the page."""

    def __init__(
        self, sheet: Sheet, state: ViewState, models: Sequence[str], names: Mapping[str, str], notes: Notes
    ) -> None:
        """`models` has the base first; `names` gives every model's name for people."""
        self.sheet, self.state, self.models, self.names, self.notes = sheet, state, list(models), names, notes
        sheet.load(self.models)
        self.measures = [m for m in MEASURES.values() if self._fits(m)]
        by_name = {m.name: m for m in self.measures}
        self.measure = by_name.get(state.behaviours.measure) or self.measures[0]
        values = sheet.values(self.measure, self.models, self.models[0])
        self.base_values = values[self.models[0]]
        self.columns = [self._column(key, values[key]) for key in self.models]
        self.base = self.columns[0]

    @cached_property
    def _filter(self) -> InstanceFilter:
        return InstanceFilter(
            self.sheet,
            self.state.behaviours,
            {column.key: column.answers for column in self.columns},
            {column.key: column.histogram_values for column in self.columns},
            self.notes,
        )

    @property
    def mask(self) -> np.ndarray:
        """Instances that pass every filter, bool (N,)."""
        return self._filter.mask

    @property
    def brushes(self) -> list[Brush]:
        """Ranges chosen on histograms."""
        return self._filter.brushes

    @property
    def flip(self) -> tuple[str, str] | None:
        """The change of answer that instances must have: before and after."""
        return self._filter.flip

    @property
    def untested(self) -> str:
        """The reason why no test applies to the instances shown; empty where tests do."""
        return self._filter.untested

    @property
    def exemplars(self) -> np.ndarray:
        """In how many of the models each answer is not the base's."""
        return self._filter.exemplars

    # ---- headers
    def headers(self) -> list[dict[str, Any]]:
        """One per model: overall value, flips, histogram."""
        edges = edges_of([column.histogram_values for column in (self.columns[1:] or self.columns)])
        base_edges = edges_of([self.base.histogram_values])
        p, tests = self._tests(self._whole)
        return [
            self._header(
                column,
                base_edges if column is self.base else edges,
                cell(whole, 0, self._look(tests), base=column is self.base, p=float(p[at, 0])),
            )
            for at, (column, whole) in enumerate(zip(self.columns, self._whole, strict=True))
        ]

    @cached_property
    def _whole(self) -> list[Cells]:
        """Of all instances shown, one per model."""
        return [
            overall(column.values, self.base_values, self.mask, of_pair=self.measure.of_pair) for column in self.columns
        ]

    def _header(self, column: _Column, edges: np.ndarray, whole: Cell) -> dict[str, Any]:
        is_base = column is self.base
        counts = count_bins(column.histogram_values, self.mask, edges)
        everyone = count_bins(column.histogram_values, np.ones_like(self.mask), edges)
        answers, base, count = column.answers, self.base.answers, int(self.mask.sum())
        same = agreement_rate(answers, base, self.mask)
        brush = next((b for b in self.brushes if b.model == column.key), None)
        return {
            "key": column.key,
            "name": self.names[column.key],
            "base": is_base,
            "cell": whole,
            "flips": [] if is_base else flip_texts(self.sheet, answers, base, self.mask),
            "negative": f"{negative_flips(answers, base, self.mask):,}",
            "negative_share": f"{negative_flips(answers, base, self.mask) / count:.2%}" if count else "—",
            "agreement": "—" if same is None else f"{same:.1%}",
            "of": "" if self.mask.all() else f"of the {count:,} instances chosen",
            "bars": _bars(counts, everyone),
            "edges": [float(edge) for edge in edges],
            "brush": None if brush is None else _place(brush, edges),
            "low": format_number(float(edges[0]), ".3g"),
            "high": format_number(float(edges[-1]), ".3g"),
            "differences": not is_base and not self.measure.of_pair,
            "sorted": self.state.behaviours.order == column.key
            or (self.state.behaviours.order == "" and column is self._sorted_by),
        }

    def matrix(self, key: str) -> dict[str, Any]:
        """The flip matrix of one model: answers that change most, before by after."""
        column = next(c for c in self.columns if c.key == key)
        return matrix_of(self.sheet, column.answers, self.base.answers, self.mask)

    # ---- rows
    @cached_property
    def belongs(self) -> Members:
        """Rows of the table: classes or groups."""
        return self.sheet.members(tuple(self.state.behaviours.groups) if self.rows_are == "groups" else ())

    @property
    def rows_are(self) -> str:
        """`classes`, `groups` or `instances`, as far as the data set has them."""
        rows = self.state.behaviours.rows
        if rows == "groups" and not self.state.behaviours.groups:
            rows = "classes"
        return "instances" if rows == "classes" and not self.sheet.classes else str(rows)

    @cached_property
    def table(self) -> list[Cells]:
        """One column of means per model."""
        return [
            cells(column.values, self.base_values, self.belongs, self.mask, of_pair=self.measure.of_pair)
            for column in self.columns
        ]

    def rows(self) -> tuple[list[dict[str, Any]], int]:
        """Return the rows on this page, and how many there are in all."""
        if self.rows_are == "instances":
            return self._instances()
        names = self.belongs.names
        place = self.columns.index(self._sorted_by)
        ordering = None if self.state.behaviours.order == "name" else self.table[place]
        order = order_rows(ordering, names, self._order())
        order = [row for row in order if self.table[0].count[row]]
        start = page_start(self.state.behaviours.start, len(order))
        flagged, (p, tests) = self.notes.of("class", self.sheet.dataset_key), self._tests(self.table)
        look = self._look(tests)
        return [self._row(row, p, look, flagged) for row in order[start : start + PAGE]], len(order)

    def _row(self, row: int, p: np.ndarray, look: Look, flagged: Mapping[str, Any]) -> dict[str, Any]:
        name = self.belongs.names[row]
        return {
            "name": name,
            "count": f"{int(self.table[0].count[row]):,}",
            "cells": [cell(cells, row, look, base=at == 0, p=float(p[at, row])) for at, cells in enumerate(self.table)],
            "notes": flagged.get(name),
        }

    def _instances(self) -> tuple[list[dict[str, Any]], int]:
        positions = np.flatnonzero(self.mask)
        if self.state.behaviours.order != "name":
            column = self._sorted_by
            keys = harm(column.histogram_values[positions], self._order())
            keys = np.where(np.isfinite(keys), -keys if self.state.behaviours.descending else keys, np.inf)
            positions = positions[np.lexsort((-self.exemplars[positions], keys))]
        elif self.state.behaviours.descending:
            positions = positions[::-1]
        start = page_start(self.state.behaviours.start, len(positions))
        page = self.sheet.page(positions[start : start + PAGE].tolist(), self.models)
        flagged = self.notes.of("instance", self.sheet.dataset_key)
        return [self._instance(instance, flagged) for instance in page], len(positions)

    def _instance(self, instance: Any, flagged: Mapping[str, Any]) -> dict[str, Any]:
        at, base_text = instance.position, instance.answers.get(self.models[0], "")
        cells = []
        for column in self.columns:
            text = instance.answers.get(column.key, "")
            value = float(column.values[at])
            cells.append(
                {
                    "text": text,
                    "parts": marked(base_text, text)
                    if column is not self.base and text != base_text
                    else [("same", text)],
                    "free": not self.sheet.classes,
                    "value": format_number(value, self.measure.format),
                    "correct": bool(column.answers.correct[at]),
                    "changed": bool(column.answers.differs(self.base.answers)[at]),
                    "confidence": _share_text(float(column.answers.confidence[at])),
                }
            )
        return {
            "id": instance.id,
            "label": instance.label,
            "attributes": sorted(instance.attributes.items()),
            "changed_in": int(self.exemplars[at]),
            "cells": cells,
            "notes": flagged.get(instance.id),
        }

    def group_panel(self) -> dict[str, Any] | None:
        """Error rates per group and model; None without groups."""
        groups, inferred = tuple(self.state.behaviours.groups), not self.untested
        return error_groups(self.sheet, self.models, groups, self.mask, inferred=inferred) if groups else None

    # ---- tests
    def verdict(self) -> str:
        """The rule by which a change is coloured, in a sentence; empty where nothing is tested."""
        heads = self._tests(self._whole)[1]
        tests = 0 if self.rows_are == "instances" else self._tests(self.table)[1]
        if not heads + tests:
            return ""
        kind = "exact McNemar tests" if all(cells.exact for cells in self._whole) else "tests of the mean difference"
        counts = f"{heads} in the head" + (f", {tests} in the rows" if tests else "")
        return f"Changes are coloured where p is below {ALPHA}: {kind} on the same instances, corrected for their number (Holm; {counts})."

    def _tests(self, columns: Sequence[Cells]) -> tuple[np.ndarray, int]:
        return corrected(columns, inferred=not self.untested)

    def _look(self, tests: int) -> Look:
        relative = self.state.behaviours.relative
        return Look(self.measure, relative, self._top, self.reach, inferred=not self.untested, tests=tests)

    @cached_property
    def reach(self) -> float:
        """The change of a full bar, the same in all columns and on all pages."""
        columns = self._whole[1:] if self.rows_are == "instances" else [*self._whole[1:], *self.table[1:]]
        changes = [cells.relative if self.state.behaviours.relative else cells.change for cells in columns]
        finite = [abs(float(value)) for part in changes for value in part[np.isfinite(part)]]
        longest = max(finite, default=0.0) or 1.0
        return min(longest, _FARTHEST) if self.state.behaviours.relative else longest

    def scale_text(self) -> str:
        """What the bars of changes mean, in a sentence; empty where the measure compares the two itself."""
        if self.measure.of_pair or len(self.columns) <= 1:
            return ""
        relative = self.state.behaviours.relative
        full = (relative_text(self.reach) if relative else change_text(self.reach, self.measure)).lstrip("+")
        shades = "" if self.untested or self.measure.better == "neither" else "; pale: may be chance"
        return f"Bars: change against the base, harm to the left, gain to the right, all on one scale: {full} at either end{shades}."

    # ---- parts
    def _order(self) -> Order:
        state = self.state.behaviours
        by = "value" if self._sorted_by is self.base or self.measure.of_pair else state.by
        return Order(by, state.descending, state.relative, self.measure.better)

    @cached_property
    def _sorted_by(self) -> _Column:
        matches = [column for column in self.columns if column.key == self.state.behaviours.order]
        return matches[0] if matches else self.columns[min(1, len(self.columns) - 1)]

    @cached_property
    def _top(self) -> float:
        """The value of a full bar."""
        if self.measure.format.endswith("%"):
            return 1.0
        finite = [column.values[np.isfinite(column.values)] for column in self.columns]
        return max((float(part.max()) for part in finite if part.size), default=1.0) or 1.0

    def _fits(self, measure: Measure) -> bool:
        kind = self.sheet.answer_kind
        if not measure.needs:
            return True
        fitting = {
            "score": (AnswerKind.TEXT,),
            "numbers": (AnswerKind.NUMBERS,),
            "label": (AnswerKind.CLASS, AnswerKind.LABELS),
        }
        return kind in fitting.get(measure.needs, (AnswerKind.CLASS,))  # probabilities of labels are no distribution

    def _column(self, key: str, values: np.ndarray) -> _Column:
        alone = key == self.models[0] or self.measure.of_pair
        return _Column(key, self.sheet.answers(key), values, values if alone else values - self.base_values)


def page_start(start: int, total: int) -> int:
    """Return the first row of the page that was asked for, within what there is."""
    return min(start // PAGE * PAGE, max(0, (total - 1) // PAGE * PAGE))


def _share_text(share: float) -> str:
    """A probability; empty where there is none."""
    return format_number(share, ".1%") if np.isfinite(share) else ""


def _bars(counts: np.ndarray, everyone: np.ndarray) -> list[dict[str, float]]:
    """Heights by the square root: single changed instances among thousands stay visible."""
    top = float(np.sqrt(everyone.max(initial=1)))
    return [
        {"all": float(np.sqrt(a)) / top * 100, "now": float(np.sqrt(n)) / top * 100, "count": int(n)}
        for n, a in zip(counts, everyone, strict=True)
    ]


def _place(brush: Brush, edges: np.ndarray) -> dict[str, float]:
    """Return where a range lies on a histogram, in percent."""
    first, width = float(edges[0]), float(edges[-1] - edges[0])
    low, high = (max(0.0, min(1.0, (value - first) / width)) for value in (brush.low, brush.high))
    return {"x": 100 * low, "width": 100 * (high - low)}
