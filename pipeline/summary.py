"""What a person reads when a sweep has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.jobs import Failed, Job, Outcome, Skipped
from pipeline.plan import Plan

Scores = Mapping[str, Mapping[str, Any]]
"""Model key -> metric name -> value, for one target; `latency_ratio` and its bounds are against the root."""


def print_scores(plan: Plan, scores: Scores, target: str, console: Console) -> None:
    """Print one row per model: operation path, accuracy, p50 latency and its ratio to base, file size, sparsity."""
    table = Table(title=f"{plan.recipe.name} on {target}", title_justify="left", header_style="bold", pad_edge=False)
    quality = "f1" if plan.facts.task == "question-answering" else "accuracy"
    table.add_column("model", overflow="fold")
    for name in (quality, "p50", "speed-up", "file", "zeros"):
        table.add_column(name, justify="right", no_wrap=True)
    for step in plan.steps:
        found = scores.get(step.key)
        if found is None:
            continue
        table.add_row(
            Text("  " * step.depth + step.path.rpartition("/")[2]),
            _format(found.get(quality), "{:.1%}"),
            _format(found.get("latency_p50"), "{:.2f} ms"),
            _speedup(found),
            _bytes(found.get("file_bytes")),
            _format(found.get("sparsity"), "{:.0%}"),
        )
    console.print(table)


def print_failures(outcomes: Sequence[tuple[Job, Outcome]], console: Console) -> None:
    """Print what failed and what was skipped because of it."""
    failed = [(job, outcome) for job, outcome in outcomes if isinstance(outcome, Failed)]
    skipped = [(job, outcome) for job, outcome in outcomes if isinstance(outcome, Skipped)]
    if not failed:
        return
    table = Table(title="Failures", title_justify="left", header_style="bold red", pad_edge=False)
    table.add_column("step", overflow="fold")
    table.add_column("job")
    table.add_column("error", overflow="fold")
    for job, outcome in failed:
        table.add_row(Text(job.path), job.what, Text(outcome.error))
    console.print(table)
    models = sorted({job.path for job, _ in skipped})
    if models:
        console.print(f"Skipped because of them: {len(skipped)} jobs of {len(models)} models", highlight=False)
    console.print(
        "Tracebacks: SELECT path, error, traceback FROM steps WHERE outcome = 'failed'", highlight=False, markup=False
    )


def print_next(results: Path, console: Console) -> None:
    """Say where the results are and what to type next."""
    shown = f"BOUILLON_RESULTS={results} " if results != Path("results.duckdb") else ""
    console.print(f"\nResults: {results}", highlight=False, markup=False)
    console.print(f"  look:  {shown}panel serve viewer --show", highlight=False, markup=False)
    console.print(
        f"  ask:   python -c \"import duckdb; print(duckdb.connect('{results}', read_only=True).sql('FROM scoreboard'))\"",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


def _format(value: float | None, template: str) -> str:
    return "" if value is None else template.format(value)


def _speedup(found: Mapping[str, Any]) -> str:
    ratio, low, high = (found.get(f"latency_ratio{suffix}") for suffix in ("", "_low", "_high"))
    if ratio is None:
        return ""
    if low is not None and high is not None and low <= 1 <= high:
        return f"{ratio:.2f}x (same)"
    return f"{ratio:.2f}x"


def _bytes(value: float | None) -> str:
    if value is None:
        return ""
    for unit in ("B", "kB", "MB"):
        if value < 1000:  # noqa: PLR2004 - SI prefixes
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"
