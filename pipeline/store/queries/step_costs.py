"""Processor time of jobs by operation and parameters, from which that of a further one is expected."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.store.documents import json_mapping
from pipeline.store.reader import open_results

__all__ = ["StepCost", "step_costs"]


class StepCost(NamedTuple):
    """One job that ran to its end."""

    job: str
    op: str
    model: str
    params: Mapping[str, Any]
    cpu_seconds: float
    """Processor time of the job's process; its wall-clock seconds where that is unknown."""


def step_costs(results: Path) -> list[StepCost]:
    """Return every job that was done, of all runs.

    Args:
        results: the results file.

    Raises:
        StoreError: if it cannot be read.
    """
    with open_results(results) as db:
        rows = db.execute(
            "SELECT job, op, model_key, params, coalesce(cpu_seconds, seconds) FROM steps"
            " WHERE outcome = 'done' AND coalesce(cpu_seconds, seconds) IS NOT NULL"
        ).fetchall()
    return [
        StepCost(job, op or "", model, json_mapping(params), float(seconds)) for job, op, model, params, seconds in rows
    ]
