"""Commands for other programs: schema, mcp, view, and show, which the viewer uses."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from pipeline.cli.commands.command import Command, CommandOutcome

__all__ = ["PROGRAM_COMMANDS"]


def _add_dataset(command: argparse.ArgumentParser) -> None:
    command.add_argument("dataset", help="key of the data set, as in the view `datasets`")
    command.add_argument(
        "--allow", action="store_true", help="let it be shown beside results of somebody else's; asked once"
    )


def _add_page(command: argparse.ArgumentParser) -> None:
    command.add_argument("--address", default="127.0.0.1", help="who may see the page; default: this machine alone")
    command.add_argument("--port", type=int, default=5006, help="default: 5006")
    command.add_argument("--show", action="store_true", help="open it in a browser")


def _add_part(command: argparse.ArgumentParser) -> None:
    command.add_argument("part", nargs="?", choices=("recipe", "operations"), default="recipe")


def _add_limits(command: argparse.ArgumentParser) -> None:
    command.add_argument("--workspace", type=Path, default=Path(".bouillon"), help="default: .bouillon")
    command.add_argument("--config-dir", type=Path, help="a folder of your own recipes, models and data sets")
    command.add_argument("--minutes", type=float, default=30.0, help="of a run, at most; default: 30")


def _schema(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.cli.configuration.compose import entry_names
    from pipeline.plan.schema import operation_schemas, recipe_schema

    content = operation_schemas() if options.part == "operations" else recipe_schema(entry_names())
    return CommandOutcome(json.dumps(content, indent=1))


def _mcp(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.cli.assistant_tools import AssistantTools
    from pipeline.cli.mcp_server import serve_assistant

    serve_assistant(AssistantTools(options.results, options.workspace, options.config_dir, options.minutes))
    return CommandOutcome("")


def _view(options: argparse.Namespace) -> CommandOutcome:
    viewer = find_spec("viewer")
    assert viewer is not None
    assert viewer.origin is not None
    words = [
        "panel",
        "serve",
        str(Path(viewer.origin).parent),
        "--address",
        options.address,
        "--port",
        str(options.port),
    ]
    settings = {**os.environ, "BOUILLON_RESULTS": str(options.results.resolve())}
    server = [sys.executable, "-m", *words, *(["--show"] if options.show else [])]
    return CommandOutcome("", status=subprocess.run(server, check=False, env=settings).returncode)


def _show(options: argparse.Namespace) -> CommandOutcome:
    from pipeline.cli.show_instances import answer
    from pipeline.sweep.open_known import allow_known, open_known

    if options.allow:
        return CommandOutcome(allow_known(options.results, options.dataset))
    data = open_known(options.results, options.dataset)
    for line in answer(data, iter(sys.stdin.readline, "")):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    return CommandOutcome("")


PROGRAM_COMMANDS = (
    Command("view", "serve the page of the results: scatterplot, model map, comparisons", _view, _add_page),
    Command("schema", "print the JSON schema of recipes, for editors and other programs", _schema, _add_part),
    Command("mcp", "serve an assistant over standard input and output (Model Context Protocol)", _mcp, _add_limits),
    Command("show", "print instances of a data set as JSON, one for each id on standard input", _show, _add_dataset),
)
