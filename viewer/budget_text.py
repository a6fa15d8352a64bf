"""Budgets as people type them: "accuracy >= 88%; file bytes <= 25 MB"."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence

from viewer.filters import Budget
from viewer.metrics import MetricSpec
from viewer.units import QuantityError, parse_quantity, readable

__all__ = ["BudgetError", "parse_budgets", "write_budgets"]

_SIGNS = {"<=": "high", "≤": "high", "<": "high", ">=": "low", "≥": "low", ">": "low"}
_UNIT = re.compile(r"(?!and$)[^\s;,]*")
"""Units that can be read back; others are left out, a number alone is in the metric's own."""
_TERM = r"\s*(?P<metric>{names}.+?)\s*(?P<sign><=|>=|<|>|≤|≥)(?P<value>.*?)(?:;|,(?!\d)|\band\b|$)"


class BudgetError(ValueError):
    """What was typed is no budget: the message says what is wrong and gives the nearest metric or an example."""


def parse_budgets(text: str, specs: Sequence[MetricSpec]) -> list[Budget]:
    """Read typed budgets, one per metric: "file bytes <= 25 MB and accuracy >= 90 %", "latency p50 < 10 ms".

    They are separated by ";", "," or "and". A budget is a closed interval: "<" reads as "<=". A number without a unit is
    in the metric's own. Nothing typed is no budget at all.

    Raises:
        BudgetError: if a part cannot be read, with the nearest metric or an example.
    """
    term = re.compile(_TERM.format(names=_names(specs)), re.IGNORECASE | re.DOTALL)
    found: dict[str, Budget] = {}
    at = 0
    while text[at:].strip(" ;,"):
        match = term.match(text, at)
        if match is None:
            raise BudgetError(
                f"'{text[at:].strip(' ;,')}' is no budget. Write a metric, <= or >=, and a value: {_example(specs)}"
            )
        spec, end, value = _bound(match, specs)
        found[spec.name] = _joined(found.get(spec.name), spec, end, value)
        at = match.end()
    return list(found.values())


def write_budgets(budgets: Iterable[Budget], spec_of: Callable[[str], MetricSpec]) -> str:
    """Write budgets as `parse_budgets` reads them, to six digits: "Top-1 Accuracy >= 88%; Latency <= 9 s"."""
    parts: list[str] = []
    for budget in budgets:
        spec = spec_of(budget.metric)
        for bound, sign in ((budget.low, ">="), (budget.high, "<=")):
            if bound is not None:
                parts.append(f"{spec.label} {sign} {_quantity(bound, spec)}")
    return "; ".join(parts)


def _quantity(value: float, spec: MetricSpec) -> str:
    if spec.is_share and not spec.unit:
        return f"{100 * value:.6g}%"
    multiple = readable(value, spec.unit)
    unit = multiple.unit if _UNIT.fullmatch(multiple.unit) else ""
    return f"{value / multiple.divisor:.6g} {unit}".rstrip()


def _names(specs: Sequence[MetricSpec]) -> str:
    """The known names as alternatives, longest first: one that has a sign or an "and" inside is read whole."""
    names = {name for spec in specs for name in (spec.label, spec.name)}
    return "".join(re.escape(name) + r"(?=\s*[<>≤≥])|" for name in sorted(names, key=len, reverse=True))


def _bound(match: re.Match[str], specs: Sequence[MetricSpec]) -> tuple[MetricSpec, str, float]:
    spec = _metric(match["metric"], specs)
    try:
        value = parse_quantity(match["value"].strip(), spec.unit)
    except QuantityError as error:
        raise BudgetError(f"{spec.label}: {error}") from None
    return spec, _SIGNS[match["sign"]], value


def _joined(known: Budget | None, spec: MetricSpec, end: str, value: float) -> Budget:
    """Of several bounds on one metric the tighter ones count."""
    low, high = (known.low, known.high) if known else (None, None)
    if end == "low":
        low = value if low is None else max(low, value)
    else:
        high = value if high is None else min(high, value)
    if low is not None and high is not None and low > high:
        raise BudgetError(
            f"{spec.label} cannot be at least {_quantity(low, spec)} and at most {_quantity(high, spec)}."
        )
    return Budget(spec.name, low, high)


def _metric(typed: str, specs: Sequence[MetricSpec]) -> MetricSpec:
    by_label = {spec.label.casefold(): spec for spec in specs} | {spec.name.casefold(): spec for spec in specs}
    wanted = typed.casefold()
    if wanted in by_label:
        return by_label[wanted]
    starting = {spec.name: spec for label, spec in by_label.items() if label.startswith(wanted)}
    containing = {spec.name: spec for label, spec in by_label.items() if wanted in re.split(r"\W|_", label)}
    for fitting in (starting, containing):
        if len(fitting) == 1:
            return next(iter(fitting.values()))
    close = difflib.get_close_matches(wanted, by_label, n=1)
    hint = f" Did you mean '{by_label[close[0]].label}'?" if close else f" Known: {', '.join(s.label for s in specs)}"
    raise BudgetError(f"There is no metric '{typed}'.{hint}")


def _example(specs: Sequence[MetricSpec]) -> str:
    spec = next(iter(specs), MetricSpec("accuracy", format="%"))
    return f"{spec.label} >= 90%" if spec.is_share else f"{spec.label} <= 10"
