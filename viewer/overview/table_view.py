"""All models with all metrics: sorted and paged on the server, so that 5,000 models cost the browser one page."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from viewer.format.natural_order import natural_key
from viewer.format.templates import render
from viewer.results.experiments import FACETS
from viewer.results.lineage import Node
from viewer.results.table_sql import sql_of_table
from viewer.session.messages import whole_number
from viewer.session.view import Action, View

__all__ = ["TableView"]

PAGE = 50
_FIRST_METRICS = 8


class TableView(View):
    """A page of its own: `draw_page` gives its markup."""

    title: ClassVar[str] = "Table"
    shows: ClassVar[frozenset[str]] = frozenset(
        {"columns", "order", "descending", "rows_from", "selected", "filters", "setting", "within", "group"}
    )

    def actions(self) -> dict[str, Action]:
        return {
            "sort": self._sort,
            "turn": self._turn,
            "column_shown": self._column_shown,
            "row": self._row,
            "csv": self._csv,
            "sql": self._sql,
        }

    def draw_page(self) -> str:
        return self.draw_rows(min(self.state.rows_from, self._last()), PAGE)

    def total(self) -> int:
        """Return the number of rows on all pages."""
        return len(self.rows())

    def _last(self) -> int:
        """Return the first row of the last page."""
        return max(0, (self.total() - 1) // PAGE * PAGE)

    def draw_rows(self, start: int, count: int) -> str:
        """Return the table's markup with some of its rows."""
        results, state = self.session.results, self.state
        rows = self.rows()
        columns = self.columns()
        selection, passing = set(state.selected), self.session.results.ranking.passing(state.filters)
        groups = self._groups(rows, start, count)
        return render(
            "table",
            metrics=[
                {
                    "name": m.name,
                    "label": results.label(m.name),
                    "about": results.about(m.name),
                    "shown": m.name in columns,
                }
                for m in results.metrics
            ],
            headings=[
                self._heading(" name", "Model", "name"),
                self._heading(" op", "Operation", "made"),
                *(self._heading(m, results.label(m), "number") for m in columns),
            ],
            rows=[
                self._words(results.forest[results.keys[row]])
                | {
                    "group": groups.get(row, ""),
                    "chosen": results.keys[row] in selection,
                    "faint": not passing[row],
                    "cells": [self._cell(metric, row) for metric in columns],
                }
                for row in rows[start : start + count]
            ],
            sorted_by=f"{state.order} {state.descending}",
            start=start,
            stop=min(start + count, len(rows)),
            total=len(rows),
            page=PAGE,
            budgets=results.ranking.filter_texts(state.filters),
            within=state.within,
            facets=[(facet, FACETS[facet]) for facet in FACETS if facet in results.experiments.telling],
            group=state.group,
        )

    def _groups(self, rows: list[int], start: int, count: int) -> dict[int, str]:
        """Return the heading before each row that begins a group, or the page."""
        group = self.state.group
        if not group:
            return {}
        texts = self.session.results.experiments.texts(group)
        sizes = Counter(texts[row] for row in rows)
        shown = rows[start : start + count]
        before = [None, *(texts[row] for row in shown)]
        return {
            row: f"{FACETS[group]} {texts[row] or 'unknown'} · {sizes[texts[row]]:,} model{'' if sizes[texts[row]] == 1 else 's'}"
            for row, last in zip(shown, before, strict=False)
            if texts[row] != last
        }

    def _words(self, node: Node) -> dict[str, str]:
        """Return what stands before the figures: the operation as the map words it, and all of it in `made_by`."""
        results = self.session.results
        return {
            "key": node.key,
            "name": results.text.name(node.key),
            "path": node.name,
            "operation": node.op.replace("_", " "),
            "telling": results.text.telling_text(node.brief),
            "made_by": f"{node.op.replace('_', ' ')} {results.text.parameters_text(node)}",
        }

    def _cell(self, metric: str, row: int) -> dict[str, str]:
        results = self.session.results
        return {"value": results.show(metric, row), "interval": results.show_interval(metric, row)}

    def columns(self) -> list[str]:
        """The metrics shown, in their order in the study."""
        names = [metric.name for metric in self.session.results.metrics]
        return [name for name in names if name in self.state.columns] or names[:_FIRST_METRICS]

    def rows(self) -> list[int]:
        """All rows in scope in the order asked for, group by group, or those within the budget if only they are."""
        results, group = self.session.results, self.state.group
        among = results.ranking.passing(self.state.filters) if self.state.within else results.scope
        rows = [row for row in self._ordered() if among[row]]
        if not group:
            return rows
        texts = results.experiments.texts(group)
        return sorted(rows, key=lambda row: (not texts[row], natural_key(texts[row])))

    def _ordered(self) -> list[int]:
        """All rows in the order asked for; those without a value come last, either way."""
        results, order = self.session.results, self.state.order
        if order == "":
            return list(range(len(results.keys)))[:: -1 if self.state.descending else 1]
        if order in (" op", " name"):
            return sorted(
                range(len(results.keys)), key=lambda row: self._text_key(order, row), reverse=self.state.descending
            )
        values = results.values(order)
        measured = [int(row) for row in np.argsort(values, kind="stable") if np.isfinite(values[row])]
        unknown = [int(row) for row in np.flatnonzero(~np.isfinite(values))]
        return (measured[::-1] if self.state.descending else measured) + unknown

    def _text_key(self, order: str, row: int) -> tuple[Any, ...]:
        key = self.session.results.keys[row]
        return natural_key(
            self.session.results.text.operation(key) if order == " op" else self.session.results.text.name(key)
        )

    def _heading(self, order: str, label: str, kind: str) -> dict[str, Any]:
        here = self.state.order == order
        arrow = ("descending" if self.state.descending else "ascending") if here else "none"
        about = "" if order.startswith(" ") else self.session.results.about(order)
        return {"order": order, "label": label, "sorted": arrow, "kind": kind, "about": about}

    def _sort(self, message: Mapping[str, Any]) -> None:
        order = str(message.get("order", ""))
        if order not in {" name", " op", *(metric.name for metric in self.session.results.metrics)}:
            return
        again = order == self.state.order
        first = self.session.results.better(order) == "higher" if not order.startswith(" ") else False
        self.state.change({"order": order, "descending": not self.state.descending if again else first, "rows_from": 0})

    def _turn(self, message: Mapping[str, Any]) -> None:
        self.state.change({"rows_from": min(self._last(), max(0, whole_number(message, "start")))})

    def reveal(self, key: str) -> None:
        """Turn to the rows that a model is among; those outside the budget too, if it is."""
        results = self.session.results
        row = results.row.get(key, -1)
        if row not in self.rows():
            self.state.change({"within": False})
        if row in (rows := self.rows()):
            self.state.change({"rows_from": rows.index(row) // PAGE * PAGE})
            self.session.send("row", key[:16])

    def _column_shown(self, message: Mapping[str, Any]) -> None:
        names, metric = self.columns(), str(message.get("metric"))
        self.state.change({"columns": [n for n in names if n != metric] if metric in names else [*names, metric]})

    def _row(self, message: Mapping[str, Any]) -> None:
        key = str(message.get("key"))
        if key in self.state.selected:
            self.state.pick([other for other in self.state.selected if other != key])
        elif self.session.known_models([key]):
            self.state.pick([*self.state.selected, key])

    def _csv(self, message: Mapping[str, Any]) -> None:
        rows = range(len(self.session.results.keys)) if message.get("every") else self.rows()
        self.session.send("save", {"name": "models.csv", "type": "text/csv", "text": self.as_csv(rows)})

    def as_csv(self, rows: Iterable[int]) -> str:
        """Write models with all metrics and their intervals, in full precision."""
        results = self.session.results
        text = io.StringIO()
        write = csv.writer(text).writerow
        names = [metric.name for metric in results.metrics]
        write(
            ["model_key", "model", "name", "parent_key", "operation", "parameters", *FACETS]
            + [title for name in names for title in (name, f"{name} low", f"{name} high")]
        )
        for row in rows:
            node = results.forest[results.keys[row]]
            numbers = [v for name in names for v in results.column(name).row(row)]
            write(
                [
                    _safe(cell)
                    for cell in (
                        node.key,
                        results.text.name(node.key),
                        node.name,
                        node.parent or "",
                        node.op,
                        results.text.parameters_text(node),
                        *(results.experiments.texts(facet)[row] for facet in FACETS),
                    )
                ]
                + ["" if not np.isfinite(v) else repr(float(v)) for v in numbers]
            )
        return text.getvalue()

    def _sql(self, message: Mapping[str, Any]) -> None:
        order = (
            "" if self.state.order == "" else {" name": "model", " op": "op"}.get(self.state.order, self.state.order)
        )
        query = sql_of_table(
            self.columns(),
            self.session.results.context,
            order,
            descending=self.state.descending,
            within=self.session.results.ranking.effective_budgets(self.state.filters) if self.state.within else (),
        )
        self.session.send("copy", query)


def _safe(text: str) -> str:
    """Text that a spreadsheet would run as a formula is marked as text."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
