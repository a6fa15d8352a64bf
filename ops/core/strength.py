"""A strength per layer: one value for all chosen layers, or values by the patterns of `include`.

    sparsity: 0.5
    sparsity: {default: 0.5, "layer4.*": 0.8, head: 0}

Of several patterns that reach a layer the nearest decides: the name of a parameter or of the layer, a glob that names it (of
two the one with more letters), a class, a group, `default`, whatever their order in the recipe.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeVar

from ops.core.errors import OperationError
from ops.core.network.sharing import identities
from ops.core.params import DEFAULT
from ops.core.selector import check_patterns, layers_of, network_of

if TYPE_CHECKING:
    from ops.core.selector import Layer, Network

__all__ = ["strengths"]


T = TypeVar("T")


def strengths(
    model: Network, names: Collection[str], value: T | Mapping[str, T]
) -> tuple[dict[str, T], dict[str, str]]:
    """Return the value of each name, and the names that have none with the reason.

    Args:
        model: the network.
        names: of chosen layers, or of their parameters.
        value: one value, or values by pattern. 0 leaves a layer alone.

    Raises:
        OperationError: a pattern matches nothing (with the nearest), reaches no chosen layer, or two patterns that are equally
            near give a layer different values; or no layer has a value.
    """
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, value), {}
    owners = _owners(model, names, value)
    used: set[str] = set()
    matches: dict[str, T] = {}
    reasons: dict[str, str] = {}
    for name in names:
        pattern = _nearest_pattern(name, owners[name], value, used)
        if pattern is None:
            reasons[name] = "no strength is given for it"
        elif not value[pattern]:
            reasons[name] = f"the strength given for it is 0 ('{pattern}')"
        else:
            matches[name] = value[pattern]
    idle = [pattern for pattern in value if value[pattern] and pattern not in {*used, DEFAULT}]
    if idle:
        raise OperationError(f"'{idle[0]}' reaches none of the chosen layers; name them with 'include' too")
    if not matches:
        raise OperationError("No layer is left: every strength is 0, or given for other layers")
    return matches, reasons


def _owners(model: Network, names: Collection[str], patterns: Iterable[str]) -> dict[str, list[Layer]]:
    """Return the layers behind each name: of a weight that several share, all of them."""
    globs = [pattern for pattern in patterns if pattern != DEFAULT]
    layers = layers_of(model, globs)
    check_patterns(layers, "strength", globs, parameters=True)
    same = identities(network_of(model))
    of_tensor: dict[Any, list[Layer]] = {}
    for layer in layers:
        for parameter in layer.parameters:
            of_tensor.setdefault(same.get(parameter, parameter), []).append(layer)
    weights = {layer.name: layer.weights for layer in layers}
    return {
        name: [layer for parameter in weights.get(name, [name]) for layer in of_tensor[same.get(parameter, parameter)]]
        for name in names
    }


def _nearest_pattern(name: str, owners: Collection[Layer], value: Mapping[str, Any], used: set[str]) -> str | None:
    """Return the pattern that decides, and add it to those that are used."""
    ranks = {
        pattern: rank
        for pattern in value
        if pattern != DEFAULT and (rank := max(_rank(name, layer, pattern) for layer in owners)) > (0, 0)
    }
    if not ranks:
        return DEFAULT if DEFAULT in value else None
    used.update(ranks)
    top = max(ranks.values())
    first, *others = [pattern for pattern, rank in ranks.items() if rank == top]
    for other in others:
        if value[other] != value[first]:
            raise OperationError(
                f"'{first}' and '{other}' give the weight of '{name}' different strengths; write one for it"
            )
    return first


def _rank(name: str, layer: Layer, pattern: str) -> tuple[int, int]:
    """Return how near a pattern is to a layer; (0, 0) if it does not reach it."""
    letters = sum(letter not in "*?[]" for letter in pattern)
    if pattern == name and pattern in layer.parameters:
        return 6, 0
    if pattern == layer.name:
        return 5, 0
    if name in layer.matching_parameters(pattern):
        return 4, letters
    if not layer.matches(pattern):
        return 0, 0
    if any(fnmatchcase(each, pattern) for each in (layer.name, *layer.around)):
        return 3, letters
    return (2, 0) if pattern in layer.types else (1, 0)
