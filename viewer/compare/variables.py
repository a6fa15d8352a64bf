"""Variables of selected models: one per difference, and combinations of several."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

from viewer.compare.alignment import ABSENT, UNSET, Lineages, Slot, root_label, token, value_text
from viewer.format.natural_order import NaturalKey, natural_key
from viewer.results.lineage import Node

__all__ = ["BASE", "NONE", "Raw", "Variable", "VariableKind", "combine", "raw_variables", "shared", "variable"]

_MOST_RAWS = 40
_ENDS = 5
NONE = "none"
"""Label of what a lineage does not have."""
ARROW = " → "
BASE = Slot("base model")
"""Where the parameters of the base models belong: no step of a lineage."""


class VariableKind(StrEnum):
    """The kind of thing that a variable tells."""

    ROOT = "base model"
    PARAMETER = "parameter"
    PRESENCE = "presence"
    ORDER = "order"
    OPERATION = "operation"
    SEQUENCE = "sequence"
    REPEAT = "repeat"


@dataclass(frozen=True, slots=True)
class Raw:
    """One difference among lineages, with a token per model that identifies and orders its value."""

    id: str
    label: str
    kind: VariableKind
    tokens: tuple[NaturalKey, ...]
    texts: tuple[str, ...]
    slot: Slot | None = None
    parameter: str = ""


@dataclass(frozen=True)
class Variable:
    """A difference to draw: an axis, a colour or a facet."""

    id: str
    label: str
    kind: VariableKind
    values: tuple[str, ...]
    """Distinct labels in natural order, absence first."""
    of: Mapping[str, int]
    """Key of a model -> index of its value."""
    parts: tuple[str, ...]
    """Ids of the differences that it shows."""
    numbers: tuple[float | None, ...] | None = None
    """The values as numbers, where all are (None: absent); then an axis may be to scale."""
    ops: tuple[str, ...] = ()
    """Operations that it is about."""

    def value(self, key: str) -> str:
        """Return the label of a model's value."""
        return self.values[self.of[key]]


def raw_variables(lineages: Lineages) -> list[Raw]:
    """Return everything that differs, base model first, then slot by slot; constants are left out.

    Together they tell any two models apart whose lineages differ in anything. A slot has one variable per parameter that
    differs, and one for its presence; a parameter's variable says "none" where the operation is absent. What lineages of
    very many steps differ in beyond the first dozens of variables is one variable.
    """
    raws = _roots(lineages)
    further: list[Slot] = []
    for slot, steps in lineages.steps.items():
        if len(raws) < _MOST_RAWS:
            raws += _of_slot(slot, steps)
        elif any(step is not steps[0] for step in steps):
            further.append(slot)
    if lineages.unstable:
        raws.append(_order(lineages))
    if further:
        raws.append(_further(lineages, further))
    return raws


def _roots(lineages: Lineages) -> list[Raw]:
    labels = [root_label(root) for root in lineages.roots]
    raws = [Raw("root", "base model", VariableKind.ROOT, tuple(map(natural_key, labels)), tuple(labels))]
    operations = [root.op or NONE for root in lineages.roots]
    ops = [
        Raw(
            "root operation",
            "base operation",
            VariableKind.ROOT,
            tuple(map(natural_key, operations)),
            tuple(operations),
        )
    ]
    names = sorted({name for root in lineages.roots for name in root.params})
    for name in names:
        steps: list[Node | None] = list(lineages.roots)
        ops.append(_parameter(BASE, name, steps))
    # what follows from the base model's name is no difference of its own
    return [raw for raw in [*raws, *(raw for raw in ops if not _determines(labels, raw.tokens))] if _varies(raw)]


def _of_slot(slot: Slot, steps: list[Node | None]) -> list[Raw]:
    nodes = {id(step): step for step in steps}
    if len(nodes) == 1:  # everybody shares the very step: the common case, far up in a lineage
        return []
    present = [step is not None for step in steps]
    texts = [slot.name if has else NONE for has in present]
    raws = [Raw(slot.name, slot.name, VariableKind.PRESENCE, tuple((int(has),) for has in present), tuple(texts), slot)]
    names = sorted({name for step in nodes.values() if step is not None for name in step.params})
    raws += [raw for name in names if _differs_where_present(raw := _parameter(slot, name, steps))]
    return [raw for raw in raws if _varies(raw)]


def _parameter(slot: Slot, name: str, steps: Sequence[Node | None]) -> Raw:
    of_step = {id(step): _token_and_text(step, name) for step in steps}  # lineages share most of their steps
    tokens, texts = zip(*(of_step[id(step)] for step in steps), strict=True)
    return Raw(f"{slot.name}.{name}", f"{slot.name} {name}", VariableKind.PARAMETER, tokens, texts, slot, name)


def _token_and_text(step: Node | None, name: str) -> tuple[NaturalKey, str]:
    if step is None:
        return ABSENT, NONE
    if name not in step.params:
        return UNSET, "not set"
    return token(step.params[name]), value_text(step.params[name])


def _order(lineages: Lineages) -> Raw:
    odd = set(lineages.unstable)
    sequences = [[slot for slot in sequence if slot in odd] for sequence in lineages.sequences]
    texts = [ARROW.join(slot.op for slot in sequence) or NONE for sequence in sequences]
    rank = {slot: at for at, slot in enumerate(lineages.unstable)}
    tokens = tuple(tuple(rank[slot] for slot in sequence) for sequence in sequences)
    return Raw("order", "order of operations", VariableKind.ORDER, tokens, tuple(texts))


def _further(lineages: Lineages, slots: Collection[Slot]) -> Raw:
    members = set(slots)
    steps = [
        [lineages.steps[slot][model] for slot in sequence if slot in members]
        for model, sequence in enumerate(lineages.sequences)
    ]
    tokens = tuple(tuple((natural_key(step.op), token(step.params)) for step in each if step) for each in steps)
    texts = tuple(_written([_step_text(step, sorted(step.params)) for step in each if step]) for each in steps)
    return Raw("further", "further steps", VariableKind.SEQUENCE, tokens, texts)


def _varies(raw: Raw) -> bool:
    return len(set(raw.tokens)) > 1


def _differs_where_present(raw: Raw) -> bool:
    return len(set(raw.tokens) - {ABSENT}) > 1


def _determines(one: Sequence[object], other: Sequence[object]) -> bool:
    return len(set(zip(one, other, strict=True))) == len(set(one))


def shared(raws: Sequence[Raw]) -> Raw:
    """Merge the same parameter of operations that exclude each other: "amount" of whichever kind of pruning it was."""
    tokens, texts = [], []
    for values in zip(*(zip(raw.tokens, raw.texts, strict=True) for raw in raws), strict=True):
        own = [value for value in values if value[0] != ABSENT]
        tokens.append(own[0][0] if own else ABSENT)
        texts.append(own[0][1] if own else NONE)
    name = raws[0].parameter
    id_ = "|".join(raw.id for raw in raws)
    return Raw(id_, name, VariableKind.PARAMETER, tuple(tokens), tuple(texts), parameter=name)


def combine(lineages: Lineages, raws: Sequence[Raw], kind: VariableKind) -> Raw:
    """Merge differences into one variable whose values are what a lineage does, in its order: "prune 0.5 → finetune".

    Of a step only the parameters among `raws` are written. Where an operation's later occurrence is shown, its earlier
    ones are too, if they are the same in all lineages: "prune 0.5 → prune 0.75" reads better than "prune 0.75".

    Args:
        lineages: the models' ancestries, step by step.
        raws: differences between them, at least one.
        kind: that of the merged variable.
    """
    slots = {raw.slot for raw in raws if raw.slot is not None}
    if any(raw.kind is VariableKind.ORDER for raw in raws):
        slots |= set(lineages.unstable)
    written: dict[Slot, list[str]] = {slot: [] for slot in slots}
    for raw in raws:
        if raw.slot is not None and raw.parameter:
            written.setdefault(raw.slot, []).append(raw.parameter)
    _add_iterations(lineages, written)
    texts = []
    for model, sequence in enumerate(lineages.sequences):
        steps = [
            _step_text(step, written[slot])
            for slot in sequence
            if slot in written and (step := lineages.steps[slot][model]) is not None
        ]
        steps += [raw.texts[model] for raw in raws if raw.id == "further" and raw.texts[model] != NONE]
        texts.append(_written([*_base_text(lineages, raws, model), *steps]))
    tokens = tuple(zip(*(raw.tokens for raw in raws), strict=True))
    return Raw(" + ".join(raw.id for raw in raws), _label(raws, kind), kind, tokens, tuple(texts))


def _base_text(lineages: Lineages, raws: Sequence[Raw], model: int) -> list[str]:
    """Return what tells a base model from the others, as the first part of a sequence."""
    name = [root_label(lineages.roots[model])] if any(raw.id == "root" for raw in raws) else []
    values = [f"{raw.parameter} {raw.texts[model]}" for raw in raws if raw.slot == BASE]
    operation = [raw.texts[model] for raw in raws if raw.id == "root operation"]
    text = " ".join([*name, *operation, ", ".join(values)]).strip()
    return [text] if text else []


def _add_iterations(lineages: Lineages, written: dict[Slot, list[str]]) -> None:
    last = {op: max(slot.nth for slot in written if slot.op == op) for op in {slot.op for slot in written}}
    slots = [slot for slot in lineages.steps if 1 < last.get(slot.op, 1) >= slot.nth]
    for slot in slots:
        steps = lineages.steps[slot]
        if slot not in written and any(step is None for step in steps):
            continue
        same = [other for other in slots if other.op == slot.op]
        for name in sorted({name for step in steps if step is not None for name in step.params}):
            here = _parameter(slot, name, steps).tokens
            everywhere = {each for other in same for each in _parameter(other, name, lineages.steps[other]).tokens}
            if len(set(here) - {ABSENT}) == 1 and len(everywhere - {ABSENT}) > 1:
                written.setdefault(slot, [])
                written[slot] += [name] if name not in written[slot] else []


def _step_text(step: Node, names: Sequence[str]) -> str:
    values = [(name, value_text(step.params[name])) for name in names if name in step.params]
    if len(values) == 1:
        return f"{step.op} {values[0][1]}"
    return " ".join([step.op, ", ".join(f"{name} {text}" for name, text in values)]).rstrip()


def _written(parts: list[str]) -> str:
    """Join steps, leaving out the middle of very many."""
    parts = _runs(parts)
    if len(parts) > 2 * _ENDS + 1:
        parts = [*parts[:_ENDS], f"… {len(parts) - 2 * _ENDS} more …", *parts[-_ENDS:]]
    return ARROW.join(parts) or NONE


def _runs(parts: list[str]) -> list[str]:
    """Write "prune, prune, prune" as "prune x3"."""
    pairs: list[tuple[str, int]] = []
    for part in parts:
        if pairs and pairs[-1][0] == part:
            pairs[-1] = part, pairs[-1][1] + 1
        else:
            pairs.append((part, 1))
    return [part if count == 1 else f"{part} x{count}" for part, count in pairs]


def _label(raws: Sequence[Raw], kind: VariableKind) -> str:
    ops = list(dict.fromkeys(raw.slot.op for raw in raws if raw.slot is not None))
    names = (["base model"] if any(raw.id == "root" for raw in raws) else []) + ops
    if kind is VariableKind.OPERATION or len(names) > 3:  # noqa: PLR2004 - a label of more names is none
        return "operation" if kind is VariableKind.OPERATION else "steps"
    return ", ".join(dict.fromkeys(names)) or "steps"


def variable(raw: Raw, keys: Sequence[str], parts: Collection[str], ops: Sequence[str]) -> Variable:
    """Number the distinct values in their order and give every one a label of its own.

    Args:
        raw: a difference, with a token and a text per model.
        keys: the models, in the order of the tokens.
        parts: ids of the differences that it consists of.
        ops: names of the operations that it is about.
    """
    text_of: dict[NaturalKey, str] = {}
    for each, text in zip(raw.tokens, raw.texts, strict=True):
        text_of.setdefault(each, text)
    order = sorted(text_of)
    index = {each: at for at, each in enumerate(order)}
    return Variable(
        id=raw.id,
        label=raw.label,
        kind=raw.kind,
        values=_distinct([text_of[each] for each in order]),
        of={key: index[each] for key, each in zip(keys, raw.tokens, strict=True)},
        parts=tuple(parts),
        numbers=_numbers(order) if raw.kind is VariableKind.PARAMETER else None,
        ops=tuple(ops),
    )


def _distinct(texts: list[str]) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    labels = []
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
        labels.append(text if counts[text] == 1 else f"{text} [{counts[text]}]")
    if len(set(labels)) < len(labels):  # a value was itself called "... [2]"
        return tuple(f"{text} #{at}" for at, text in enumerate(texts, start=1))
    return tuple(labels)


def _numbers(tokens: Sequence[NaturalKey]) -> tuple[float | None, ...] | None:
    number = natural_key(1)[0]
    plain = [each for each in tokens if each not in (ABSENT, UNSET)]
    if not plain or any(each[0] != number for each in plain):
        return None
    values: list[Any] = [float(each[2]) if each[0] == number else None for each in tokens]
    increasing = all(a < b for a, b in pairwise(each for each in values if each is not None))
    return tuple(values) if increasing else None
