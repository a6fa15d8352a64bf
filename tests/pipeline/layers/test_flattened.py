"""Linear layers that an exporter lets run on a matrix, as GPT-2's: their outputs are observed as those of the network."""

import numpy as np
import pytest

from ops.core.operation import Batch, OnnxModel
from pipeline.layers.stats.activation_sampling import Scene
from pipeline.layers.stats.onnx_activations import onnx_activations
from pipeline.layers.stats.torch_activations import torch_activations
from pipeline.models.api import Need
from pipeline.models.build import build
from pipeline.models.onnx_export import export_onnx
from tests.ops.digits import apply, context
from tests.pipeline.models.conftest import TEXTS, entry

SHAPE = {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_inner": 24, "pad_token_id": 0, "n_positions": 32}
LAYERS = [
    f"transformer.h.{block}.{layer}"
    for block in (0, 1)
    for layer in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
]


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A small GPT-2 with random weights, its file, and instances."""
    import torch

    torch.manual_seed(0)
    need = Need(TEXTS.task, TEXTS.classes, TEXTS.inputs, pretrained=False)
    model = build(entry("huggingface", architecture="gpt2", config=SHAPE), need)
    file = tmp_path_factory.mktemp("gpt2") / "model.onnx"
    export_onnx(model, file)
    rng = np.random.default_rng(0)
    sizes = {name: shape for name, (_, shape) in TEXTS.inputs.items()}
    batches = []
    for rows in (5, 3):
        inputs = {name: np.ones((rows, *shape), np.int64) for name, shape in sizes.items()}
        inputs["input_ids"] = rng.integers(1, 40, (rows, *sizes["input_ids"]))
        batches.append(Batch(tuple(f"{rows}/{row}" for row in range(rows)), inputs, {}))
    return model, file, batches


class Rows:
    """The same instances as data to calibrate with."""

    def __init__(self, batches):
        self._batches = batches

    def size(self, split):
        return sum(len(batch) for batch in self._batches)

    def batches(self, split, **_):
        yield from self._batches


def observed(samples):
    return {sample.site: sample for sample in samples if sample.site in LAYERS}


def test_their_outputs_are_those_of_the_network(gpt2):
    model, file, batches = gpt2
    expected = observed(torch_activations(model, batches, Scene(8)))
    found = observed(onnx_activations(file, batches, Scene(8), {}))
    assert set(expected) == set(found) == set(LAYERS)
    for layer in LAYERS:
        assert found[layer].channels == expected[layer].channels
        np.testing.assert_allclose(found[layer].values, expected[layer].values, rtol=1e-4, atol=1e-5)
        assert found[layer].summary.mean == pytest.approx(expected[layer].summary.mean, abs=1e-5)


@pytest.mark.parametrize("method", ["dynamic", "static"])
def test_outputs_of_quantized_layers_are_near_those_of_the_network(gpt2, method):
    model, file, batches = gpt2
    expected = observed(torch_activations(model, batches, Scene(8)))
    result = apply("quantize", OnnxModel(file, model.architecture), context(data=Rows(batches)), method=method)
    found = observed(onnx_activations(result.path, batches, Scene(8), {}))
    assert set(found) == set(LAYERS)
    for layer in LAYERS:
        error = np.abs(found[layer].values - expected[layer].values).max()
        assert error < 0.1 * np.abs(expected[layer].values).max(), layer
