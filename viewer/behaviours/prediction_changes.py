"""The answers that changed, in words: the most frequent flips of a model, and its flip matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from viewer.behaviours.measures import ModelAnswers
from viewer.behaviours.queries import Sheet
from viewer.behaviours.statistics import flip_matrix, flips

__all__ = ["flip_texts", "matrix_of"]

_FLIPS = 3


def flip_texts(sheet: Sheet, model: ModelAnswers, base: ModelAnswers, mask: np.ndarray) -> list[dict[str, str]]:
    """Return the most frequent changes of answer among some instances, the most frequent first.

    Args:
        sheet: knows the answers by their codes.
        model: its answers.
        base: those of the base.
        mask: bool (N,), the instances that count.
    """
    count = int(mask.sum())
    return [
        {
            "before": sheet.texts[flip.before],
            "after": sheet.texts[flip.after],
            "share": f"{flip.count / count:.1%}",
            "count": f"{flip.count:,}",
        }
        for flip in flips(model, base, mask, most=_FLIPS)
    ]


def matrix_of(sheet: Sheet, model: ModelAnswers, base: ModelAnswers, mask: np.ndarray) -> dict[str, Any]:
    """Return the flip matrix: the names of the answers that change most, and a row of cells for each, before by after.

    Args:
        sheet: knows the answers by their codes.
        model: its answers.
        base: those of the base.
        mask: bool (N,), the instances that count.
    """
    codes, table = flip_matrix(model, base, mask)
    top = max(1, int(table.max(initial=1)))
    changed = mask & model.differs(base)
    return {
        "names": [sheet.texts[code] for code in codes],
        "rows": [[{"count": f"{n:,}" if n else "", "shade": round(n / top, 3)} for n in row] for row in table.tolist()],
        "changed": f"{int(changed.sum()):,}",
        "in_table": f"{int(table.sum()):,}",
    }
