"""The space of a search: the chains of a recipe whose values, steps, branches and orders are open.

One proposal is one way down the tree, from a step at the top to one that has nothing below it. On the way each open value,
`each` and `any` takes one of its values, each optional step stands or not, one of several steps below another is taken, and a
chain with `permute` takes one of its orders. Who chooses is asked by the names of the choices (`Chooser`), so that a sampler of
Optuna, a random generator or a fixed mapping may do it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ops.core.operation import OPERATIONS
from ops.core.registry import nearest
from ops.core.text import show
from pipeline.core.errors import BouillonError
from pipeline.core.keys import canonical_json
from pipeline.plan.chains import PERMUTE, chain_of, orders_of
from pipeline.plan.recipe import NODE_WORDS, value_label
from pipeline.plan.search_words import OPTIONAL, is_choice, is_range

__all__ = ["ChainProposal", "Chooser", "ProposedStep", "SearchSpace", "SpaceError", "tree_of"]

_DIGITS = 3
"""Significant digits of a value from a range without `step`: finer ones differ by less than noise, and find nothing again."""
_WITH, _WITHOUT = "with", "without"
_WORDS = ("op", "with", "then", OPTIONAL, PERMUTE)


class SpaceError(BouillonError, ValueError):
    """A recipe leaves something open in a way that cannot be searched: the message names the step and the nearest fix."""


class Chooser(Protocol):
    """Makes choices; `optuna.Trial` is one."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Choose one of some."""
        ...

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Choose a number of a range."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Choose a whole number of a range."""
        ...


@dataclass(frozen=True, slots=True)
class ProposedStep:
    """A step with all of its values."""

    name: str
    """As written, and the values that were open: `magnitude-0.55`."""
    op: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChainProposal:
    """A chain that can be run."""

    steps: tuple[ProposedStep, ...]

    @property
    def path(self) -> str:
        """Of its last step."""
        return "/".join(step.name for step in self.steps)


class SearchSpace:
    """The chains of a recipe."""

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        """Check what is open.

        Args:
            recipe: as composed: a mapping with `tree`.

        Raises:
            SpaceError: for the first mistake.
        """
        tree = recipe.get("tree")
        if not isinstance(tree, Mapping) or not tree:
            raise SpaceError("recipe.tree: there is no step to search below")
        self._tree = tree
        self.identity = canonical_json(tree).decode()
        _check(tree)
        for chooser in (
            _First(),
            _Last(),
        ):  # every range is met by one of all chains; these two meet most mistakes at once
            self.propose(chooser)

    def propose(self, chooser: Chooser) -> ChainProposal:
        """Return the chain that a chooser chooses."""
        steps: list[ProposedStep] = []
        names: dict[str, str] = {}
        tree, above = self._tree, ""
        while tree:
            name = str(_pick(chooser, f"{above}: next" if above else "first", list(map(str, tree))))
            step, path = tree[name], f"{above}/{name}" if above else name
            chain, tree = _chain(chooser, name, step, path)
            for own_name, own in chain:
                own_path = path if own_name == name else f"{path}/{own_name}"
                if own.get(OPTIONAL) and _pick(chooser, f"{own_path}: {OPTIONAL}", [_WITH, _WITHOUT]) == _WITHOUT:
                    continue
                steps.append(_proposed(chooser, own_name, own, own_path, names))
                names[own_name] = steps[-1].name
            above = path if len(chain) == 1 else f"{path}/{chain[-1][0]}"
        if not steps:
            raise SpaceError("recipe.tree: every step may be left out; one must stand")
        return ChainProposal(tuple(steps))

    def first_choices(self) -> dict[str, Any]:
        """Return the choices of one chain: the first of everything."""
        chooser = _Scripted((), is_grid=False)
        self.propose(chooser)
        return chooser.choices

    @property
    def has_one_top(self) -> bool:
        """Whether all chains begin with the same model."""
        steps = list(self._tree.values())
        return (
            len(steps) == 1
            and not steps[0].get(OPTIONAL)
            and not steps[0].get(PERMUTE)
            and all(len(_ends(value)) == 1 and not is_range(value) for value in (steps[0].get("with") or {}).values())
        )

    def strongest_steps(self) -> Iterator[tuple[str, dict[str, list[Any]]]]:
        """Yield every step of the tree that a chain may have: its operation, and each parameter's values, of a range its ends."""
        waiting: list[Mapping[str, Any]] = [self._tree]
        while waiting:
            for step in waiting.pop().values():
                params = {str(name): _ends(value) for name, value in (step.get("with") or {}).items()}
                yield step["op"], params
                waiting.append(step.get("then") or {})

    def size(self, most: int) -> int | None:
        """Return how many chains there are; None where they are more than `most`, or a range is continuous."""
        try:
            count = sum(1 for _ in self.every(most + 1))
        except _EndlessError:
            return None
        return count if count <= most else None

    def every(self, most: int) -> Iterator[dict[str, Any]]:
        """Yield the choices of every chain, at most so many, each once, in a fixed order.

        Raises:
            _EndlessError: if a range is continuous.
        """
        waiting: list[tuple[Any, ...]] = [()]
        while waiting and most > 0:
            chooser = _Scripted(waiting.pop())
            self.propose(chooser)
            waiting += reversed(chooser.others)
            most -= 1
            yield chooser.choices


def tree_of(proposals: Sequence[ChainProposal]) -> dict[str, Any]:
    """Return one tree with some chains, their common beginnings once."""
    tree: dict[str, Any] = {}
    for proposal in proposals:
        at = tree
        for step in proposal.steps:
            own = {"op": step.op, **({"with": dict(step.params)} if step.params else {})}
            at = at.setdefault(step.name, own).setdefault("then", {})
    _without_empty(tree)
    return tree


def _without_empty(tree: dict[str, Any]) -> None:
    waiting = [tree]
    while waiting:
        for step in waiting.pop().values():
            if step["then"]:
                waiting.append(step["then"])
            else:
                del step["then"]


def _chain(
    chooser: Chooser, name: str, step: Any, path: str
) -> tuple[list[tuple[str, Mapping[str, Any]]], Mapping[str, Any]]:
    """The step, or the chain that it begins in one of its orders; and what stands below."""
    if not isinstance(step, Mapping):
        raise SpaceError(f"Step '{path}': expected a mapping with `op`, got {show(step)}")
    word = step.get(PERMUTE)
    if not word:
        return [(name, step)], _below(step, path)
    chain = chain_of(name, step)
    names = [each for each, _ in chain]
    movable = names if word is True else word
    if not isinstance(movable, list | tuple) or not set(movable) <= set(names):
        raise SpaceError(f"Step '{path}': `{PERMUTE}`: expected true or steps of the chain, got {show(word)}")
    orders = {" > ".join(order): order for order in orders_of(chain, movable)}
    steps = dict(chain)
    order = orders[_pick(chooser, f"{path}: order", list(orders))]
    return [(each, steps[each]) for each in order], _below(chain[-1][1], path)


def _below(step: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    then = step.get("then") or {}
    if not isinstance(then, Mapping):
        raise SpaceError(f"Step '{path}': `then` must map names to steps, got {show(then)}")
    return then


def _pick(chooser: Chooser, name: str, choices: list[str]) -> str:
    return choices[0] if len(choices) == 1 else chooser.suggest_categorical(name, choices)


def _proposed(
    chooser: Chooser, name: str, step: Mapping[str, Any], path: str, names: Mapping[str, str]
) -> ProposedStep:
    op, written = step.get("op"), step.get("with") or {}
    if not isinstance(op, str):
        raise SpaceError(f"Step '{path}': `op` must name an operation, got {show(op)}")
    if not isinstance(written, Mapping):
        raise SpaceError(f"Step '{path}': `with` must map parameters to values, got {show(written)}")
    labels: list[str] = []
    params = {str(word): _value(chooser, value, f"{path} {word}", labels) for word, value in written.items()}
    for word in OPERATIONS[op].marked("model reference") if op in OPERATIONS else ():
        if params.get(word) in names:
            params[word] = names[params[word]]
    return ProposedStep("-".join([name, *labels]), op, params)


def _value(chooser: Chooser, value: Any, place: str, labels: list[str]) -> Any:
    """The value itself, or one of those that it leaves open, whose label is added."""
    if is_range(value):
        number = _number(chooser, value, place)
        labels.append(value_label(number))
        return number
    if is_choice(value) or (isinstance(value, Mapping) and value.keys() == {"each"}):
        ((word, values),) = value.items()
        if not isinstance(values, list | tuple) or not values:
            raise SpaceError(f"Step '{place}': `{word}` needs a list of at least one value, got {show(values)}")
        by_label = {value_label(each): each for each in values}
        if len(by_label) < len(values):
            raise SpaceError(f"Step '{place}': `{word}` has two values that look alike in names: {show(values)}")
        label = _pick(chooser, place, list(by_label))
        labels.append(label)
        return by_label[label]
    if isinstance(value, Mapping):
        return {name: _value(chooser, part, f"{place}.{name}", labels) for name, part in value.items()}
    return value


def _ends(value: Any) -> list[Any]:
    if is_range(value):
        return [value["from"], value["to"]]
    if is_choice(value) or (isinstance(value, Mapping) and value.keys() == {"each"}):
        return [end for each in next(iter(value.values())) for end in _ends(each)]
    return [value]


def _number(chooser: Chooser, value: Mapping[str, Any], place: str) -> float | int:
    low, high, step, log = value.get("from"), value.get("to"), value.get("step"), value.get("log", False)
    ends = [each for each in (low, high, step) if each is not None]
    if low is None or high is None or not all(_is_number(each) for each in ends) or not isinstance(log, bool):
        raise SpaceError(
            f"Step '{place}': a range is written {{from: 0.3, to: 0.9}}, with `step` or `log`; got {show(value)}"
        )
    if low >= high or (step is not None and not 0 < step <= high - low):
        raise SpaceError(
            f"Step '{place}': `from` must be less than `to`, and `step` fit between them; got {show(value)}"
        )
    if log and (low <= 0 or step is not None):
        raise SpaceError(f"Step '{place}': a range with `log` begins above 0 and has no `step`; got {show(value)}")
    if all(isinstance(each, int) for each in ends):
        return int(chooser.suggest_int(place, int(low), int(high), step=int(step or 1), log=log))
    number = chooser.suggest_float(place, float(low), float(high), step=None if step is None else float(step), log=log)
    return float(f"{min(max(_rounded(number), low), high):.12g}") if step is None else float(f"{number:.12g}")


def _rounded(number: float) -> float:
    return float(f"{number:.{_DIGITS}g}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check(tree: Mapping[str, Any]) -> None:
    """Meet every open value of every step once."""
    waiting: list[tuple[str, Any]] = [("", tree)]
    while waiting:
        above, steps = waiting.pop()
        for name, step in steps.items():
            path = f"{above}/{name}" if above else str(name)
            if not isinstance(step, Mapping):
                raise SpaceError(f"Step '{path}': expected a mapping with `op`, got {show(step)}")
            odd = next((word for word in step if word not in _WORDS), None)
            if odd is not None:
                hint = " Only a plain run knows it." if odd in NODE_WORDS else nearest(str(odd), _WORDS)
                raise SpaceError(f"Step '{path}': a search knows no `{odd}`.{hint} Known: {', '.join(_WORDS)}")
            _proposed(_First(), str(name), step, path, {})
            waiting.append((path, _below(step, path)))


class _EndlessError(Exception):
    """A continuous range cannot be counted."""


class _First:
    """Chooses the first of everything."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Choose the first."""
        return choices[0]

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Choose the least."""
        return low

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Choose the least."""
        return low


class _Last(_First):
    """Chooses the last of several."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Choose the last."""
        return choices[-1]


class _Scripted:
    """Chooses as it was told, then the first; notes what else there was to choose."""

    def __init__(self, script: tuple[Any, ...], *, is_grid: bool = True) -> None:
        self._script, self._path, self._is_grid = script, tuple[Any, ...](), is_grid
        self.choices: dict[str, Any] = {}
        self.others: list[tuple[Any, ...]] = []

    def _choose(self, name: str, values: Sequence[Any]) -> Any:
        at = len(self._path)
        if at < len(self._script):
            value = self._script[at]
        else:
            value = values[0]
            self.others += [(*self._path, other) for other in values[1:]]
        self._path = (*self._path, value)
        self.choices[name] = value
        return value

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Choose one of some."""
        return str(self._choose(name, choices))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Choose of a grid."""
        if not self._is_grid:
            return float(self._choose(name, [low]))
        if step is None:
            raise _EndlessError
        count = math.floor((high - low) / step + 1e-9)
        return float(self._choose(name, [min(float(f"{low + step * at:.12g}"), high) for at in range(count + 1)]))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Choose of a grid."""
        if not self._is_grid:
            return int(self._choose(name, [low]))
        if (high - low) // step > 10_000:  # noqa: PLR2004 - as good as continuous
            raise _EndlessError
        return int(self._choose(name, range(low, high + 1, step)))
