"""A gate's verdict for a terminal, a program (JSON), a build server (JUnit XML) and a pull request (Markdown)."""

from __future__ import annotations

import json
import math
from typing import Any
from xml.etree import ElementTree

from pipeline.core.units import multiples, readable_multiple
from pipeline.delivery.gate import GateOutcome, GateVerdict, RuleVerdict
from pipeline.delivery.gate_rules import JudgedFigure, Quantity, Rule
from pipeline.store.queries.model_pair import ModelPair

__all__ = ["as_json", "as_junit", "as_markdown", "as_text"]

_MARKS = {GateOutcome.PASSES: "✅", GateOutcome.FAILS: "❌", GateOutcome.UNDECIDED: "❔"}


def as_text(verdict: GateVerdict, pair: ModelPair) -> str:
    """Return lines for a terminal: one a rule, with its figure, interval and, where it cannot be told, what would tell."""
    rules = verdict.rules
    names = max(len(each.outcome.text) for each in rules)
    texts = max(len(each.rule.text) for each in rules)
    lines = [f"{pair.candidate.name} in place of {pair.reference.name} ({pair.conditions.text})"]
    for each in rules:
        text = ", ".join(part for part in (_figure(each), _doubt(each)) if part)
        lines.append(f"  {each.outcome.text:<{names}}  {each.rule.text:<{texts}}  {text}")
    return "\n".join([*lines, f"gate: {verdict.outcome.text}"])


def as_json(verdict: GateVerdict, pair: ModelPair) -> str:
    """Return the verdict as one JSON object; figures in the units of the results, shares as parts of one."""
    content = {
        "outcome": verdict.outcome.text,
        "confidence": verdict.confidence,
        "candidate": {"name": pair.candidate.name, "model_key": pair.candidate.key},
        "reference": {"name": pair.reference.name, "model_key": pair.reference.key},
        "conditions": pair.conditions._asdict(),
        "rules": [_record(each) for each in verdict.rules],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def as_junit(verdict: GateVerdict, pair: ModelPair) -> str:
    """Return one test case a rule: a broken rule is a failure, one that cannot be told an error."""
    rules = verdict.rules
    suite = ElementTree.Element(
        "testsuite",
        name=f"{pair.candidate.name} in place of {pair.reference.name}",
        tests=str(len(rules)),
        failures=str(sum(each.outcome is GateOutcome.FAILS for each in rules)),
        errors=str(sum(each.outcome is GateOutcome.UNDECIDED for each in rules)),
    )
    for each in rules:
        case = ElementTree.SubElement(suite, "testcase", classname="gate", name=each.rule.text)
        text = ", ".join(part for part in (_figure(each), _doubt(each)) if part)
        if each.outcome is GateOutcome.PASSES:
            ElementTree.SubElement(case, "system-out").text = text
        else:
            kind = "failure" if each.outcome is GateOutcome.FAILS else "error"
            ElementTree.SubElement(case, kind, message=f"{each.outcome.text}: {text}", type=each.outcome.name.lower())
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def as_markdown(verdict: GateVerdict, pair: ModelPair) -> str:
    """Return a table for a pull request."""
    lines = [
        f"**{_MARKS[verdict.outcome]} Gate {verdict.outcome.text}**: `{_cell(pair.candidate.name)}` in place of "
        f"`{_cell(pair.reference.name)}` ({_cell(pair.conditions.text)})",
        "",
        f"| fail if | verdict | figure [{verdict.confidence:.4g} interval] | |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {_cell(each.rule.text)} | {_MARKS[each.outcome]} {each.outcome.text} "
        f"| {_cell(_figure(each))} | {_cell(_doubt(each))} |"
        for each in verdict.rules
    ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text that cannot leave its cell, whatever a model is called."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("`", "'").replace("<", "&lt;")


def _record(verdict: RuleVerdict) -> dict[str, Any]:
    rule, estimate = verdict.rule, verdict.estimate
    return {
        "rule": rule.text,
        "quantity": rule.quantity if isinstance(rule.quantity, Quantity) else rule.quantity.metric,
        "figure": rule.figure,
        "fails_if": rule.sign,
        "bound": rule.bound,
        "relative": rule.relative,
        "outcome": verdict.outcome.text,
        "part": verdict.part or None,
        "value": None if estimate is None else _finite(estimate.value),
        "low": None if estimate is None else _finite(estimate.low),
        "high": None if estimate is None else _finite(estimate.high),
        "count": verdict.count,
        "p_value": verdict.p_value,
        "more_instances": verdict.more,
        "reason": verdict.reason or None,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _figure(verdict: RuleVerdict) -> str:
    """`drop 0.42pt [0.1pt, 0.8pt] of class deer (1,000 instances)`; nothing if unknown."""
    estimate, rule = verdict.estimate, verdict.rule
    if estimate is None:
        return ""
    exact = estimate.low == estimate.value == estimate.high
    ends = "" if exact else f" [{_number(estimate.low, rule)}, {_number(estimate.high, rule)}]"
    part = f" of {verdict.part}" if verdict.part else ""
    instances = f" ({verdict.count:,} instances)" if verdict.count else ""
    word = "" if rule.figure is JudgedFigure.VALUE else f"{rule.figure} "
    return f"{word}{_number(estimate.value, rule)}{ends}{part}{instances}"


def _doubt(verdict: RuleVerdict) -> str:
    if verdict.outcome is not GateOutcome.UNDECIDED or verdict.estimate is None:
        return verdict.reason
    more = f"about {_rounded(verdict.more):,} more instances would tell" if verdict.more else ""
    where = f" of {verdict.part}" if more and verdict.part else ""
    return "; ".join(part for part in (more + where, verdict.reason) if part)


def _rounded(count: int) -> int:
    """Two digits: the number is a forecast."""
    unit: int = 10 ** max(0, len(str(count)) - 2)
    return -(-count // unit) * unit


def _number(value: float, rule: Rule) -> str:
    if rule.relative:
        return f"{100 * value:.3g}%"
    if rule.quantity is Quantity.SPEEDUP:
        return f"{value:.3g}x"
    unit, share = "", True
    if not isinstance(rule.quantity, Quantity):
        unit = rule.quantity.unit
        share = rule.quantity.format.endswith("%") and not unit
    if share:
        return f"{100 * value:.3g}" + ("%" if rule.figure is JudgedFigure.VALUE else "pt")
    if len(multiples(unit)) > 1:
        multiple = readable_multiple(value, unit)
        return f"{value / multiple.divisor:.4g} {multiple.unit}"
    return f"{value:,.4g}" + (f" {unit}" if unit else "")
