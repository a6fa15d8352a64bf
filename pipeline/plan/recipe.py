"""A recipe as written: parse the composed configuration, expand `each`. Pure: no file, no clock, no database."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.core.registry import nearest
from ops.core.text import cut, show
from pipeline.core.errors import BouillonError
from pipeline.plan.chains import ABLATE, PERMUTE, StepOfVariant, with_variants
from pipeline.plan.evaluation_sets import EvaluationSpec, evaluation_problems, evaluation_specs
from pipeline.plan.search_words import OPTIONAL, search_refusals

MOST_STEPS = 20_000
MOST_SEED = 2**32 - 1
"""Of all random number generators in use, NumPy's takes the fewest seeds."""
MOST_PROBLEMS = 10
"""Mistakes that are looked for before the rest waits for the next try."""
_MOST_CHARACTERS = 2_000
_LONGEST_NAME = 200

NODE_WORDS = ("op", "with", "then", "allocate", ABLATE, PERMUTE, OPTIONAL)
ALLOCATE = "allocate"
"""Stands for the operation of a step whose operations and strengths are found by layer."""
RECIPE_WORDS = ("name", "description", "model", "dataset", "targets", "seed", "evaluate", "tree")


SEEDS = f"a whole number from 0 to {MOST_SEED}"
_UNFIT = f"a name has letters that can be shown, at most {_LONGEST_NAME}"


def is_seed(value: object) -> bool:
    """Whether a value can seed every random number generator."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_SEED


class RecipeError(BouillonError, ValueError):
    """A recipe that cannot run. `problems` holds one line per mistake, each with the path of the step at fault."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(cut(problem, _MOST_CHARACTERS) for problem in dict.fromkeys(problems))
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class RecipeNode:
    """One step after `each` is expanded: one branch per value."""

    path: str
    parent: str | None
    op: str
    params: Mapping[str, Any]
    is_variant: bool = False
    """Whether `ablate` or `permute` has added it: left out, with its reason, where it cannot be planned."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A forest of operations on one data set. `nodes` come parents first."""

    name: str
    nodes: tuple[RecipeNode, ...]
    targets: tuple[str, ...] = ("onnxruntime",)
    seed: int = 0
    description: str = ""
    dataset: str | None = None
    model: str | None = None
    evaluate: tuple[EvaluationSpec, ...] = ()
    """Evaluation sets beside the data set's own."""

    @property
    def operations(self) -> set[str]:
        """Names of the operations that its steps use, those that `allocate` may choose from among them."""
        names = {node.op for node in self.nodes if node.op != ALLOCATE}
        for node in self.nodes:
            candidates = node.params.get("candidates") if node.op == ALLOCATE else None
            names |= {str(name) for name in candidates} if isinstance(candidates, Mapping) else set()
        return names


@dataclass(slots=True)
class _Reader:
    problems: list[str] = field(default_factory=list)

    def mapping(self, value: Any, where: str, words: Sequence[str]) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            self.problems.append(f"{where}: expected a mapping with {_words(words)}, got {show(value)}")
            return {}
        for key in itertools.islice((key for key in value if key not in words), MOST_PROBLEMS):
            self.problems.append(
                f"{where}: unknown word '{cut(str(key))}'.{nearest(str(key), words)} Known: {', '.join(words)}"
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
    reader.problems.extend(_name_and_seed(name, seed := raw.get("seed", 0)))
    targets = raw.get("targets", ["onnxruntime"])
    if (
        not isinstance(targets, Sequence)
        or isinstance(targets, str)
        or not targets
        or not all(isinstance(t, str) for t in targets)
    ):
        reader.problems.append(f"recipe.targets: expected a list of target names, got {show(targets)}")
    for word in ("model", "dataset", "description"):
        if not isinstance(raw.get(word), str | None):
            reader.problems.append(f"recipe.{word}: expected a name, got {show(raw[word])}")
    reader.problems.extend(evaluation_problems(evaluate := raw.get("evaluate") or {}))
    nodes = tuple(itertools.islice(_expand(raw.get("tree"), reader), MOST_STEPS + 1))
    if len(nodes) > MOST_STEPS:
        reader.problems.append(_too_many("recipe.tree"))
    if not nodes and not reader.problems:
        reader.problems.append("recipe.tree: there is no step. Add one, e.g. `tree: {base: {op: train}}`")
    if reader.problems:
        raise RecipeError(reader.problems)
    return Recipe(
        name=str(name),
        nodes=nodes,
        targets=tuple(dict.fromkeys(targets)),
        seed=seed,
        description=raw.get("description") or "",
        dataset=raw.get("dataset"),
        model=raw.get("model"),
        evaluate=evaluation_specs(evaluate),
    )


def _name_and_seed(name: Any, seed: Any) -> Iterator[str]:
    if not isinstance(name, str) or not name:
        yield f"recipe.name: a name is required, got {show(name)}. Write e.g. `name: mine`"
    elif not name.isprintable() or len(name) > _LONGEST_NAME:
        yield f"recipe.name: {_UNFIT}, got {show(name)}"
    if not is_seed(seed):
        yield f"recipe.seed: expected {SEEDS}, got {show(seed)}"


def _expand(tree: Any, reader: _Reader) -> Iterator[RecipeNode]:
    """Walk the tree without recursion (a generated recipe may be deep), yielding parents first, in written order."""
    if not isinstance(tree, Mapping):
        reader.problems.append(f"recipe.tree: expected a mapping from names to steps, got {show(tree)}")
        return
    tree = with_variants(tree, reader.problems.append)
    waiting: list[tuple[str, str | None, Any] | tuple[RecipeNode, Mapping[str, Any]]]
    waiting = [(str(name), None, node) for name, node in reversed(list(tree.items()))]
    while waiting and len(reader.problems) < MOST_PROBLEMS:
        item = waiting.pop()
        if len(item) == 2:  # noqa: PLR2004 - an expanded step with what comes below it
            node, then = item
            yield node
            waiting.extend((str(name), node.path, child) for name, child in reversed(list(then.items())))
        else:
            waiting.extend(reversed(_branches(*item, reader)))


def _branches(
    written: str, parent: str | None, raw_node: Any, reader: _Reader
) -> list[tuple[RecipeNode, Mapping[str, Any]]]:
    """Read one step as written: (step, its `then`) for every value of its `each`."""
    path = f"{parent}/{written}" if parent else written
    if any(mark in written for mark in "/[]") or not written:
        reader.problems.append(f"Step '{path}': a step's name must not be empty or contain '/', '[' or ']'")
        return []
    if not written.isprintable() or len(written) > _LONGEST_NAME:
        reader.problems.append(f"Step '{cut(path)}': {_UNFIT}. Write another")
        return []
    present = len(reader.problems)
    raw = reader.mapping(raw_node, f"Step '{path}'", NODE_WORDS)
    if ALLOCATE in raw:
        return _allocated(path, parent, raw, reader)
    if not isinstance(raw.get("op"), str):
        if len(reader.problems) == present:
            reader.problems.append(f"Step '{path}': `op` must name an operation, got {show(raw.get('op'))}")
        return []
    then = raw.get("then") or {}
    if not isinstance(then, Mapping):
        reader.problems.append(f"Step '{path}': `then` must map names to steps, got {show(then)}")
        then = {}
    if refusals := list(search_refusals(raw, path)):
        reader.problems.extend(refusals)
        return []
    is_variant, branches = isinstance(raw_node, StepOfVariant), _each(raw.get("with") or {}, path, reader)
    return [(RecipeNode(path + suffix, parent, raw["op"], params, is_variant), then) for suffix, params in branches]


def _allocated(
    path: str, parent: str | None, raw: Mapping[str, Any], reader: _Reader
) -> list[tuple[RecipeNode, Mapping[str, Any]]]:
    """Read a step with `allocate`: what it asks for is checked where the model above it is known."""
    problem = ""
    if "op" in raw or "with" in raw:
        problem = "`allocate` chooses the operation and its strengths; leave `op` and `with` out"
    elif parent is None:
        problem = "`allocate` needs a model: put it under `then` of a `load` or `train` step"
    elif "[" in path:
        problem = (
            "`allocate` cannot stand below `each`, since each branch would get another choice; write a step for each"
        )
    then = raw.get("then") or {}
    if problem or not isinstance(raw[ALLOCATE], Mapping) or not isinstance(then, Mapping):
        problem = problem or "`allocate` must hold `candidates` and `budget`, and `then` must map names to steps"
        reader.problems.append(f"Step '{path}': {problem}")
        return []
    return [(RecipeNode(path, parent, ALLOCATE, {str(name): value for name, value in raw[ALLOCATE].items()}), then)]


def _each(params: Any, path: str, reader: _Reader) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield one parameter set per combination of `{each: [...]}` values."""
    if not isinstance(params, Mapping):
        reader.problems.append(f"Step '{path}': `with` must map parameters to values, got {show(params)}")
        return
    swept: dict[str, Mapping[str, Any]] = {}
    for name, value in params.items():
        if isinstance(value, Mapping) and "each" in value:
            labelled = _labelled(str(name), value, path, reader)
            if labelled is None:
                return
            swept[str(name)] = labelled
    if math.prod(map(len, swept.values())) > MOST_STEPS:
        reader.problems.append(_too_many(f"Step '{path}'"))
        return
    for labels in itertools.product(*swept.values()):
        pairs = {name: swept[name][label] for name, label in zip(swept, labels, strict=True)}
        written = ",".join(f"{name}={label}" for name, label in zip(swept, labels, strict=True))
        yield f"[{written}]" if pairs else "", {**{str(name): value for name, value in params.items()}, **pairs}


def _labelled(name: str, value: Mapping[str, Any], path: str, reader: _Reader) -> dict[str, Any] | None:
    """The values of an `each`, each once, by what they are called in paths; None if it is wrong."""
    values = value["each"]
    if len(value) > 1 or isinstance(values, str) or not isinstance(values, Sequence) or not values:
        reader.problems.append(f"Step '{path}': `{name}: each` needs a list of at least one value, got {show(values)}")
        return None
    labelled: dict[str, Any] = {}
    for item in values:
        label = value_label(item)
        if len(label) > _LONGEST_NAME:
            reader.problems.append(
                f"Step '{path}': `{name}: each` has a value that is too long for a name, {show(item)}. "
                "Write a step of its own for it"
            )
            return None
        if label in labelled and _exact(labelled[label]) != _exact(item):
            reader.problems.append(
                f"Step '{path}': `{name}: each` has two values that are both called '{label}' in paths, "
                f"{show(labelled[label])} and {show(item)}. Remove one, or write a step for each"
            )
            return None
        labelled[label] = item
    return labelled


def value_label(value: Any) -> str:
    """A value as part of a path: short, in one line, without the path's own marks."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)
    text = text if text.isprintable() else json.dumps(text)
    return text.replace("/", "|").replace("[", "(").replace("]", ")")


def _exact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _too_many(where: str) -> str:
    return (
        f"{where}: there are more than {MOST_STEPS:,} steps with the values of `each`, the most that one recipe may have. "
        "Give `each` fewer values, or make several recipes"
    )


def _words(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
