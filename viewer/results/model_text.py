"""Models in words: their operations, their parameters, and names short enough for a plot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from viewer.results.lineage import Node
from viewer.results.names import unique_names

if TYPE_CHECKING:
    from viewer.results.results import Results

__all__ = ["ModelText", "short_ends", "value_words"]

_SHORT, _BEGINNING = 28, 12
"""Characters of a name in a plot, and how many of them are its beginning where the ends of two are the same."""


class ModelText:
    """Writes about the models of one publication's results."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def parameters(self, node: Node) -> list[tuple[str, str]]:
        """Return the operation's parameters as text; those left at None are not worth a line."""
        return [
            (name.replace("_", " "), value_words(value)) for name, value in node.params.items() if value is not None
        ]

    def parameters_text(self, node: Node) -> str:
        """Return the parameters in one line."""
        return ", ".join(f"{name} {value}" for name, value in self.parameters(node))

    @cached_property
    def _telling(self) -> dict[str, list[str]]:
        """Operation -> its parameters that differ between models; the rest is the same wherever it stands."""
        values_by_op: dict[str, dict[str, set[str]]] = {}
        for node in self._results.forest:
            for name, value in node.params.items():
                values_by_op.setdefault(node.op, {}).setdefault(name, set()).add(value_words(value))
        return {
            op: [name for name, values in by_name.items() if len(values) > 1] for op, by_name in values_by_op.items()
        }

    def telling_text(self, node: Node) -> str:
        """Return those parameters in one line that tell this model from others of the same operation."""
        values = {name: node.params.get(name) for name in self._telling.get(node.op, [])}
        # numbers first: they are what a sweep is about, and what a narrow column has room for
        names = sorted(values, key=lambda name: not isinstance(values[name], int | float))
        return ", ".join(
            f"{name.replace('_', ' ')} {_joined(values[name])}"
            for name in names
            if values[name] not in (None, [], {}, "")
        )

    def operation(self, key: str) -> str:
        """Return operation and parameters in one line, nested ones by name."""
        node = self._results.forest[key].brief
        return f"{node.op.replace('_', ' ')} {self.parameters_text(node)}".strip()

    @cached_property
    def _names(self) -> dict[str, str]:
        return unique_names(self._results.forest, self._results.forest.nodes)

    def name(self, key: str) -> str:
        """Return the name that no other model or step of the results has."""
        return self._names[key]

    def short_names(self, keys: Sequence[str]) -> list[str]:
        """Return names short enough to stand in a plot."""
        return short_ends([self.name(key) for key in keys])


def short_ends(names: Sequence[str]) -> list[str]:
    """Return the ends of long names, which tell most; of those with one end the beginnings too; whole where nothing else tells."""
    forms = [
        [name]
        if len(name) <= _SHORT
        else ["…" + name[1 - _SHORT :].lstrip(), f"{name[:_BEGINNING]}…{name[1 + _BEGINNING - _SHORT :]}", name]
        for name in names
    ]
    counts = Counter(form for each in forms for form in each)
    return [next((form for form in each if counts[form] == 1), each[-1]) for each in forms]


def _joined(value: object) -> str:
    return "+".join(map(value_words, value)) if isinstance(value, list) else value_words(value)


def value_words(value: Any) -> str:
    """Write a value of a parameter."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(value_words(each) for each in value) + "]"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {value_words(each)}" for name, each in value.items())
    return str(value)
