"""Output of the command line: notices and progress while a run goes on, tables at its end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pipeline.cli.explain import explain, print_plan
from pipeline.cli.progress import show_progress
from pipeline.cli.summary import print_absent, print_failures, print_findings, print_next, print_notes, print_scores
from pipeline.store.queries.scores import primary_metrics, scores
from pipeline.sweep.allocation.outcome import allocation_notes
from pipeline.sweep.prepare import Prepared
from pipeline.sweep.reporter import JobReport, TimingReport
from pipeline.sweep.run import Result, run_all

_WIDTH = 130  # of tables in pipes and logs


def run_and_print(prepared: Prepared) -> int:
    """Run, or show the plan, as the configuration says; return the exit code: 0, or 1 if a job failed."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    config = prepared.config
    print_notes(
        [*prepared.preprocessing, *(f"Data set '{prepared.data.name}': {note}" for note in prepared.notes)], console
    )
    print_notes([waiting_note(path) for path in prepared.waiting], console)
    if config.plan_only:
        durations = prepared.store.durations()
        print_plan(prepared.plan, prepared.jobs, prepared.artifacts, durations, console, force=prepared.force)
        return 0
    if config.explain:
        past = prepared.store.last_steps(prepared.plan.recipe.name)
        reasons = explain(prepared.plan, config.explain, prepared.artifacts, past, force=prepared.force)
        console.print("\n".join(reasons), markup=False)
        return 0
    prepared, result = run_all(prepared, ConsoleReporter(console))
    print_result(prepared, result, console)
    return 0 if result.succeeded else 1


def waiting_note(path: str) -> str:
    """Say of a step with `allocate` what it waits for."""
    return f"Step '{path}': is planned, with all below it, when the layers of the model above it have been measured"


def print_result(prepared: Prepared, result: Result, console: Console) -> None:
    """Print the scores of every target, the failures, the findings, and what to type next."""
    results = prepared.config.results
    metrics = primary_metrics(results)
    for target in prepared.targets:
        if target not in result.absent:
            own = scores(results, target, result.device, prepared.data.fingerprint)
            print_scores(prepared.plan, own, metrics, target, console)
    print_notes(allocation_notes(prepared, result.device), console)
    print_failures(result.outcomes, console)
    print_absent(result.absent, console)
    print_findings(prepared.plan, result.findings, console)
    print_next(results, console)


class ConsoleReporter:
    """Prints notices to a console and shows progress on standard error."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def notice(self, text: str) -> None:
        """Print one line."""
        self._console.print(Text(text, style="yellow"), soft_wrap=True)

    @contextmanager
    def jobs(self, prepared: Prepared, scratch: Path) -> Iterator[JobReport]:
        """Show the tree of models, or a line per step."""
        workers, durations = prepared.config.executor.workers, prepared.store.durations()
        with show_progress(prepared.plan, prepared.jobs, scratch, durations, workers) as progress:
            yield progress.update

    @contextmanager
    def timing(self) -> Iterator[TimingReport]:
        """Show how many groups are timed."""
        with self._console.status("timing") as status:
            yield lambda done, total, text: status.update(Text(f"timing: {done} of {total} groups done; {text}"))
