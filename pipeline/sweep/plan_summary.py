"""A plan in figures, for programs: its steps, which of them are there, and how long the others took in earlier runs."""

from __future__ import annotations

from typing import Any

from pipeline.core.secret_values import hidden
from pipeline.engine.progress import ExpectedSeconds
from pipeline.sweep.prepare import Prepared

__all__ = ["plan_summary"]


def plan_summary(prepared: Prepared) -> dict[str, Any]:
    """Return what would run: steps (path, key, op, params, is_there), jobs, expected seconds, and notes.

    An operation that no run has finished is counted in `jobs_of_unknown_length`, and adds nothing to the seconds; what is
    measured of its model is expected to take as long as of the others.
    """
    missing = {job.key for job in prepared.missing()}
    expected, steps = ExpectedSeconds(prepared.store.durations()), prepared.plan.by_key()
    waiting = [expected.of(job, steps[job.model].op) for job in prepared.jobs if job.key in missing]
    return {
        "steps": [
            {
                "path": step.path,
                "key": step.key,
                "op": step.op,
                "params": hidden(step.written),
                "is_there": step.key not in missing,
            }
            for step in prepared.plan.steps
        ],
        "jobs_to_run": len(waiting),
        "expected_seconds": round(sum(one or 0.0 for one in waiting), 1),
        "jobs_of_unknown_length": sum(one is None for one in waiting),
        "notes": [*prepared.preprocessing, *prepared.notes],
    }
