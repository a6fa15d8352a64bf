"""Explanation of a plan: the tree with keys and expected times, and the reason for a rerun."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from rich.console import Console
from rich.segment import Segment, Segments

from ops.core.operation import OPERATIONS, Uses
from pipeline.core.artifacts import ArtifactStore
from pipeline.core.keys import Key
from pipeline.core.secret_values import hidden
from pipeline.core.units import format_seconds
from pipeline.engine.jobs import Job
from pipeline.engine.progress import Durations
from pipeline.plan.steps import SEED, Plan, Step
from pipeline.stages.operation import OPERATION
from pipeline.sweep.prepare import step_at

_GUIDES, _ASCII_GUIDES = ("    ", "│   ", "├── ", "└── "), ("    ", "|   ", "+-- ", "`-- ")
"""Drawn before a step: below a last step, below another, before another, before a last one."""
_UNKNOWN = "  never run here"


def print_plan(
    plan: Plan,
    jobs: Sequence[Job[Any]],
    artifacts: ArtifactStore,
    durations: Durations,
    console: Console,
    *,
    force: Set[Key] = frozenset(),
) -> None:
    """Print every step with its key, whether its result is there, and its expected time from past runs.

    What is in `force` runs again although its result is there.

    Args:
        plan: steps in their order.
        jobs: those of the plan.
        artifacts: says which results are there.
        durations: (stage, operation) -> seconds in past runs.
        console: prints.
        force: keys of steps that run although their results are there.
    """
    steps = plan.by_key()
    present = artifacts.present([*steps, *(job.key for job in jobs)]) - force
    states = {step.key: _state(step, step.key in present, durations) for step in plan.steps}
    unknown = sum(text == _UNKNOWN for text, _ in states.values())
    missing = [job for job in jobs if job.key not in present]
    total = sum(durations.get((job.stage, steps[job.model].op), 0.0) for job in missing)
    styles = {name: console.get_style(name) for name in ("tree.line", "dim", "green", "yellow", "cyan")}
    segments = [
        Segment(text, styles.get(style))
        for step, guides in _tree_lines(plan, _ASCII_GUIDES if console.options.ascii_only else _GUIDES)
        for text, style in (
            (guides, "tree.line"),
            (step.key[:12], "dim"),
            (f"  {step.path.rpartition('/')[2]}", ""),
            (f"  {step.op}", "dim"),
            states[step.key],
            ("  (forced)" if step.key in force else "", "yellow"),
            ("\n", ""),
        )
    ]
    console.print(Segments(segments), soft_wrap=True, end="")
    for decision in decisions(plan):
        console.print(decision, markup=False, highlight=False)
    for path, key in plan.aliases.items():
        console.print(f"{path}: the same model as {steps[key].path}", markup=False, highlight=False)
    guess = f", about {format_seconds(total)} of work by past runs" if total else ""
    more = f" ({unknown} steps never run here)" if unknown else ""
    console.print(f"{len(plan.steps)} models; {len(missing)} of {len(jobs)} jobs to do{guess}{more}", highlight=False)


def _state(step: Step, is_present: bool, durations: Durations) -> tuple[str, str]:
    """What the plan says of a step's result, and the style of it."""
    expected = durations.get((OPERATION.name, step.op))
    if is_present:
        return "  cached", "green"
    return (_UNKNOWN, "yellow") if expected is None else (f"  about {format_seconds(expected)}", "cyan")


def _tree_lines(plan: Plan, guides: Sequence[str]) -> Iterator[tuple[Step, str]]:
    """Yield each step with the lines that lead to it, every branch whole before the next."""
    below: dict[Key | None, list[Step]] = defaultdict(list)
    for step in plan.steps:
        below[step.parent].append(step)
    waiting = [(step, "", "") for step in reversed(below[None])]
    while waiting:
        step, before, lines = waiting.pop()
        yield step, before
        children = below[step.key]
        for place in range(len(children) - 1, -1, -1):
            is_last = place == len(children) - 1
            waiting.append((children[place], lines + guides[3 if is_last else 2], lines + guides[0 if is_last else 1]))


def decisions(plan: Plan) -> list[str]:
    """Say which parameters were left open and what the plan has decided for this processor, one line for each decision."""
    steps: dict[str, list[str]] = {}
    for step in plan.steps:
        values = ", ".join(f"{name}: {json.dumps(step.params[name])}" for name in step.settled)
        if values:
            steps.setdefault(f"{step.op}: {values}", []).append(step.path)
    return [f"{text} (decided for this processor; {len(paths)} steps)" for text, paths in steps.items()]


def explain(
    plan: Plan,
    path: str,
    artifacts: ArtifactStore,
    past: Mapping[str, Mapping[str, Any]],
    *,
    force: Set[Key] = frozenset(),
) -> list[str]:
    """Say why a step will run, or that it will not: sentences, the step's own reasons first, then its ancestors'.

    Args:
        plan: steps in their order.
        path: the step's.
        artifacts: says which results are there.
        past: as `Store.last_steps`: path -> what the step was when a run of this recipe last had its result.
        force: keys of steps that run although their results are there.

    Raises:
        ConfigError: the plan has no step of that path.
    """
    step = step_at(plan, path)
    if step.key in force:
        return [f"'{path}' will run: it is forced"]
    if step.key in artifacts:
        return [f"'{path}' will not run: its result {step.key[:12]} is there"]
    lines = [f"'{path}' will run:"]
    by_key = plan.by_key()
    current: Step | None = step
    while current is not None:
        reasons = _differences(current, plan, past)
        lines.extend(f"  {current.path}: {reason}" for reason in reasons)
        current = by_key[current.parent] if current.parent else None
    return lines if len(lines) > 1 else [*lines, "  its result was removed, or the last run did not finish it"]


def _differences(step: Step, plan: Plan, past: Mapping[str, Mapping[str, Any]]) -> list[str]:
    before = past.get(step.path)
    if before is None:
        return ["no run of this recipe has had this step"]
    result = []
    if before["op"] != step.op:
        return [f"operation {before['op']} -> {step.op}"]
    if before["op_version"] != step.version:
        result.append(f"version of {step.op} {before['op_version']} -> {step.version}")
    result += _changed(f"{step.op} ", before["params"], hidden(step.written))
    uses, run = OPERATIONS[step.op].uses, before["config"]
    if uses & {Uses.DATA, Uses.INTERFACE} and (was := run.get("dataset_key")) not in (
        None,
        plan.facts.data_fingerprint,
    ):
        result.append(
            f"the data set's content, splits or preprocessing changed ({str(was)[:12]} -> {plan.facts.data_fingerprint[:12]})"
        )
    gives_seed = step.gives_seed or SEED in before["params"]
    if Uses.SEED in uses and not gives_seed and (seed := run.get("recipe", {}).get("seed", 0)) != plan.recipe.seed:
        result.append(f"seed {seed} -> {plan.recipe.seed}")
    return result


def _changed(prefix: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    result = []
    for name in sorted(set(before) | set(now)):
        was, will_be = before.get(name), now.get(name)
        if isinstance(was, Mapping) and isinstance(will_be, Mapping):
            result += _changed(f"{prefix}{name}.", was, will_be)
        elif was != will_be and name == "content":  # of a conf/model entry: a digest, which says nothing
            result.append(f"the files of {prefix.rstrip('.')} changed: its weights or its code")
        elif was != will_be:
            result.append(f"{prefix}{name} {json.dumps(was)} -> {json.dumps(will_be)}")
    return result
