"""All models with their parameters and metrics: sorted, filtered and paged on the server, so that 5,000 cost one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from viewer.compare.cards import whole_card
from viewer.format.templates import render
from viewer.results.experiments import FACETS
from viewer.session.choices import choices
from viewer.session.compared_models import flag
from viewer.session.messages import whole_number
from viewer.session.notes import Notes
from viewer.session.session import VisitorSession
from viewer.session.state import NAME, REPLICATES
from viewer.session.view import Action, View
from viewer.table.columns import TableColumn
from viewer.table.export import models_csv, rows_sql
from viewer.table.filters import LONGEST_FILTER
from viewer.table.parallel import MOST_AXES, ParallelCoordinates
from viewer.table.rows import TableRows

__all__ = ["TableView"]

PAGE = 50
_FIELDS = ("columns", "where", "order", "descending", "rows_from", "selected", "filters", "setting", "within", "group")


class TableView(View):
    """A page of its own: `draw_page` gives its markup."""

    title: ClassVar[str] = "Table"
    shows: ClassVar[frozenset[str]] = frozenset({*_FIELDS, "card", "look", "dragging", "color", "theme"})

    def __init__(self, session: VisitorSession) -> None:
        super().__init__(session)
        self._notes = Notes(session.path)

    def actions(self) -> dict[str, Action]:
        return {
            "sort": self._sort,
            "turn": self._turn,
            "column_shown": self._column_shown,
            "columns_usual": lambda message: self._show_columns([]),
            "columns_remembered": self._remembered,
            "where": self._where,
            "where_clear": lambda message: self.state.change({"where": {}, "rows_from": 0}),
            "row": self._row,
            "row_card": self._card,
            "row_map": self._on_map,
            "rows_chosen": lambda message: self.state.pick(self._keys(self.table().passing)),
            "axis": self._axis,
            "t_flag": self._flag,
            "t_unflag": self._flag,
            "csv": self._csv,
            "sql": self._sql,
        }

    def table(self) -> TableRows:
        """Return the rows of the state as it is."""
        return TableRows(self.session.results, self.state, self._notes.about_models())

    def draw_page(self) -> str:
        table = self.table()
        if self.state.look == "lines":
            return self._draw(table, lines=True)
        return self._draw(table, min(self.state.rows_from, _last(table)))

    def total(self) -> int:
        """Return the number of lines on all pages."""
        return len(self.table().entries)

    def rows(self) -> list[int]:
        """Return all rows in the order asked for."""
        return self.table().rows

    def draw_rows(self, start: int, count: int) -> str:
        """Return the table's markup with some of its rows."""
        return self._draw(self.table(), start, count)

    def _draw(self, table: TableRows, start: int = 0, count: int = PAGE, *, lines: bool = False) -> str:
        results, state = self.session.results, self.state
        entries = [] if lines else table.entries[start : start + count]
        groups = self._groups(table, entries)
        total = len(table.passing) if lines else len(table.entries)
        return render(
            "table",
            choices=self._choices(table),
            headings=[self._heading(table, column, at) for at, column in enumerate(table.headings)],
            rows=[table.line(entry) | {"group": groups.get(entry[0], "")} for entry in entries],
            start=start,
            stop=start + len(entries),
            total=total,
            models=len(table.passing),
            page=count,
            sorted_by=f"{state.order} {state.descending} {state.where}",
            within=state.within,
            budgets=results.ranking.filter_texts(state.filters),
            group=table.group,
            facets=self._groupings(table),
            problems=list(table.problems.values()),
            filtered=bool(state.where),
            look=state.look if not lines else "lines",
            lines=ParallelCoordinates(table, dark=self.session.dark).drawing() if lines else None,
            most_axes=MOST_AXES,
            dragging=state.dragging,
            card=self._open_card(table),
        )

    def _choices(self, table: TableRows) -> list[tuple[str, list[dict[str, Any]]]]:
        """Return what columns there are, by what they are of."""
        visible, columns = {column.id for column in table.visible}, table.columns
        kinds = (("Parameters", columns.parameters), ("Experiments", columns.facets), ("Metrics", columns.metrics))
        return [
            (
                kind,
                [
                    {"id": name, "label": column.title, "about": column.about, "is_visible": name in visible}
                    for name, column in some.items()
                ],
            )
            for kind, some in kinds
            if some
        ]

    def _groupings(self, table: TableRows) -> list[tuple[str, str]]:
        telling = self.session.results.experiments.telling
        pool = [(REPLICATES, "Seeds: mean and spread")] if table.replicates.exist else []
        return pool + [(facet, FACETS[facet]) for facet in FACETS if facet in telling or facet == self.state.group]

    def _groups(self, table: TableRows, entries: Sequence[tuple[int, ...]]) -> dict[int, str]:
        """Row -> the heading that stands before it: where a group begins, and on top of every page."""
        facet = table.group
        if facet not in FACETS:
            return {}
        texts = self.session.results.experiments.texts(facet)
        sizes = Counter(texts[row] for row in table.rows)
        rows = [entry[0] for entry in entries]
        before = [None, *(texts[row] for row in rows)]
        return {
            row: f"{FACETS[facet]} {texts[row] or 'unknown'} · {sizes[texts[row]]:,} model{'' if sizes[texts[row]] == 1 else 's'}"
            for row, last in zip(rows, before, strict=False)
            if texts[row] != last
        }

    def _heading(self, table: TableRows, column: TableColumn, at: int) -> dict[str, Any]:
        here = self.state.order == column.id
        arrow = ("descending" if self.state.descending else "ascending") if here else "none"
        return {
            "id": column.id,
            "at": at,
            "label": column.label,
            "over": column.over,
            "title": column.title,
            "sorted": arrow,
            "kind": "name" if column.id == NAME else "made" if at == 1 else "number" if column.is_number else "words",
            "about": column.about,
            "where": self.state.where.get(column.id, ""),
            "problem": table.problems.get(column.id, ""),
        }

    # ---- the card of a row
    def _open_card(self, table: TableRows) -> dict[str, Any] | None:
        key, results = self.state.card, self.session.results
        if key not in results.row:
            return None
        card, tries = whole_card(results, key)
        return {
            "key": key,
            "markup": card,
            "tries": tries,
            "chosen": key in self.state.selected,
            "notes": self._notes.seen_by(self.session.user).of("model").get(key),
        }

    def _card(self, message: Mapping[str, Any]) -> None:
        key = str(message.get("key", ""))
        self.state.change({"card": key if key in self.session.results.row and key != self.state.card else ""})

    def _on_map(self, message: Mapping[str, Any]) -> None:
        keys = self.session.known_models([str(message.get("key"))])
        if keys:
            self.state.change({"page": "overview"})
            self.state.pick(keys)
            self.session.reveal(keys[0])

    def _flag(self, message: Mapping[str, Any]) -> None:
        flag(self.session, self._notes, message, kinds=("model",))
        self.session.send("panes", {"page": self.draw_page()})

    # ---- order, columns, filters
    def _sort(self, message: Mapping[str, Any]) -> None:
        order = str(message.get("order", ""))
        column = self.table().find(order)
        if column is None:
            return
        again = order == self.state.order
        first = column.is_metric and self.session.results.better(order) == "higher"
        self.state.change({"order": order, "descending": not self.state.descending if again else first, "rows_from": 0})

    def _turn(self, message: Mapping[str, Any]) -> None:
        self.state.change({"rows_from": min(_last(self.table()), max(0, whole_number(message, "start")))})

    def reveal(self, key: str) -> None:
        """Turn to the rows that a model is among; those outside the budget and the filters too, if it is."""
        row = self.session.results.row.get(key, -1)
        if row >= 0 and row not in self.rows():
            self.state.change({"within": False, "where": {}})
        entries = self.table().entries
        at = next((at for at, entry in enumerate(entries) if row in entry), None)
        if at is not None:
            self.state.change({"rows_from": at // PAGE * PAGE})
            self.session.send("row", self.session.results.keys[entries[at][0]][:16])

    def _column_shown(self, message: Mapping[str, Any]) -> None:
        names, name = [column.id for column in self.table().visible], str(message.get("column"))
        self._show_columns([n for n in names if n != name] if name in names else [*names, name])

    def _show_columns(self, names: list[str]) -> None:
        all_columns = self.table().columns.all
        self.state.change({"columns": [name for name in all_columns if name in names]})
        self.session.send("columns", {"study": self.session.path.name, "names": self.state.columns})

    def _remembered(self, message: Mapping[str, Any]) -> None:
        """The browser remembers the columns of an earlier visit; an address that names some goes before."""
        names = message.get("names")
        if isinstance(names, list) and message.get("study") == self.session.path.name and not self.state.columns:
            all_columns = self.table().columns.all
            self.state.change({"columns": [name for name in all_columns if name in names]})

    def _where(self, message: Mapping[str, Any]) -> None:
        name, text = str(message.get("column")), str(message.get("text", message.get("value", "")))
        text = text[: LONGEST_FILTER + 1]  # too long by one: it is refused with the reason
        if self.table().find(name) is None:
            return
        where = {**self.state.where, name: text.strip()}
        self.state.change({"where": {name: text for name, text in where.items() if text}, "rows_from": 0})

    def _axis(self, message: Mapping[str, Any]) -> None:
        """A range was dragged on an axis: it narrows the table, sets a budget, or selects."""
        table = self.table()
        lines = ParallelCoordinates(table, dark=self.session.dark)
        column = table.find(str(message.get("column")))
        if column is None:
            return
        if self.state.dragging == "select" and "low" in message:
            self.state.pick(self._keys(lines.within(column, message)))
        elif column.is_metric:
            others = [each for each in self.state.filters if each[0] != column.id]
            choices(self.session.results).set_filters(self.state, [*others, *lines.budget(column, message)])
        else:
            self._where({"column": column.id, "text": lines.filter_text(column, message)})

    # ---- selection
    def _keys(self, rows: Sequence[int]) -> list[str]:
        return [self.session.results.keys[row] for row in rows]

    def _row(self, message: Mapping[str, Any]) -> None:
        keys = self.session.known_models(str(message.get("keys") or message.get("key")).split(","))
        if keys and set(keys) <= set(self.state.selected):
            self.state.pick([other for other in self.state.selected if other not in keys])
        elif keys:
            self.state.pick([*self.state.selected, *keys])

    # ---- files
    def _csv(self, message: Mapping[str, Any]) -> None:
        rows = range(len(self.session.results.keys)) if message.get("every") else self.rows()
        self.session.send("save", {"name": "models.csv", "type": "text/csv", "text": self.as_csv(rows)})

    def as_csv(self, rows: Sequence[int]) -> str:
        """Write models with all metrics and their intervals, in full precision."""
        return models_csv(self.session.results, rows, self._notes.about_models())

    def _sql(self, message: Mapping[str, Any]) -> None:
        query, left_out = rows_sql(self.table())
        self.session.send("copy", query)
        if left_out:
            self.session.notices = [left_out]
            self.session.send("panes", {"notice": self.session.draw_notice()})


def _last(table: TableRows) -> int:
    """Return the first line of the last page."""
    return max(0, (len(table.entries) - 1) // PAGE * PAGE)
