"""Errors of files of another program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.store.errors import StoreError

_SHOWN = 10


class InterchangeError(StoreError):
    """A file cannot be imported or exported; nothing was changed."""


def refuse(path: Path, problems: Sequence[str]) -> InterchangeError:
    """One message for everything that is wrong with a file, each problem with its place."""
    more = len(problems) - _SHOWN
    lines = [f"{path} was not imported:", *(f"  {problem}" for problem in problems[:_SHOWN])]
    return InterchangeError("\n".join([*lines, f"  and {more} more" if more > 0 else ""]).rstrip())
