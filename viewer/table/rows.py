"""The rows of the table: filtered, in order, in groups; and what each of them shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from viewer.format.natural_order import natural_key
from viewer.results.experiments import FACETS
from viewer.results.results import Results
from viewer.session.notes import Note
from viewer.session.state import NAME, OPERATION, REPLICATES, TAGS, ViewState
from viewer.table.columns import TableColumn, TableColumns, tag_column
from viewer.table.filters import FilterError, matching
from viewer.table.replicates import Replicates, summarize_seeds

__all__ = ["TableRows"]

_MOST_SEEDS = 6


class TableRows:
    """The table of one visitor's state, drawn or written."""

    def __init__(self, results: Results, state: ViewState, notes: Mapping[str, list[Note]]) -> None:
        """`notes`: key of a model -> the notes on it."""
        self.results, self.state = results, state
        self.columns = results.shared(TableColumns)
        self.replicates = results.shared(Replicates)
        self.tags = tag_column(results, notes)
        self.visible = self.columns.of_choice(state.columns)
        self.has_tags = bool(notes) or TAGS in state.where
        self.problems: dict[str, str] = {}
        """Id of a column -> why its filter cannot be read; it lets all rows through."""
        self.among = self._among()

    def find(self, column: str) -> TableColumn | None:
        """Return a column by its id; None where there is none."""
        return self.tags if column == TAGS else self.columns.find(column)

    @property
    def headings(self) -> list[TableColumn]:
        """All columns of the table, the name first."""
        fixed = self.columns.fixed
        return [fixed[NAME], fixed[OPERATION], *([self.tags] if self.has_tags else []), *self.visible]

    def _among(self) -> np.ndarray:
        """Return the rows in scope that pass the filters of columns, and the budget if only those are asked for."""
        results, state = self.results, self.state
        among = results.ranking.passing(state.filters) if state.within else results.scope.copy()
        for name, text in state.where.items():
            column = self.find(name)
            if column is None:
                continue
            try:
                among &= matching(text, column, len(results.keys))
            except FilterError as problem:
                self.problems[name] = str(problem)
        return among

    @cached_property
    def rows(self) -> list[int]:
        """The rows in the order asked for, group by group."""
        rows = self._in_order([int(row) for row in np.flatnonzero(self.among)])
        if self.group not in FACETS:
            return rows
        texts = self.results.experiments.texts(self.group)
        return sorted(rows, key=lambda row: (not texts[row], natural_key(texts[row])))

    @property
    def passing(self) -> list[int]:
        """The rows that are within the budget too, in the same order."""
        return [row for row in self.rows if self._passing[row]]

    @property
    def group(self) -> str:
        """The facet that rows are grouped by, `REPLICATES`, or nothing."""
        exists = self.state.group in FACETS or (self.state.group == REPLICATES and self.replicates.exist)
        return self.state.group if exists else ""

    def _in_order(self, rows: list[int]) -> list[int]:
        column = self.find(self.state.order) if self.state.order else None
        if column is None:
            return rows[::-1] if self.state.descending else rows
        return column.order(rows, descending=self.state.descending)

    @cached_property
    def entries(self) -> list[tuple[int, ...]]:
        """What stands in one line each: a model, or the replicates of one, in the order of their means."""
        if self.group != REPLICATES:
            return [(row,) for row in self.rows]
        groups = self.replicates.groups(self.rows)
        column = self.find(self.state.order) if self.state.order else None
        values = None if column is None else column.values
        if values is None:
            return groups
        means = [each.mean if (each := summarize_seeds(values, group)) else np.nan for group in groups]
        sign = -1 if self.state.descending else 1
        return [groups[at] for at in sorted(range(len(groups)), key=lambda at: _last_if_unknown(sign * means[at]))]

    # ---- what is shown
    def line(self, entry: Sequence[int]) -> dict[str, Any]:
        """Return what a line shows: of one model its facts, of replicates their mean and spread."""
        results = self.results
        node = results.forest[results.keys[entry[0]]]
        selection, passing = set(self.state.selected), self._passing
        keys = [results.keys[row] for row in entry]
        seeds = self.replicates.seeds(entry) if self.group == REPLICATES else []
        more = f" … {seeds[-1]}" if len(seeds) > _MOST_SEEDS else ""
        return {
            "key": keys[0],
            "keys": ",".join(keys),
            "name": self.replicates.name(entry) if len(entry) > 1 else results.text.name(node.key),
            "path": node.name,
            "seeds": f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds[:_MOST_SEEDS])}{more}"
            if len(entry) > 1
            else "",
            "count": len(entry),
            "operation": node.op.replace("_", " "),
            "telling": results.text.telling_text(node.brief),
            "made_by": f"{node.op.replace('_', ' ')} {results.text.parameters_text(node)}",
            "chosen": all(key in selection for key in keys),
            "open": self.state.card == keys[0],
            "faint": not any(passing[row] for row in entry),
            "cells": [self.cell(column, entry) for column in self.headings[2:]],
        }

    @cached_property
    def _passing(self) -> np.ndarray:
        return self.results.ranking.passing(self.state.filters)

    def cell(self, column: TableColumn, entry: Sequence[int]) -> dict[str, str]:
        """Return a cell: its text, below it its interval or spread, and whether it is a number."""
        kind = "number" if column.is_number else "words"
        if len(entry) == 1:
            note = self.results.show_interval(column.id, entry[0]) if column.is_metric else ""
            missing = "—" if column.is_metric else ""
            return {"value": column.text(entry[0]) or missing, "note": note, "kind": kind}
        if not column.is_metric or column.values is None:
            texts = list(dict.fromkeys(column.text(row) for row in entry))
            return {"value": ", ".join(filter(None, texts)), "note": "", "kind": kind}
        figures = summarize_seeds(column.values, entry)
        if figures is None:
            return {"value": "—", "note": "", "kind": kind}
        return {
            "value": self.results.show_value(column.id, figures.mean),
            "note": self._spread(column, figures),
            "kind": kind,
        }

    def _spread(self, column: TableColumn, figures: Any) -> str:
        ends = [self.results.show_value(column.id, end) for end in (figures.low, figures.high)]
        span = "all alike" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
        return f"{span}, n = {figures.count}" if figures.count > 1 else "n = 1"


def _last_if_unknown(mean: float) -> tuple[bool, float]:
    return bool(np.isnan(mean)), 0.0 if np.isnan(mean) else mean
