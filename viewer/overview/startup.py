"""The page for results that cannot be shown: what is wrong, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.store.reader import (
    EmptyResultsError,
    ForeignFileError,
    NewerSchemaError,
    NoResultsError,
    OlderSchemaError,
    StoreError,
)
from viewer.format.templates import render

__all__ = ["startup_page"]

_RUN = {"text": "Run a recipe; the results land in results.duckdb:", "command": "python -m pipeline recipe=quickstart"}
_NAME = {
    "text": "Or name another file:",
    "command": "BOUILLON_RESULTS=path/to/results.duckdb panel serve viewer\npanel serve viewer --args path/to/results.duckdb",
}


def startup_page(path: Path, problem: StoreError) -> str:
    """Return the page's markup."""
    title, steps = _ADVICE.get(type(problem), ("These results cannot be read", [_NAME]))
    return render("startup", title=title, problem=str(problem), steps=steps)


_ADVICE: dict[type[StoreError], tuple[str, list[dict[str, Any]]]] = {
    NoResultsError: ("No results yet", [_RUN, _NAME]),
    EmptyResultsError: ("The results file is empty", [_RUN, _NAME]),
    OlderSchemaError: ("These results are of an older version", [_RUN, _NAME]),
    NewerSchemaError: ("These results are of a newer version", [_NAME]),
    ForeignFileError: ("This is not a results file", [_RUN, _NAME]),
}
