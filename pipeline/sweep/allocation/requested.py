"""The sensitivity that a person asks for: a plan of one model and what leads to it, and how its layers are measured."""

from __future__ import annotations

from dataclasses import replace

from ops.core.errors import BadParamsError
from ops.core.operation import Format
from ops.core.registry import nearest
from ops.core.text import cut
from pipeline.core.keys import Key
from pipeline.plan.candidates import DEFAULT_CANDIDATES, SensitivityRequest, read_candidates
from pipeline.plan.steps import Plan, Step
from pipeline.sweep.allocation.settle import ancestry_of
from pipeline.sweep.config import ConfigError, SensitivityConfig

__all__ = ["requested_sensitivity"]

_FOR_FILES = {"quantize": {"method": "static"}}
"""What is tried on models that are files, where nothing is said."""


def requested_sensitivity(asked_for: SensitivityConfig, plan: Plan) -> tuple[Plan, tuple[SensitivityRequest, ...]]:
    """Return the plan of a model, and the request for its sensitivity.

    Raises:
        ConfigError: no step has the path, or a candidate is wrong.
    """
    step = _step_at(plan, asked_for.at)
    defaults = _FOR_FILES if step.format is Format.ONNX else DEFAULT_CANDIDATES
    try:
        candidates = read_candidates(
            asked_for.candidates or defaults,
            plan.facts,
            where="candidates",
            parent=step.format,
            ancestry=ancestry_of(plan, step),
        )
    except BadParamsError as error:
        raise ConfigError(str(error)) from None
    targets = tuple(name for name in plan.recipe.targets if name in plan.facts.profilers) if asked_for.times else ()
    request = SensitivityRequest(step.key, candidates, asked_for.samples, asked_for.exact, targets)
    needed = _needed(plan, step)
    steps = tuple(one for one in plan.steps if one.key in needed)
    return replace(plan, steps=steps, aliases={}), (request,)


def _step_at(plan: Plan, path: str) -> Step:
    by_path = {step.path: step for step in plan.steps}
    by_path |= {alias: plan.by_key()[key] for alias, key in plan.aliases.items()}
    if path not in by_path:
        raise ConfigError(
            f"at: no step has the path '{cut(path, 200)}'.{nearest(path, by_path)} Known: {', '.join(list(by_path)[:9])}"
        )
    return by_path[path]


def _needed(plan: Plan, step: Step) -> set[Key]:
    """Keys of a model, of all above it, and of the models that these name."""
    steps, needed, waiting = plan.by_key(), set[Key](), [step.key]
    while waiting:
        key = waiting.pop()
        if key not in needed:
            needed.add(key)
            one = steps[key]
            waiting += [*([one.parent] if one.parent else []), *one.references.values()]
    return needed
