"""The order of classes: class names in the order of a model's outputs, and the rule that it comes from."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from ops.core.registry import nearest
from pipeline.datasets.api import DataError

Rule = Literal["setting", "data", "numbers", "text"]
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.0+)?")
_SHOWN = 10
_RULES = {
    "setting": "as `classes` of the data set says",
    "data": "as the data numbers them",
    "numbers": "by value, as class numbers in a table are",
    "text": "sorted as text, as torchvision's ImageFolder and `datasets` number them",
}


@dataclass(frozen=True, slots=True)
class ClassOrder:
    """Class names in the order of a model's outputs."""

    classes: tuple[str, ...]
    rule: Rule
    """`setting`: the entry says it; `data`: the files say it (ClassLabel); `numbers` and `text`: sorted, a guess."""

    @property
    def note(self) -> str:
        """The order in a line, for people whose model has another one."""
        return (
            f"{len(self.classes)} classes, {_RULES[self.rule]}: {name_list(self.classes)}. "
            "If the model was trained with another order, set `classes` of the data set"
        )

    def numbers(self, labels: Sequence[str], places: Sequence[str]) -> list[int]:
        """Return the class number of each label.

        Raises:
            DataError: for a label that is none of the classes, with its place.
        """
        number = {name: index for index, name in enumerate(self.classes)}
        for name, place in zip(labels, places, strict=True):
            if name not in number:
                hint = nearest(name, self.classes)
                raise DataError(f"{place}: '{name}' is none of the classes.{hint} Known: {name_list(self.classes)}")
        return [number[name] for name in labels]


def order_of(
    labels: Collection[str], *, setting: Sequence[str] | None, data: Sequence[str] | None = None, numbers: bool = False
) -> ClassOrder:
    """Decide the order of the classes.

    Args:
        labels: Of the instances, in any order.
        setting: The order that the data set's entry says, which wins.
        data: The order that the files themselves say.
        numbers: Whether labels that are all whole numbers are meant as such, and not as text.

    Raises:
        DataError: if there are fewer than two classes, a class is named twice, or one number is written in two ways.
    """
    names = set(labels)
    if setting:
        order = ClassOrder(_distinct(setting), "setting")
    elif data:
        order = ClassOrder(_distinct(data), "data")
    elif numbers and names and all(_NUMBER.fullmatch(name) for name in names):
        order = ClassOrder(_by_value(names), "numbers")
    else:
        order = ClassOrder(tuple(sorted(names)), "text")
    if len(order.classes) < 2:  # noqa: PLR2004 - nothing to tell apart
        raise DataError(f"only one class ({name_list(order.classes)}): classification needs two")
    return order


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    repeated = [name for number, name in enumerate(names) if name in names[:number]]
    if repeated:
        raise DataError(f"classes: '{repeated[0]}' stands there twice; each output of the model is one class")
    return tuple(names)


def _by_value(names: Collection[str]) -> tuple[str, ...]:
    by_value: dict[int, list[str]] = defaultdict(list)
    for name in sorted(names):
        by_value[int(name.partition(".")[0])].append(name)
    for spellings in by_value.values():
        if len(spellings) > 1:
            raise DataError(f"labels: {' and '.join(map(repr, spellings))} are one number written in two ways")
    return tuple(by_value[value][0] for value in sorted(by_value))


def lookalikes(names: Collection[str]) -> list[str]:
    """Say which class names differ only in letter case, spaces, hyphens or underscores, or stand for no value."""
    similar: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        similar[plain(name)].append(name)
    notes = [
        f"the classes {', '.join(map(repr, group))} differ only in case, spaces or hyphens, and count as different classes"
        for group in similar.values()
        if len(group) > 1
    ]
    absent = [name for name in sorted(names) if name.strip().lower() in ("none", "null", "n/a", "<na>")]
    return [*notes, *(f"a class is called '{name}', which often stands for no value" for name in absent)]


def plain(name: str) -> str:
    """A class name without what spellings of one name differ in."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def name_list(names: Sequence[str]) -> str:
    """The first names, for messages."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
