"""Evaluation sets that a recipe names beside its own: corruptions and slices of its data, and other data of the same task."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.core.registry import nearest
from ops.core.text import cut, show

__all__ = ["SEVERITIES", "EvaluationSpec", "evaluation_problems", "evaluation_specs"]

SEVERITIES = range(1, 6)
_KINDS = ("corruption", "slice", "dataset")
_NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,59}")
_SHORT = re.compile(r"(?P<corruption>[a-z_]+)-(?P<severity>\d+)")
_EXAMPLE = "`{dark: {corruption: brightness, severity: 3}}`, or a list of corruptions: `[gaussian_blur-3]`"


@dataclass(frozen=True, slots=True)
class EvaluationSpec:
    """One set: a corruption of the recipe's evaluation split, a slice of it, or the evaluation split of other data."""

    name: str
    corruption: str = ""
    severity: int = 0
    """1 to 5."""
    slice: Mapping[str, str] = field(default_factory=dict)
    """Attribute -> the value that its instances have."""
    dataset: Mapping[str, Any] = field(default_factory=dict)
    """A conf/dataset entry, written out."""

    def plain(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {
            "name": self.name,
            "corruption": self.corruption,
            "severity": self.severity,
            "slice": dict(self.slice),
            "dataset": dict(self.dataset),
        }


def evaluation_problems(raw: Any) -> Iterator[str]:
    """Say what is wrong with `evaluate:` as a recipe has it, a line for each mistake."""
    if isinstance(raw, list):
        for item in raw:
            match = _SHORT.fullmatch(item) if isinstance(item, str) else None
            if match is None or int(match["severity"]) not in SEVERITIES:
                yield f"recipe.evaluate: expected a corruption and its severity from 1 to 5 (gaussian_blur-3), got {show(item)}"
        return
    if not isinstance(raw, Mapping):
        yield f"recipe.evaluate: expected {_EXAMPLE}, got {show(raw)}"
        return
    for name, value in raw.items():
        where = f"recipe.evaluate.{cut(str(name), 60)}"
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            yield f"{where}: a name has letters, digits and . _ + -, at most 60. Write another"
        elif not isinstance(value, Mapping) or not (set(value) & set(_KINDS)):
            yield f"{where}: expected a mapping with one of {', '.join(_KINDS)}, got {show(value)}"
        else:
            yield from _problems(where, value)


def _problems(where: str, value: Mapping[str, Any]) -> Iterator[str]:
    kind = next(kind for kind in _KINDS if kind in value)
    words = {"corruption": ("corruption", "severity"), "slice": ("slice",)}.get(kind)
    for word in value if words else ():
        if word not in (words or ()):
            yield f"{where}: unknown word '{cut(str(word))}'.{nearest(str(word), words or ())} Known: {', '.join(words or ())}"
    if kind == "corruption" and not isinstance(value["corruption"], str):
        yield f"{where}.corruption: expected a name, got {show(value['corruption'])}"
    severity = value.get("severity", 3)
    if kind == "corruption" and (isinstance(severity, bool) or severity not in SEVERITIES):
        yield f"{where}.severity: expected a whole number from 1 to 5, got {show(severity)}"
    if kind == "slice" and not (isinstance(value["slice"], Mapping) and value["slice"]):
        yield f"{where}.slice: expected attributes with the value of each, e.g. `{{brightness: low}}`, got {show(value['slice'])}"
    if kind == "dataset" and not isinstance(value["dataset"], str):
        yield f"{where}.dataset: expected the name of a kind of data set, with its parameters beside it, got {show(value['dataset'])}"


def evaluation_specs(raw: Any) -> tuple[EvaluationSpec, ...]:
    """Read `evaluate:`, which `evaluation_problems` has nothing to say about."""
    if isinstance(raw, list):
        matches = [_SHORT.fullmatch(item) for item in dict.fromkeys(raw)]
        return tuple(EvaluationSpec(m[0], m["corruption"], int(m["severity"])) for m in matches if m is not None)
    return tuple(_spec(name, value) for name, value in raw.items())


def _spec(name: str, value: Mapping[str, Any]) -> EvaluationSpec:
    if "corruption" in value:
        return EvaluationSpec(name, value["corruption"], value.get("severity", 3))
    if "slice" in value:
        return EvaluationSpec(name, slice={str(one): str(own) for one, own in value["slice"].items()})
    return EvaluationSpec(name, dataset={"name": name, **value})
