"""The panel that joins both looks at a model: the layers that differ most on the instances whose answers changed.

One click from a class, a group or a flip. Both models are run on the instances that changed and on like ones that did
not, in a process of the pipeline's, and every layer's relative change on the first is set against that on the second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.layers.compare.contrast import FEWEST, InstanceSets
from viewer.behaviours.instance_filter import members_mask
from viewer.behaviours.queries import Sheet
from viewer.behaviours.table import ALPHA
from viewer.format.numbers import format_number
from viewer.layers.comparison_jobs import comparison_of
from viewer.layers.queries import ContrastRow, read_contrast

__all__ = ["KINDS", "Bench", "Scope", "joint_panel", "scope_of"]

KINDS = ("all", "class", "group", "flip")
_FIRST_ROWS = 12
_FLIP = 2


@dataclass(frozen=True, slots=True)
class Scope:
    """Which instances are set against which."""

    text: str
    """What the first are, in words."""
    changed: np.ndarray
    """bool (N,)."""
    same: np.ndarray
    against: str
    """What the second are, in words."""

    @property
    def problem(self) -> str:
        """Why nothing can be said; empty if something can."""
        changed, same = int(self.changed.sum()), int(self.same.sum())
        if changed < FEWEST:
            return f"{FEWEST} instances are needed to say which layers differ more on them."
        if same < FEWEST:
            return f"There are only {same:,} instances {self.against} to set them against: {FEWEST} are needed."
        return ""


def scope_of(sheet: Sheet, model: str, base: str, kind: str, names: Sequence[str]) -> Scope | None:
    """Return the instances that a row of the page stands for; None where it makes no sense.

    They are set against those of the same class, group or first answer that kept their answer, so that nothing but the
    change tells the two apart; where too few kept it, against all that did.

    Args:
        sheet: the answers.
        model: key of the model.
        base: key of the one that it is compared with.
        kind: one of `KINDS`.
        names: of the class; of the group and the attributes that make it; of the answers before and after.
    """
    before, after = sheet.answers(base).predicted, sheet.answers(model).predicted
    changed = sheet.answers(model).differs(sheet.answers(base))
    same = ~changed
    if kind == "all":
        return Scope("instances that changed their answer", changed, same, "that kept theirs")
    if kind == "flip" and len(names) == _FLIP:
        first, second = (sheet.code_of(name) for name in names)
        text, against = f"answers that changed from “{names[0]}” to “{names[1]}”", f"that stayed “{names[0]}”"
        return _fallback(Scope(text, (before == first) & (after == second), (before == first) & same, against), same)
    if kind not in ("class", "group") or not names:
        return None
    within = members_mask(sheet, names[0], tuple(names[1:]))
    text = f"instances of {kind} “{names[0]}” that changed their answer"
    return _fallback(Scope(text, within & changed, within & same, f"of the {kind} that kept theirs"), same)


def _fallback(scope: Scope, same: np.ndarray) -> Scope:
    if scope.same.sum() >= FEWEST or scope.changed.sum() < FEWEST:
        return scope
    return Scope(scope.text, scope.changed, same, f"of all that kept theirs (there are too few {scope.against})")


@dataclass(frozen=True, slots=True)
class Bench:
    """What two models can be run with."""

    results: Path
    """The results file."""
    refusal: str
    """Why instances may not be read beside these results; empty if they may."""
    notify: Callable[[], None]
    """Called, in another thread, when something is new."""


def joint_panel(sheet: Sheet, choice: Sequence[str], base: str, bench: Bench) -> dict[str, Any] | None:
    """Return what the template draws: the layers, how far their comparison is, or why there is none.

    Args:
        sheet: the answers.
        choice: key of the model, kind of the row, and its names.
        base: key of the model that it is compared with.
        bench: what the two can be run with.
    """
    model, kind, *names = choice
    scope = scope_of(sheet, model, base, kind, names)
    if scope is None:
        return None
    panel: dict[str, Any] = {"model": model, "kind": kind, "names": names, "text": scope.text, "against": scope.against}
    panel |= {"rows": [], "rest": [], "waiting": "", "run": "", "remark": ""}
    counts = f"{int(scope.changed.sum()):,}", f"{int(scope.same.sum()):,}"
    panel |= {"counts": counts}
    problem = scope.problem or bench.refusal
    if problem:
        return panel | {"problem": problem}
    ids = (tuple(sheet.ids(np.flatnonzero(part))) for part in (scope.changed, scope.same))
    sets = InstanceSets(sheet.dataset_key, *ids)
    rows = read_contrast(bench.results, sets.key(model, base))
    if rows:
        table_rows = _table_rows(rows)
        certain = sum(row["certain"] for row in table_rows)
        return panel | {
            "problem": "",
            "run": _run_text(rows[0], counts),
            "rows": table_rows[:_FIRST_ROWS],
            "rest": table_rows[_FIRST_ROWS:],
            "remark": _remark(certain, len(table_rows)),
        }
    job = comparison_of(bench.results, model, base, bench.notify, sets)
    problem = job.problem or ("The comparison has left no result" if job.finished else "")
    return panel | {"problem": problem, "waiting": "" if problem else job.text}


def _run_text(row: ContrastRow, counts: tuple[str, str]) -> str:
    ran = f"{row.instances_changed:,}", f"{row.instances_same:,}"
    if ran == counts:
        return "Both models were run on all of them."
    return (
        f"Both models were run on {ran[0]} of the {counts[0]} and on {ran[1]} of the {counts[1]}, drawn at random: the "
        "same ones every time."
    )


def _remark(certain: int, count: int) -> str:
    if not certain:
        return (
            f"No layer's outputs change measurably more or less on them than on the others ({count} layers compared)."
        )
    layers = "1 layer's outputs change" if certain == 1 else f"{certain} layers' outputs change"
    return f"{layers} measurably more or less on them than on the others, of {count} compared."


def _table_rows(rows: Sequence[ContrastRow]) -> list[dict[str, Any]]:
    """Rows with a bar on one logarithmic axis, on which a ratio of 1 is in the middle."""
    ends = [
        abs(math.log(end)) for row in rows for end in (row.low, row.high, row.ratio) if math.isfinite(end) and end > 0
    ]
    reach = max(ends, default=0.0) or 1.0

    def place(ratio: float) -> float:
        if not ratio > 0:
            return 0.0
        return 50 + 50 * max(-1.0, min(1.0, math.log(ratio) / reach))

    return [
        {
            "site": row.site,
            "stage": "network" if row.stage == "torch" else "file",
            "ratio": f"{format_number(row.ratio, '.2f')} ×" if not math.isnan(row.ratio) else "unchanged",  # noqa: RUF001 - the sign for times
            "interval": f"[{format_number(row.low, '.2f')}, {format_number(row.high, '.2f')}]"
            if not math.isnan(row.low)
            else "",
            "changed": format_number(row.changed, ".1%"),
            "same": format_number(row.same, ".1%"),
            "at": place(row.ratio),
            "since": place(row.low),
            "to": place(row.high),
            "certain": bool(row.p < ALPHA),
            "p": f"p {row.p:.2g}" if math.isfinite(row.p) else "not tested",
        }
        for row in rows
    ]
