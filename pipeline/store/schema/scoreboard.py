"""The `scoreboard` view: one row per model, target, device and data set, one column per metric.

Its columns are the metrics at hand, so it is written anew whenever a metric appears. Numbers that do not depend on a
target, a device or a data set stand in every row of their model; numbers of two devices never stand in one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import duckdb

from pipeline.store.database import one
from pipeline.store.records.columns import column_comment, sql_name, sql_text
from pipeline.store.records.run_records import DatasetInfo, Model

_NAMELESS = "unnamed"
_FIXED = {
    "model_key": column_comment(Model, "model_key"),
    "model": column_comment(Model, "name"),
    **{name: column_comment(Model, name) for name in ("recipe", "op", "kind", "depth")},
    "target": "The runtime; NULL if the row holds only numbers that need none.",
    "device": "The machine that the device-bound numbers were measured on; NULL if the row holds none.",
    "dataset_key": "Fingerprint of the data set; NULL if the row holds only numbers that need none.",
    "dataset": column_comment(DatasetInfo, "name"),
}
_VIEW = """\
CREATE OR REPLACE VIEW scoreboard AS
WITH superseded AS (  -- as in the view `measurements`
    SELECT rough.evidence_key, model_key, target, device
    FROM timing_process rough JOIN timing_process session USING (model_key, target, device)
    WHERE rough.conditions ->> '$.preset.alone' = 'false'
        AND session.role = 'model' AND session.conditions ->> '$.preset.alone' IS DISTINCT FROM 'false'
),
newest AS (
    SELECT model_key, target, device, dataset_key, metric, arg_max(value, (measured_at, recorded_at)) AS value
    FROM measurement ANTI JOIN superseded USING (evidence_key, model_key, target, device)
    GROUP BY ALL
),
targets AS (
    SELECT DISTINCT model.model_key, coalesce(newest.target, '') AS target
    FROM model LEFT JOIN newest ON newest.model_key = model.model_key AND newest.target <> ''
),
devices AS (
    SELECT DISTINCT targets.*, coalesce(newest.device, '') AS device
    FROM targets
    LEFT JOIN newest ON newest.model_key = targets.model_key AND newest.target IN ('', targets.target)
        AND newest.device <> ''
),
places AS (
    SELECT DISTINCT devices.*, coalesce(newest.dataset_key, '') AS dataset_key
    FROM devices
    LEFT JOIN newest ON newest.model_key = devices.model_key AND newest.target IN ('', devices.target)
        AND newest.device IN ('', devices.device) AND newest.dataset_key <> ''
)
SELECT model.model_key, any_value(model.name) AS model, any_value(model.recipe) AS recipe, any_value(model.op) AS op,
       any_value(model.kind) AS kind, any_value(model.depth) AS depth,
       nullif(places.target, '') AS target, nullif(places.device, '') AS device,
       nullif(places.dataset_key, '') AS dataset_key, any_value(dataset.name) AS dataset{columns}
FROM places
JOIN model USING (model_key)
LEFT JOIN dataset USING (dataset_key)
LEFT JOIN newest ON newest.model_key = places.model_key AND newest.target IN ('', places.target)
    AND newest.device IN ('', places.device) AND newest.dataset_key IN ('', places.dataset_key)
GROUP BY model.model_key, places.target, places.device, places.dataset_key"""

COMMENT = (
    "One row per model, target, device and data set, one column per metric: the newest values, NULL if not a number."
)
_NEW_METRICS = """\
SELECT metric FROM metric ANTI JOIN scoreboard_column USING (metric)
GROUP BY metric ORDER BY min(recorded_at), metric"""
_COLUMNS = """\
SELECT c.name, m.metric, m.unit, m.better, m.description
FROM metrics m JOIN {table} c USING (metric)
ORDER BY c.rowid"""


class Column(NamedTuple):
    """A metric as a column."""

    name: str
    metric: str
    comment: str


def column_name(metric: str, in_use: Iterable[str]) -> str:
    """Return the name of a metric's column: its own, unless SQL, which ignores case, would take it for another's.

    SQL knows no empty name and ends a query at a NUL; a view that cannot be made would keep a store from being published.
    """
    used = {name.casefold() for name in (*_FIXED, *in_use)}
    own = metric.replace("\0", "") or _NAMELESS
    name, tries = own, 1
    while name.casefold() in used:
        tries += 1
        name = f"{own}_{tries}"
    return name


def definition(columns: Sequence[Column]) -> str:
    """The statement that makes the view."""
    selected = "".join(
        f",\n       max(newest.value) FILTER (newest.metric = {sql_text(c.metric)} AND NOT isnan(newest.value)) AS {sql_name(c.name)}"
        for c in columns
    )
    return _VIEW.format(columns=selected)


def statements(columns: Sequence[Column]) -> list[str]:
    """The statements that make the view and its comments."""
    comments = {**_FIXED, **{c.name: c.comment for c in columns}}
    return [
        definition(columns),
        f"COMMENT ON VIEW scoreboard IS {sql_text(COMMENT)}",
        *(
            f"COMMENT ON COLUMN scoreboard.{sql_name(name)} IS {sql_text(comment)}"
            for name, comment in comments.items()
        ),
    ]


def refresh(db: duckdb.DuckDBPyConnection) -> None:
    """Make the view fit the metrics in the default database, if it does not yet."""
    for (metric,) in db.execute(_NEW_METRICS).fetchall():
        in_use = [name for (name,) in db.execute("SELECT name FROM scoreboard_column").fetchall()]
        db.execute("INSERT INTO scoreboard_column VALUES (?, ?)", [metric, column_name(metric, in_use)])
    expected = statements(scoreboard_columns(db))
    text = ";\n".join(expected)
    if one(db, "SELECT value FROM meta WHERE key = 'scoreboard'") == text:
        return
    for statement in expected:
        db.execute(statement)
    db.execute("INSERT INTO meta VALUES ('scoreboard', ?) ON CONFLICT DO UPDATE SET value = excluded.value", [text])


def scoreboard_columns(db: duckdb.DuckDBPyConnection, table: str = "scoreboard_column") -> list[Column]:
    """The columns that the metrics at hand have in the view; `table` is where their names are."""
    rows = db.execute(_COLUMNS.format(table=table)).fetchall()
    return [Column(name, metric, _comment(metric, *about)) for name, metric, *about in rows]


def _comment(metric: str, unit: str, better: str, description: str) -> str:
    facts = ", ".join(
        filter(None, [f"in {unit}" if unit else "", "" if better == "neither" else f"{better} is better"])
    )
    return f"{description or metric}{f' ({facts})' if facts else ''}"
