"""Budgets as people type them: "accuracy >= 88%; file bytes < 25 MB"."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from pipeline.core.errors import BouillonError
from pipeline.core.units import Multiple, QuantityError, multiples, parse_quantity
from viewer.format.metrics import Better, MetricInfo, MetricRole, Pairing, behind_value, exact_value
from viewer.results.budget import Budget, End, beyond, in_words, left_out

__all__ = ["BudgetError", "check_budget", "parse_bound", "parse_budgets", "shown_units", "write_bound", "write_budgets"]

_ENDS: dict[str, End] = {"<": "high", "≤": "high", ">": "low", "≥": "low"}
_SIGNS = "<=|>=|<|>|≤|≥"
_TERM = rf"\s*(?P<metric>{{names}}.+?)\s*(?P<sign>{_SIGNS})(?P<value>.*?)(?:;|,(?!\d)|\band\b|$)"
_BARE = re.compile(r"[\d.]$")
"""The end of a number without a unit."""
_FIELD = re.compile(rf"\s*(?P<sign>{_SIGNS})?(?P<value>.*)", re.DOTALL)
_ROOM = 1.00001
_BYTES = frozenset({"size", "bytes", "memory"})
_MEANINGS: Mapping[str, Callable[[MetricInfo], bool]] = {
    "size": lambda spec: spec.role is MetricRole.SIZE and _holds_bytes(spec),
    "memory": lambda spec: spec.role is MetricRole.COST and _holds_bytes(spec),
    "latency": lambda spec: spec.pairing is Pairing.WALL_TIME and spec.better is Better.LOWER,
    "time": lambda spec: spec.pairing is Pairing.WALL_TIME and spec.better is Better.LOWER,
    "speed": lambda spec: bool(spec.clock) and spec.better is Better.HIGHER,
    "params": lambda spec: spec.name.startswith("param"),
}
"""Words that people use -> the metrics that they mean; of several the first primary one."""
_MOST_NAMED = 3
_MOST_KNOWN = 6

_NO_VALUES: Mapping[str, np.ndarray] = {}


class BudgetError(BouillonError, ValueError):
    """A text is no budget: the message says what is wrong and gives the nearest metric, value or an example."""


# ---- reading
def parse_budgets(
    text: str, specs: Sequence[MetricInfo], values: Mapping[str, np.ndarray] = _NO_VALUES
) -> list[Budget]:
    """Read typed budgets, one per metric: "file bytes <= 25 MB and accuracy >= 90 %", "latency p50 < 10 ms".

    They are separated by ";", "," or "and". A number without a unit is in the metric's own. Nothing typed is no budget
    at all. The values of all models, where given, tell which metrics are worth a suggestion, and what a share can be.

    Raises:
        BudgetError: if a part cannot be read, with the nearest metric, value or an example.
    """
    term = re.compile(_TERM.format(names=_names(specs)), re.IGNORECASE | re.DOTALL)
    budgets: dict[str, Budget] = {}
    at = 0
    while text[at:].strip(" ;,"):
        match = term.match(text, at)
        if match is None:
            raise BudgetError(
                f"'{text[at:].strip(' ;,')}' is no budget. Write a metric, <= or >=, and a value: {_example(specs)}"
            )
        spec = _metric(match["metric"], specs, values)
        end = _ENDS[match["sign"][0]]
        bound = _bound(match["sign"], match["value"], spec, values)
        budgets[spec.name] = _joined(budgets.get(spec.name, Budget(spec.name)), end, bound)
        check_budget(budgets[spec.name], spec)
        at = match.end()
    return list(budgets.values())


def parse_bound(text: str, end: End, spec: MetricInfo, values: Mapping[str, np.ndarray] = _NO_VALUES) -> float | None:
    """Read one end of a budget as it stands in a field of its own: "25 MB", "> 0%"; nothing is no bound.

    Raises:
        BudgetError: if it is no value of the metric, or a bound of the other end.
    """
    match = _FIELD.fullmatch(text)
    if match is None or not text.strip():
        return None
    sign = match["sign"] or ""
    if sign and _ENDS[sign[0]] != end:
        place, other = ("lowest", "highest") if end == "low" else ("highest", "lowest")
        raise BudgetError(f"'{text.strip()}' says what the {other} is; this field is the {place} {spec.label}.")
    return _bound(sign, match["value"], spec, values)


def check_budget(budget: Budget, spec: MetricInfo) -> None:
    """Raise a `BudgetError` if nothing can lie between the bounds."""
    if budget.low is not None and budget.high is not None and budget.low > budget.high:
        ends = [in_words(bound, end, partial(exact_value, metric=spec)) for bound, end in budget.bounds()]
        raise BudgetError(f"{spec.label} cannot be {' and '.join(ends)}.")


def _bound(sign: str, text: str, spec: MetricInfo, values: Mapping[str, np.ndarray]) -> float:
    number = _number(text.strip(), spec, values.get(spec.name))
    return beyond(number, _ENDS[sign]) if sign in ("<", ">") else number


def _number(text: str, spec: MetricInfo, values: np.ndarray | None) -> float:
    """Read a number, and refuse what the metric cannot be: people write 90 for 90%."""
    read = partial(parse_quantity, unit=spec.unit, share=spec.is_share)
    try:
        number = read(text)
    except QuantityError as error:
        raise BudgetError(f"{spec.label}: {error}") from None
    whole = 1.0 if spec.is_share else 100.0 if spec.unit == "%" else math.inf
    most = max(whole, _largest(spec, values))  # of some shares of something else there is more than the whole
    if abs(number) <= most:
        return number
    percent = f"{100 * number / whole:,.6g}%"
    if spec.is_share and _BARE.search(text) and abs(number) <= 100 * most:
        raise BudgetError(f"{spec.label} is a share: {text} would be {percent}; did you mean {text}%?")
    nearest = math.copysign(100 * most / whole, number)
    raise BudgetError(f"{spec.label} is a share: it cannot be {percent}; did you mean {nearest:,.6g}%?")


def _holds_bytes(spec: MetricInfo) -> bool:
    named_so = not spec.unit and not spec.is_share and bool(_BYTES & set(_words(spec.name)))
    return named_so or (len(multiples(spec.unit)) > 1 and multiples(spec.unit)[0].unit == "B")


def _largest(spec: MetricInfo, values: np.ndarray | None) -> float:
    """Return the largest size that is declared or measured, with room for a bound that is written shorter than it is."""
    ends = [end for end in (spec.low, spec.high) if end is not None]
    sizes = np.abs([*ends, *([] if values is None else values[np.isfinite(values)])])
    return _ROOM * float(sizes.max(initial=0.0))


def _joined(budget: Budget, end: End, bound: float) -> Budget:
    """Of several bounds on one metric the tighter ones count."""
    if end == "low":
        return Budget(budget.metric, bound if budget.low is None else max(budget.low, bound), budget.high)
    return Budget(budget.metric, budget.low, bound if budget.high is None else min(budget.high, bound))


# ---- writing
def write_budgets(budgets: Iterable[Budget], spec_of: Callable[[str], MetricInfo]) -> str:
    """Write budgets as `parse_budgets` reads them, to six digits: "Top-1 Accuracy >= 88%; Latency < 9 s".

    In full where six digits would cross the bounds, so that nothing could lie between them.
    """
    parts: list[str] = []
    for budget in budgets:
        spec = spec_of(budget.metric)
        ends = [(left_out(bound, end), bound, end) for bound, end in budget.bounds()]
        close = len({exact_value(bound if number is None else number, spec) for number, bound, _ in ends}) < len(ends)
        for number, bound, end in ends:
            if close:
                parts.append(
                    f"{spec.label} {'>=' if end == 'low' else '<='} {bound!r}{behind_value(Multiple(spec.unit, 1.0))}"
                )
                continue
            sign = (">" if end == "low" else "<") + ("=" if number is None else "")
            parts.append(f"{spec.label} {sign} {exact_value(bound if number is None else number, spec)}")
    return "; ".join(parts)


def write_bound(bound: float | None, end: End, spec: MetricInfo) -> str:
    """Write one end of a budget for a field of its own, as `parse_bound` reads it: "25 MB", "> 0%"; nothing if open.

    Args:
        bound: in the metric's unit, or None for open.
        end: `low` or `high`.
        spec: unit and format of the metric.
    """
    if bound is None:
        return ""
    number = left_out(bound, end)
    if number is None:
        return exact_value(bound, spec)
    return f"{'>' if end == 'low' else '<'} {exact_value(number, spec)}"


def shown_units(spec: MetricInfo) -> list[tuple[str, float]]:
    """Return what stands behind a metric's numbers and what divides them, smallest first: a drag writes as we do here."""
    if spec.is_share and not spec.unit:
        return [("%", 0.01)]
    return [(behind_value(multiple), multiple.divisor) for multiple in multiples(spec.unit)]


# ---- names of metrics
def _names(specs: Sequence[MetricInfo]) -> str:
    """The known names as alternatives, longest first: one that has a sign or an "and" inside is read whole."""
    names = {name for spec in specs for name in (spec.label, spec.name)}
    return "".join(re.escape(name) + r"(?=\s*[<>≤≥])|" for name in sorted(names, key=len, reverse=True))


def _metric(typed: str, specs: Sequence[MetricInfo], values: Mapping[str, np.ndarray]) -> MetricInfo:
    by_label = {spec.label.casefold(): spec for spec in specs} | {spec.name.casefold(): spec for spec in specs}
    name = typed.casefold()
    if name in by_label:
        return by_label[name]
    starting = [spec for spec in specs if _begins(name, spec)]
    containing = [spec for spec in specs if name in _words(spec.name)]
    for fitting in (starting, containing):
        if len(fitting) == 1:
            return fitting[0]
    synonyms = [spec for spec in specs if name in _MEANINGS and _MEANINGS[name](spec)]
    if synonyms:
        return next((spec for spec in synonyms if spec.primary), synonyms[0])
    raise BudgetError(f"There is no metric '{typed}'.{_suggestion(name, specs, values)}")


def _suggestion(name: str, specs: Sequence[MetricInfo], values: Mapping[str, np.ndarray]) -> str:
    """Name the metrics that begin with what was typed, else those with such words, else one that looks like it.

    Those that few models have are for want of others: a budget on one leaves out nearly all.
    """
    usual = [spec for spec in specs if _is_usual(values.get(spec.name))]
    for some in (usual, specs):
        if near := _near(name, some):
            *others, last = [f"'{spec.label}'" for spec in near]
            return f" Did you mean {', '.join(others)} or {last}?" if others else f" Did you mean {last}?"
    rest = f" and {len(specs) - _MOST_KNOWN} more" if len(specs) > _MOST_KNOWN else ""
    return f" Known: {', '.join(spec.label for spec in specs[:_MOST_KNOWN])}{rest}"


def _near(name: str, specs: Sequence[MetricInfo]) -> list[MetricInfo]:
    typed = _words(name)
    beginning = [spec for spec in specs if _begins(name, spec)]
    containing = [spec for spec in specs if spec not in beginning and _contains(typed, spec)]
    by_label = {spec.label.casefold(): spec for spec in specs}
    close = [by_label[label] for label in difflib.get_close_matches(name, by_label, n=1)]
    return [*beginning, *containing][:_MOST_NAMED] or close


def _begins(name: str, spec: MetricInfo) -> bool:
    return spec.label.casefold().startswith(name) or spec.name.casefold().startswith(name)


def _contains(typed: Sequence[str], spec: MetricInfo) -> bool:
    return bool(typed) and all(any(word.startswith(each) for word in _words(spec.name)) for each in typed)


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", name.casefold())


def _is_usual(values: np.ndarray | None) -> bool:
    return values is None or 2 * int(np.isfinite(values).sum()) >= values.size


def _example(specs: Sequence[MetricInfo]) -> str:
    spec = next(iter(specs), MetricInfo("quality", format="%"))
    return f"{spec.label} >= 90%" if spec.is_share else f"{spec.label} <= 10"
