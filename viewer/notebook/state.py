"""A visitor's session without a page: what the views of a notebook draw from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from pipeline.core.errors import BouillonError
from viewer.overview.budget_text import parse_budgets
from viewer.results.budget import Range
from viewer.results.results import Results, load_results
from viewer.session.choices import choices
from viewer.session.messages import Bridge, Outbox
from viewer.session.session import VisitorSession
from viewer.session.state import ViewState

__all__ = ["NotebookSession", "Source", "UnknownModelError", "budget_ranges", "find_models", "notebook_session"]

_MOST_NAMED = 6


@runtime_checkable
class HasPath(Protocol):
    """Results of the library: `bouillon.Results`."""

    path: Path


Source: TypeAlias = str | Path | HasPath
"""A results file, or `bouillon.Results`."""


class UnknownModelError(BouillonError, LookupError):
    """The results have no such model, metric or column; the message has the nearest."""


class NotebookSession(VisitorSession):
    """A session whose messages to a page are kept, by their kinds: there is no page."""

    def __init__(self, path: Path, state: ViewState, results: Results) -> None:
        super().__init__(path, state, results, Outbox(Bridge(), lambda kind, message: None))
        self.content: dict[str, Any] = {}

    def send(self, kind: str, content: Any) -> None:
        self.content[kind] = content


def notebook_session(source: Source, setting: str = "") -> NotebookSession:
    """Open results for one view.

    Args:
        source: their file, or `bouillon.Results`.
        setting: runtime, machine and data set whose figures are shown, as addresses of pages name it; empty: the fullest.

    Raises:
        StoreError: if the file holds no results.
    """
    path = Path(source.path if isinstance(source, HasPath) else source)
    return NotebookSession(path, ViewState(), load_results(path).within(setting))


def accept(session: VisitorSession, values: Mapping[str, Any]) -> None:
    """Set fields of the state, checked as those of an address.

    Raises:
        UnknownModelError: if the results do not have what a value names.
    """
    values_here, notices = choices(session.results).accept(values, {"overview"})
    if notices:
        names = ", ".join(metric.name for metric in session.results.metrics)
        raise UnknownModelError(f"{' '.join(notices)} Metrics: {names}")
    session.state.change(values_here)


def budget_ranges(results: Results, budget: str) -> list[Range]:
    """Read a budget as it is typed on the page: "accuracy >= 90%; size <= 25 MB".

    Raises:
        BudgetError: if it cannot be read.
    """
    return [
        (each.metric, each.low, each.high) for each in parse_budgets(budget, results.metrics, results.columns_by_name)
    ]


def find_models(results: Results, names: tuple[str, ...] | list[str]) -> list[str]:
    """Return the keys of models that are given by key, beginning of a key, path in the recipe, or name on the page.

    Raises:
        UnknownModelError: if a name is none of these, or the beginning of several keys.
    """
    by_name = {results.text.name(key): key for key in results.keys}
    by_name |= {results.forest[key].name: key for key in results.keys} | {key: key for key in results.keys}
    models: list[str] = []
    for name in names:
        keys = [by_name[name]] if name in by_name else [key for key in results.keys if name and key.startswith(name)]
        if len(keys) != 1:
            some = ", ".join(f"'{results.text.name(key)}'" for key in results.keys[:_MOST_NAMED])
            raise UnknownModelError(f"No model is called '{name}'. Some of these results: {some}")
        models += keys
    return models
