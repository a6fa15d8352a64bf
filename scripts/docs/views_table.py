"""The public views as a section of the SQL guide, made from their comments: `python -m scripts.docs.views_table`."""

from __future__ import annotations

import html
import sys
from dataclasses import dataclass

from pipeline.store.database import connect
from pipeline.store.reader import Connection
from pipeline.store.schema import definition

_VIEWS = "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal ORDER BY view_name"
_COLUMNS = """
SELECT column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal AND table_name = ? ORDER BY column_index
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a view; `comment` is None where there is none."""

    name: str
    type: str
    comment: str | None


@dataclass(frozen=True, slots=True)
class View:
    """A public view."""

    name: str
    comment: str | None
    columns: tuple[Column, ...]


def views(db: Connection) -> list[View]:
    """Return the views of the default database with their comments, by name."""
    return [
        View(name, comment, tuple(Column(*row) for row in db.execute(_COLUMNS, [name]).fetchall()))
        for name, comment in db.execute(_VIEWS).fetchall()
    ]


def markdown(found: list[View]) -> str:
    """Return one folded table of columns per view."""
    return "\n".join(line for view in found for line in _section(view))


def public() -> list[View]:
    """Return the views of an empty store: the scoreboard has no metrics in it yet."""
    with connect(threads=1) as db:
        definition.create(db)
        return views(db)


def _section(view: View) -> list[str]:
    rows = [f"| `{column.name}` | {column.type} | {_cell(column.comment)} |" for column in view.columns]
    summary = f"<details><summary><code>{view.name}</code> {html.escape(view.comment or '', quote=False)}</summary>"
    return [summary, "", "| column | type | |", "|---|---|---|", *rows, "", "</details>", ""]


def _cell(comment: str | None) -> str:
    return html.escape(comment or "", quote=False).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(markdown(public()))
