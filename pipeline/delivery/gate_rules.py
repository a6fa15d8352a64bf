"""Rules of a gate as people type them: "accuracy drop > 0.5pt", "worst_class drop > 2pt", "file_bytes > 5 MB".

A rule names a quantity, what of it is judged (the candidate's value, its drop below the reference or its rise above it),
and from where on the gate fails.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ops.core.registry import nearest
from pipeline.core.errors import BouillonError
from pipeline.core.units import QuantityError, parse_quantity
from pipeline.store.records.run_records import Metric

__all__ = ["JudgedFigure", "Quantity", "Rule", "RuleError", "parse_rule", "read_rules"]

_RULE = re.compile(
    r"\s*(?P<quantity>[^<>≤≥=]+?)(?:\s+(?P<figure>drop|rise))?\s*(?P<sign><=|>=|<|>|≤|≥)\s*(?P<bound>.*?)\s*",
    re.IGNORECASE | re.DOTALL,
)
_POINTS = re.compile(r"(?P<number>.*?)\s*(?:pt|pts|pp|points?)", re.IGNORECASE | re.DOTALL)
_SIGNS = {"≤": "<=", "≥": ">="}
_EXAMPLE = '"accuracy drop > 0.5pt", "worst_class drop > 2pt", "speedup < 1.5" or "file_bytes > 5 MB"'


class RuleError(BouillonError, ValueError):
    """A text is no rule: the message says what is wrong and gives the nearest quantity, bound or an example."""


class JudgedFigure(StrEnum):
    """The figure that a rule compares with its bound."""

    VALUE = "value"
    """The candidate's own."""
    DROP = "drop"
    """The reference's less the candidate's."""
    RISE = "rise"
    """The candidate's less the reference's."""


class Quantity(StrEnum):
    """Quantities of a pair of models that are no metric."""

    WORST_CLASS = "worst_class"
    """Accuracy of the class for which the rule is broken most clearly."""
    WORST_GROUP = "worst_group"
    """Likewise of the groups that the attributes of the data name."""
    SPEEDUP = "speedup"
    """Time of the reference divided by time of the candidate, measured in one session."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The gate fails if `figure` of `quantity` lies beyond `bound`, on the side that `sign` says."""

    text: str
    quantity: Metric | Quantity
    figure: JudgedFigure
    sign: str
    """`>`, `>=`, `<` or `<=`."""
    bound: float
    """In the quantity's unit; of a relative rule, the share of the reference's value."""
    relative: bool = False

    @property
    def fails_above(self) -> bool:
        """Whether large values break the rule."""
        return self.sign in (">", ">=")

    def breaks(self, value: float) -> bool:
        """Whether a value, were it known exactly, breaks the rule."""
        beyond = value > self.bound if self.fails_above else value < self.bound
        return beyond or (value == self.bound and self.sign.endswith("="))


def read_rules(path: Path) -> list[str]:
    """Return the rules of a file: one a line; what follows a # is a comment.

    Raises:
        RuleError: if it cannot be read, or has none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise RuleError(f"--rules {path}: {why}") from None
    rules = [rule for line in text.splitlines() if (rule := line.partition("#")[0].strip())]
    if not rules:
        raise RuleError(f"--rules {path}: there is no rule in it. Write one a line: {_EXAMPLE}")
    return rules


def parse_rule(text: str, metrics: Mapping[str, Metric]) -> Rule:
    """Read one rule.

    Args:
        text: "QUANTITY [drop|rise] SIGN BOUND". Bounds of shares are in percent or, of a drop or rise, in points
            ("0.5pt"); those of bytes and times take units; "5%" of a drop or rise of anything else is a share of the
            reference's value.
        metrics: those of the results, by name.

    Raises:
        RuleError: if it cannot be read.
    """
    match = _RULE.fullmatch(text)
    if match is None:
        raise RuleError(f"'{text.strip()}' is no rule. Write a quantity, drop or rise, a sign and a bound: {_EXAMPLE}")
    quantity = _quantity(match["quantity"], metrics)
    figure = JudgedFigure((match["figure"] or "value").casefold())
    if quantity is Quantity.SPEEDUP and figure is not JudgedFigure.VALUE:
        raise RuleError(f"'{text.strip()}': a speedup compares the two already. Write '{quantity} < 1.5'")
    bound, relative = _bound(match["bound"], quantity, figure, text.strip())
    sign = _SIGNS.get(match["sign"], match["sign"])
    return Rule(" ".join(text.split()), quantity, figure, sign, bound, relative)


def _quantity(typed: str, metrics: Mapping[str, Metric]) -> Metric | Quantity:
    name = "_".join(typed.casefold().split())
    if name in set(Quantity):
        return Quantity(name)
    by_name = {"_".join(name.casefold().split()): metric for name, metric in metrics.items()}
    if name not in by_name:
        names = [*Quantity, *by_name]
        hint = nearest(name, names) or f" Known: {', '.join(sorted(names))}"
        raise RuleError(f"There is no quantity '{typed.strip()}' in these results.{hint}")
    return by_name[name]


def _bound(text: str, quantity: Metric | Quantity, figure: JudgedFigure, rule: str) -> tuple[float, bool]:
    share, unit = _is_share(quantity), quantity.unit if isinstance(quantity, Metric) else ""
    points = _POINTS.fullmatch(text)
    try:
        if share and figure is not JudgedFigure.VALUE:
            if points is None:
                number = text.removesuffix("%").strip()
                raise RuleError(
                    f"'{rule}': a {figure} of a share is in points, since '{text}' may mean a part of it. Write {number}pt"
                )
            return parse_quantity(points["number"] + "%", share=True), False
        if figure is not JudgedFigure.VALUE and text.endswith("%"):
            return parse_quantity(text, share=True), True
        if quantity is Quantity.SPEEDUP:
            return parse_quantity(text.removesuffix("x"), ""), False
        bound = parse_quantity(points["number"] + "%" if share and points else text, unit, share=share)
    except QuantityError as error:
        raise RuleError(f"'{rule}': {error}") from None
    if share and not 0 <= bound <= 1:
        raise RuleError(f"'{rule}': a share cannot be {100 * bound:,.6g}%. Did you mean {text}%?")
    return bound, False


def _is_share(quantity: Metric | Quantity) -> bool:
    if isinstance(quantity, Quantity):
        return quantity is not Quantity.SPEEDUP
    return quantity.format.endswith("%") and not quantity.unit


def together(texts: Sequence[str], metrics: Mapping[str, Metric]) -> list[Rule]:
    """Read all rules, each once.

    Raises:
        RuleError: naming the first that cannot be read, or that there is none.
    """
    if not texts:
        raise RuleError(f"A gate needs a rule. Write --fail-if with {_EXAMPLE}; several may be given")
    return [parse_rule(text, metrics) for text in dict.fromkeys(texts)]
