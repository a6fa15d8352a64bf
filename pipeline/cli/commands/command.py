"""A command: what it takes, what it does, and its outcome, for people and for programs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Command", "CommandOutcome", "add_json", "printed"]

_STANDARD_OUTPUT = Path("-")


class CommandOutcome(NamedTuple):
    """The end of a command."""

    text: str
    """For people."""
    content: Mapping[str, Any] | str | None = None
    """For programs: JSON-ready, or JSON. None: the text is for programs already."""
    status: int = 0
    """Exit status."""


class Command(NamedTuple):
    """One word that may come first on the command line."""

    name: str
    text: str
    """For --help."""
    act: Callable[[argparse.Namespace], CommandOutcome]
    add_options: Callable[[argparse.ArgumentParser], object]


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


def printed(options: argparse.Namespace, outcome: CommandOutcome) -> str:
    """Return what is printed, after the JSON has been written where it is wanted."""
    file: Path | None = getattr(options, "json", None)
    if file is None or outcome.content is None:
        return outcome.text
    content = outcome.content if isinstance(outcome.content, str) else json.dumps(outcome.content, indent=2)
    if file == _STANDARD_OUTPUT:
        return content.rstrip("\n")
    file.write_text(content.rstrip("\n") + "\n", encoding="utf-8")
    return outcome.text
