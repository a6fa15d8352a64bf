"""Budgets: bounds on metrics as data, with what they mean as a predicate, as SQL and in words."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from pipeline.core.units import QuantityError, parse_quantity
from viewer.format.metrics import MetricInfo, exact_value, format_value

Range = tuple[str, float | None, float | None]
"""Metric, lowest and highest accepted value; None: no bound."""

__all__ = [
    "Bins",
    "Budget",
    "End",
    "beyond",
    "effective_budget",
    "histogram",
    "in_words",
    "left_out",
    "nearest_miss",
    "nearest_row",
    "passing",
    "sentence",
    "sql",
    "tightest",
]

End: TypeAlias = Literal["low", "high"]
"""Which end of its interval a bound is."""
_WORDS = {("low", False): "at least", ("low", True): "above", ("high", False): "at most", ("high", True): "below"}
_SAME = 1e-12
_LEAST_STEP = 1e-15
_TYPED_DIGITS = 12
"""A number of so few digits was typed; of random numbers hardly one has them."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A closed interval of one metric; None: no bound on that side.

    A strict bound is closed at the next float: of "> 0" the low end is the smallest float above 0 (`beyond`).
    """

    metric: str
    low: float | None = None
    high: float | None = None

    def bounds(self) -> list[tuple[float, End]]:
        """Return the bounds that there are, the low one first."""
        ends: tuple[tuple[float | None, End], ...] = ((self.low, "low"), (self.high, "high"))
        return [(bound, end) for bound, end in ends if bound is not None]


class Bins(NamedTuple):
    """A histogram: `edges` has one more element than the counts."""

    edges: list[float]
    counts: list[int]
    within: list[int]
    """Of the counted models, those that pass all budgets."""


def beyond(number: float, end: End) -> float:
    """Return the bound that leaves out the number itself and nothing else: "> 0", "< 0"."""
    return math.nextafter(number, math.inf if end == "low" else -math.inf)


def left_out(bound: float, end: End) -> float | None:
    """Return the number that a strict bound leaves out; None if the bound is a closed one."""
    number = math.nextafter(bound, -math.inf if end == "low" else math.inf) + 0.0  # not -0
    if number == 0:
        return number
    typed = sys.float_info.min <= abs(number) < math.inf and number == float(f"{number:.{_TYPED_DIGITS}g}")
    return number if typed else None


def effective_budget(budget: Budget, spec: MetricInfo) -> Budget:
    """Return the budget by which models are judged as they are shown: "at most 100 kB" takes what is shown as 100 kB.

    A bound that no value would be shown as, such as one that was dragged, is taken as it is.
    """
    return Budget(budget.metric, _effective_bound(budget.low, "low", spec), _effective_bound(budget.high, "high", spec))


@lru_cache(maxsize=1024)
def _effective_bound(bound: float | None, end: End, spec: MetricInfo) -> float | None:
    if bound is None:
        return None
    number = left_out(bound, end)
    if not _is_shown(bound if number is None else number, spec):
        return bound
    outwards = -1 if end == "low" else 1
    if number is None:
        return _last_shown_alike(bound, outwards, spec)
    return math.nextafter(_last_shown_alike(number, -outwards, spec), -outwards * math.inf)


def _is_shown(number: float, spec: MetricInfo) -> bool:
    """Whether a number is what some value is shown as: 100 kB, but not 123.457 kB."""
    try:
        number_shown = parse_quantity(format_value(number, spec), spec.unit, share=spec.is_share)
    except QuantityError:
        return False
    return math.isclose(number_shown, number, rel_tol=_SAME)


def _last_shown_alike(number: float, direction: int, spec: MetricInfo) -> float:
    """Return the last float, upwards (1) or downwards (-1), that is shown like a number."""
    text = format_value(number, spec)
    step = max(abs(number) * _SAME, _LEAST_STEP)
    while math.isfinite(number + direction * step) and format_value(number + direction * step, spec) == text:
        step *= 2
    alike, beyond_it = number, number + direction * step
    while math.nextafter(alike, beyond_it) != beyond_it:
        middle = alike / 2 + beyond_it / 2
        if middle in (alike, beyond_it):
            break
        alike, beyond_it = (middle, beyond_it) if format_value(middle, spec) == text else (alike, middle)
    return alike


def passing(budgets: Iterable[Budget], columns: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """Return which of `count` models pass every budget: bool (count,). Without a value a model passes no budget on it.

    Args:
        budgets: bounds of metrics.
        columns: metric -> values (count,), NaN where a model has none.
        count: the number of models.
    """
    mask = np.ones(count, dtype=bool)
    for budget in budgets:
        values = columns.get(budget.metric)
        mask &= np.zeros(count, dtype=bool) if values is None else _inside(values, budget)
    return mask


def _inside(values: np.ndarray, budget: Budget) -> np.ndarray:
    low = -math.inf if budget.low is None else budget.low
    high = math.inf if budget.high is None else budget.high
    with np.errstate(invalid="ignore"):
        inside: np.ndarray = (values >= low) & (values <= high)
    return inside


def tightest(budgets: Sequence[Budget], columns: Mapping[str, np.ndarray], count: int) -> Budget | None:
    """Of budgets that no model passes together, return the one without which most would; None if some pass.

    Of several equal ones the one that its best candidate misses by least, relative to the values' spread.

    Args:
        budgets: bounds of metrics.
        columns: metric -> values (count,), NaN where a model has none.
        count: the number of models.
    """
    if not budgets or passing(budgets, columns, count).any():
        return None

    def freed(index: int) -> tuple[int, float]:
        others = passing([*budgets[:index], *budgets[index + 1 :]], columns, count)
        return int(others.sum()), -_miss(budgets[index], columns.get(budgets[index].metric), others)

    return budgets[max(range(len(budgets)), key=freed)]


def _miss(budget: Budget, values: np.ndarray | None, among: np.ndarray) -> float:
    """By how much of the values' spread the nearest of some models misses the budget."""
    if values is None or not np.isfinite(values).any():
        return math.inf
    spread = float(np.nanmax(values) - np.nanmin(values)) or 1.0
    near = values[among & np.isfinite(values)]
    return float(np.min(_distances(budget, near))) / spread if near.size else math.inf


def _distances(budget: Budget, values: np.ndarray) -> np.ndarray:
    low = -math.inf if budget.low is None else budget.low
    high = math.inf if budget.high is None else budget.high
    distances: np.ndarray = np.maximum(np.maximum(low - values, values - high), 0)
    return distances


def nearest_row(budget: Budget, values: np.ndarray, among: np.ndarray) -> tuple[int, float]:
    """Return the row, of some that have a value, that is nearest to a budget, and by how much of the spread it misses."""
    candidates = among & np.isfinite(values)
    distances = _distances(budget, np.where(candidates, values, 0.0))
    return int(np.argmin(np.where(candidates, distances, np.inf))), _miss(budget, values, candidates)


def nearest_miss(budget: Budget, values: np.ndarray) -> tuple[float, float]:
    """Return the value nearest to a budget, and by how much of the values' spread it misses; (NaN, inf) without values."""
    if not np.isfinite(values).any():
        return math.nan, math.inf
    row, share = nearest_row(budget, values, np.ones(values.size, dtype=bool))
    return float(values[row]), share


def in_words(bound: float, end: End, write: Callable[[float], str]) -> str:
    """Say a bound, its number written by a function: "at least 90%", "below 25 MB"."""
    number = left_out(bound, end)
    return f"{_WORDS[end, number is not None]} {write(bound if number is None else number)}"


def sentence(budget: Budget, spec: MetricInfo) -> str:
    """Say a budget in words, e.g. "file bytes at most 25 MB"."""

    def write(value: float) -> str:
        return exact_value(value, spec)

    strict = any(left_out(*bound) is not None for bound in budget.bounds())
    if budget.low is not None and budget.high is not None and not strict:
        return f"{spec.label} from {write(budget.low)} to {write(budget.high)}"
    words = " and ".join(in_words(*bound, write) for bound in budget.bounds())
    return f"{spec.label} {words}" if words else f"any {spec.label}"


def sql(budgets: Iterable[Budget]) -> str:
    """Return a condition on the scoreboard's columns, to be run as it stands; "true" without budgets."""
    parts: list[str] = []
    for budget in budgets:
        column = '"' + budget.metric.replace('"', '""') + '"'
        for bound, end in budget.bounds():
            number = left_out(bound, end)
            sign = (">" if end == "low" else "<") + ("=" if number is None else "")
            parts.append(f"{column} {sign} {_double(bound if number is None else number)}")
    return " AND ".join(parts) or "true"


def _double(value: float) -> str:
    """Write a number so that SQL reads the very same: a longer one without an exponent would be read as a decimal."""
    short = f"{value:.15g}"
    if float(short) == value:
        return short
    exact = repr(value)
    return exact if "e" in exact else f"{exact}e0"


def histogram(
    values: np.ndarray, within: np.ndarray, *, bins: int = 20, span: tuple[float, float] | None = None
) -> Bins:
    """Count the finite values, and those of models `within` the budgets, in at most `bins` bins.

    Few distinct whole numbers get a bin each; equal values get one bin around them. Positive values of very different
    sizes get bins that grow by a constant factor. Edges enclose every finite value, and the `span` of the
    metric's scale where bins are equally wide.

    Args:
        values: float (N,).
        within: bool (N,).
        bins: the most bins.
        span: lowest and highest value of the metric's scale; None: those of the values.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return Bins([], [], [])
    some = values[finite].astype(np.float64)
    edges = _edges(some, bins, span)
    counts = np.histogram(some, edges)[0]
    passed = np.histogram(values[finite & within].astype(np.float64), edges)[0]
    return Bins(edges.tolist(), counts.tolist(), passed.tolist())


def _edges(values: np.ndarray, bins: int, span: tuple[float, float] | None) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    distinct = np.unique(values)
    if distinct.size == 1:
        margin = abs(low) * 0.05 or 0.5
        return np.array([low - margin, low + margin])
    if np.all(distinct == np.round(distinct)) and high - low < bins:
        return np.arange(low - 0.5, high + 1)
    space = np.geomspace if low > 0 and high / low > _SPREAD else np.linspace
    if span is not None and space is np.linspace:
        low, high = min(low, span[0]), max(high, span[1])
    edges = space(low, high, min(bins, max(2, distinct.size)) + 1)
    edges[0], edges[-1] = low, high  # linspace may round them away from the values that they must enclose
    return edges


_SPREAD = 1000.0
"""Ratio of largest to smallest from which on equally wide bins would put nearly all models into the first."""
