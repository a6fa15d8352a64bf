"""The table for other programs: CSV in full precision, and the SQL that gives its rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping

import numpy as np

from viewer.format.spreadsheet import spreadsheet_safe
from viewer.results.experiments import FACETS
from viewer.results.results import Results
from viewer.results.table_sql import sql_of_table
from viewer.session.notes import Note
from viewer.session.state import NAME, OPERATION
from viewer.table.columns import TableColumns
from viewer.table.rows import TableRows

__all__ = ["models_csv", "rows_sql"]

_HEAD = ["model_key", "model", "name", "parent_key", "operation", "parameters"]
_MOST_KEYS = 2000
"""Of rows that the SQL names by their keys, as no condition on its columns gives them."""


def models_csv(results: Results, rows: Iterable[int], notes: Mapping[str, list[Note]]) -> str:
    """Write models with all parameters, metrics and intervals, tags and notes, in full precision.

    Args:
        results: those at hand.
        rows: of the models.
        notes: key of a model -> the notes on it.
    """
    file = io.StringIO()
    write = csv.writer(file).writerow
    metrics = [metric.name for metric in results.metrics]
    parameters = results.shared(TableColumns).parameters.values()
    titles = [title for name in metrics for title in (name, f"{name} low", f"{name} high")]
    write([*_HEAD, *FACETS, *titles, *(column.title for column in parameters), "tags", "notes"])
    facets = {facet: results.experiments.texts(facet) for facet in FACETS}
    figures = [results.column(name) for name in metrics]
    for row in rows:
        node = results.forest[results.keys[row]]
        facts: tuple[str, ...] = (
            results.text.name(node.key),
            node.name,
            node.parent or "",
            node.op,
            results.text.parameters_text(node),
        )
        facts += tuple(texts[row] for texts in facets.values())
        numbers = [value for figure in figures for value in figure.row(row)]
        own = notes.get(node.key, [])
        remarks = (
            ", ".join(dict.fromkeys(tag for note in own for tag in note.tags)),
            "; ".join(f"{note.who}: {note.why}" for note in own),
        )
        write(
            [*map(spreadsheet_safe, (node.key, *facts))]
            + ["" if not np.isfinite(value) else repr(float(value)) for value in numbers]
            + [spreadsheet_safe(column.text(row)) for column in parameters]
            + [*map(spreadsheet_safe, remarks)]
        )
    return file.getvalue()


def rows_sql(table: TableRows) -> tuple[str, str]:
    """Return the query that gives the table's rows, and a sentence on what it leaves out; mostly empty."""
    results, state = table.results, table.state
    metrics = [column.id for column in table.visible if column.is_metric]
    names = {NAME: "model", OPERATION: "op", **{name: name for name in table.columns.metrics}}
    order = names.get(state.order, "")
    narrow = bool(state.where.keys() - table.problems.keys()) or not results.scope.all()
    keys = [results.keys[row] for row in table.rows] if narrow else []
    omissions: list[str] = []
    if len(keys) > _MOST_KEYS:
        keys, omissions = [], ["filters of columns"]
    if state.order and not order:
        omissions.append("the order")
    query = sql_of_table(
        metrics,
        results.context,
        order,
        descending=state.descending,
        within=results.ranking.effective_budgets(state.filters) if state.within else (),
        keys=keys,
    )
    return query, f"Copied, without {' and '.join(omissions)}: no column of the scoreboard has it" if omissions else ""
