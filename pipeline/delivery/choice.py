"""Choose models by how good they are: the viewer, which ranks them for people, is asked for its answer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.core.errors import BouillonError

__all__ = ["BestModel", "ChoiceError", "FrontModel", "alike_models", "best_models", "budget_of", "front_models"]

_ROOT = Path(__file__).resolve().parents[2]
_BEST = re.compile(r"\s*best(?:\s+under\s+(?P<budget>.+?))?\s*", re.IGNORECASE | re.DOTALL)
_QUOTES = "\"'“”"


class ChoiceError(BouillonError, ValueError):
    """No model can be chosen: the message says why, and names the nearest model, metric or value."""


class BestModel(NamedTuple):
    """A model that was chosen."""

    key: str
    name: str
    alike: int
    """How many others cannot be told apart from it."""
    goal: str
    """The metric by which it is the best."""


def budget_of(text: str) -> str | None:
    """Return the budget of `best under BUDGET`, empty for `best` alone; None of any other text."""
    match = _BEST.fullmatch(text)
    return None if match is None else (match["budget"] or "").strip().strip(_QUOTES)


class FrontModel(NamedTuple):
    """A model of a front."""

    key: str
    name: str
    x: float
    y: float


def front_models(results: Path, x: str, y: str, keys: Sequence[str]) -> list[FrontModel]:
    """Return those of some models that none of them measurably beats in two metrics, by the first, as the viewer compares them.

    Args:
        results: the results file.
        x: a metric.
        y: another.
        keys: of the models; those above them, which they were made of, are among them too.

    Raises:
        ChoiceError: if the results cannot be read.
    """
    answer = _ask(["front", str(results), x, y], "\n".join(keys))
    return [FrontModel(*each) for each in answer["front"]]


def alike_models(results: Path, metric: str, key: str, keys: Sequence[str]) -> list[str]:
    """Return the keys of those of some models that cannot be told apart from one in a metric, as the viewer compares them.

    Args:
        results: the results file.
        metric: its name.
        key: of the one.
        keys: of the others.

    Raises:
        ChoiceError: if the results cannot be read.
    """
    return list(_ask(["alike", str(results), metric, key], "\n".join(keys))["alike"])


def best_models(results: Path, count: int, budget: str = "") -> list[BestModel]:
    """Return the best models within a budget, as the viewer ranks them: in a process of its own, for it reads results alone.

    Args:
        results: the results file.
        count: how many at most.
        budget: as it is typed there: `file_bytes <= 5 MB and accuracy >= 90%`.

    Raises:
        ChoiceError: if the budget cannot be read, or no model is within it.
    """
    answer = _ask([str(results), str(count), budget])
    return [BestModel(**model, goal=answer["goal"]) for model in answer["models"]]


def _ask(arguments: Sequence[str], text: str = "") -> dict[str, Any]:
    """Ask the viewer, in a process of its own."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "viewer.best", *arguments],
        input=text,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ChoiceError(f"The models cannot be ranked: {last}") from None
    if "problem" in answer:
        raise ChoiceError(answer["problem"])
    return dict(answer)
