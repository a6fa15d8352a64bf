"""What a model's answers say by class: which classes are measurably worse or better than the original's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from viewer.behaviours.measures import MEASURES
from viewer.behaviours.open_sheets import sheet_of
from viewer.behaviours.statistics import cells
from viewer.behaviours.table import ALPHA, change_text, corrected

if TYPE_CHECKING:
    from viewer.results.results import Results

__all__ = ["ClassEvidence", "class_evidence"]

_ERROR = "error"


@dataclass(frozen=True, slots=True)
class ClassEvidence:
    """How the classes fare, by exact McNemar tests on the same instances, corrected for the number of classes (Holm)."""

    classes: int
    worse: tuple[tuple[str, str], ...]
    """Class -> change of its error rate in words, the most harmed first: those that are measurably worse."""
    better: int
    """How many are measurably better."""

    @property
    def text(self) -> str:
        """The evidence in a few words."""
        if not self.worse:
            return f"none of {self.classes} classes measurably worse"
        name, change = self.worse[0]
        if len(self.worse) == 1:
            return f"one class worse (“{name}”: error rate {change})"
        return f"{len(self.worse)} of {self.classes} classes worse (most: “{name}”, error rate {change})"


def class_evidence(results: Results, key: str, original: str) -> ClassEvidence | None:
    """Compare a model's answers with the original's, class by class; kept for all visitors.

    Args:
        results: those of both models.
        key: the model.
        original: the one that it is compared with.

    Returns:
        None where the answers of one were not recorded, or the data set has fewer than two classes.

    Raises:
        StoreError: if the answers cannot be read.
    """
    memory: dict[tuple[str, str], ClassEvidence | None] = results.shared(_memory)
    if (key, original) not in memory:
        memory[key, original] = _compare(results, key, original)
    return memory[key, original]


def _memory(results: Results) -> dict[tuple[str, str], ClassEvidence | None]:
    return {}


def _compare(results: Results, key: str, original: str) -> ClassEvidence | None:
    sheet = sheet_of(results)
    if sheet is None or len(sheet.classes) <= 1 or not {key, original} <= sheet.sets.keys() or key == original:
        return None
    measure = MEASURES[_ERROR]
    with sheet.lock:
        values = sheet.values(measure, [key, original], original)
        belongs = sheet.members(())
    everyone = np.ones(sheet.size, bool)
    columns = [cells(values[each], values[original], belongs, everyone) for each in (original, key)]
    p, _ = corrected(columns)
    change = columns[1].change
    with np.errstate(invalid="ignore"):
        significant = p[1] < ALPHA
        worse = np.flatnonzero(significant & (change > 0))
        better = int((significant & (change < 0)).sum())
    ordered = sorted(worse.tolist(), key=lambda row: -change[row])
    harms = tuple((belongs.names[row], change_text(float(change[row]), measure)) for row in ordered)
    return ClassEvidence(len(belongs.names), harms, better)
