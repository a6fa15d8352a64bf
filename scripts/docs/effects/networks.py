"""A base network with all that was made of it, and how to name and compare its models."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.core.operation import OPERATIONS
from scripts.docs.effects.queries import Measured, measured
from viewer.results.paired_difference import of_instances

_INCIDENTAL = {"samples", "batch_size", "learning_rate", "epochs", "clip_norm"}
"""Parameters that say how, not what."""
THEN: dict[str, Callable[[Measured], bool]] = {
    "recalibrated": lambda model: model.op == "calibrate",
    "restored": lambda model: model.op == "restore",
    "fine-tuned": lambda model: model.op == "finetune" and not model.params.get("teacher"),
    "distilled": lambda model: model.op == "finetune" and bool(model.params.get("teacher")),
}
"""What may follow a row's operation."""


@dataclass(frozen=True, slots=True)
class Network:
    """A base with everything that was made of it."""

    base: Measured
    models: Mapping[str, Measured]

    @property
    def quality(self) -> str:
        """The metric that the scores are of, for people."""
        return self.base.quality.replace("_", " ")

    def children(self, parent: Measured) -> list[Measured]:
        """Models that were made from this one."""
        return [model for model in self.models.values() if model.parent == parent.key]

    def after(self, parent: Measured, what: Callable[[Measured], bool]) -> Measured | None:
        """The first child of a kind."""
        return next(filter(what, self.children(parent)), None)


@dataclass(frozen=True, slots=True)
class Change:
    """Difference of two models' quality over the same instances, in points, with its 95 % interval."""

    points: float
    low: float
    high: float

    def __str__(self) -> str:
        below, above = f"{self.points - self.low:.1f}", f"{self.high - self.points:.1f}"
        ends = f"± {below}" if below == above else f"[{self.low:+.1f}, {self.high:+.1f}]"
        return f"{self.points:+.1f} {ends}"


def change(model: Measured, other: Measured) -> Change:
    """Compare per instance, as the page of effects, gates and lints do."""
    found = of_instances(model.scores, other.scores, is_share=True)
    if found is None:
        raise ValueError(f"One instance tells nothing of the noise between {model.name} and {other.name}")
    return Change(100 * found.value, 100 * found.low, 100 * found.high)


def is_int8(model: Measured) -> bool:
    """Whether static quantization made it."""
    return model.op == "quantize" and model.params.get("method") == "static"


def networks(stores: Iterable[Path], roots: Collection[str] = ()) -> list[Network]:
    """Read the networks of some stores, of all roots or those of these names.

    Raises:
        StoreError: a file is missing, or no results.
    """
    found: dict[str, Measured] = {}
    for store in stores:
        for model in measured(store):
            if found.get(model.key) is None or found[model.key].speed is None:
                found[model.key] = model
    bases = [model for model in found.values() if model.key == model.root and (not roots or model.name in roots)]
    return [
        Network(
            base,
            {key: model for key, model in found.items() if (model.root, model.dataset) == (base.key, base.dataset)},
        )
        for base in bases
    ]


def label(model: Measured) -> str:
    """Name an operation with the parameters that make it what it is."""
    spec = OPERATIONS[model.op]
    silent = {
        *_INCIDENTAL,
        *spec.marked("model entry"),
        *spec.marked("model reference"),
        *spec.marked("channel multiple"),
    }
    shown = [
        _shown(name, model.params[name], alone=field.is_required())
        for name, field in spec.params.model_fields.items()
        if name in model.params
        and name not in silent
        and (field.is_required() or model.params[name] != _plain(field.get_default(call_default_factory=True)))
    ]
    return " ".join([f"`{model.op}`", ", ".join(shown)]).strip()


def _shown(name: str, value: Any, *, alone: bool) -> str:
    if isinstance(value, bool):
        return name if value else f"no {name}"
    text = "+".join(value) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else str(value)
    return text if alone else f"{name} {text}"


def _plain(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default
