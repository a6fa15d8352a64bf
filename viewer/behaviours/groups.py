"""Error rates of groups at one look: which of them a model fails more than the base does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from viewer.behaviours.measures import MEASURES
from viewer.behaviours.queries import SEPARATOR, Sheet
from viewer.behaviours.statistics import cells
from viewer.behaviours.table import ALPHA, Look, cell, corrected, relative_text

__all__ = ["error_groups"]


def error_groups(
    sheet: Sheet, models: Sequence[str], attributes: tuple[str, ...], mask: np.ndarray, *, inferred: bool
) -> dict[str, Any]:
    """Return error rates per group and model (the base first), relative increases, and tests corrected for their number.

    The group whose errors grew most, in any of the models, comes first.

    Args:
        sheet: the answers.
        models: keys, the base first.
        attributes: names whose combined values make the groups.
        mask: bool (N,), the instances that count.
        inferred: whether intervals and tests are allowed, or shares alone.
    """
    belongs, measure = sheet.members(attributes), MEASURES["error"]
    errors = sheet.values(measure, models, models[0])
    per_model = [cells(errors[key], errors[models[0]], belongs, mask) for key in models]
    p, tests = corrected(per_model, inferred=inferred)
    look = Look(measure, inferred=inferred, tests=tests)
    rows = []
    growth = np.max([np.nan_to_num(part.change, nan=-np.inf) for part in per_model[1:] or per_model], axis=0)
    for row in sorted(np.flatnonzero(per_model[0].count).tolist(), key=lambda row: -growth[row]):
        parts = [cell(part, row, look, base=at == 0, p=float(p[at, row])) for at, part in enumerate(per_model)]
        others = [
            {
                "relative": relative_text(float(per_model[at].relative[row])),
                "p": f"{p[at, row]:.2g}" if tests else "",
                "told": bool(p[at, row] < ALPHA),
            }
            for at in range(1, len(per_model))
        ]
        rows.append(
            {
                "name": belongs.names[row],
                "count": parts[0].count,
                "base": parts[0],
                "others": list(zip(parts[1:], others, strict=True)),
            }
        )
    return {"title": SEPARATOR.join(attributes), "rows": rows, "tests": tests}
