"""What operations should give, computed again by other means: on a copy of the parent, with torch's own arithmetic.

Nothing here asks the operations' code which layers it chose or what it found: layers are told by torch's classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize, remove_spectral_norm, remove_weight_norm
from torch.overrides import TorchFunctionMode

from ops.core.forward import forward, tensors
from ops.core.model import TorchModel
from scripts.bench.matrix.data import Noise

ROUNDING = 1e-3
"""Of the largest output: sums are taken in another order."""


class WrongError(AssertionError):
    """The result is not what the computation by hand gives."""


def require(condition: bool, text: str) -> None:
    """Raise `WrongError` unless a condition holds."""
    if not condition:
        raise WrongError(text)


def outputs(module: nn.Module, data: Noise, count: int = 8) -> dict[str, torch.Tensor]:
    """Return what a network gives for the first instances."""
    with torch.no_grad():
        return forward(module.eval(), tensors(data.batch(count).inputs), data.task)


def require_near(values: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], text: str) -> None:
    """Require outputs to be equal but for rounding."""
    for name, reference in expected.items():
        require(values[name].shape == reference.shape, f"{text}: '{name}' has shape {tuple(values[name].shape)}")
        distance = float((values[name] - reference).abs().max())
        largest = float(reference.abs().max())
        require(distance <= ROUNDING * largest, f"{text}: '{name}' differs by {distance:.3g} of {largest:.3g}")


def plain(model: TorchModel) -> nn.Module:
    """Return a copy of the network whose weights are computed from no others, made one by one."""
    module = model.copy().module
    for part in list(module.modules()):
        if parametrize.is_parametrized(part):
            # torch's remove_parametrizations would take them from all copies, which have one class
            values = {name: getattr(part, name).detach().clone() for name in part.parametrizations}
            part.__class__ = type(part).__bases__[0]
            del part._modules["parametrizations"]
            for name, value in values.items():
                setattr(part, name, nn.Parameter(value))
        for remove, mark in ((remove_weight_norm, "weight_g"), (remove_spectral_norm, "weight_u")):
            if hasattr(part, mark):
                remove(part)
    return module.eval()


def is_turned(layer: nn.Module) -> bool:
    """Whether a layer is GPT-2's linear layer, whose weight is (inputs, outputs)."""
    return type(layer).__name__ == "Conv1D" and not isinstance(layer, nn.modules.conv._ConvNd)


def weight_names(module: nn.Module, *, recurrent: bool = True) -> dict[str, nn.Module]:
    """Return the weights of convolutions, linear and recurrent layers, each tensor once; not those of embeddings."""
    embedded = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    result: dict[str, nn.Module] = {}
    seen: set[int] = set()
    for name, part in module.named_modules():
        keys: Sequence[str] = ()
        if isinstance(part, nn.modules.conv._ConvNd | nn.Linear | nn.Bilinear) or is_turned(part):
            keys = ("weight",)
        elif isinstance(part, nn.MultiheadAttention):
            keys = ("in_proj_weight",)
        elif isinstance(part, nn.RNNBase) and recurrent:
            keys = [key for key, _ in part.named_parameters() if "bias" not in key]
        for key in keys:
            tensor = getattr(part, key)
            if id(tensor) not in embedded | seen:
                seen.add(id(tensor))
                result[f"{name}.{key}"] = part
    return result


def require_same_tensors(result: nn.Module, expected: nn.Module, but: Sequence[str] = ()) -> None:
    """Require every tensor to be exactly the same, those left out that begin as one of `but` does."""
    ours, theirs = result.state_dict(), expected.state_dict()
    require(ours.keys() == theirs.keys(), f"other tensors: {sorted(ours.keys() ^ theirs.keys())[:3]}")
    for name, tensor in theirs.items():
        if not name.startswith(tuple(but)) or not but:
            require(torch.equal(ours[name], tensor), f"'{name}' is not what it should be")


def masked(model: TorchModel, result: TorchModel) -> nn.Module:
    """Return the parent with the result's masks applied to its weights."""
    module = plain(model)
    by_name = dict(module.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, mask in result.masks.items():
            by_name[name].mul_(mask)
    return module


def layer_inputs(module: nn.Module, data: Noise, count: int) -> tuple[str, nn.Module, torch.Tensor] | None:
    """Return the convolution or linear layer that the network calls first, and what it sees."""
    calls: list[tuple[str, nn.Module, torch.Tensor]] = []
    names = {name.rpartition(".")[0] for name in weight_names(module)}
    handles = [
        part.register_forward_pre_hook(
            lambda layer, given, name=name: calls.append((name, layer, given[0].detach())) if given else None
        )
        for name, part in module.named_modules()
        if name in names and (isinstance(part, nn.Linear | nn.Conv2d) or is_turned(part))
    ]
    outputs(module, data, count)
    for handle in handles:
        handle.remove()
    return calls[0] if calls else None


def columns(layer: nn.Module, values: torch.Tensor) -> torch.Tensor | None:
    """Return a layer's input as (inputs of an output, positions), or None where outputs see different inputs."""
    if not isinstance(layer, nn.Conv2d):
        return values.reshape(-1, values.shape[-1]).T
    if layer.groups > 1 or isinstance(layer.padding, str) or layer.padding_mode != "zeros":
        return None
    patches = nn.functional.unfold(values, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    return patches.transpose(0, 1).flatten(1)


def rows(layer: nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """Return a weight as (outputs, inputs)."""
    return weight.T if is_turned(layer) else weight.flatten(1)


def computes_weight(layer: nn.Module) -> bool:
    """Whether a convolution makes its weight anew at each call (weight standardisation)."""
    return isinstance(layer, nn.modules.conv._ConvNd) and not type(layer).__module__.startswith("torch.")


# channels


def channels_first(layer: Any) -> bool:
    """Whether the channels of a layer's output are behind the instances, and not last."""
    kinds = nn.modules.conv._ConvNd | nn.GroupNorm | nn.modules.batchnorm._BatchNorm
    return (
        isinstance(layer, kinds)
        or type(layer).__name__.endswith("2d")
        or getattr(layer, "data_format", "") == "channels_first"
    )


def dense(layer: nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """Return a weight as (outputs, inputs, positions) with the zeros between groups written out."""
    if is_turned(layer):
        return weight.T.unsqueeze(-1)
    if isinstance(layer, nn.Linear):
        return weight.unsqueeze(-1)
    transposed = bool(layer.transposed)
    if transposed:
        weight = weight.transpose(0, 1)  # of one group
    outputs_, inputs, groups = layer.out_channels, layer.in_channels, layer.groups
    flat = weight.flatten(2)
    full = flat.new_zeros(outputs_, inputs, flat.shape[2])
    for group in range(groups):
        out = slice(group * outputs_ // groups, (group + 1) * outputs_ // groups)
        into = slice(group * inputs // groups, (group + 1) * inputs // groups)
        full[out, into] = flat[:, into] if transposed else flat[out]
    return full


def product(factors: Sequence[nn.Module], layer: nn.Module) -> torch.Tensor:
    """Return the weight that two or three layers in a row compute, in the shape of the layer's."""
    shape = layer.get_parameter("weight").shape
    weights = [part.weight.detach() for part in factors]
    if len(weights) == 2:
        first, second = (weight.flatten(1) for weight in weights)
        whole = second @ first
        return whole.T if is_turned(layer) else whole.reshape(shape)
    into, core, out = weights
    return torch.einsum("or,rsyx,si->oiyx", out.flatten(1), core, into.flatten(1))


def lost_energy(weight: torch.Tensor, rank: int) -> float:
    """Return the squared error of the best matrix of a rank: the tail of the singular values (Eckart and Young)."""
    return float(torch.linalg.svdvals(weight.double())[rank:].square().sum())


def nearest(values: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Return for each value the nearest one of a table."""
    distances = (values.reshape(-1, 1) - table.reshape(1, -1)).abs()
    return table[distances.argmin(1)].reshape(values.shape)


def step(module: nn.Module, data: Noise, count: int, rate: float, masks: Mapping[str, torch.Tensor]) -> nn.Module:
    """Make one step of SGD with Nesterov's momentum 0.9 on the first instances: w - rate * (g + 0.9 g)."""
    from ops.core.tasks.task import TASKS

    module.train()
    batch = data.batch(count)
    inputs = tensors(batch.inputs)
    if "attention_mask" in inputs:  # columns that nobody attends to are cut off
        length = int(inputs["attention_mask"].sum(1).max())
        inputs = {name: value if name.startswith("decoder") else value[:, :length] for name, value in inputs.items()}
    result = forward(module, inputs, data.task)
    TASKS[data.task].loss(result, tensors(batch.targets)).backward()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.sub_(1.9 * rate * parameter.grad)
        for name, mask in masks.items():
            dict(module.named_parameters(remove_duplicate=False))[name].mul_(mask)
    module.zero_grad(set_to_none=True)
    return module.eval()


def require_close_tensors(result: nn.Module, expected: nn.Module, text: str, tolerance: float = 2e-4) -> None:
    """Require tensors to be equal but for the rounding of a forward and a backward pass."""
    ours = result.state_dict()
    for name, tensor in expected.state_dict().items():
        if tensor.is_floating_point():
            distance = float((ours[name] - tensor).abs().max()) if tensor.numel() else 0.0
            largest = max(float(tensor.abs().max()) if tensor.numel() else 0.0, 1e-2)
            require(distance <= tolerance * largest, f"{text}: '{name}' differs by {distance:.3g} of {largest:.3g}")


def batch_statistics(module: nn.Module, data: Noise, count: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return the mean and the variance of what every batch normalisation sees, each after those before it."""
    seen: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            values = given[0].transpose(0, 1).flatten(1)
            seen[name] = values.mean(1), values.var(1, unbiased=True)

        return hook

    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.track_running_stats:
            part.register_forward_pre_hook(watch(name))
            part.train()
    with torch.no_grad():
        forward(module, tensors(data.batch(count).inputs), data.task)
    return seen


def channel_means(module: nn.Module, names: Sequence[str], data: Noise, count: int) -> dict[str, list[torch.Tensor]]:
    """Return the mean output per channel of each layer at each of its calls."""
    means: dict[str, list[torch.Tensor]] = {name: [] for name in names}

    def watch(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, _: Any, output: torch.Tensor) -> None:
            axis = 1 if channels_first(layer) else output.ndim - 1
            means[name].append(output.double().mean([other for other in range(output.ndim) if other != axis]))

        return hook

    handles = [module.get_submodule(name).register_forward_hook(watch(name)) for name in names]
    outputs(module, data, count)
    for handle in handles:
        handle.remove()
    return means


def rounded(weight: torch.Tensor, layer: nn.Module, method: str) -> torch.Tensor:
    """Return a weight rounded as a method does: 7 bits for each output, 4 bits for 64 inputs of an output, or 16 bits."""
    if method in ("float16", "bfloat16"):
        return weight.to(getattr(torch, method)).float()
    matrix = rows(layer, weight)
    if method == "weight_only":
        missing = -matrix.shape[1] % 64
        blocks = nn.functional.pad(matrix, (0, missing)).unflatten(1, (-1, 64))
        low, high = blocks.amin(-1, keepdim=True).clamp(max=0), blocks.amax(-1, keepdim=True).clamp(min=0)
        scale = ((high - low) / 15).clamp_min(1e-12)
        whole = (blocks / scale).round() * scale
        matrix = whole.flatten(1)[:, : matrix.shape[1]]
    else:
        scale = (matrix.abs().amax(1, keepdim=True) / 64).clamp_min(1e-12)
        matrix = (matrix / scale).round() * scale
    return matrix.T if is_turned(layer) else matrix.reshape(weight.shape)


def quantized(
    module: nn.Module, data: Noise, method: str, *, activations: bool, count: int = 8
) -> dict[str, torch.Tensor]:
    """Return what a network gives with rounded weights, and with the inputs of its layers rounded to 8 bits."""
    names = weight_names(module, recurrent=False)
    own = dict(module.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        if method in ("float16", "bfloat16"):  # biases too, and what normalisation is made of
            for tensor in (*module.parameters(), *module.buffers()):
                if tensor.is_floating_point():
                    tensor.copy_(tensor.to(getattr(torch, method)))
        for name, layer in names.items():
            left = method == "weight_only" and isinstance(layer, nn.modules.conv._ConvNd)
            if not left and not computes_weight(layer):
                own[name].copy_(rounded(own[name], layer, method))

    def hook(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        low, high = given[0].amin().clamp(max=0), given[0].amax().clamp(min=0)
        scale = ((high - low) / 255).clamp_min(1e-12)
        return ((given[0] / scale).round() * scale, *given[1:])

    handles = [layer.register_forward_pre_hook(hook) for layer in names.values() if activations]
    with ComputedWeights(set() if method == "weight_only" else {id(value) for value in own.values()}, method):
        result = outputs(module, data, count)
    for handle in handles:
        handle.remove()
    return result


class ComputedWeights(TorchFunctionMode):
    """Rounds the weights of convolutions that are no parameters, but made anew at each call; without known ones, none."""

    def __init__(self, known: set[int], method: str) -> None:
        super().__init__()
        self.known, self.method = known, method

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.functional.conv2d and self.known and id(args[1]) not in self.known:
            args = (args[0], rounded(args[1], nn.Conv2d(1, 1, 1), self.method), *args[2:])
        return func(*args, **(kwargs or {}))


def decibels(values: Mapping[str, Any], reference: Mapping[str, Any]) -> float:
    """Return the smallest signal-to-noise ratio of the outputs."""
    ratios = []
    for name, output in reference.items():
        expected = output.double()
        error = float((values[name].double() - expected).square().sum())
        ratios.append(math.inf if error == 0 else 10 * math.log10(float(expected.square().sum()) / error))
    return min(ratios)
