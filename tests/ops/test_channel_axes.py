"""Channel axes are those of the layer, whatever its class is called."""

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from transformers.models.convnext.modeling_convnext import ConvNextLayerNorm
from transformers.pytorch_utils import Conv1D

from ops.core.forward import forward, tensors
from ops.core.model import Architecture
from ops.core.network.channel_axes import added_axis, channel_rows, linear_widths, output_axis, weight_axes
from ops.core.operation import TorchModel
from pipeline.layers.stats.activation_sampling import Scene
from pipeline.layers.stats.torch_activations import torch_activations
from tests.ops.digits import Sentences, apply, bert, context, digits, export


class LastInSecond(nn.LayerNorm):
    """As `LayerNorm2d` of timm and torchvision: its name says nothing of the order."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class OwnLinear(nn.Module):
    """A linear layer along the second axis."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.randn(8))

    def forward(self, x):
        return (x.movedim(1, -1) @ self.weight + self.bias).movedim(-1, 1)


class Unbiased(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))

    def forward(self, *, values):
        return values * self.weight.view(-1, 1, 1)


@pytest.mark.parametrize(
    ("layer", "shape", "axis"),
    [
        (nn.Linear(8, 8), (2, 8, 8), 2),
        (Conv1D(8, 8), (2, 8, 8), 2),
        (nn.Conv1d(8, 8, 1), (2, 8, 8), 1),
        (nn.Conv2d(8, 8, 1), (2, 8, 8, 8), 1),
        (nn.ConvTranspose2d(8, 8, 1, groups=2), (2, 8, 8, 8), 1),
        (nn.BatchNorm1d(8), (2, 8, 8), 1),
        (nn.InstanceNorm2d(8, affine=True), (2, 8, 8, 8), 1),
        (nn.GroupNorm(2, 8), (2, 8, 8, 8), 1),
        (nn.LayerNorm(8), (2, 8, 8, 8), 3),
        (nn.RMSNorm(8), (2, 8, 8, 8), 3),
        (LastInSecond(8), (2, 8, 8, 8), 1),
        (ConvNextLayerNorm(8, data_format="channels_first"), (2, 8, 8, 8), 1),
        (ConvNextLayerNorm(8), (2, 8, 8, 8), 3),
        (OwnLinear(), (2, 8, 8, 8), 1),
        (nn.PReLU(8), (2, 8, 8), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_the_axis_of_a_layers_output(layer, shape, axis):
    """All axes are of one size, so that only what the layer does can tell."""
    layer.eval()
    calls = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    x = torch.randn(shape)
    output = layer(x)
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    assert output_axis(layer, (x,), {}, output) % output.ndim == axis
    assert len(calls) == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())
    np.testing.assert_array_equal(
        channel_rows(output, axis)[:, 3].detach().sort().values, output.select(axis, 3).detach().flatten().sort().values
    )


def test_inputs_by_name_and_layers_without_bias():
    layer, x = Unbiased(), torch.randn(2, 8, 8, 8)
    assert output_axis(layer, (), {"values": x}, layer(values=x)) == 1
    assert output_axis(nn.MultiheadAttention(8, 2), (), {}, x) is None  # it cannot be run so


class Activated(nn.BatchNorm2d):
    """As timm's: a normalisation with its activation in one layer."""

    def __init__(self, channels, activation):
        super().__init__(channels)
        self.activation = activation

    def forward(self, x):
        return self.activation(super().forward(x))


def test_a_bias_before_an_activation_is_not_added_to_the_output():
    x = torch.rand(2, 8, 4, 4) + 1  # where a ReLU6 does nothing
    for activation, axis in ((nn.Identity(), 1), (nn.ReLU6(), None), (nn.SiLU(), None)):
        layer = Activated(8, activation).eval()
        assert output_axis(layer, (x,), {}, layer(x)) == 1
        assert added_axis(layer, (x,), {}, layer(x)) == axis


def test_the_axes_of_weights():
    assert weight_axes(nn.Linear(3, 5)) == weight_axes(nn.Conv2d(3, 5, 1)) == (0, 1)
    assert (
        weight_axes(Conv1D(5, 3))
        == weight_axes(nn.ConvTranspose2d(3, 5, 1))
        == weight_axes(nn.Embedding(3, 5))
        == (1, 0)
    )
    assert weight_axes(nn.LayerNorm(3)) is None
    assert linear_widths(nn.Linear(3, 5)) == linear_widths(Conv1D(5, 3)) == (5, 3)


def gpt2():
    text = bert().architecture
    config = transformers.GPT2Config(
        vocab_size=bert().module.config.vocab_size, n_positions=32, n_embd=32, n_layer=2, n_head=4, pad_token_id=0,
        bos_token_id=1, eos_token_id=2, use_cache=False,
    )  # fmt: skip
    torch.manual_seed(0)
    module = transformers.GPT2ForSequenceClassification(config).eval()
    for name, parameter in module.named_parameters():
        if parameter.dim() == 2 and "wte" not in name and "wpe" not in name:
            nn.init.normal_(parameter, 0, 0.2)
        if name.endswith("bias"):
            nn.init.normal_(parameter, 0, 0.3)
    return TorchModel(module, Architecture("gpt2", "", {}, "text-classification", text.classes, text.inputs))


def convnext():
    config = transformers.ConvNextConfig(
        num_channels=1, patch_size=2, num_stages=2, hidden_sizes=[16, 32], depths=[1, 1], image_size=8, num_labels=10,
        layer_scale_init_value=1.0,
    )  # fmt: skip
    torch.manual_seed(0)
    module = transformers.ConvNextForImageClassification(config).eval()
    for name, parameter in module.named_parameters():
        nn.init.normal_(parameter, 0, 0.3 if name.endswith("bias") else 0.2)
    inputs = {"pixel_values": ("float32", (1, 8, 8))}
    return TorchModel(module, Architecture("convnext", "", {}, "image-classification", tuple("0123456789"), inputs))


AXES = {"Conv2d": 1, "Linear": -1, "Conv1D": -1, "LayerNorm": -1}


def channel_axis(layer):
    """By definition of each layer, as transformers' documentation says."""
    if isinstance(layer, ConvNextLayerNorm):
        return 1 if layer.data_format == "channels_first" else -1
    return AXES[type(layer).__name__]


def means(model, data, samples):
    """Mean output of every layer with a bias, per channel of its own axis."""
    sums, counts, handles = {}, {}, []
    for name, layer in model.module.named_modules():
        if isinstance(getattr(layer, "bias", None), nn.Parameter):

            def hook(layer, _, output, name=name):
                rows = output.detach().movedim(channel_axis(layer), -1).reshape(-1, layer.bias.numel()).double()
                sums[name] = sums.get(name, 0) + rows.sum(0)
                counts[name] = counts.get(name, 0) + len(rows)

            handles.append(layer.register_forward_hook(hook))
    with torch.no_grad():
        for batch in data.batches("calibration", batch_size=32, samples=samples):
            forward(model.module, tensors(batch.inputs), model.architecture.task)
    for handle in handles:
        handle.remove()
    return {name: total / counts[name] for name, total in sums.items()}


@pytest.mark.parametrize(("net", "data"), [(gpt2, Sentences), (convnext, digits)])
def test_bias_correction_leaves_every_mean_at_the_references(net, data):
    model, data = net(), data()
    pruned = apply("magnitude_prune", model, context(data=data), sparsity=0.5, scope="layer")
    ctx = context(data=data, base=model)
    mended = apply("calibrate", pruned, ctx, method="bias_correction", samples=64)
    wanted, before, after = (means(each, data, 64) for each in (model, pruned, mended))
    assert max(float((wanted[name] - before[name]).abs().max()) for name in wanted) > 0.1
    for name in wanted:
        assert float((wanted[name] - after[name]).abs().max()) < 1e-4, name
    assert set(ctx.notes.get("unchanged", {}).values()) <= {"it has no bias"}


OPERATIONS = [
    ("activation_prune", {"sparsity": 0.5, "samples": 16}),
    ("activation_prune", {"sparsity": 0.5, "samples": 16, "method": "sparsegpt"}),
    ("nm_prune", {}),
    ("nm_prune", {"score": "wanda", "samples": 16}),
]


@pytest.mark.parametrize(("op", "params"), OPERATIONS)
def test_gpt2_is_pruned_as_the_same_network_of_linear_layers(op, params):
    """Its layers turned round by hand give the same masks, turned round."""
    model, ctx = gpt2(), context(data=Sentences())
    found = apply(op, model, ctx, **params)
    usual = gpt2()
    for name, part in list(usual.module.named_modules()):
        if isinstance(part, Conv1D):
            layer = nn.Linear(part.nx, part.nf)
            layer.weight, layer.bias = nn.Parameter(part.weight.detach().T.contiguous()), part.bias
            parent, _, child = name.rpartition(".")
            setattr(usual.module.get_submodule(parent), child, layer)
    expected = apply(op, usual, context(data=Sentences()), **params)
    assert found.masks.keys() == expected.masks.keys()
    for name, mask in expected.masks.items():
        own = found.masks[name] if name.startswith("score") else found.masks[name].T
        assert (own == mask).float().mean() > 0.999, name  # sums of another order may differ in the last bit


def test_gpt2_is_factorized_smoothed_reconstructed_and_cut():
    model, data = gpt2(), Sentences()
    batch = next(iter(data.batches("calibration", batch_size=8)))

    def logits(each):
        with torch.no_grad():
            return forward(each.module, tensors(batch.inputs), "text-classification")["logits"]

    small = apply("factorize", model, context(data=data), ratio=0.5)
    layer = small.module.transformer.h[0].mlp.c_fc
    u, s, v = torch.linalg.svd(model.module.transformer.h[0].mlp.c_fc.weight.detach())
    rank = len(layer[0].weight)
    best = u[:, :rank] * s[:rank] @ v[:rank]
    torch.testing.assert_close((layer[1].weight @ layer[0].weight).T.detach(), best, atol=1e-4, rtol=1e-3)
    assert small.edits[0]["turned"][0] == "transformer.h.0.attn.c_attn"
    smooth = apply("smooth", model, context(data=data), samples=16)
    torch.testing.assert_close(logits(smooth), logits(model), atol=1e-4, rtol=1e-3)
    assert not torch.equal(
        smooth.module.transformer.h[0].mlp.c_fc.weight, model.module.transformer.h[0].mlp.c_fc.weight
    )
    pruned = apply("magnitude_prune", model, context(data=data), sparsity=0.5, scope="layer")
    ctx = context(data=data, base=model)
    apply("calibrate", pruned, ctx, method="reconstruct", samples=32)
    assert all(after < before for before, after in ctx.notes["relative_error"].values() if before > 1e-6)
    narrow = apply("channel_prune", model, context(data=data), ratio=0.5, include=["*.c_fc"])
    stay = narrow.edits[0]["layers"]["transformer.h.0.mlp.c_fc"]["out"]
    whole = gpt2()
    for index in (0, 1):
        stay = narrow.edits[0]["layers"][f"transformer.h.{index}.mlp.c_fc"]["out"]
        mask = torch.zeros(128)
        mask[stay] = 1
        whole.module.transformer.h[index].mlp.c_proj.weight.data *= mask.view(-1, 1)
    torch.testing.assert_close(logits(narrow), logits(whole), atol=1e-5, rtol=1e-4)
    assert narrow.module.transformer.h[0].mlp.c_fc.weight.shape == (32, 64)


def test_gpt2_is_quantized():
    ctx = context(data=Sentences())
    apply("quantize", export(gpt2()), ctx, samples=32)
    assert len(ctx.notes["layers_quantized"]) == 9
    assert ctx.notes["fidelity"]["sqnr_db"] > 20


def test_samples_of_activations_go_by_the_layers_own_axis():
    model = convnext()
    batch = next(digits().batches("calibration", batch_size=4))
    found = {site.site: site for site in torch_activations(model, [batch], Scene(4))}
    assert found["convnext.embeddings.layernorm"].channels == 16
    assert found["convnext.encoder.stages.1.downsampling_layer.0"].channels == 16
    assert found["convnext.encoder.stages.1.layers.0.layernorm"].channels == 32
