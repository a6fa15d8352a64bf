"""The sheets of answers that are open: shared by all visitors and pages while the results stay as they are."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from viewer.behaviours.queries import Sheet, open_sheet

if TYPE_CHECKING:
    from viewer.results.results import Results

__all__ = ["sheet_of"]

_sheets: dict[tuple[Any, ...], Sheet | None] = {}
_opening = Lock()


def sheet_of(results: Results) -> Sheet | None:
    """Return the answers in the setting of some results; None where none were recorded.

    Raises:
        StoreError: if they cannot be read.
    """
    snapshot, context = results.snapshot, results.context
    key = (snapshot.path, snapshot.id, context.target, context.dataset_key)
    with _opening:
        if key not in _sheets:
            for old in [sheet_key for sheet_key in _sheets if sheet_key[0] == key[0] and sheet_key[1] != key[1]]:
                _sheets.pop(old)  # of results that were replaced
            _sheets[key] = open_sheet(snapshot.path, target=key[2], dataset_key=key[3])
        return _sheets[key]
