"""Channel pruning of small networks, and what is left of them computed by hand."""

import torch

from ops.core.model import Architecture
from ops.core.operation import TorchModel
from tests.ops.digits import apply, context

PICTURES = {"pixel_values": ("float32", (1, 8, 8))}
TOKENS = {"input_ids": ("int64", (8,)), "attention_mask": ("int64", (8,))}


def model_of(module, inputs=PICTURES, task="image-classification"):
    torch.manual_seed(1)
    for parameter in module.parameters():  # biases and scales like those of a trained network
        parameter.data += 0.2 * torch.randn_like(parameter)
    return TorchModel(module.eval(), Architecture(type(module).__name__, "", {}, task, (), inputs))


def prune(model, **params):
    ctx = context()
    found = apply("channel_prune", model, ctx, **{"ratio": 0.5, "round_to": 1, **params})
    kept = {name: sides for edit in found.edits for name, sides in edit["layers"].items()}
    return found, kept, ctx.notes


def pictures():
    return torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(2))


def places(kept, name, side, size):
    return kept.get(name, {}).get(side, list(range(size)))


def normalised(values, groups, stay, layer):
    """Group normalisation of the channels that stay, each group over what is left of it; zero elsewhere."""
    result = torch.zeros_like(values)
    each = values.shape[1] // groups
    for group in range(groups):
        mine = [channel for channel in stay if channel // each == group]
        if mine:
            part = values[:, mine].flatten(1)
            mean, variance = part.mean(1), part.var(1, unbiased=False)
            normal = (values[:, mine] - mean.view(-1, 1, 1, 1)) / (variance.view(-1, 1, 1, 1) + layer.eps).sqrt()
            result[:, mine] = normal * layer.weight[mine].view(-1, 1, 1) + layer.bias[mine].view(-1, 1, 1)
    return result


def only(values, stay):
    mask = torch.zeros(values.shape[1])
    mask[stay] = 1
    return values * mask.view(1, -1, *[1] * (values.ndim - 2))


def near(given, expected):
    assert float((given - expected).detach().abs().max()) < 1e-4 * float(expected.detach().abs().max())
