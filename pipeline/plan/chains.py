"""Chains of steps written once and run in parts or in other orders: `ablate` and `permute`, expanded to ordinary branches. Pure.

A chain begins at the step that has the word and goes down as long as a step has one step below it. `ablate: true` adds the
chain without each of its steps, `ablate: all` every part of it; `permute: true` adds all orders, `permute: [a, b]` those in
which the named steps take each other's places. A branch that is there already is not added again. A step that cannot stand
where a branch has it (a torch operation after an ONNX one, say) ends the branch: `StepOfVariant` marks what the planner may
leave out with its reason, in place of refusing the recipe.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ops.core.operation import OPERATIONS, Format
from ops.core.text import show

__all__ = ["ABLATE", "PERMUTE", "StepOfVariant", "chain_of", "orders_of", "with_variants"]

ABLATE, PERMUTE = "ablate", "permute"
_MOST_STEPS = 8
"""In a chain of which all parts or orders are made: of more there would be thousands."""
_MOST_LEVELS = 100
"""Above a step with a word."""

Problem = Callable[[str], None]


class StepOfVariant(dict[str, Any]):
    """A step as written, in a branch that `ablate` or `permute` has added."""


def chain_of(name: str, step: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return a step and those below it, as long as each has exactly one below: names and steps, from the top."""
    chain = [(name, step)]
    while isinstance(then := chain[-1][1].get("then"), Mapping) and len(then) == 1:
        ((below, inner),) = then.items()
        if not isinstance(inner, Mapping):
            break
        chain.append((str(below), inner))
    return chain


def orders_of(chain: Sequence[tuple[str, Mapping[str, Any]]], movable: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the orders of a chain in which the movable steps take each other's places, as written first; by names.

    Without those in which an operation on torch networks would follow one that gives an ONNX file.
    """
    names = [name for name, _ in chain]
    steps, places = dict(chain), [at for at, name in enumerate(names) if name in movable]
    result = []
    for order in itertools.permutations(names[at] for at in places):
        whole = list(names)
        for at, name in zip(places, order, strict=True):
            whole[at] = name
        if _fit([steps[name] for name in whole]):
            result.append(tuple(whole))
    return result


def _fit(steps: Sequence[Mapping[str, Any]]) -> bool:
    is_file = False
    for step in steps:
        spec = OPERATIONS[step["op"]] if isinstance(step.get("op"), str) and step["op"] in OPERATIONS else None
        if spec is None:
            continue  # the planner says so
        if is_file and spec.consumes is Format.TORCH:
            return False
        is_file |= spec.produces is Format.ONNX
    return True


def with_variants(tree: Mapping[str, Any], problem: Problem) -> dict[str, Any]:
    """Return a tree with the branches of `ablate` and `permute` written out, and without these words.

    Args:
        tree: name -> step, as written.
        problem: takes a line for each mistake.
    """
    return _expanded(tree, "", 0, problem)


def _expanded(tree: Mapping[str, Any], above: str, level: int, problem: Problem) -> dict[str, Any]:
    """Without recursion into what has no chain word anywhere below: recipes may be deep."""
    if not _has_words(tree):
        return dict(tree)
    if level > _MOST_LEVELS:
        problem(f"recipe.tree: `{ABLATE}` and `{PERMUTE}` stand below {_MOST_LEVELS} steps; put them further up")
        return {}
    result: dict[str, Any] = {}
    variants: list[list[tuple[str, Mapping[str, Any]]]] = []
    for name, step in tree.items():
        path = f"{above}/{name}" if above else str(name)
        if not isinstance(step, Mapping):
            result[str(name)] = step
            continue
        variants += _variants(str(name), step, path, problem)
        plain = {word: value for word, value in step.items() if word not in (ABLATE, PERMUTE)}
        if isinstance(plain.get("then"), Mapping):
            plain["then"] = _expanded(plain["then"], path, level + 1, problem)
        result[str(name)] = plain
    for variant in variants:
        _add(result, variant, above, problem)
    return result


def _has_words(tree: Mapping[str, Any]) -> bool:
    waiting: list[Any] = [tree]
    while waiting:
        steps = waiting.pop()
        for step in steps.values() if isinstance(steps, Mapping) else ():
            if isinstance(step, Mapping):
                if ABLATE in step or PERMUTE in step:
                    return True
                waiting.append(step.get("then"))
    return False


def _variants(
    name: str, step: Mapping[str, Any], path: str, problem: Problem
) -> Iterator[list[tuple[str, Mapping[str, Any]]]]:
    """Yield the chains that the words of a step add, each as names with steps."""
    chain = chain_of(name, step)
    steps, names = dict(chain), [each for each, _ in chain]
    for word in (ABLATE, PERMUTE):
        if word not in step:
            continue
        selections = _selections(word, step[word], chain, path, problem)
        for selection in selections:
            yield [(each, steps[each]) for each in selection]
    if len(steps) < len(names):
        problem(
            f"Step '{path}': two steps of the chain have one name; give each its own for `{ABLATE}` and `{PERMUTE}`"
        )


def _selections(
    word: str, value: Any, chain: Sequence[tuple[str, Mapping[str, Any]]], path: str, problem: Problem
) -> list[tuple[str, ...]]:
    """The orders or parts of a chain that a word asks for; none for a mistake."""
    names = [name for name, _ in chain]
    if value is False:
        return []
    if len(chain) == 1:
        problem(
            f"Step '{path}': `{word}` needs a chain: a step below this one, and one only below each; it has "
            f"{len(chain[0][1].get('then') or {})} below it"
        )
        return []
    if word == ABLATE and value in (True, "all"):
        shortest = 1 if value == "all" else len(names) - 1
        parts = [
            part for size in range(len(names) - 1, shortest - 1, -1) for part in itertools.combinations(names, size)
        ]
        return parts if _is_short(word, names, path, problem) else []
    if word == PERMUTE and (value is True or _are_names(value)):
        unknown = [] if value is True else [str(each) for each in value if each not in names]
        if unknown:
            problem(f"Step '{path}': `{PERMUTE}`: '{unknown[0]}' is no step of the chain. Known: {', '.join(names)}")
            return []
        movable = names if value is True else [str(each) for each in value]
        return orders_of(chain, movable) if _is_short(word, movable, path, problem) else []
    expected = "true or all" if word == ABLATE else "true, or a list of at least two steps of the chain"
    problem(f"Step '{path}': `{word}`: expected {expected}, got {show(value)}")
    return []


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 1 and all(isinstance(each, str) for each in value)


def _is_short(word: str, names: Sequence[str], path: str, problem: Problem) -> bool:
    most = _MOST_STEPS if word == ABLATE else _MOST_STEPS - 2
    if len(names) > most:
        problem(f"Step '{path}': `{word}` of {len(names)} steps is too many branches; at most {most} steps")
    return len(names) <= most


def _add(tree: dict[str, Any], chain: Sequence[tuple[str, Mapping[str, Any]]], above: str, problem: Problem) -> None:
    """Add a chain to a tree in place; steps that are there already are gone through."""
    at, path = tree, above
    for name, step in chain:
        path = f"{path}/{name}" if path else name
        plain = _own_words(step)
        present = at.get(name)
        if present is None:
            at[name] = StepOfVariant(plain)
        elif not isinstance(present, Mapping) or _own_words(present) != plain:
            problem(
                f"Step '{path}': a branch of `{ABLATE}` or `{PERMUTE}` needs this name for another step. Rename one"
            )
            return
        else:  # what was written stays as it is: the recipe is recorded
            at[name] = type(present)(present) if isinstance(present, StepOfVariant) else dict(present)
        below = at[name].get("then")
        at[name]["then"] = at = dict(below) if isinstance(below, Mapping) else {}


def _own_words(step: Mapping[str, Any]) -> dict[str, Any]:
    return {word: value for word, value in step.items() if word not in (ABLATE, PERMUTE, "then")}
