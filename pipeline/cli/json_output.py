"""Output of the command line for programs: JSON lines on standard output, one object per event.

| `event` | when | what it holds |
|---|---|---|
| `plan` | before anything runs | `recipe`, `jobs`, `missing`, and `steps`: path, key, op, params, parent, present |
| `explanation` | with `explain=PATH`, in the place of all that follows | `path`, `lines` |
| `notice` | a person should know | `text` |
| `job` | a job starts or ends | `path`, `stage`, `target`, `state` (running, done, cached, failed, skipped), `seconds`, `error` |
| `timing` | a group of models was timed | `done`, `total`, `text` |
| `finding` | something is odd about a model | `path`, `lint`, `message`, `advice` |
| `result` | at the end | `run_id`, `succeeded`, `results`, `device`, `absent` |
| `error` | nothing could be done | `code` (the exit status) and `problems`: place, message, nearest |
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.cli.console import waiting_note
from pipeline.cli.explain import explain
from pipeline.core.keys import Key
from pipeline.core.secret_values import hidden
from pipeline.engine.jobs import Done, Failed, Job, Outcome, Skipped, state_of
from pipeline.sweep.allocation.outcome import allocation_notes
from pipeline.sweep.prepare import Prepared
from pipeline.sweep.reporter import JobReport, TimingReport
from pipeline.sweep.run import run_all

__all__ = ["JsonReporter", "print_error", "run_as_json"]

_NEAREST = re.compile(r"Did you mean '([^']*)'")
_PLACE = re.compile(r"(Step '[^']*'|[\w.\-/\[\]=]+): ")
"""What most messages begin with: a key, a file or a step."""


def run_as_json(prepared: Prepared) -> int:
    """Run, or show the plan, as the configuration says; return the exit code: 0, or 1 if a job failed."""
    config, plan = prepared.config, prepared.plan
    _write_notices([*prepared.preprocessing, *(f"Data set '{prepared.data.name}': {note}" for note in prepared.notes)])
    if config.explain:
        past = prepared.store.last_steps(plan.recipe.name)
        lines = explain(plan, config.explain, prepared.artifacts, past, force=prepared.force)
        _write("explanation", path=config.explain, lines=lines)
        return 0
    _write_notices([waiting_note(step) for step in prepared.waiting])
    _write_plan(prepared)
    if config.plan_only:
        return 0
    is_whole = not prepared.waiting
    prepared, result = run_all(prepared, JsonReporter())
    if not is_whole:
        _write_plan(prepared)
    _write_notices(allocation_notes(prepared, result.device))
    paths = {step.key: step.path for step in prepared.plan.steps}
    for one in result.findings:
        if one.lint:
            path = paths.get(Key(one.model_key))
            _write("finding", path=path, lint=one.lint, message=one.message, advice=one.advice)
    _write(
        "result",
        run_id=result.run_id,
        succeeded=result.succeeded,
        results=str(config.results),
        device=result.device,
        absent=dict(result.absent),
    )
    return 0 if result.succeeded else 1


def print_error(text: str, code: int) -> None:
    """Print what a person would read on standard error, taken apart: one problem for each line."""
    _write("error", code=code, problems=[_problem(line) for line in text.splitlines() if line.strip()])


class JsonReporter:
    """Writes what happens during a run."""

    def notice(self, text: str) -> None:
        """Write one line."""
        _write("notice", text=text)

    @contextmanager
    def jobs(self, prepared: Prepared, scratch: Path) -> Iterator[JobReport]:
        """Write every start and end."""
        yield _write_job

    @contextmanager
    def timing(self) -> Iterator[TimingReport]:
        """Write how many groups are timed."""
        yield lambda done, total, text: _write("timing", done=done, total=total, text=text)


def _write_notices(notes: Iterable[str]) -> None:
    for note in notes:
        _write("notice", text=note)


def _write_plan(prepared: Prepared) -> None:
    missing = {job.key for job in prepared.missing()}
    paths = {step.key: step.path for step in prepared.plan.steps}
    steps = [
        {
            "path": step.path,
            "key": step.key,
            "op": step.op,
            "params": hidden(step.written),
            "parent": paths[step.parent] if step.parent else None,
            "present": step.key not in missing,
        }
        for step in prepared.plan.steps
    ]
    _write("plan", recipe=prepared.plan.recipe.name, jobs=len(prepared.jobs), missing=len(missing), steps=steps)


def _write_job(job: Job[Any], outcome: Outcome | None) -> None:
    error = outcome.error if isinstance(outcome, Failed) else outcome.because if isinstance(outcome, Skipped) else None
    seconds = outcome.seconds if isinstance(outcome, Done | Failed) else None
    place = {"path": job.path, "stage": job.stage, "target": job.target or None}
    _write("job", **place, state=state_of(outcome), seconds=seconds, error=error)


def _problem(line: str) -> dict[str, str | None]:
    place, nearest = _PLACE.match(line), _NEAREST.search(line)
    return {"place": place[1] if place else None, "message": line, "nearest": nearest[1] if nearest else None}


def _write(event: str, **content: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **content}, default=str) + "\n")
    sys.stdout.flush()
