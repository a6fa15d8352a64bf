"""Filters of columns as people type them: "> 0.5", "0.2 to 0.8", "int8 or int4", "not magnitude", "none"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from viewer.format.filter_text import QUOTED, alternatives, unquoted
from viewer.format.metrics import MetricInfo
from viewer.overview.budget_text import BudgetError, parse_bound
from viewer.results.budget import Budget, effective_budget, passing
from viewer.table.columns import TableColumn

__all__ = ["LONGEST_FILTER", "FilterError", "matching", "range_text"]

LONGEST_FILTER = 4_000
"""Characters of a filter; a longer one is refused, as a part of it would let other rows through."""
_SIGNS = r"<=|>=|!=|<>|≤|≥|≠|<|>|="
_TERMS = re.compile(
    rf"\s*(?P<sign>{_SIGNS})\s*(?P<value>(?:(?!{_SIGNS}|\band\b).)+?)\s*(?:\band\b|(?={_SIGNS})|$)", re.IGNORECASE
)
_RANGE = re.compile(r"(?P<low>.*\d.*?)\s*(?:\bto\b|\.\.+|\N{EN DASH})\s*(?P<high>.*\d.*)", re.IGNORECASE)
_WORD = re.compile(rf"(?P<minus>-(?=\")|)(?P<quoted>{QUOTED})(?=\s|$)|(?P<bare>\S+)")
_NOTHING = frozenset({"none", "—", "-", "empty", "missing"})
_ANYTHING = frozenset({"any", "*", "known"})
_EQUAL, _UNEQUAL = "=", frozenset({"!=", "<>", "≠"})


class FilterError(BudgetError):
    """A text is no filter of its column: the message says why, and what would be."""


def matching(text: str, column: TableColumn, count: int) -> np.ndarray:
    """Return which rows a typed filter lets through: bool (N,).

    Numbers are judged as they are shown, like budgets: "<= 0.5" takes what is shown as 0.5.

    Args:
        text: what was typed; empty: all rows.
        column: what it is of.
        count: the number of rows.

    Raises:
        FilterError: if it cannot be read.
    """
    if len(text) > LONGEST_FILTER:
        raise FilterError(
            f"'{column.title}': the filter is longer than {LONGEST_FILTER:,} characters; write fewer words."
        )
    parts = [part for part in alternatives(text.strip()) if part]
    masks = [_part(part, column, count) for part in parts]
    return np.logical_or.reduce(masks) if masks else np.ones(count, dtype=bool)


def range_text(low: str, high: str) -> str:
    """Write a range as `matching` reads it.

    Args:
        low: its lower end, written; empty: open.
        high: its upper end.
    """
    if low and high:
        return f"{low} to {high}"
    return f">= {low}" if low else f"<= {high}" if high else ""


def _part(text: str, column: TableColumn, count: int) -> np.ndarray:
    bare = text.strip().casefold()
    negated = re.fullmatch(r"not\s+(.*)", text.strip(), re.IGNORECASE)
    if negated:
        rest: np.ndarray = ~_part(negated[1], column, count)
        return rest
    if bare in _NOTHING or bare in _ANYTHING:
        present = _has_value(column, count)
        return ~present if bare in _NOTHING else present
    if column.values is None or column.spec is None:
        return _words(text, column, count)
    return _numbers(text, column, column.values, column.spec)


def _has_value(column: TableColumn, count: int) -> np.ndarray:
    if column.values is not None:
        finite: np.ndarray = np.isfinite(column.values)
        return finite
    return np.fromiter((bool(column.text(row)) for row in range(count)), dtype=bool, count=count)


def _words(text: str, column: TableColumn, count: int) -> np.ndarray:
    """Every word must be in the row's text, and none of those behind a minus; a sign asks for the whole text.

    Of a column that has several texts in a row, such as tags, the sign asks for one of them.
    """
    exact = re.fullmatch(rf"\s*({_SIGNS})\s*(.*)", text, re.DOTALL)
    texts = [column.text(row).casefold() for row in range(count)]
    if exact:
        if exact[1] not in (_EQUAL, *_UNEQUAL):
            raise FilterError(f"'{column.title}' holds words: write some of them, or = and the whole text.")
        whole = unquoted(exact[2].strip()).casefold()
        is_same = np.array([whole in _whole_texts(column, row, texts[row]) for row in range(count)], dtype=bool)
        return is_same if exact[1] == _EQUAL else ~is_same
    demands: list[str] = []
    exclusions: list[str] = []
    for match in _WORD.finditer(text):
        quoted, bare = match["quoted"], match["bare"] or ""
        is_excluded = bool(match["minus"]) if quoted else bare.startswith("-") and len(bare) > 1
        word = unquoted(quoted) if quoted else bare[is_excluded:]
        (exclusions if is_excluded else demands).append(word.casefold())
    return np.fromiter(
        (all(word in each for word in demands) and not any(word in each for word in exclusions) for each in texts),
        dtype=bool,
        count=count,
    )


def _whole_texts(column: TableColumn, row: int, text: str) -> Sequence[str]:
    return [text] if column.texts is None else [each.casefold() for each in column.texts(row)]


def _numbers(text: str, column: TableColumn, values: np.ndarray, spec: MetricInfo) -> np.ndarray:
    span = _RANGE.fullmatch(text.strip())
    if span is not None and not re.search(_SIGNS, text):
        low, high = sorted((_number(span["low"], column, spec, values), _number(span["high"], column, spec, values)))
        return _inside(Budget(column.id, low, high), values, spec)
    if not re.match(rf"\s*(?:{_SIGNS})", text):
        number = _number(text, column, spec, values)
        return _inside(Budget(column.id, number, number), values, spec)
    mask, at = np.ones(len(values), dtype=bool), 0
    while at < len(text.rstrip()):
        term = _TERMS.match(text, at)
        if term is None:
            raise FilterError(f"'{text[at:].strip()}' is no filter of numbers: write > 0.5, 0.2 to 0.8, or none.")
        mask &= _comparison(term["sign"], term["value"], column, values, spec)
        at = term.end()
    return mask


def _comparison(sign: str, value: str, column: TableColumn, values: np.ndarray, spec: MetricInfo) -> np.ndarray:
    if sign == _EQUAL or sign in _UNEQUAL:
        number = _number(value, column, spec, values)
        inside = _inside(Budget(column.id, number, number), values, spec)
        return inside if sign == _EQUAL else ~inside & np.isfinite(values)
    try:
        if sign[0] in "<≤":
            return _inside(
                Budget(column.id, None, parse_bound(sign + value, "high", spec, {spec.name: values})), values, spec
            )
        return _inside(
            Budget(column.id, parse_bound(sign + value, "low", spec, {spec.name: values}), None), values, spec
        )
    except BudgetError as problem:
        raise FilterError(str(problem)) from None


def _number(text: str, column: TableColumn, spec: MetricInfo, values: np.ndarray) -> float:
    try:
        number = parse_bound(text, "low", spec, {spec.name: values})
    except BudgetError as problem:
        shorter = str(problem) if any(letter.isdigit() for letter in text) else ""
        raise FilterError(shorter or f"'{column.title}' holds numbers: write > 0.5, 0.2 to 0.8, or none.") from None
    if number is None:
        raise FilterError(f"'{column.title}' holds numbers: write > 0.5, 0.2 to 0.8, or none.")
    return number


def _inside(budget: Budget, values: np.ndarray, spec: MetricInfo) -> np.ndarray:
    columns: Mapping[str, np.ndarray] = {budget.metric: values}
    return passing([effective_budget(budget, spec)], columns, len(values))
