"""The one way in which recipes choose layers: `include` and `exclude`, lists of patterns.

A pattern is, tried in this order:

1. a group: `norm conv linear recurrent embedding attention head depthwise`;
2. the class of a layer, of one of its bases, or of a module that contains it: `Conv2d`, `BertAttention`;
3. a glob on the dotted name of a layer or of a module that contains it: `encoder.layer.0`, `*.query`;
4. a glob on a parameter's name whose last part is spelled out: `*.bias`. Only where parameters are chosen.

A layer is a module that owns parameters itself. Without `include` an operation changes its default groups. A pattern of
form 2 or 3 that reaches layers of those groups takes only them: `decoder.*` or `*` prunes no normalisation layer, which
`norm` or `*.layer_norm` does.

One tensor is one thing, whatever its names. A weight that several layers share is chosen with any of them and left alone
if any of them is excluded; one that is also an embedding's (tied output layers) only if that embedding or the layer itself
is named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Union

from ops.core.errors import OperationError
from ops.core.network.reach import GROUPS, WEIGHTS, reached, tied_weights, unfit
from ops.core.operation import TorchModel
from ops.core.registry import nearest

if TYPE_CHECKING:
    import torch

Network = Union["torch.nn.Module", TorchModel]
_PARAMETRIZATIONS = "parametrizations"
"""The name that torch gives to the module in which a layer's weights are computed."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as patterns see it: made from a torch module here; ONNX operations make it from their nodes."""

    name: str
    groups: frozenset[str] = frozenset()
    types: tuple[str, ...] = ()
    """Class names of the layer, of its bases, and of the modules around it."""
    around: tuple[str, ...] = ()
    """Dotted names of the modules around it, innermost first; and its other names, if it is registered several times."""
    parameters: tuple[str, ...] = ()
    """Full names of its own parameters."""

    def matches(self, pattern: str) -> bool:
        """Whether the pattern chooses the layer as a whole."""
        if pattern in GROUPS:
            return pattern in self.groups
        return pattern in self.types or any(fnmatchcase(name, pattern) for name in (self.name, *self.around))

    @property
    def weights(self) -> list[str]:
        """Its parameters without the biases.

        Of a layer that multiplies, those that it multiplies with: a gain per channel beside them (NFNet) is a scale.
        """
        own = [name for name in self.parameters if not _is_bias(name)]
        multiplied = [name for name in own if "weight" in _words(name)] if self.groups & set(WEIGHTS) else []
        return multiplied or own

    def excluded_parameters(self, pattern: str) -> Sequence[str]:
        """Return all its parameters if the pattern matches the layer, else those that the pattern names."""
        return self.parameters if self.matches(pattern) else self.matching_parameters(pattern)

    def matching_parameters(self, pattern: str) -> list[str]:
        """Return the parameters that the pattern names one by one (`*.bias`)."""
        last = pattern.rpartition(".")[2]
        return [name for name in self.parameters if name.rpartition(".")[2] == last and fnmatchcase(name, pattern)]


def choose(
    layers: Collection[Layer],
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    *,
    default: Sequence[str] = WEIGHTS,
    able: Sequence[str] = (),
) -> list[Layer]:
    """Return the chosen layers in their given order.

    Args:
        layers: of one model.
        include: patterns; empty means the groups of `default`.
        exclude: patterns of layers to leave alone.
        default: the groups that the operation changes unless told otherwise; empty means all layers.
        able: the groups that the operation can change; empty means any layer. An `include` that chooses only other
            layers is an error, one that chooses some of them (`encoder.layer.0`) takes those it can.

    Raises:
        OperationError: a pattern matches nothing (with the nearest name, type or group), or no layer is left.
    """
    check_patterns(layers, "include", include, parameters=False)
    check_patterns(layers, "exclude", exclude, parameters=False)
    expected = _requested_layers(layers, include, default)
    if able:
        expected = _only_able(expected, include, able)
    if not expected:
        raise OperationError(f"The model has no {_or(default or able)} layer; name the layers to change with 'include'")
    remaining = [layer for layer in expected if not any(layer.matches(pattern) for pattern in exclude)]
    if not remaining:
        raise OperationError(f"No layer is left: 'exclude' {list(exclude)} takes all {len(expected)} that were chosen")
    return remaining


def choose_layers(
    model: Network,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    *,
    default: Sequence[str] = WEIGHTS,
    able: Sequence[str] = (),
) -> dict[str, torch.nn.Module]:
    """Return the chosen layers of a network by dotted name, in the order of `named_modules`; see `choose`.

    Args:
        model: with a TorchModel, the group `head` is what the network's graph says; of a bare module it goes by names.
        include: patterns; empty means the groups of `default`.
        exclude: patterns of layers to leave alone.
        default: the groups that the operation changes unless told otherwise; empty means all layers.
        able: the groups that the operation can change; empty means any layer.

    Raises:
        OperationError: as `choose`.
    """
    selection = choose(layers_of(model, (*include, *exclude)), include, exclude, default=default, able=able)
    return {layer.name: network_of(model).get_submodule(layer.name) for layer in selection}


def choose_parameters(
    model: Network,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    *,
    default: Sequence[str] = WEIGHTS,
) -> dict[str, torch.nn.Parameter]:
    """Return the chosen parameters by full name, each tensor once, in the order of `named_parameters`.

    A layer that is chosen gives its weights (whatever their number of dimensions: `norm` gives scales), not its biases;
    a pattern whose last part is spelled out gives those parameters (`*.bias`). A parameter that layers share goes by
    its first name; it is left alone where any of them is excluded.

    Raises:
        OperationError: as `choose`.
    """
    from ops.core.network.sharing import identities

    module = network_of(model)
    layers = layers_of(model, (*include, *exclude))
    check_patterns(layers, "include", include, parameters=True)
    check_patterns(layers, "exclude", exclude, parameters=True)
    expected = [name for layer in _requested_layers(layers, include, default) for name in layer.weights]
    expected += [name for layer in layers for pattern in include for name in layer.matching_parameters(pattern)]
    if not expected:
        raise OperationError(f"The model has no {_or(include or default)} weights; name others with 'include'")
    unwanted = [name for layer in layers for pattern in exclude for name in layer.excluded_parameters(pattern)]
    same = identities(module)
    remaining = {same[name] for name in expected} - {same[name] for name in unwanted}
    if not remaining:
        raise OperationError(f"No weight is left: 'exclude' {list(exclude)} takes all {len(expected)} that were chosen")
    tied = tied_weights(module, layers, include, default)
    remaining -= {same[name] for name in tied}
    selection: dict[int, str] = {}
    parameters = dict(module.named_parameters())
    for name, parameter in parameters.items():
        if same[name] in remaining and unfit(parameter) is None:
            selection.setdefault(same[name], name)  # views of one memory are one thing too
    if not selection:
        layer, other = next(iter(tied.items()), (expected[0], ""))
        because = f"is also that of '{other}': name it with 'include' to change it" if other else "cannot be changed"
        raise OperationError(f"No weight is left: '{layer}' {because}")
    return {name: parameters[name] for name in selection.values()}


def network_of(model: Network) -> torch.nn.Module:
    """Return the torch module of a model, or the module itself."""
    return model.module if isinstance(model, TorchModel) else model


def layers_of(model: Network, patterns: Sequence[str] = ("head",)) -> list[Layer]:
    """Return every module that owns parameters, as `choose` takes it.

    `patterns` are those that it will be compared with: without the group `head`, the network need not be run to find it.
    """
    module = network_of(model)
    exact = isinstance(model, TorchModel) and "head" in patterns
    return list(_describe(module, head=head_of(model) if exact else _presumable_head(module)))


def head_of(model: Network) -> set[str]:
    """Return the names of the layers that give the network's outputs, as its graph says.

    Of a bare module, or a network that cannot be run on its own, it is presumed from names and order.
    """
    if isinstance(model, TorchModel):
        from ops.core.network.head import output_layers

        layers = {name: part for name, part in model.module.named_modules() if _groups_of(part) & set(WEIGHTS)}
        result = output_layers(model, layers)
        if result:
            return result
    return _presumable_head(network_of(model))


def _presumable_head(module: torch.nn.Module) -> set[str]:
    """Return the last linear layer or convolution, and what has as many outputs beside it.

    Of a Hugging Face model it is among the layers outside its base model.
    """
    base = getattr(module, getattr(module, "base_model_prefix", "") or "-", None)
    inside = {id(part) for part in base.modules()} if base is not None and base is not module else set()
    layers = {name: part for name, part in module.named_modules() if _groups_of(part) & {"conv", "linear"}}
    outer = {name: part for name, part in layers.items() if id(part) not in inside} or layers
    if not outer:
        return set()
    last = next(reversed(outer))
    if not inside:
        return {last}
    return {name for name, part in outer.items() if _outputs(part) == _outputs(outer[last])}


def _describe(module: torch.nn.Module, *, head: set[str]) -> Iterator[Layer]:
    modules = dict(module.named_modules())
    names: dict[int, list[str]] = {}
    for name, part in module.named_modules(remove_duplicate=False):
        names.setdefault(id(part), []).append(name)
    for name, part in modules.items():
        if _PARAMETRIZATIONS in name.split("."):
            continue  # they belong to the layer around them
        own = tuple(f"{name}.{p}" if name else p for p in _own_parameters(part))
        if not own:
            continue
        around = tuple(_around(name))
        outer = [modules[other] for other in around if other in modules]
        groups = _groups_of(part)
        if groups & {"linear"} and any("Attention" in type(other).__name__ for other in (*outer, part)):
            groups = groups | {"attention"}
        if name in head:
            groups = groups | {"head"}
        types = (*_class_names(part), *(type(other).__name__ for other in (*outer, module)))
        others = [other for other in names[id(part)] if other != name]
        elsewhere = [place for other in others for place in (other, *_around(other))]
        yield Layer(name, frozenset(groups), types, tuple(dict.fromkeys((*around, *elsewhere))), own)


def _own_parameters(part: torch.nn.Module) -> list[str]:
    """Return the names of a module's own parameters, those that they are computed from included."""
    inner = getattr(part, _PARAMETRIZATIONS, None)
    computed = [] if inner is None else [f"{_PARAMETRIZATIONS}.{name}" for name, _ in inner.named_parameters()]
    return [*(name for name, _ in part.named_parameters(recurse=False)), *computed]


def _is_bias(name: str) -> bool:
    """Whether a parameter's name says that it is a bias: `bias`, `in_proj_bias`, `bias_ih_l0`."""
    return "bias" in _words(name)


def _words(name: str) -> list[str]:
    """Return the words of the last part of a parameter's name."""
    return name.rpartition(".")[2].split("_")


def _around(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _class_names(part: torch.nn.Module) -> list[str]:
    return [cls.__name__ for cls in type(part).__mro__ if cls.__name__ not in {"Module", "object"}]


def _groups_of(part: torch.nn.Module) -> set[str]:
    from torch import nn
    from torch.nn.modules.conv import _ConvNd

    if isinstance(part, _ConvNd):
        return {"conv", "depthwise"} if part.groups == part.in_channels > 1 else {"conv"}
    if isinstance(part, nn.Linear | nn.Bilinear | nn.MultiheadAttention) or type(part).__name__ == "Conv1D":  # GPT-2's
        return {"linear"}
    if isinstance(part, nn.RNNBase | nn.RNNCellBase):
        return {"recurrent"}
    name = type(part).__name__
    if "Norm" in name:  # nn.BatchNorm2d, nn.LayerNorm, T5LayerNorm, LlamaRMSNorm, ...
        return {"norm"}
    if isinstance(part, nn.Embedding | nn.EmbeddingBag) or name.endswith("Embeddings"):  # ViTEmbeddings owns positions
        return {"embedding"}
    return set()


def _outputs(part: torch.nn.Module) -> int:
    for attribute in ("out_features", "out_channels", "nf"):
        if hasattr(part, attribute):
            return int(getattr(part, attribute))
    return -1


def _requested_layers(layers: Collection[Layer], include: Sequence[str], default: Sequence[str]) -> list[Layer]:
    if not include:
        return [layer for layer in layers if not default or layer.groups & set(default)]
    names = {layer.name for pattern in include for layer in reached(layers, pattern, default)}
    return [layer for layer in layers if layer.name in names]


def _only_able(requested: list[Layer], include: Sequence[str], able: Sequence[str]) -> list[Layer]:
    for pattern in include:
        hit = [layer for layer in requested if layer.matches(pattern)]
        if not any(layer.groups & set(able) for layer in hit):
            raise OperationError(
                f"include '{pattern}': this operation changes {_or(able)} layers only, and '{hit[0].name}' is none"
            )
    return [layer for layer in requested if layer.groups & set(able)]


def check_patterns(layers: Collection[Layer], what: str, patterns: Sequence[str], *, parameters: bool) -> None:
    """Check that every pattern matches a layer or, with `parameters`, a parameter.

    Raises:
        OperationError: naming `what` the pattern is for, and the nearest name, type or group.
    """
    for pattern in patterns:
        if any(layer.matches(pattern) or (parameters and layer.matching_parameters(pattern)) for layer in layers):
            continue
        raise OperationError(f"{what} '{pattern}' matches no layer.{_suggestion(pattern, layers)}")


def _suggestion(pattern: str, layers: Collection[Layer]) -> str:
    types = dict.fromkeys(layer.types[0] for layer in layers if layer.types)
    names = [name for layer in layers for name in (layer.name, *layer.around)]
    present = [group for group in GROUPS if any(group in layer.groups for layer in layers)]
    hint = nearest(pattern, dict.fromkeys([*types, *present, *names]))
    return f"{hint} Groups: {', '.join(present)}; types: {', '.join(types)}; names as '{next(iter(names), '')}'"


def _or(groups: Sequence[str]) -> str:
    return " or ".join(groups)
