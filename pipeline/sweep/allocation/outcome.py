"""What steps with `allocate` came to, beside what was predicted of them and what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.core.keys import Key
from pipeline.measure.metrics.size import compressed_bytes
from pipeline.plan.allocation import read_allocation
from pipeline.stages.sensitivity import ALLOCATION
from pipeline.store.queries.scores import scores
from pipeline.store.records.run_records import Allocation

if TYPE_CHECKING:
    from pipeline.sweep.prepare import Prepared

__all__ = ["allocation_notes", "outcome_of"]

_COMPRESSED = compressed_bytes.__name__
"""The metric: the deployed file, compressed."""
_ROUNDING = 1e-6
"""Share of the model's cost by which a solver may be off."""


def allocation_notes(prepared: Prepared, device: str) -> list[str]:
    """Return a sentence of each allocated model of a run: the costs and the damage, and whether the budgets are met.

    Args:
        prepared: the run, at its end.
        device: of the figures.
    """
    jobs = [job for job in prepared.jobs if job.stage == ALLOCATION.name and job.key in prepared.artifacts]
    if not jobs:
        return []
    files: dict[Key, float] = {}
    for target in prepared.targets:
        for key, own in scores(prepared.config.results, target, device, prepared.data.fingerprint).items():
            if _COMPRESSED in own:
                files.setdefault(Key(key), own[_COMPRESSED].value)
    return [
        f"Step '{job.path}': {outcome_of(record, files.get(job.model))}"
        for job in jobs
        for record in ALLOCATION.read(prepared.artifacts.folder(job.key))
    ]


def outcome_of(record: Allocation, file_bytes: float | None = None) -> str:
    """Say what was predicted, what came out, and which budgets that misses.

    Args:
        record: of the model.
        file_bytes: of its deployed file after compression, if that was measured.
    """
    budgets = {one.cost: one.absolute(record.before[one.cost]) for one in read_allocation(record.request, "").budgets}
    missed = [cost for cost in budgets if not _is_met(record.measured.get(cost), budgets[cost], record.before[cost])]
    parts = [_cost(cost, record.predicted, record.measured, budgets[cost]) for cost in budgets]
    text = f"misses its budget of {', '.join(missed)}: " if missed else ""
    text += "; ".join([*parts, _damage(record)])
    if file_bytes is not None:
        text += f". Its file takes {file_bytes:,.0f} B compressed"
    return text


def _is_met(measured: float | None, bound: float, before: float) -> bool:
    return measured is not None and measured <= bound + _ROUNDING * before


def _cost(cost: str, predicted: Mapping[str, float], measured: Mapping[str, float], bound: float) -> str:
    result = _figure(measured[cost]) if cost in measured else "not measured"
    return f"{cost} {result} (predicted {_figure(predicted[cost])}, at most {_figure(bound)})"


def _damage(record: Allocation) -> str:
    """Both with their standard errors."""
    predicted = f"predicted {record.predicted_damage:.3g} ± {record.predicted_se:.1g}"
    if record.measured_damage is None:
        return f"{record.damage} not measured ({predicted})"
    return f"{record.damage} {record.measured_damage:.3g} ± {record.measured_se or 0.0:.1g} ({predicted})"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004 - four digits either way
