"""CSV for spreadsheets: what they would run as a formula is marked as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

__all__ = ["csv_text", "spreadsheet_safe"]


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Return rows of texts as CSV, the first being the heads."""
    file = io.StringIO()
    csv.writer(file).writerows([*map(spreadsheet_safe, row)] for row in rows)
    return file.getvalue()


def spreadsheet_safe(text: str) -> str:
    """Mark what a spreadsheet would run as a formula as text."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
