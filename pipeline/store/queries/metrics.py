"""The metrics of a store, as they are defined now."""

from __future__ import annotations

import duckdb

from pipeline.store.records.columns import TABLES
from pipeline.store.records.run_records import Metric

_METRICS = f"SELECT {', '.join(TABLES[Metric].given)} FROM metrics ORDER BY metric"


def stored_metrics(db: duckdb.DuckDBPyConnection) -> dict[str, Metric]:
    """Return name -> what the metric means now, by name."""
    return {row[0]: Metric(*row) for row in db.execute(_METRICS).fetchall()}
