"""Outcomes of the rows of a table, by task: one class, a set of labels, or numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ops.core.registry import nearest
from ops.core.tasks.answer_text import NO_LABEL, SEPARATOR
from ops.core.tasks.multi_label import label_sets
from ops.core.tasks.regression import number_texts
from pipeline.core.json_text import parse_json
from pipeline.datasets.api import DataError, Split, is_missing
from pipeline.datasets.class_order import ClassOrder, lookalikes, name_list, order_of
from pipeline.datasets.division import limited
from pipeline.datasets.reader import Arrays
from pipeline.datasets.readers.settings import Targets
from pipeline.datasets.tabular.rows import Records, groups_of, splits_of

if TYPE_CHECKING:
    from pipeline.datasets.tabular.by_task import Rules

__all__ = [
    "Outcomes",
    "OutcomesOf",
    "check_thresholds",
    "class_outcomes",
    "label_facts",
    "label_outcomes",
    "label_targets",
    "number_facts",
    "number_outcomes",
    "number_targets",
    "numbers_of",
    "quantile_groups",
    "tolerances_of",
]

_STRATA = 10
"""Groups of about the same size that samples of numbers are spread over."""
_SHARE = 0.5
"""Of the training targets' standard deviation: the tolerance where the data set states none."""
_THRESHOLD = 0.5
_RESOLUTION = 10 * float(np.finfo(np.float32).eps)
"""Of a number, the smallest tolerance that counts as exact enough."""
_TRUE, _FALSE = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Outcomes of all rows: what is right of each, and its split."""

    labels: Sequence[str]
    """As people read them."""
    strata: np.ndarray
    """int (N,): over which samples are spread."""
    splits: Mapping[Split, np.ndarray]
    classes: tuple[str, ...]
    """Names of the classes, labels or numbers, in the order of a network's outputs."""
    targets: Arrays
    """(N, ...) each."""
    order: ClassOrder | None = None
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] | None = None
    """What programs that answer as the task does must know besides the inputs, JSON-ready."""


OutcomesOf = Callable[["Rules", Records], Outcomes]


def _limited_splits(rules: Rules, records: Records, strata: np.ndarray) -> dict[Split, np.ndarray]:
    splits = splits_of(records, columns=rules.columns, shares=rules.shares, groups=groups_of(records, rules.columns))
    return limited(splits, strata, rules.limits)


def class_outcomes(rules: Rules, records: Records) -> Outcomes:
    """One class for each row, of the column `label`.

    Raises:
        DataError: naming the row without one.
    """
    column = rules.columns.label
    names, numbers = records.labels(column), records.are_numbers(column)
    order = order_of(names, setting=rules.classes, data=records.orders.get(column), numbers=numbers)
    labels = np.array(order.numbers(names, records.places), np.int64)
    splits = _limited_splits(rules, records, labels)
    return Outcomes(names, labels, splits, order.classes, {"labels": labels}, order, tuple(lookalikes(order.classes)))


# ---- sets of labels
def label_outcomes(rules: Rules, records: Records) -> Outcomes:
    """A set of labels for each row: of columns of 0 and 1, or of one column of lists.

    Raises:
        DataError: naming the row whose labels cannot be read.
    """
    if rules.columns.labels:
        names = rules.classes or rules.columns.labels
        if sorted(names) != sorted(rules.columns.labels):
            raise DataError(f"classes: must be the columns of `columns.labels` ({name_list(rules.columns.labels)})")
        present = np.stack([_truths(records, name) for name in names], axis=1)
        order = None
    else:
        sets = _sets(records, rules.columns.label)
        order = order_of({name for one in sets for name in one}, setting=rules.classes)
        names = list(order.classes)
        present = np.zeros((len(records), len(names)), bool)
        place = {name: at for at, name in enumerate(names)}
        for row, one in enumerate(sets):
            order.numbers(one, [records.places[row]] * len(one))
            present[row, [place[name] for name in one]] = True
    for name in names:
        if SEPARATOR in name or name == NO_LABEL:
            raise DataError(f"labels: '{name}' cannot be a label's name, since sets are written with '{SEPARATOR}'")
    strata = np.unique(present, axis=0, return_inverse=True)[1].reshape(-1)
    splits = _limited_splits(rules, records, strata)
    notes = (*lookalikes(names), *absent_labels(present, names, splits))
    targets = label_targets(present, names, rules.targets)
    texts = label_sets(present, tuple(names))
    return Outcomes(texts, strata, splits, tuple(names), targets, order, notes, label_facts(targets))


def label_targets(present: np.ndarray, names: Sequence[str], targets: Targets) -> Arrays:
    """Return the targets of sets of labels: `indicators` and `thresholds`, float32 (N, labels) each.

    Args:
        present: bool (N, labels).
        names: of the labels.
        targets: says the thresholds.

    Raises:
        DataError: for a threshold of a label that there is not.
    """
    check_thresholds(targets, names)
    stated = targets.thresholds
    row = [stated.get(name, _THRESHOLD) if isinstance(stated, Mapping) else stated for name in names]
    thresholds = np.broadcast_to(np.array(row, np.float32), present.shape)
    return {"indicators": present.astype(np.float32), "thresholds": thresholds}


def check_thresholds(targets: Targets, names: Sequence[str]) -> None:
    """Refuse a threshold of a label that there is not.

    Raises:
        DataError: with the nearest name.
    """
    for name in targets.thresholds if isinstance(targets.thresholds, Mapping) else ():
        if name not in names:
            raise DataError(
                f"thresholds: no label is called '{name}'.{nearest(name, names)} Known: {name_list(list(names))}"
            )


def label_facts(targets: Arrays) -> dict[str, Any]:
    """Return what programs must know of sets of labels, JSON-ready."""
    return {"thresholds": targets["thresholds"][0].tolist()}


def absent_labels(present: np.ndarray, names: Sequence[str], splits: Mapping[Split, np.ndarray]) -> list[str]:
    """Say which labels no instance of a split has, or all have: such have no average precision, or cannot be learned."""
    notes = []
    for split, consequence in (
        ("evaluation", "it has no average precision, and means over labels leave it out"),
        ("train", "no model can learn it"),
    ):
        rows = present[splits[split]]  # type: ignore[index]  # the names of two splits
        for name, count in zip(names, rows.sum(axis=0), strict=True):
            if count == 0 and len(rows):
                notes.append(f"no {split} instance has the label '{name}': {consequence}")
            elif count == len(rows) and split == "evaluation":
                notes.append(
                    f"every evaluation instance has the label '{name}': its average precision is 1 for any model"
                )
    return notes


def _truths(records: Records, column: str) -> np.ndarray:
    texts = records.texts(column)
    truths = np.zeros(len(texts), bool)
    for row, text in enumerate(texts):
        if text.strip().lower() not in (*_TRUE, *_FALSE):
            raise DataError(f"{records.places[row]}: '{column}' is {text!r:.40}; a column of a label holds 0 and 1")
        truths[row] = text.strip().lower() in _TRUE
    return truths


def _sets(records: Records, column: str) -> list[list[str]]:
    """The labels of each row: a list, a JSON list, or names joined by `|`; empty for none."""
    sets = []
    for row, value in enumerate(records.columns[column]):
        names = _set(value, records.places[row], column)
        if len(set(names)) < len(names):
            twice = next(name for at, name in enumerate(names) if name in names[:at])
            raise DataError(f"{records.places[row]}: '{column}' has the label '{twice}' twice")
        sets.append(names)
    return sets


def _set(value: Any, place: str, column: str) -> list[str]:
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = parse_json(value)
        except ValueError:
            raise DataError(f"{place}: '{column}' begins as a JSON list and is none ({value:.40})") from None
    if isinstance(value, str):
        value = [] if value.strip() in ("", NO_LABEL) else value.split(SEPARATOR)
    if value is None:
        value = []
    if isinstance(value, float) and math.isnan(value):
        raise DataError(f"{place}: '{column}' is not a number (NaN); write an empty list where no label applies")
    if not isinstance(value, list | tuple):
        raise DataError(f"{place}: '{column}' must be a list of labels, or names joined by '|' (got {value!r:.40})")
    names = [str(name).strip() for name in value]
    if any(is_missing(name) for name in names):
        raise DataError(f"{place}: '{column}' has a label without a name")
    return names


# ---- numbers
def number_outcomes(rules: Rules, records: Records) -> Outcomes:
    """One or several numbers for each row, of the columns `targets`, or of `label`.

    Raises:
        DataError: naming the row without a number.
    """
    names = tuple(rules.columns.targets or [rules.columns.label])
    if rules.classes is not None and tuple(rules.classes) != names:
        raise DataError("classes: numbers have none; leave it out")
    values = np.stack([numbers_of(records, name) for name in names], axis=1)
    strata = quantile_groups(values[:, 0])
    splits = _limited_splits(rules, records, strata)
    targets = number_targets(values, names, splits["train"], rules.targets)
    return Outcomes(number_texts(values), strata, splits, names, targets, facts=number_facts(names, targets))


def number_facts(names: Sequence[str], targets: Arrays) -> dict[str, Any]:
    """Return what programs must know of the numbers, JSON-ready."""
    rows = {f"target_{name}": targets[name][0].tolist() for name in ("centre", "scale", "tolerance")}
    return {"targets": list(names), **rows}


def tolerances_of(targets: Arrays) -> tuple[float, ...]:
    """Return the tolerances of numbers, for each; empty of other targets."""
    return tuple(map(float, targets["tolerance"][0])) if "tolerance" in targets else ()


def quantile_groups(values: np.ndarray) -> np.ndarray:
    """Divide numbers, (N,), into ten groups of about the same size by value: int64 (N,)."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _STRATA + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def number_targets(values: np.ndarray, names: Sequence[str], train: np.ndarray, targets: Targets) -> Arrays:
    """Return the targets of numbers: `values`, `centre`, `scale` and `tolerance`, float32 (N, numbers) each.

    Args:
        values: float64 (N, numbers).
        names: of the numbers.
        train: rows of the training split, whose mean and deviation standardise.
        targets: says whether they do, and the tolerance.

    Raises:
        DataError: if a number never differs in training, or the tolerances do not fit.
    """
    training = values[train] if len(train) else values
    deviation = training.std(axis=0)
    for name, size in zip(names, np.ptp(training, axis=0), strict=True):  # the deviation of equal numbers may not be 0
        if size == 0:
            raise DataError(
                f"'{name}' is {training[0, list(names).index(name)]:g} in every training row: nothing to learn"
            )
    stated = targets.tolerance
    tolerance = _SHARE * deviation if stated is None else np.array(stated if isinstance(stated, list) else [stated])
    if len(tolerance) != len(names):
        raise DataError(
            f"targets.tolerance: {len(tolerance)} for {len(names)} targets ({name_list(list(names))}); give one for each"
        )
    coarse = np.abs(values).max(axis=0) * _RESOLUTION > tolerance
    if coarse.any():
        name = names[int(coarse.argmax())]
        raise DataError(
            f"'{name}' is too large to be told apart within its tolerance in 32 bits; take off an offset first"
        )
    centre, scale = training.mean(axis=0), deviation
    if not targets.standardise:
        centre, scale = np.zeros_like(centre), np.ones_like(scale)
    rows = {"centre": centre, "scale": scale, "tolerance": tolerance}
    single = {name: np.broadcast_to(row.astype(np.float32), values.shape) for name, row in rows.items()}
    return {"values": values.astype(np.float32), **single}


def numbers_of(records: Records, column: str) -> np.ndarray:
    """Return a column of numbers: float64 (N,).

    Raises:
        DataError: naming the first row that holds none.
    """
    values = records.columns[column]
    try:
        numbers = np.array([float(value) for value in values], np.float64)
    except (TypeError, ValueError):
        numbers = np.full(len(values), np.nan)
        for row, value in enumerate(values):
            try:
                numbers[row] = float(value)
            except (TypeError, ValueError):
                if not is_missing(value):
                    raise DataError(f"{records.places[row]}: '{column}' is {value!r:.40}, which is no number") from None
                break
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        row = int(bad[0])
        value = values[row]
        text = "empty" if is_missing(value) and str(value).lower() != "nan" else f"{value}, which is no number"
        raise DataError(f"{records.places[row]}: '{column}' is {text}; fill it in or remove the row")
    return numbers
