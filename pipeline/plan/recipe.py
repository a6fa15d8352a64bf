"""A recipe as written: parse the composed configuration, expand `each`. Pure: no file, no clock, no database."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.core.registry import nearest
from pipeline.core.errors import BouillonError

NODE_WORDS = ("op", "with", "then")
RECIPE_WORDS = ("name", "description", "model", "dataset", "targets", "seed", "tree")


class RecipeError(BouillonError, ValueError):
    """A recipe that cannot run. `problems` holds one line per mistake, each with the path of the step at fault."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class Node:
    """One step after `each` is expanded: one branch per value."""

    path: str
    parent: str | None
    op: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A forest of operations on one data set. `nodes` come parents first."""

    name: str
    nodes: tuple[Node, ...]
    targets: tuple[str, ...] = ("onnxruntime",)
    seed: int = 0
    description: str = ""
    dataset: str | None = None
    model: str | None = None


@dataclass(slots=True)
class _Reader:
    problems: list[str] = field(default_factory=list)

    def mapping(self, value: Any, where: str, words: Sequence[str]) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            self.problems.append(f"{where}: expected a mapping with {_words(words)}, got {_show(value)}")
            return {}
        for key in value:
            if key not in words:
                self.problems.append(
                    f"{where}: unknown word '{key}'.{nearest(str(key), words)} Known: {', '.join(words)}"
                )
        return {str(key): item for key, item in value.items()}


def parse(config: object) -> Recipe:
    """Read a recipe from plain data (what YAML gives).

    Raises:
        RecipeError: listing every mistake of the grammar, each with the step's path.
    """
    reader = _Reader()
    raw = reader.mapping(config, "recipe", RECIPE_WORDS)
    name = raw.get("name")
    if not isinstance(name, str) or not name:
        reader.problems.append(f"recipe.name: a name is required, got {_show(name)}")
    seed = raw.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        reader.problems.append(f"recipe.seed: expected a whole number from 0, got {_show(seed)}")
    targets = raw.get("targets", ["onnxruntime"])
    if (
        not isinstance(targets, Sequence)
        or isinstance(targets, str)
        or not targets
        or not all(isinstance(t, str) for t in targets)
    ):
        reader.problems.append(f"recipe.targets: expected a list of target names, got {_show(targets)}")
    for word in ("model", "dataset", "description"):
        if not isinstance(raw.get(word), str | None):
            reader.problems.append(f"recipe.{word}: expected a name, got {_show(raw[word])}")
    nodes = tuple(_expand(raw.get("tree"), reader))
    if not nodes and not reader.problems:
        reader.problems.append("recipe.tree: there is no step. Add one, e.g. `tree: {base: {op: train}}`")
    if reader.problems:
        raise RecipeError(reader.problems)
    return Recipe(
        name=str(name), nodes=nodes, targets=tuple(dict.fromkeys(targets)), seed=seed,
        description=raw.get("description") or "", dataset=raw.get("dataset"), model=raw.get("model"),
    )  # fmt: skip


def _expand(tree: Any, reader: _Reader) -> Iterator[Node]:
    """Walk the tree without recursion (a generated recipe may be deep), yielding parents first, in written order."""
    if not isinstance(tree, Mapping):
        reader.problems.append(f"recipe.tree: expected a mapping from names to steps, got {_show(tree)}")
        return
    waiting: list[tuple[str, str | None, Any] | tuple[Node, Mapping[str, Any]]]
    waiting = [(str(name), None, node) for name, node in reversed(list(tree.items()))]
    while waiting:
        item = waiting.pop()
        if len(item) == 2:  # noqa: PLR2004 - an expanded step with what comes below it
            node, then = item
            yield node
            waiting.extend((str(name), node.path, child) for name, child in reversed(list(then.items())))
        else:
            waiting.extend(reversed(_branches(*item, reader)))


def _branches(written: str, parent: str | None, raw_node: Any, reader: _Reader) -> list[tuple[Node, Mapping[str, Any]]]:
    """Read one step as written: (step, its `then`) for every value of its `each`."""
    path = f"{parent}/{written}" if parent else written
    if any(mark in written for mark in "/[]") or not written:
        reader.problems.append(f"Step '{path}': a step's name must not be empty or contain '/', '[' or ']'")
        return []
    known = len(reader.problems)
    raw = reader.mapping(raw_node, f"Step '{path}'", NODE_WORDS)
    if not isinstance(raw.get("op"), str):
        if len(reader.problems) == known:
            reader.problems.append(f"Step '{path}': `op` must name an operation, got {_show(raw.get('op'))}")
        return []
    then = raw.get("then") or {}
    if not isinstance(then, Mapping):
        reader.problems.append(f"Step '{path}': `then` must map names to steps, got {_show(then)}")
        then = {}
    branches = _each(raw.get("with") or {}, path, reader)
    return [(Node(path + suffix, parent, raw["op"], params), then) for suffix, params in branches]


def _each(params: Any, path: str, reader: _Reader) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield one parameter set per combination of `{each: [...]}` values."""
    if not isinstance(params, Mapping):
        reader.problems.append(f"Step '{path}': `with` must map parameters to values, got {_show(params)}")
        return
    swept: dict[str, Sequence[Any]] = {}
    for name, value in params.items():
        if isinstance(value, Mapping) and "each" in value:
            values = value["each"]
            if len(value) > 1 or isinstance(values, str) or not isinstance(values, Sequence) or not values:
                reader.problems.append(
                    f"Step '{path}': `{name}: each` needs a list of at least one value, got {_show(values)}"
                )
                return
            swept[str(name)] = values
    for chosen in itertools.product(*swept.values()):
        pairs = dict(zip(swept, chosen, strict=True))
        suffix = f"[{','.join(f'{name}={_label(value)}' for name, value in pairs.items())}]" if pairs else ""
        yield suffix, {**{str(name): value for name, value in params.items()}, **pairs}


def _label(value: Any) -> str:
    """A value as part of a path: short, without the path's own marks."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)
    return text.replace("/", "|").replace("[", "(").replace("]", ")")


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - the length of a line's rest


def _words(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
