"""Progress of a sweep: a live tree in a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from pipeline.core.keys import Key
from pipeline.core.units import format_seconds
from pipeline.engine.jobs import Done, Failed, Job, Outcome, state_of
from pipeline.engine.progress import Durations, JobProgress
from pipeline.plan.steps import Plan, Step
from pipeline.stages.operation_context import PROGRESS_FILE

_MARKS = {
    "waiting": ("·", "dim"),
    "running": ("▶", "bold cyan"),
    "done": ("✓", "green"),
    "cached": ("✓", "dim green"),
    "failed": ("✗", "bold red"),
    "skipped": ("-", "yellow"),
}
_MARGIN_LINES = 4


class Progress(Protocol):
    """Is told of every start (outcome None) and end of a job."""

    def update(self, job: Job[Any], outcome: Outcome | None) -> None:  # noqa: D102 - as the class says
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...


def show_progress(plan: Plan, jobs: Sequence[Job[Any]], scratch: Path, durations: Durations, workers: int) -> Progress:
    """Return the live tree on a terminal, else plain lines on standard error."""
    console = Console(stderr=True)
    board = Board(plan, jobs, scratch, durations, workers)
    return _LiveTree(board, console) if console.is_terminal else _Lines(board, console)


@dataclass(slots=True)
class _Row:
    """The state of one model: of its operation, and of the stages that observe it."""

    state: str = "waiting"
    started: float | None = None
    seconds: float | None = None
    note: str = ""
    observing: set[str] = field(default_factory=set)


class Board:
    """State of a run, and what is left to do."""

    def __init__(self, plan: Plan, jobs: Sequence[Job[Any]], scratch: Path, durations: Durations, workers: int) -> None:
        self.plan = plan
        self.steps = plan.by_key()
        self.rows: dict[Key, _Row] = {step.key: _Row() for step in plan.steps}
        self.started = time.monotonic()
        self.failures = 0
        self.jobs = JobProgress(jobs, {key: step.op for key, step in self.steps.items()}, durations, workers)
        self._scratch = scratch

    def update(self, job: Job[Any], outcome: Outcome | None) -> None:
        """Take note of a start or an end."""
        row = self.rows[job.model]
        now = time.monotonic()
        if outcome is None:
            self.jobs.start(job)
        else:
            self.jobs.end(job)
            self.failures += isinstance(outcome, Failed)
        if not job.makes_model:
            (row.observing.add if outcome is None else row.observing.discard)(job.stage)
            if isinstance(outcome, Failed):
                row.state, row.note = "failed", f"{job.stage}: {outcome.error}"
            return
        row.state = state_of(outcome)
        if outcome is None:
            row.started = now
        elif isinstance(outcome, Done):
            row.seconds = outcome.seconds
        else:
            row.note = outcome.error if isinstance(outcome, Failed) else outcome.because

    def progress_text(self, key: Key) -> str:
        """Return the progress that the running step reports."""
        try:
            raw = json.loads((self._scratch / key / PROGRESS_FILE).read_text())
            return f"{raw['done'] / raw['total']:.0%} {raw['text']}".strip()
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError):
            return ""

    def headline(self) -> str:
        """Return the progress of the run in one line."""
        elapsed = format_seconds(time.monotonic() - self.started)
        jobs, remaining = self.jobs, self.jobs.remaining_seconds()
        rest = f", about {format_seconds(remaining)} left" if remaining is not None and jobs.done < jobs.total else ""
        failed = f", {self.failures} failed" if self.failures else ""
        return f"{self.plan.recipe.name}: {jobs.done} of {jobs.total} jobs{failed}, {elapsed}{rest}"


class _LiveTree:
    """The tree of models, redrawn a few times a second."""

    def __init__(self, board: Board, console: Console) -> None:
        self._board, self._console = board, console
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=4, transient=True)

    def update(self, job: Job[Any], outcome: Outcome | None) -> None:
        self._board.update(job, outcome)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.__exit__(None, None, None)
        self._console.print(Text(self._board.headline()))

    def _render(self) -> RenderableType:
        board = self._board
        room = self._console.height - _MARGIN_LINES
        steps = list(board.plan.steps)
        if len(steps) > room:  # what goes on and what went wrong comes first; the rest is counted in the headline
            busy = [step for step in steps if self._is_busy(step)]
            rest = [step for step in steps if not self._is_busy(step)]
            keys = {step.key for step in [*busy, *rest][:room]}
            steps = [step for step in steps if step.key in keys]
        nodes: dict[Key, Tree] = {}
        top = Tree("", hide_root=True)
        for step in steps:
            parent = nodes.get(step.parent, top) if step.parent else top
            nodes[step.key] = parent.add(self._line(step))
        return Group(Text(board.headline(), style="bold"), top)

    def _is_busy(self, step: Step) -> bool:
        row = self._board.rows[step.key]
        return row.state in ("running", "failed") or bool(row.observing)

    def _line(self, step: Step) -> Text:
        row = self._board.rows[step.key]
        mark, style = _MARKS[row.state]
        line = Text.assemble((f"{mark} ", style), step.path.rpartition("/")[2], ("  " + step.op, "dim"))
        if row.state == "running" and row.started is not None:
            line.append(
                f"  {format_seconds(time.monotonic() - row.started)} {self._board.progress_text(step.key)}", "cyan"
            )
        elif row.seconds and row.state == "done":
            line.append(f"  {format_seconds(row.seconds)}", "dim")
        if row.observing:
            line.append(f"  {', '.join(sorted(row.observing))} ...", "cyan")
        if row.note:
            line.append(f"  {row.note}"[:160], "red" if row.state == "failed" else "yellow")
        return line


class _Lines:
    """One line per finished step, for logs and pipes."""

    def __init__(self, board: Board, console: Console) -> None:
        self._board, self._console = board, console

    def update(self, job: Job[Any], outcome: Outcome | None) -> None:
        self._board.update(job, outcome)
        if outcome is None:
            if job.makes_model:
                self._say(f"start    {job.path}")
            return
        if job.makes_model or not isinstance(outcome, Done):
            took = f" {format_seconds(outcome.seconds)}" if isinstance(outcome, Done) and not outcome.cached else ""
            why = f": {outcome.error}" if isinstance(outcome, Failed) else ""
            what = "" if job.makes_model else f" ({job.stage})"
            self._say(f"{state_of(outcome):8} {job.path}{what}{took}{why}")

    def _say(self, text: str) -> None:
        board = self._board
        self._console.print(
            f"[{board.jobs.done}/{board.jobs.total}] {text}", markup=False, highlight=False, soft_wrap=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._console.print(self._board.headline(), markup=False, highlight=False)
