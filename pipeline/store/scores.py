"""The scoreboard of a run, for its summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.store.reader import open_results


def scores(results: Path, target: str, device: str) -> dict[str, dict[str, Any]]:
    """Return model_key -> the scoreboard's columns, for one target as measured on one machine.

    Numbers that were taken on no particular machine are in every row; a model that this machine has not measured is
    left out.
    """
    db = open_results(results)
    try:
        found = db.execute("SELECT * FROM scoreboard WHERE target = ? AND device = ?", [target, device])
        names = [column[0] for column in found.description or ()]
        return {row["model_key"]: row for row in (dict(zip(names, row, strict=True)) for row in found.fetchall())}
    finally:
        db.close()
