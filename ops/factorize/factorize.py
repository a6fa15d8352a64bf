"""Low-rank factorization: a layer becomes two or three smaller ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ops.core.edits import edit
from ops.core.errors import OperationError
from ops.core.operation import Ancestry, Context, Exclude, Fraction, Include, Kind, TorchModel, Uses, operation
from ops.core.params import PerLayer

if TYPE_CHECKING:
    import torch

    from ops.core.model import Architecture
    from ops.factorize.methods.low_rank import Factors, RankOf

    _Weights = dict[str, list[torch.Tensor]]
    """Layer -> the weights of its factors, first to last."""


def _refuse(_: Ancestry, params: Mapping[str, Any]) -> str | None:
    if (params["ratio"] is None) == (params["energy"] is None):
        return (
            "give one of `ratio` (share of each layer's weights to keep) and `energy` (share of their squares to keep)"
        )
    return None


@operation(kind=Kind.FACTORIZE, version=5, uses={Uses.DATA}, refuse=_refuse)
def factorize(
    model: TorchModel,
    ctx: Context,
    *,
    ratio: PerLayer[Fraction] | None = None,
    energy: PerLayer[Fraction] | None = None,
    include: Include = (),
    exclude: Exclude = (),
) -> TorchModel:
    """Replace layers by low-rank factors: SVD for linear layers and 1x1 convolutions, Tucker-2 for other convolutions.

    Fewer weights and operations on any runtime, at a loss that fine-tuning mends. A layer that its factors would not make
    smaller stays as it is, with the reason noted; so does one whose weight the network reads past the layer, or that it
    calls past its name. Recorded: how near the outputs and every layer's are to the parent's on calibration instances, in
    decibels. Masks of replaced layers are dropped, and noted: a product has no zeros.

    Args:
        model: stays as it is.
        ctx: gives the calibration instances on which outputs are compared.
        ratio: the ranks are the largest with which a layer has at most this share of its weights; also by layer.
        energy: the ranks are the smallest with which a layer keeps this share of its squared weights; also by layer.
        include: default: convolutions and linear layers.
        exclude: layers to leave alone.

    Raises:
        OperationError: a pattern matches nothing, a layer holds NaN, or the network runs with factors in the place of each
            of its layers, and not of all.
    """
    from ops.core.network.channel_axes import is_turned_linear
    from ops.core.network.sharing import sharing_layers
    from ops.core.strength import strengths
    from ops.core.tied import choose_weighted
    from ops.factorize.methods.low_rank import decompose

    layers, unchanged = choose_weighted(model, include, exclude)
    strength = energy if ratio is None else ratio
    assert strength is not None, "refused when the recipe is planned"
    values, others = strengths(model, layers, strength)
    layers, unchanged = {name: layer for name, layer in layers.items() if name in values}, unchanged | others
    shared = sharing_layers(model.module)
    factors: _Weights = {}
    shares: dict[str, float] = {}
    for done, (name, layer) in enumerate(layers.items()):
        value = values[name]
        reason = _unfit(name, layer, None if ratio is None else value)
        if name in shared:
            reason = f"its weight is also '{shared[name]}': factors would only be added to it"
        if reason is None:
            weights, share = decompose(layer, _ranker(layer, value, by_energy=ratio is None))
            reason = _not_smaller(layer, weights)
        if reason is None:
            factors[name], shares[name] = weights, share
        else:
            unchanged[name] = reason
        ctx.progress(done + 1, len(layers), name)
    unchanged |= _unrunnable(model, factors)
    unchanged |= _unreached(model, factors)
    result, replaced = _with_factors(model, factors), {name: _ranks(weights) for name, weights in factors.items()}
    turned = [name for name in replaced if is_turned_linear(layers[name])]
    _conclude(result, ctx, replaced, shares, unchanged=unchanged, turned=turned)
    if replaced:
        from ops.factorize.methods.distance import note_distance

        note_distance(model, result, replaced, ctx)
    return result


@edit("factorize")
def _replay(module: torch.nn.Module, _: Architecture, entry: Mapping[str, Any]) -> torch.nn.Module:
    for name, ranks in entry["layers"].items():
        _replace(module, name, ranks)
    return module


def _unfit(name: str, layer: torch.nn.Module, ratio: float | None) -> str | None:
    from torch import nn

    from ops.core.network.channel_axes import is_turned_linear
    from ops.factorize.methods.low_rank import ranks_for_ratio

    if not name:
        return "it is the whole network"
    if type(layer) not in {nn.Linear, nn.Conv2d} and not is_turned_linear(layer):
        return f"{type(layer).__name__} is neither Linear nor Conv2d"
    if isinstance(layer, nn.Conv2d) and layer.groups > 1:
        return f"a grouped convolution ({layer.groups} groups) is not one matrix"
    if not bool(layer.get_parameter("weight").isfinite().all()):
        raise OperationError(f"'{name}.weight' has NaN or infinity: the model was broken before this step")
    if ratio is not None and not all(ranks_for_ratio(layer, ratio).values()):
        return f"even factors of rank 1 would have more than {ratio:.4g} of its weights"
    return None


def _ranker(layer: torch.nn.Module, value: float, *, by_energy: bool) -> RankOf:
    from ops.factorize.methods.low_rank import ranks_for_energy, ranks_for_ratio

    if not by_energy:
        ranks = ranks_for_ratio(layer, value)
        return lambda mode, values: min(ranks[mode], len(values))
    return ranks_for_energy(value, modes=1 if layer.get_parameter("weight")[0, 0].numel() == 1 else 2)


def _not_smaller(layer: torch.nn.Module, weights: list[torch.Tensor]) -> str | None:
    before, after = layer.get_parameter("weight").numel(), sum(weight.numel() for weight in weights)
    if after < before:
        return None
    ranks = " and ".join(str(weight.shape[0]) for weight in weights[:-1])
    return f"factors of rank {ranks} would have {after} weights instead of {before}"


def _replace(module: torch.nn.Module, name: str, ranks: list[int]) -> Factors:
    from ops.factorize.methods.low_rank import factors

    layer = module.get_submodule(name)
    places = [other for other, part in module.named_modules(remove_duplicate=False) if part is layer]
    output = factors(layer, ranks)
    output.train(layer.training)
    if layer.bias is not None:
        output[-1].bias = layer.bias
    for place in places:  # a layer may be registered under several names
        parent, _, child = place.rpartition(".")
        setattr(module.get_submodule(parent), child, output)
    return output


def _ranks(weights: list[torch.Tensor]) -> list[int]:
    return [weight.shape[0] for weight in weights[:-1]]


def _with_factors(model: TorchModel, factors: _Weights) -> TorchModel:
    """Return a copy with factors in the place of layers."""
    result = model.copy()
    for name, weights in factors.items():
        _fill(_replace(result.module, name, _ranks(weights)), weights)
    return result


def _unrunnable(model: TorchModel, factors: _Weights) -> dict[str, str]:
    """Take out of `factors` the layers in whose place the network does not run with them; return these with the reason.

    Raises:
        OperationError: it runs with the factors of each of the others, and not with those of all.
    """
    error = _failure(_with_factors(model, factors))
    if error is None:
        return {}
    reasons: dict[str, str] = {}
    for name, weights in list(factors.items()):
        own = _failure(_with_factors(model, {name: weights}))
        if own is not None:
            reasons[name] = f"the network reads its weight past the layer: with factors it does not run ({own})"
            del factors[name]
    error = _failure(_with_factors(model, factors)) if reasons else error
    if error is not None:
        raise OperationError(
            f"'{model.architecture.name}' does not run with factors in the place of its layers ({error}). Try "
            f"`include` with fewer of them: {', '.join(list(factors)[:3])}"
        )
    return reasons


def _unreached(model: TorchModel, factors: _Weights) -> dict[str, str]:
    """Take out of `factors` the layers that the network would go on to call in their place; return these with the reason."""
    reasons = dict.fromkeys(
        sorted(_called(model, factors) - _called(_with_factors(model, factors), factors)),
        "the network calls it past its name (out of a list of its own, say): factors would never run",
    )
    for name in reasons:
        del factors[name]
    return reasons


def _called(model: TorchModel, names: Collection[str]) -> set[str]:
    """Return which of these parts of a network are called when it runs."""
    result: set[str] = set()

    def note(name: str) -> Any:
        return lambda *_: result.add(name)

    hooks = [model.module.get_submodule(name).register_forward_pre_hook(note(name)) for name in names]
    _failure(model)
    for hook in hooks:
        hook.remove()
    return result


def _failure(model: TorchModel) -> str | None:
    """Return why a network does not run, or None."""
    import torch

    from ops.core.forward import example_inputs, forward

    try:
        with torch.no_grad():
            forward(model.module, example_inputs(model.architecture, batch=1), model.architecture.task)
    except (RuntimeError, AttributeError, TypeError) as error:
        return str(error)
    return None


def _fill(output: Factors, weights: list[torch.Tensor]) -> None:
    from torch import nn

    for part, weight in zip(output, weights, strict=True):
        part.weight = nn.Parameter(weight.contiguous())


def _conclude(
    result: TorchModel,
    ctx: Context,
    replaced: dict[str, list[int]],
    shares: dict[str, float],
    *,
    unchanged: dict[str, str],
    turned: list[str],
) -> None:
    """Record the edit and the notes, and drop masks of what is gone."""
    ctx.note("achieved", {name: {"ranks": ranks, "energy": shares[name]} for name, ranks in replaced.items()})
    if unchanged:
        ctx.note("unchanged", unchanged)
    if not replaced:
        return
    entry: dict[str, Any] = {"edit": "factorize", "layers": replaced}
    result.edits.append({**entry, "turned": turned} if turned else entry)
    here = dict(result.module.named_parameters(remove_duplicate=False))
    dropped = [name for name in result.masks if name not in here and name.endswith(".weight")]
    if dropped:
        ctx.note("masks dropped", dropped)
    for name in dropped:
        del result.masks[name]
    for layer, ranks in replaced.items():
        if (bias := result.masks.pop(f"{layer}.bias", None)) is not None:
            result.masks[f"{layer}.{len(ranks)}.bias"] = bias
