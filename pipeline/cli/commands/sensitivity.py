"""The command `sensitivity`: what candidates do to the layers of one model of a recipe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.registry import nearest
from pipeline.cli.commands.command import Command, CommandOutcome, add_json
from pipeline.cli.configuration.compose import UsageError, compose
from pipeline.cli.configuration.overrides import OverrideError, read_override, shortened

if TYPE_CHECKING:
    from pipeline.store.records.run_records import Sensitivity, SensitivityTime
    from pipeline.sweep.prepare import Prepared

__all__ = ["SENSITIVITY_COMMANDS"]

_OWN = ("at", "candidates", "samples", "exact", "times")
_ROWS = 15


def _add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "words",
        nargs="+",
        metavar="key=value",
        help="recipe=NAME at=PATH, and if wanted candidates={palettize:{bits:[2,4]}} samples=256 exact=20 times=true; "
        "everything else as in a run",
    )
    command.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="folder of your own recipes, models and data sets"
    )
    command.add_argument(
        "--top", type=int, default=_ROWS, metavar="N", help="layers in the table; default: 15, the most damaged"
    )
    add_json(command)


def _measure(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.cli.library import prepared_run

    own, words = _split(options.words)
    raw, entries = compose(words, extra=options.config_dir)
    if not any(word.startswith("results=") for word in words):
        raw = {**raw, "results": str(options.results)}
    prepared = prepared_run({**raw, "bench": {"name": "none"}, "sensitivity": own}, entries)
    status = _run(prepared, quiet=bool(options.json))
    layers, times = _evidence(prepared)
    return CommandOutcome(_text(layers, times, own["at"], options.top), _content(layers, times, own["at"]), status)


def _split(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Separate the command's own words from those of a run.

    Raises:
        UsageError: a word is no key=value, or `at` is missing.
    """
    own: dict[str, Any] = {}
    others: list[str] = []
    for word in words:
        try:
            override = read_override(word)
        except OverrideError as error:
            raise UsageError(str(error)) from None
        if override.key in _OWN:
            own[override.key] = override.value
        else:
            others.append(word)
    if not any(word.startswith("recipe=") for word in others):
        raise UsageError("sensitivity: which recipe? Write recipe=NAME, e.g. recipe=quickstart at=base")
    if not isinstance(own.get("at"), str):
        close = next((hint for word in others if (hint := nearest(word.partition("=")[0], _OWN))), "")
        raise UsageError(
            f"sensitivity: which model? Write at=PATH, e.g. at=base.{close} plan_only=true shows the paths"
        )
    if "candidates" in own and not isinstance(own["candidates"], dict):
        raise UsageError(
            f"candidates: expected operations with their parameters, e.g. {{palettize:{{bits:[2,4]}}}} "
            f"(got {shortened(str(own['candidates']))})"
        )
    return own, others


def _run(prepared: Prepared, *, quiet: bool) -> int:
    from rich.console import Console

    from pipeline.cli.console import ConsoleReporter
    from pipeline.cli.summary import print_failures
    from pipeline.sweep.run import run

    console = Console(file=sys.stderr, quiet=quiet)
    result = run(prepared, ConsoleReporter(console))
    print_failures(result.outcomes, Console(file=sys.stderr))
    return 0 if result.succeeded else 1


def _evidence(prepared: Prepared) -> tuple[list[Sensitivity], list[SensitivityTime]]:
    """What the run has measured, or found."""
    from pipeline.stages.sensitivity import SENSITIVITY, SENSITIVITY_TIMES

    present = [job for job in prepared.jobs if job.key in prepared.artifacts]
    folders = {job.key: prepared.artifacts.path(job.key) for job in present}
    layers = [row for job in present if job.stage == SENSITIVITY.name for row in SENSITIVITY.read(folders[job.key])]
    times = [
        row
        for job in present
        if job.stage == SENSITIVITY_TIMES.name
        for row in SENSITIVITY_TIMES.read(folders[job.key])
    ]
    return layers, times


def _content(layers: Sequence[Sensitivity], times: Sequence[SensitivityTime], at: str) -> dict[str, Any]:
    from dataclasses import asdict

    from pipeline.measure.sensitivity.agreement import additivity, score_agreement

    return {
        "at": at,
        "layers": [asdict(row) for row in layers],
        "times": [asdict(row) for row in times],
        "score_agreement": score_agreement(layers),
        "time_additivity": additivity(times),
    }


def _text(layers: Sequence[Sensitivity], times: Sequence[SensitivityTime], at: str, top: int) -> str:
    """A table of layers by candidates, and how far estimates and layer times can be trusted."""
    from pipeline.measure.sensitivity.agreement import additivity, score_agreement

    if not layers:
        return f"No layer of '{at}' was measured"
    candidates = list(dict.fromkeys(row.candidate for row in layers))
    cells = {(row.layer, row.candidate): row for row in layers}
    worst = {
        name: max((row.kl or 0.0) for row in layers if row.layer == name) for name in {row.layer for row in layers}
    }
    names = sorted(worst, key=lambda name: -worst[name])
    room = max(14, *(len(label) for label in candidates))
    width = max(len(name) for name in [*names[:top], "layer"])
    lines = [f"Damage to '{at}': kl in nats on {layers[0].instances} calibration instances, with its standard error"]
    lines.append("  ".join([f"{'layer':{width}}", *(f"{label:>{room}}" for label in candidates)]))
    for name in names[:top]:
        lines.append(
            "  ".join([f"{name:{width}}", *(f"{_cell(cells.get((name, label))):>{room}}" for label in candidates)])
        )
    if len(names) > top:
        lines.append(f"and {len(names) - top} layers that lose less; --top {len(names)} shows all")
    agreement = score_agreement(layers)
    if agreement is not None:
        lines.append(
            f"Estimates from gradients rank layers as the measured damage does: Spearman {agreement['rank_correlation']:.2f} "
            f"over {agreement['pairs']} pairs, at {agreement['cost_share']:.0%} of its time"
        )
    for candidate, (parts, whole, error) in additivity(times).items():
        lines.append(
            f"{candidate}: of a sample, layers save {1e6 * parts:.1f} µs by their own times, and the whole model "
            f"{1e6 * whole:.1f} ± {1e6 * error:.1f} µs"
        )
    return "\n".join(line.rstrip() for line in lines)


def _cell(row: Sensitivity | None) -> str:
    if row is None:
        return ""
    if row.reason:
        return "does not go"
    if row.kl is None:
        value = row.loss if row.loss is not None else row.score
        return "" if value is None else f"~{value:.2g}"
    return "no numbers" if row.kl_se is None else f"{row.kl:.2g} ± {row.kl_se:.1g}"


SENSITIVITY_COMMANDS = (
    Command(
        "sensitivity",
        "measure what candidates do to each layer of a model: damage, bytes and work; nothing of it is evaluation",
        _measure,
        _add,
    ),
)
