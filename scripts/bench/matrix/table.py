"""The matrix as a table in Markdown: right, or a number that stands for the reason why not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

RIGHT = "✓"
_LONGEST = 170


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a cell."""

    architecture: str
    column: str
    state: str
    """`right`, `refused` or `FAULT`."""
    text: str
    """The reason, or the fault."""
    seconds: float


def kind(reason: str, architecture: str) -> str:
    """Return a reason without the names of layers and the architecture's own: one for all that are refused alike.

    Args:
        reason: as the operation gives it.
        architecture: its name.
    """
    text = " ".join(reason.replace(f"'{architecture}'", "the architecture").split())
    text = re.sub(r"architecture (?:the architecture|'[^']*')", "the architecture", text)
    text = re.sub(r"'[^']*[._][^']*'", "'…'", text)
    text = re.sub(r"\b\d+(?:\.\d+)?\b", "n", text)
    text = re.split(r"(?<=[a-z)])\. [A-Z]", text, maxsplit=1)[0]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rsplit(' ', 1)[0]} …"


def table(outcomes: Iterable[Outcome], columns: Sequence[str], libraries: Mapping[str, str]) -> str:
    """Return the table and the reasons under it.

    Args:
        outcomes: of all cells.
        columns: the operations, in order.
        libraries: architecture -> where it comes from.
    """
    numbers: dict[str, int] = {}
    cells: dict[str, dict[str, str]] = {}
    for outcome in outcomes:
        mark = RIGHT
        if outcome.state != "right":
            reason = kind(outcome.text, outcome.architecture)
            mark = str(numbers.setdefault(reason, len(numbers) + 1))
        cells.setdefault(outcome.architecture, {})[outcome.column] = mark
    head = " | ".join(
        f"`{column}`" if " " not in column else f"`{column.split()[0]}` {column.split()[1]}" for column in columns
    )
    lines = [f"| | {head} |", f"|---|{'---|' * len(columns)}"]
    for library in dict.fromkeys(libraries.values()):
        for name in (one for one in cells if libraries[one] == library):
            lines.append(f"| {name} ({library}) | {' | '.join(cells[name].get(column, '') for column in columns)} |")
    reasons = [f"{number}. {reason}" for reason, number in numbers.items()]
    return "\n".join([*lines, "", *reasons])
