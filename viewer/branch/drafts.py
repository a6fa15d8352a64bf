"""Drafts of branches: the steps that are added, as data and as text; and what findings and lints suggest. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import yaml  # type: ignore[import-untyped]

__all__ = [
    "MOST_TEXT",
    "Draft",
    "DraftError",
    "can_follow",
    "change_of",
    "from_finding",
    "from_lint",
    "in_place",
    "names_a_step",
    "parse_change",
    "write_change",
]

MOST_TEXT = 6_000
"""Characters of a change on the page; a longer one is a recipe of its own."""
_PARTS = (".weight", ".bias", ".running_var", ".running_mean")
_REPAIRABLE = ("flattened_norm", "over_pruned", "dead_channels", "diverges")
_TORCH = "torch"
_CODE = re.compile(r"`([^`]+)`")
_SAID = {"finetune": re.compile(r"fine-tun", re.IGNORECASE), "calibrate": re.compile(r"recalibrat", re.IGNORECASE)}
"""Operations that advice speaks of in plain words."""

Schemas = Mapping[str, Any]
"""Operation -> what it is and takes, as `python -m pipeline schema operations` says."""


class DraftError(ValueError):
    """A text that is no change of a recipe: the message says why."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A step that is to be added below a model."""

    origin: str
    """Key of the model."""
    op: str
    params: Mapping[str, Any]


class _Loader(yaml.SafeLoader):
    """Reads plain data: an alias could repeat a text without end."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise DraftError("an alias (`*name`) is not read here; write the value out")
        return super().compose_node(parent, index)


def parse_change(text: str) -> dict[str, Any]:
    """Read a change: name -> step.

    Raises:
        DraftError: if it is no YAML, or no mapping.
    """
    if len(text) > MOST_TEXT:
        raise DraftError(f"the text is longer than {MOST_TEXT:,} characters; download the recipe and run it as a file")
    try:
        data = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise DraftError(f"{place}{error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise error if isinstance(error, DraftError) else DraftError("this is no YAML that can be read") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise DraftError(
            "expected a mapping from names to steps, e.g. `restored: {op: restore, with: {include: [norm]}}`"
        )
    return {str(name): step for name, step in data.items()}


def write_change(change: Mapping[str, Any]) -> str:
    """Return a change as YAML."""
    return str(yaml.safe_dump(dict(change), sort_keys=False, width=100, allow_unicode=True, default_flow_style=None))


def change_of(draft: Draft, names: Collection[str]) -> dict[str, Any]:
    """Return a draft as a change, under a name that no other step below the model has."""
    name, count = draft.op or "step", 1
    while name in names:
        count += 1
        name = f"{draft.op}_{count}"
    return {name: {"op": draft.op, **({"with": dict(draft.params)} if draft.params else {})}}


def in_place(key: str, op: str, params: Mapping[str, Any], schemas: Schemas, changes: Mapping[str, Any]) -> Draft:
    """Return a step once more, with some parameters changed: below the same model as before.

    Args:
        key: of the model above the step.
        op: the step's operation.
        params: the step's parameters in full; those that are as by default are left out.
        schemas: of all operations.
        changes: parameter -> its new value.
    """
    own = schemas.get(op, {}).get("parameters", {}).get("properties", {})
    others = {name: value for name, value in params.items() if name in own and own[name].get("default", own) != value}
    return Draft(key, op, {**others, **changes})


def from_finding(kind: str, site: str, model: Any, parent: str | None, schemas: Schemas) -> Draft | None:
    """Return what a finding in a layer suggests: to restore the layer, or to make the model anew without touching it.

    Args:
        kind: of the finding.
        site: the tensor or layer.
        model: the node of the model, with key, op and params.
        parent: key of the model that it was made from.
        schemas: of all operations.
    """
    layer = site
    for part in _PARTS:
        layer = layer.removesuffix(part)
    is_torch = schemas.get(model.op, {}).get("produces") == _TORCH
    if kind in _REPAIRABLE and is_torch and parent is not None:
        return Draft(model.key, "restore", {"include": [layer]})
    properties = schemas.get(model.op, {}).get("parameters", {}).get("properties", {})
    if parent is None or "exclude" not in properties:
        return None
    before = [each for each in model.params.get("exclude") or () if each != layer]
    return in_place(parent, model.op, model.params, schemas, {"exclude": [*before, layer]})


def from_lint(advice: str, model: Any, parent: str | None, schemas: Schemas) -> Draft | None:
    """Return what a lint's advice names between backticks: parameters of the step, else an operation to add.

    Args:
        advice: of the lint.
        model: the node of the model, with key, op and params.
        parent: key of the model that it was made from.
        schemas: of all operations.
    """
    own = schemas.get(model.op, {}).get("parameters", {}).get("properties", {})
    words = _CODE.findall(advice)
    changes = {name: value for word in words for name, value in _setting(word).items() if name in own}
    if changes and parent is not None:
        return in_place(parent, model.op, model.params, schemas, changes)
    form = schemas.get(model.op, {}).get("produces")
    words += [op for op, pattern in _SAID.items() if pattern.search(advice)]
    fitting = [word for word in words if word in schemas and word != model.op and can_follow(schemas[word], form)]
    return Draft(model.key, fitting[0], {}) if fitting else None


def names_a_step(advice: str) -> bool:
    """Whether advice speaks of something that a recipe can say."""
    return bool(_CODE.search(advice)) or any(pattern.search(advice) for pattern in _SAID.values())


def can_follow(schema: Mapping[str, Any], form: str | None) -> bool:
    """Whether an operation takes a model of a form: a torch model can be exported, an ONNX file cannot be taken back."""
    return schema.get("consumes") is not None and (form in (None, _TORCH) or schema["consumes"] == form)


def _setting(word: str) -> dict[str, Any]:
    """The parameter that a word like `round_to: 8` sets."""
    if ":" not in word:
        return {}
    try:
        return parse_change(word)
    except DraftError:
        return {}
