"""What the store notes for itself: tables that no run writes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pipeline.store.records.columns import record_table


@record_table("meta", key="key", recorded=False)
@dataclass(frozen=True, slots=True)
class Meta:
    """The store's own identity and state."""

    key: Annotated[str, "application, store_id, schema_version, revision, schema or scoreboard."]
    value: Annotated[str, "Its text."]


@record_table("scoreboard_column", key="metric", recorded=False)
@dataclass(frozen=True, slots=True)
class ScoreboardColumn:
    """Under which name a metric stands in the scoreboard: given once, so that queries keep working."""

    metric: Annotated[str, "The metric."]
    name: Annotated[str, "Its column in scoreboard: the metric, with a number if another differs only in case."]
