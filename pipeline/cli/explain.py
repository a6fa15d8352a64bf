"""Explanation of a plan: the tree with keys and expected times, and the reason for a rerun."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from ops.core.operation import OPERATIONS, Uses
from pipeline.cli.progress import Durations, format_seconds
from pipeline.core.artifacts import ArtifactStore
from pipeline.core.keys import Key
from pipeline.core.secret_values import hidden
from pipeline.engine.jobs import Job
from pipeline.plan.steps import SEED, Plan, Step
from pipeline.stages.operation import OPERATION
from pipeline.sweep.prepare import step_at


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
    top = Tree("", hide_root=True)
    nodes: dict[Key, Tree] = {}
    steps = plan.by_key()
    unknown = 0
    present = artifacts.present([*steps, *(job.key for job in jobs)]) - force
    for step in plan.steps:
        line = Text.assemble((step.key[:12], "dim"), "  ", step.path.rpartition("/")[2], ("  " + step.op, "dim"))
        expected = durations.get((OPERATION.name, step.op))
        if step.key in present:
            line.append("  cached", "green")
        elif expected is None:
            unknown += 1
            line.append("  never run here", "yellow")
        else:
            line.append(f"  about {format_seconds(expected)}", "cyan")
        if step.key in force:
            line.append("  (forced)", "yellow")
        parent = nodes.get(step.parent, top) if step.parent else top
        nodes[step.key] = parent.add(line)
    missing = [job for job in jobs if job.key not in present]
    total = sum(durations.get((job.stage, steps[job.model].op), 0.0) for job in missing)
    console.print(top)
    for decision in decisions(plan):
        console.print(decision, markup=False, highlight=False)
    for path, key in plan.aliases.items():
        console.print(f"{path}: the same model as {steps[key].path}", markup=False, highlight=False)
    guess = f", about {format_seconds(total)} of work by past runs" if total else ""
    more = f" ({unknown} steps never run here)" if unknown else ""
    console.print(f"{len(plan.steps)} models; {len(missing)} of {len(jobs)} jobs to do{guess}{more}", highlight=False)


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
            f"the data set's content, splits or preprocessing changed ({was[:12]} -> {plan.facts.data_fingerprint[:12]})"
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
