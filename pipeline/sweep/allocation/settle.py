"""Find what each `allocate` of a recipe comes to, as far as the sensitivity that it needs has been measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.core.errors import BadParamsError
from ops.core.operation import Ancestry
from pipeline.core.artifacts import ArtifactStore
from pipeline.engine.stage import Planning
from pipeline.measure.sensitivity.allocation import AllocationError
from pipeline.plan.allocation import AllocatedStep, AllocationRequest, read_allocation
from pipeline.plan.candidates import LayerCandidate, SensitivityRequest, read_candidates
from pipeline.plan.planner import make_plan
from pipeline.plan.recipe import RecipeError, parse
from pipeline.plan.steps import Facts, Plan, Step
from pipeline.stages.sensitivity import SENSITIVITY, SENSITIVITY_TIMES
from pipeline.sweep.allocation.choice import LayerEvidence, choose_candidates
from pipeline.sweep.allocation.written_steps import (
    WrittenAllocation,
    allocations_of,
    ordinary_step,
    replaced,
    without_allocations,
)

__all__ = ["SettledRecipe", "ancestry_of", "request_at", "settle_allocations"]

Targets = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class SettledRecipe:
    """A recipe of ordinary steps."""

    raw: Mapping[str, Any]
    """As plain data; steps with `allocate` whose evidence is there are ordinary steps, others are left out."""
    plan: Plan
    requests: tuple[SensitivityRequest, ...] = ()
    allocations: tuple[AllocatedStep, ...] = ()
    waiting: tuple[str, ...] = ()
    """Paths of steps that are planned when the sensitivity of the models above them has been measured."""


@dataclass(slots=True)
class _Progress:
    tree: dict[str, Any]
    requests: list[SensitivityRequest] = field(default_factory=list)
    allocations: list[AllocatedStep] = field(default_factory=list)


def settle_allocations(
    raw: Mapping[str, Any], facts: Facts, targets: Targets, artifacts: ArtifactStore
) -> SettledRecipe:
    """Put ordinary steps in the place of steps with `allocate`, as far as the evidence for the choice is there.

    Args:
        raw: the recipe as plain data, which `parse` takes.
        facts: of the run.
        targets: conf/target entries by name.
        artifacts: has the evidence.

    Raises:
        RecipeError: a step is wrong, or its budget cannot be met, which is told before anything else runs.
    """
    if next(allocations_of(raw["tree"]), None) is None:
        return SettledRecipe(raw, make_plan(parse(raw), facts))
    progress = _Progress(dict(raw["tree"]))
    _check_ahead(raw, facts)
    while True:
        plan = make_plan(parse({**raw, "tree": without_allocations(progress.tree)}), facts)
        written = list(allocations_of(progress.tree))
        settled = [one for one in written if _settle(one, plan, targets, artifacts, progress)]
        if not settled:
            remainder = {**raw, "tree": without_allocations(progress.tree)}
            waiting = tuple(one.path for one in written)
            return SettledRecipe(remainder, plan, tuple(progress.requests), tuple(progress.allocations), waiting)


def _check_ahead(raw: Mapping[str, Any], facts: Facts) -> None:
    """Plan the recipe with the first candidates in the place of choices, so that mistakes below them are told at once."""
    tree = dict(raw["tree"])
    while written := next(allocations_of(tree), None):
        plan = make_plan(parse({**raw, "tree": without_allocations(tree)}), facts)
        _, candidates = _read(written, plan)
        firsts = {one.op: one for one in reversed(candidates)}
        picks = [(one, ["*"]) for one in reversed(firsts.values())]
        tree = replaced(tree, written.path, ordinary_step(written.path.rpartition("/")[2], picks)[0])
    make_plan(parse({**raw, "tree": tree}), facts)


def _settle(
    written: WrittenAllocation, plan: Plan, targets: Targets, artifacts: ArtifactStore, progress: _Progress
) -> bool:
    """Put steps in the place of one with `allocate`; False where evidence is missing, which is asked for then."""
    request, candidates = _read(written, plan)
    try:
        needed = request_at(_step(plan, written.parent), candidates, request, plan)
    except BadParamsError as error:
        raise RecipeError([f"Step '{written.path}': {error}"]) from None
    if needed not in progress.requests:
        progress.requests.append(needed)
    evidence = _evidence(needed, plan, targets, artifacts)
    if evidence is None:
        return False
    try:
        solution, before = choose_candidates(request, candidates, evidence)
    except (AllocationError, BadParamsError) as error:
        raise RecipeError([f"Step '{written.path}': {line}" for line in str(error).splitlines()]) from None
    if not solution.options:
        raise RecipeError(
            [
                f"Step '{written.path}': the budget is met by '{written.parent}' as it is; lower it, or leave the step out"
            ]
        )
    by_label = {one.label: one for one in candidates}
    order = [one.label for one in candidates]
    options = sorted(solution.options, key=lambda one: order.index(one.candidate))
    name = written.path.rpartition("/")[2]
    steps, path = ordinary_step(name, [(by_label[one.candidate], one.members) for one in options])
    progress.tree = replaced(progress.tree, written.path, steps)
    progress.allocations.append(
        AllocatedStep(
            path=f"{written.parent}/{path}",
            parent=written.parent,
            request=dict(request.written),
            choices={one.layer: one.candidate for one in solution.options},
            damage=request.damage,
            predicted_damage=solution.damage,
            predicted_error=solution.error,
            predicted=dict(solution.costs),
            before=before,
            samples=request.samples,
            target=needed.targets[0] if needed.targets else None,
        )
    )
    return True


def _read(written: WrittenAllocation, plan: Plan) -> tuple[AllocationRequest, tuple[LayerCandidate, ...]]:
    """Check what a step asks for.

    Raises:
        RecipeError: naming the step.
    """
    parent = _step(plan, written.parent)
    try:
        request = read_allocation(written.raw, "allocate")
        ancestry = ancestry_of(plan, parent)
        candidates = read_candidates(
            request.candidates, plan.facts, where="allocate.candidates", parent=parent.format, ancestry=ancestry
        )
        _check_additive(candidates)
    except BadParamsError as error:
        raise RecipeError([f"Step '{written.path}': {error}"]) from None
    return request, candidates


def _check_additive(candidates: Sequence[LayerCandidate]) -> None:
    """Refuse operations that change the layers behind a group too: what two groups save is not the sum of both.

    Raises:
        BadParamsError: naming the operation.
    """
    joint = next((one.op for one in candidates if one.spec.joint is not None), None)
    if joint is not None:
        raise BadParamsError(
            f"allocate.candidates: '{joint}' makes the layers behind those it cuts narrower too, so that savings do not add "
            f"up; `sensitivity` measures it, and a step '{joint}' takes a ratio for each layer"
        )


def request_at(
    step: Step, candidates: tuple[LayerCandidate, ...], request: AllocationRequest, plan: Plan
) -> SensitivityRequest:
    """Return the sensitivity that a choice for a model needs; where time is bound, with times of layers on the first target.

    Raises:
        BadParamsError: no target can tell the time of layers.
    """
    targets: tuple[str, ...] = ()
    if any(budget.cost == "seconds" for budget in request.budgets):
        targets = tuple(name for name in plan.recipe.targets if name in plan.facts.profilers)[:1]
        if not targets:
            raise BadParamsError(
                "allocate.budget.seconds: no target of the recipe tells the time of layers; add onnxruntime"
            )
    return SensitivityRequest(step.key, candidates, request.samples, request.exact, targets)


def _evidence(
    request: SensitivityRequest, plan: Plan, targets: Targets, artifacts: ArtifactStore
) -> LayerEvidence | None:
    planning = Planning(plan, targets, sensitivity=(request,))
    damage, times = list(SENSITIVITY.jobs(planning)), list(SENSITIVITY_TIMES.jobs(planning))
    if any(job.key not in artifacts for job in (*damage, *times)):
        return None
    return LayerEvidence(
        [record for job in damage for record in SENSITIVITY.read(artifacts.folder(job.key))],
        [record for job in times for record in SENSITIVITY_TIMES.read(artifacts.folder(job.key))],
    )


def _step(plan: Plan, path: str) -> Step:
    by_path = {step.path: step for step in plan.steps}
    return by_path[path] if path in by_path else plan.by_key()[plan.aliases[path]]


def ancestry_of(plan: Plan, step: Step) -> Ancestry:
    """Return what the plan knows of how a model was made."""
    steps, lineage = plan.by_key(), [step]
    while (parent := lineage[-1].parent) is not None:
        lineage.append(steps[parent])
    root = lineage[-1]
    entry = root.params.get("model")
    operations = tuple((one.op, one.params) for one in reversed(lineage))
    return Ancestry(entry if isinstance(entry, Mapping) else {}, plan.facts.task, operations)
