"""The summary that a person reads when a sweep has ended."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.core.keys import Key
from pipeline.engine.jobs import Failed, Job, Outcome, Skipped
from pipeline.plan.steps import Plan
from pipeline.store.queries.scores import Score
from pipeline.store.records.run_records import Lint, Metric

_SHOWN = 3  # findings of one kind; the others are in the store
_RATIO = "x"
"""Unit of metrics that compare a model with another."""

Scores = Mapping[str, Mapping[str, Score]]
"""Model key -> metric -> its newest score, on one target."""


def print_scores(plan: Plan, scores: Scores, metrics: Sequence[Metric], target: str, console: Console) -> None:
    """Print one row per model: operation path, and those of the metrics that any of the models has.

    Args:
        plan: of the run.
        scores: on the target.
        metrics: in the order of the columns.
        target: name of the runtime.
        console: receives the table.
    """
    table = Table(
        title=Text(f"{plan.recipe.name} on {target}"),
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    rows = [(step, scores[step.key]) for step in plan.steps if step.key in scores]
    columns = [metric for metric in metrics if any(metric.metric in own for _, own in rows)]
    table.add_column("model", overflow="fold")
    for metric in columns:
        table.add_column(Text(metric.metric.replace("_", " ")), justify="right", no_wrap=True)
    for step, own in rows:
        cells = [_cell(own.get(metric.metric), metric) for metric in columns]
        table.add_row(Text("  " * step.depth + step.path.rpartition("/")[2]), *cells)
    console.print(table)


def print_failures(outcomes: Sequence[tuple[Job[Any], Outcome]], console: Console) -> None:
    """Print what failed and what was skipped because of it."""
    failed = [(job, outcome) for job, outcome in outcomes if isinstance(outcome, Failed)]
    skipped = [(job, outcome) for job, outcome in outcomes if isinstance(outcome, Skipped)]
    if not failed:
        return
    table = Table(title="Failures", title_justify="left", header_style="bold red", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("step", overflow="fold")
    table.add_column("job")
    table.add_column("error", overflow="fold")
    for job, outcome in failed:
        table.add_row(Text(job.path), job.stage, Text(outcome.error))
    console.print(table)
    models = sorted({job.path for job, _ in skipped})
    if models:
        console.print(f"Skipped because of them: {len(skipped)} jobs of {len(models)} models", highlight=False)
    console.print(
        "Tracebacks: SELECT path, error, traceback FROM steps WHERE outcome = 'failed'", highlight=False, markup=False
    )


def print_notes(notes: Sequence[str], console: Console) -> None:
    """Print how models and data are read, where the recipe left it open or other programs may read them in another way."""
    for note in notes:
        console.print(Text(note, style="cyan"), soft_wrap=True)


def print_absent(absent: Mapping[str, str], console: Console) -> None:
    """Print which targets cannot run here, and why: their figures are left out."""
    for name, why in absent.items():
        console.print(Text.assemble((f"Target '{name}' is skipped: ", "bold yellow"), why))


def print_findings(plan: Plan, findings: Sequence[Lint], console: Console) -> None:
    """Print what is odd about models, with the figures that show it and what to try: one paragraph per lint."""
    paths = {step.key: step.path for step in plan.steps}
    by_lint: dict[str, list[Lint]] = defaultdict(list)
    for finding in findings:
        if finding.lint:
            by_lint[finding.lint].append(finding)
    if by_lint:
        console.print(Text("Worth a look", style="bold yellow"))
    for name, result in by_lint.items():
        console.print(Text.assemble(f"  {name} ", (f"({len(result)})" if len(result) > 1 else "", "dim")))
        for finding in result[:_SHOWN]:
            console.print(Text.assemble((f"    {paths[Key(finding.model_key)]}: ", "bold"), finding.message))
        if len(result) > _SHOWN:
            console.print(Text(f"    and {len(result) - _SHOWN} more: FROM lints WHERE lint = '{name}'", style="dim"))
        console.print(Text(f"    Try: {result[0].advice}", style="dim"))


def print_next(results: Path, console: Console) -> None:
    """Say where the results are and what to type next."""
    listing = f"BOUILLON_RESULTS={shlex.quote(str(results))} " if results != Path("results.duckdb") else ""
    code = f"import duckdb; print(duckdb.connect({str(results)!r}, read_only=True).sql('FROM scoreboard'))"
    console.print(f"\nResults: {results}", highlight=False, markup=False)
    console.print(f"  look:  {listing}panel serve viewer --show", highlight=False, markup=False)
    console.print(
        f"  ask:   python -c {_quoted(code)}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _quoted(code: str) -> str:
    """A program as a word of the shell: between double quotes where that is enough, since they are easier to read."""
    return shlex.quote(code) if set(code) & set('"$`\\!') else f'"{code}"'


def _cell(score: Score | None, metric: Metric) -> Text:
    if score is None:
        return Text("")
    if metric.unit == _RATIO:
        return Text(_ratio(score, metric.format))
    if metric.unit == "B":
        return Text(_bytes(score.value))
    return Text(f"{score.value:{metric.format}} {metric.unit}".rstrip())


def _ratio(score: Score, template: str) -> str:
    """A ratio whose interval holds 1 is no difference, and is not to be read as one."""
    if score.low is None or score.high is None:
        return f"{score.value:{template}}{_RATIO}"
    if score.low <= 1 <= score.high:
        return "no difference"
    return f"{score.value:{template}}{_RATIO} ({score.low:{template}}-{score.high:{template}})"


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB"):
        if value < 1000:  # noqa: PLR2004 - SI prefixes
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"
