"""The table of commands, and how one is run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ops.core.text import cut
from pipeline.cli.commands.branches import BRANCH_COMMANDS
from pipeline.cli.commands.command import Command, CommandOutcome, printed
from pipeline.cli.commands.delivery import DELIVERY_COMMANDS
from pipeline.cli.commands.programs import PROGRAM_COMMANDS
from pipeline.cli.commands.searches import SEARCH_COMMANDS
from pipeline.cli.commands.sensitivity import SENSITIVITY_COMMANDS
from pipeline.cli.commands.stores import STORE_COMMANDS
from pipeline.cli.commands.transfers import TRANSFER_COMMANDS
from pipeline.cli.completion import SHELLS, completion_script
from pipeline.cli.configuration.compose import UsageError, entry_names, recipe_names

__all__ = ["COMMANDS", "run_command"]

_LONGEST = 300


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise what the command line shows."""
        raise UsageError(f"{self.prog}: {cut(message, _LONGEST)}. {self.prog} --help shows what it takes")


def run_command(arguments: list[str]) -> int:
    """Run one of `COMMANDS`.

    Returns the exit code: 1 if `verify` finds damage, that of the verdict of `gate` or `reproduce`, else 0.

    Raises:
        StoreError: naming the file, the problem and what to do.
    """
    parser = _Parser(prog="python -m pipeline", allow_abbrev=False)
    subparsers = parser.add_subparsers(required=True)
    for command in COMMANDS:
        _fill(subparsers.add_parser(command.name, help=command.text, description=command.text), command)
    selection = parser.parse_args(arguments)
    perform: Callable[[argparse.Namespace], CommandOutcome] = selection.act
    outcome = perform(selection)
    text = printed(selection, outcome)
    if text:
        sys.stdout.write(text + "\n")
    return outcome.status


def _fill(parser: argparse.ArgumentParser, command: Command) -> None:
    parser.set_defaults(act=command.act)
    parser.add_argument("--results", type=Path, default=Path("results.duckdb"), help="default: results.duckdb")
    command.add_options(parser)


def _options_of(command: Command) -> list[str]:
    """Its options, as they are typed."""
    parser = _Parser()
    _fill(parser, command)
    return sorted(word for action in parser._actions for word in action.option_strings if word.startswith("--"))


def _add_shell(command: argparse.ArgumentParser) -> None:
    command.add_argument("shell", choices=SHELLS)


def _completion(options: argparse.Namespace) -> CommandOutcome:
    entries = {"recipe": recipe_names(), **entry_names()}
    del entries["target"]
    own = {command.name: _options_of(command) for command in COMMANDS}
    return CommandOutcome(completion_script(options.shell, own, entries))


COMMANDS = (
    *STORE_COMMANDS,
    *TRANSFER_COMMANDS,
    *DELIVERY_COMMANDS,
    *BRANCH_COMMANDS,
    *SENSITIVITY_COMMANDS,
    *SEARCH_COMMANDS,
    *PROGRAM_COMMANDS,
    Command("completion", "print a script by which a shell completes the command `bouillon`", _completion, _add_shell),
)
"""In the order of --help."""
