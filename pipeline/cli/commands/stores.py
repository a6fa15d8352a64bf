"""Commands about results as a whole: import, export, migrate, verify, and compare, which the viewer uses."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.cli.commands.command import Command, CommandOutcome, add_json
from pipeline.cli.configuration.compose import UsageError

__all__ = ["STORE_COMMANDS"]

EXPORTS = ("compress-and-compare", "mlflow")
IMPORTS = (*EXPORTS, "olive")


def _add_source(command: argparse.ArgumentParser) -> None:
    command.add_argument("format", choices=IMPORTS)
    command.add_argument("file", type=Path, nargs="?", help="of olive also the folder of a run; not of mlflow")
    command.add_argument("--uri", help="of mlflow: the tracking server")
    command.add_argument("--experiment", help="of mlflow: whose runs")
    add_json(command)


def _add_destination(command: argparse.ArgumentParser) -> None:
    command.add_argument("format", choices=EXPORTS)
    command.add_argument("file", type=Path, nargs="?", help="not of mlflow")
    command.add_argument("--recipe", help="which recipe, if the store holds several")
    command.add_argument("--uri", help="of mlflow: the tracking server")
    command.add_argument("--experiment", help="of mlflow: where to, made if there is none; default: the recipe's name")
    add_json(command)


def _add_pair(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", help="name or key (its beginning is enough)")
    command.add_argument("reference", help="likewise")
    command.add_argument("--workspace", type=Path, help="where the models are; default: that of the last run")
    command.add_argument(
        "--instances",
        type=Path,
        metavar="FILE",
        help="run both on two sets of instances, and say which layers changed more on the first: JSON with `dataset` (its "
        "key), `changed` and `same` (ids); - is standard input",
    )
    add_json(command)


def _add_workspace(command: argparse.ArgumentParser) -> None:
    command.add_argument("--workspace", type=Path, default=Path(".bouillon"), help="default: .bouillon")
    add_json(command)


def _import(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.store.interchange import compress_and_compare, olive
    from pipeline.store.interchange.foreign import import_experiment
    from pipeline.store.interchange.mlflow_runs import read_runs
    from pipeline.store.writer import Store

    notes: list[str] = []
    if options.format == "mlflow":
        source = _needed(options, "experiment")
        experiment, notes = read_runs(_needed(options, "uri"), source)
        done = import_experiment(Store(options.results), experiment)
    else:
        source = _needed(options, "file")
        if options.format == "olive":
            done = import_experiment(Store(options.results), olive.read_footprint(source))
        else:
            done = compress_and_compare.import_file(Store(options.results), source)
    content = {**asdict(done), "source": str(source), "notes": notes}
    if done.is_repeated:
        return CommandOutcome(f"{source} had been imported before: nothing was changed", content)
    text = f"{done.models} models with {done.measurements} measurements from {source} are in {options.results}"
    return CommandOutcome("\n".join([text, *notes]), content)


def _export(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.store.interchange.compress_and_compare import write
    from pipeline.store.interchange.mlflow_runs import export_runs
    from pipeline.store.reader import open_results

    with closing(open_results(options.results)) as db:
        if options.format == "mlflow":
            done = export_runs(db, _needed(options, "uri"), options.recipe, options.experiment)
            text = (
                f"Experiment '{done.experiment}': {done.created} runs made, {done.updated} given new figures, "
                f"{done.unchanged} as they were"
            )
            return CommandOutcome(text, asdict(done))
        count = write(db, _needed(options, "file"), options.recipe)
    return CommandOutcome(f"{count} models written to {options.file}", {"models": count, "file": str(options.file)})


def _needed(options: argparse.Namespace, name: str) -> Any:
    """The value of an option that a format cannot do without."""
    value = getattr(options, name)
    if value is None:
        word = "FILE" if name == "file" else f"--{name}"
        raise UsageError(f"{options.format}: {word} is missing")
    return value


def _migrate(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.store.migration import migrate

    backup = migrate(options.results)
    text = f"{options.results} is up to date" + (f"; the state before is in {backup}" if backup else "")
    return CommandOutcome(text, {"results": str(options.results), "backup": str(backup) if backup else None})


def _verify(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.store.errors import StoreError
    from pipeline.sweep.verify import verify

    if not options.workspace.is_dir():
        raise StoreError(f"--workspace {options.workspace}: there is no such folder")
    if not (options.workspace / "artifacts").is_dir():
        raise StoreError(
            f"--workspace {options.workspace}: no workspace of a run, which has a folder `artifacts` in it"
        )
    lines, damaged = verify(options.workspace)
    return CommandOutcome("\n".join(lines), {"damaged": damaged, "lines": lines}, 1 if damaged else 0)


def _compare(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.sweep.compare_any_two import compare_models

    def tell(done: int, total: int) -> None:
        if options.json is None:
            sys.stdout.write(f"progress {done} {total}\n")
            sys.stdout.flush()

    if options.instances is not None:
        return _contrast(options, tell)
    path, count = compare_models(options.results, options.model, options.reference, options.workspace, tell)
    return CommandOutcome(f"{count} comparisons of layers are in {path}", {"file": str(path), "comparisons": count})


def _contrast(options: argparse.Namespace, tell: Callable[[int, int], None]) -> CommandOutcome:
    from pipeline.layers.compare.contrast import InstanceSets
    from pipeline.sweep.compare_any_two import contrast_models

    try:
        text = sys.stdin.read() if str(options.instances) == "-" else options.instances.read_text()
        sets = InstanceSets.parse(text)
    except (OSError, ValueError) as error:
        raise UsageError(f"--instances {options.instances}: {error}") from None
    path, layers = contrast_models(options.results, (options.model, options.reference), sets, options.workspace, tell)
    lines = [
        f"{layer.ratio:8.2f} [{layer.low:.2f}, {layer.high:.2f}]  p {layer.p:.2g}  {layer.site}" for layer in layers
    ]
    head = f"Relative change of each layer's outputs on the first set over that on the second; also in {path}"
    return CommandOutcome("\n".join([head, *lines]), {"file": str(path), "layers": [asdict(layer) for layer in layers]})


STORE_COMMANDS = (
    Command("import", "load experiments of another program into the store", _import, _add_source),
    Command("export", "write a recipe's models and metrics for another program", _export, _add_destination),
    Command("migrate", "bring a store of an older version up to date; a backup is kept", _migrate, add_json),
    Command(
        "verify",
        "compare all files of a workspace with what was written; what is damaged is set aside",
        _verify,
        _add_workspace,
    ),
    Command(
        "compare",
        "compare the layers of any two models; the result goes to a file beside the results",
        _compare,
        _add_pair,
    ),
)
