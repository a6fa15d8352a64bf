"""The sentence that says what a comparison compares."""

from __future__ import annotations

from collections.abc import Sequence

from viewer.compare.variables import NONE, Raw, Variable, VariableKind

__all__ = ["comparison_sentence", "listing", "plural"]

_MOST_NAMED = 3


def comparison_sentence(
    variables: Sequence[Variable], unseen: Sequence[Raw], *, models: int, cells: int, lineages: int
) -> str:
    """Say it: "3 sparsities of magnitude_prune, with and without calibrate; all else equal".

    Args:
        variables: what differs, in the order of the sentence.
        unseen: differences that go along with those drawn.
        models: their number.
        cells: number of all combinations of the variables' values.
        lineages: number of the combinations that there are models of.
    """
    parts = [_variable(variable) for variable in variables]
    if models > lineages and not any(variable.kind is VariableKind.REPEAT for variable in variables):
        parts.append("with repeats")
    tail = [f"{lineages} of the {cells} combinations exist"] if cells > lineages else []
    return "; ".join([", ".join(parts), *tail, _rest(unseen)])


def plural(noun: str) -> str:
    """Return the plural of a parameter's name: sparsity, sparsities; epochs, epochs; dataset, datasets."""
    if noun.endswith("s") and not noun.endswith("ss"):
        return noun
    if noun.endswith("y") and not noun.endswith(("ay", "ey", "oy", "uy")):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("ss", "x", "ch", "sh")) else "s")


def listing(names: Sequence[str], word: str = "and") -> str:
    """Write "a", "a and b", "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def _variable(variable: Variable) -> str:
    values = [value for value in variable.values if value != NONE]
    absent = len(values) < len(variable.values)
    match variable.kind:
        case VariableKind.PARAMETER:
            text = f"{len(values)} {_of(variable)}" + (" and without it" if absent else "")
        case VariableKind.PRESENCE:
            text = f"with and without {variable.label}"
        case VariableKind.ROOT:
            text = f"{len(variable.values)} {plural(variable.label)}" + _listing(variable.values)
        case VariableKind.ORDER:
            text = f"{len(values)} orders of {listing(variable.ops)}"
        case VariableKind.REPEAT:
            text = f"{len(variable.values)} {'repeats' if variable.label == 'repeat' else plural(variable.label)}"
        case _:
            text = _steps(variable, values, absent=absent)
    return text


def _of(variable: Variable) -> str:
    """Name a parameter's values: "sparsities of magnitude_prune"."""
    operation, _, parameter = variable.label.rpartition(" ")
    if not operation:
        return f"{plural(parameter)} of {listing(variable.ops, 'or')}" if variable.ops else plural(parameter)
    return f"{plural(parameter)} of {'the base model' if operation == 'base model' else operation}"


def _listing(values: Sequence[str]) -> str:
    return f" ({listing(values)})" if len(values) <= _MOST_NAMED else ""


def _steps(variable: Variable, values: Sequence[str], *, absent: bool) -> str:
    if len(values) == 1:
        return f"with and without {values[0]}"
    if len(variable.values) <= _MOST_NAMED or variable.kind is VariableKind.OPERATION:
        return listing([*values, *(["none of them"] if absent else [])], "or")
    ops = (["base model"] if "root" in variable.parts else []) + list(variable.ops)
    if not ops or len(ops) > _MOST_NAMED:
        return f"{len(variable.values)} sequences of steps"
    return f"{len(variable.values)} combinations of {listing(ops)}"


def _rest(unseen: Sequence[Raw]) -> str:
    if not unseen:
        return "all else equal"
    names = [raw.label for raw in unseen]
    if len(names) > _MOST_NAMED:
        names = [*names[: _MOST_NAMED - 1], f"{len(names) - _MOST_NAMED + 1} other things"]
    return f"not all else is equal: {listing(names)} {'differs' if len(names) == 1 else 'differ'} too"
