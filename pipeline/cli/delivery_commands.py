"""Commands by which models leave the house, or are made anew: package, reproduce, and clean."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pipeline.cli.configuration.compose import UsageError, compose
from pipeline.cli.configuration.yaml_reader import read_yaml

__all__ = ["DELIVERY_COMMANDS", "add_json", "printed"]

_STANDARD_OUTPUT = Path("-")
Answer = tuple[str, int]
"""What is printed, and the exit status."""


def add_json(command: argparse.ArgumentParser) -> None:
    """Let a command take --json."""
    command.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        nargs="?",
        const=_STANDARD_OUTPUT,
        help="write the outcome as JSON to a file; without one to standard output, in place of text",
    )


def printed(options: argparse.Namespace, text: str, json_text: str) -> str:
    """Return what is printed, after the JSON has been written where it is wanted.

    Args:
        options: with `json`.
        text: for people.
        json_text: for programs.
    """
    if options.json == _STANDARD_OUTPUT:
        return json_text.rstrip("\n")
    if options.json is not None:
        options.json.write_text(json_text, encoding="utf-8")
    return text


# ---- package
def _add_package(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", help='name, key (its beginning is enough), or: best under "file_bytes <= 5 MB"')
    command.add_argument("folder", type=Path, help="a new or empty folder")
    command.add_argument("--workspace", type=Path, help="where the models are; default: that of the last run")
    command.add_argument("--target", help="the runtime, where the model was evaluated on several")
    add_json(command)


def _package(options: argparse.Namespace) -> Answer:
    from pipeline.delivery.choice import best_models, budget_of
    from pipeline.delivery.packaging.package import package
    from pipeline.delivery.packaging.package_report import package_json, package_text

    budget = budget_of(options.model)
    best = None if budget is None else best_models(options.results, 1, budget)[0]
    result = package(
        options.results,
        options.model if best is None else best.key,
        options.folder,
        workspace=options.workspace,
        target=options.target,
    )
    return printed(options, package_text(result, best), package_json(result, best)), 0


# ---- reproduce
def _add_reproduce(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="package", help="folder of a package; or a model's name or key")
    command.add_argument("--workspace", type=Path, help="a new or empty folder for the run, which is kept")
    command.add_argument("--config-dir", type=Path, metavar="DIR", help="folder of your own models and data sets")
    command.add_argument("--data-folder", type=Path, metavar="DIR", help="cache of data files; default: as in a run")
    add_json(command)


def _reproduce(options: argparse.Namespace) -> Answer:
    from rich.console import Console

    from pipeline.cli.console import ConsoleReporter
    from pipeline.delivery.packaging.reproduction import origin_of, reproduce
    from pipeline.delivery.packaging.reproduction_report import reproduction_json, reproduction_text
    from pipeline.sweep.config import check_config
    from pipeline.sweep.prepare import prepare

    origin = origin_of(options.results, options.model)
    with ExitStack() as stack:
        folder = options.workspace
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bouillon-reproduction-")))
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"--workspace {folder}: is not an empty folder. Name a new one, or leave it out")
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "recipe.yaml"
        file.write_text(origin.recipe, encoding="utf-8")
        raw, entries = compose([], extra=options.config_dir, recipe=read_yaml(file).data)
        settings: dict[str, Any] = {
            "results": folder / "results.duckdb",
            "workspace": folder / ".bouillon",
            "bench": None,
            "plugins": origin.provenance["run"]["plugins"],
            # training gives other bits with another number of threads
            "executor": {
                **raw["executor"],
                **{name: n for name, n in origin.provenance["run"]["executor"].items() if n},
            },
        }
        data_folder = options.data_folder or origin.data_folder
        settings |= {"data_folder": data_folder} if data_folder else {}
        settings |= {"batch_size": origin.batch_size} if origin.batch_size else {}
        prepared = prepare(check_config({**raw, **settings}), entries)
        report = reproduce(origin, prepared, ConsoleReporter(Console(file=sys.stderr)))
        return printed(options, reproduction_text(report), reproduction_json(report)), int(report.outcome)


# ---- clean
def _add_clean(command: argparse.ArgumentParser) -> None:
    command.add_argument("models", nargs="*", help="names or keys of models to keep")
    command.add_argument("--workspace", type=Path, help="default: that of the last run, else .bouillon")
    command.add_argument("--keep", action="append", default=[], metavar="best=N", help="keep the N best models")
    command.add_argument("--older", metavar="AGE", help="remove only what nobody has used for so long: 30d, 12h")
    command.add_argument("--yes", action="store_true", help="remove; without it nothing is")
    add_json(command)


def _clean(options: argparse.Namespace) -> Answer:
    from pipeline.delivery.cleaning import clean
    from pipeline.delivery.cleaning_report import cleaning_json, cleaning_text

    done = clean(
        options.results,
        workspace=options.workspace,
        models=options.models,
        keep=options.keep,
        older=options.older,
        remove=options.yes,
    )
    return printed(options, cleaning_text(done), cleaning_json(done)), 0


DELIVERY_COMMANDS: tuple[tuple[str, str, Callable[..., Answer], Callable[[argparse.ArgumentParser], None]], ...] = (
    ("package", "put a model as it is deployed into a folder, with all that using it takes", _package, _add_package),
    (
        "reproduce",
        "make a model anew in an empty workspace and compare; exit status 0: agrees, 1: differs by more than chance",
        _reproduce,
        _add_reproduce,
    ),
    (
        "clean",
        "show what the workspace holds, and remove what no model that is kept needs; the results keep all figures",
        _clean,
        _add_clean,
    ),
)
"""Name, what it does, the command itself, and what it takes."""
