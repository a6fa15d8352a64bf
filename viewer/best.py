"""The best models within a budget, as the pages rank them, for other programs: one JSON object on standard output.

python -m viewer.best RESULTS COUNT [BUDGET]
python -m viewer.best front RESULTS X Y         of the models whose keys stand on standard input
python -m viewer.best alike RESULTS METRIC KEY  likewise
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.errors import BouillonError
from viewer.overview.budget_text import parse_budgets
from viewer.results.budget import Range
from viewer.results.results import Results, load_results
from viewer.session.choices import choices
from viewer.session.state import ViewState

__all__ = ["alike_to", "front_of", "named_best"]


def named_best(results: Results, count: int, budget: str = "") -> dict[str, Any]:
    """Return the best models by the metric that a visitor sees first, JSON-ready.

    Args:
        results: those to choose from.
        count: how many at most.
        budget: as it is typed on the page of budgets; empty: none.

    Returns:
        `goal`, the metric, and `models`: for each its `key`, its `name` and how many others, `alike`, cannot be told apart
        from it; or `problem`, a sentence, where no model is within the budget.

    Raises:
        BudgetError: if the budget cannot be read.
    """
    filters = [
        (each.metric, each.low, each.high) for each in parse_budgets(budget, results.metrics, results.columns_by_name)
    ]
    goal = choices(results).metric("goal", ViewState())
    among = results.ranking.passing(filters)
    models: list[dict[str, Any]] = []
    while len(models) < count and (best := results.ranking.best(goal, among)) is not None:
        key = results.keys[best.row]
        models.append({"key": key, "name": results.forest[key].name, "alike": len(best.alike)})
        among[best.row] = False
    return {"goal": goal, "models": models} if models else {"problem": _nothing(results, filters, goal)}


def front_of(
    results: Results, x: str, y: str, keys: Collection[str] | None = None
) -> list[tuple[str, str, float, float]]:
    """Return the models that no other measurably beats in two metrics, by the first: key, name, and the two values.

    Args:
        results: those to choose from.
        x: a metric.
        y: another.
        keys: of the models to compare, with those that they were made of; None: all.
    """
    across, up = results.values(x), results.values(y)
    among = None if keys is None else _rows(results, _with_ancestors(results, keys))
    return [
        (results.keys[row], results.forest[results.keys[row]].name, float(across[row]), float(up[row]))
        for row in results.ranking.front(x, y, among)
    ]


def alike_to(results: Results, metric: str, key: str, keys: Collection[str]) -> list[str]:
    """Return the keys of the models among some that cannot be told apart from one in a metric.

    Args:
        results: those to choose from.
        metric: its name.
        key: of the one.
        keys: of the others.
    """
    if key not in results.row:
        return []
    signs = results.ranking.order(metric, results.row[key])
    return [each for each in keys if each != key and each in results.row and signs[results.row[each]] == 0]


def _with_ancestors(results: Results, keys: Collection[str]) -> set[str]:
    lineage: set[str] = set()
    for key in keys:
        at: str | None = key
        while at and at not in lineage and at in results.row:
            lineage.add(at)
            at = results.forest.parent(at)
    return lineage


def _rows(results: Results, keys: Collection[str]) -> np.ndarray:
    return np.array([key in keys for key in results.keys], dtype=bool)


def _nothing(results: Results, filters: list[Range], goal: str) -> str:
    if not filters:
        return "No model of these results can be called the best: none has a figure that says how good it is"
    texts = " and ".join(results.ranking.filter_texts(filters))
    miss = results.ranking.near_miss(filters)
    if miss is None:
        return f"No sound model with a known {results.label(goal)} has {texts}"
    name = results.forest[results.keys[miss.row]].name
    value = results.show(miss.budget.metric, miss.row)
    return f"No sound model has {texts}. Nearest: '{name}', with {results.label(miss.budget.metric)} {value}"


def _answer(arguments: list[str], text: str) -> dict[str, Any]:
    if arguments[0] == "front":
        _, path, x, y = arguments
        return {"front": front_of(load_results(Path(path)), x, y, text.split())}
    if arguments[0] == "alike":
        _, path, metric, key = arguments
        return {"alike": alike_to(load_results(Path(path)), metric, key, text.split())}
    path, count, *budget = arguments
    return named_best(load_results(Path(path)), int(count), " ".join(budget))


def print_best(arguments: list[str]) -> int:
    """Answer; exit status 2 where there is a problem."""
    try:
        answer = _answer(arguments, sys.stdin.read() if arguments[0] in ("front", "alike") else "")
    except BouillonError as error:
        answer = {"problem": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 2 if "problem" in answer else 0


if __name__ == "__main__":
    sys.exit(print_best(sys.argv[1:]))
