"""From measured sensitivity to the choice of one candidate for each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ops.core.errors import BadParamsError
from ops.core.registry import nearest
from pipeline.measure.sensitivity.allocation import AllocationError, Option, Solution, choose_options
from pipeline.plan.allocation import AllocationRequest
from pipeline.plan.candidates import LayerCandidate
from pipeline.store.records.run_records import Sensitivity, SensitivityTime

__all__ = ["LayerEvidence", "choose_candidates", "predicted_damage"]

_BROKEN = 1e299
"""Damage from which on the changed model gives no numbers."""


@dataclass(frozen=True, slots=True)
class LayerEvidence:
    """What was measured of a model's layers."""

    layers: Sequence[Sensitivity]
    times: Sequence[SensitivityTime]


def choose_candidates(
    request: AllocationRequest, candidates: Sequence[LayerCandidate], evidence: LayerEvidence
) -> tuple[Solution, dict[str, float]]:
    """Return the choice, and what the model costs before it.

    Raises:
        AllocationError: a budget cannot be met.
        BadParamsError: a pattern reaches no layer.
    """
    before = _costs_before(candidates, evidence)
    bounds = {}
    for budget in request.budgets:
        if budget.cost not in before or not before[budget.cost]:
            raise AllocationError(
                f"{budget.cost}: no candidate changes it, so it stays what it is; leave this budget out"
            )
        bounds[budget.cost] = budget.absolute(before[budget.cost])
    layers = [name for row in evidence.layers for name in row.members]
    for where, patterns in (("exclude", request.exclude), ("limits", tuple(request.limits))):
        _check_patterns(where, patterns, layers)
    options = [one for one in _options(request, evidence) if _is_allowed(one, request)]
    return choose_options(options, before, bounds, costs=sorted(before)), before


def predicted_damage(rows: Sequence[Sensitivity], damage: str) -> dict[tuple[str, str], tuple[float, float]]:
    """Return (candidate, layer) -> damage and its standard error.

    Where a layer was not run it is the score times what a candidate's measured layers have per score; its error is as large.
    """
    measured: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        value = getattr(row, damage)
        if value is not None and row.score and value < _BROKEN:
            measured.setdefault(row.candidate, []).append((value, row.score))
    result: dict[tuple[str, str], tuple[float, float]] = {}
    for row in rows:
        value, pairs = getattr(row, damage), measured.get(row.candidate, [])
        if value is not None:
            result[row.candidate, row.layer] = value, getattr(row, f"{damage}_se") or 0.0
        elif row.score is not None and pairs:
            guess = row.score * sum(one for one, _ in pairs) / sum(score for _, score in pairs)
            result[row.candidate, row.layer] = guess, abs(guess)
    return result


def _options(request: AllocationRequest, evidence: LayerEvidence) -> Iterator[Option]:
    damages = predicted_damage(evidence.layers, request.damage)
    saved = {(row.candidate, row.layer): row.saved_seconds for row in evidence.times}
    for row in evidence.layers:
        damage = damages.get((row.candidate, row.layer))
        if row.reason or damage is None or damage[0] >= _BROKEN:
            continue
        savings = {
            "weight_bytes": float(row.weight_bytes),
            "compressed_weight_bytes": float(row.compressed_weight_bytes),
            "macs": float(row.macs),
            "seconds": saved.get((row.candidate, row.layer), 0.0),
        }
        yield Option(row.layer, tuple(row.members), row.candidate, *damage, savings)


def _is_allowed(option: Option, request: AllocationRequest) -> bool:
    if any(_reaches(pattern, option.members) for pattern in request.exclude):
        return False
    return all(option.damage <= most for pattern, most in request.limits.items() if _reaches(pattern, option.members))


def _reaches(pattern: str, layers: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in layers)


def _check_patterns(where: str, patterns: Sequence[str], layers: Sequence[str]) -> None:
    for pattern in patterns:
        if not _reaches(pattern, layers):
            raise BadParamsError(
                f"allocate.{where}: '{pattern}' matches no layer that can change.{nearest(pattern, layers)}"
            )


def _costs_before(candidates: Sequence[LayerCandidate], evidence: LayerEvidence) -> dict[str, float]:
    """What the model costs as it is; of files where a candidate makes one, since the result is a file then."""
    on_files = {one.label for one in candidates if not one.on_network}
    rows = sorted(evidence.layers, key=lambda row: row.candidate not in on_files)
    before: Mapping[str, float] = rows[0].before if rows else {}
    work = max((row.before["macs"] for row in rows), default=0.0)
    timed: dict[str, float] = {}
    for row in evidence.times:
        timed[row.candidate] = timed.get(row.candidate, 0.0) + row.before_seconds
    seconds = {"seconds": sum(timed.values()) / len(timed)} if timed else {}
    sizes = {name: float(value) for name, value in before.items() if name != "macs"}
    return {**sizes, **({"macs": work} if work else {}), **seconds}
