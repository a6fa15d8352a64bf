"""What outputs are: by the last operation and by the values; and what metrics make of probabilities."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from ops.core.output_kind import (
    LOG_PROBABILITIES,
    LOGITS,
    PROBABILITIES,
    SIGMOID,
    graph_operations,
    logits_of,
    output_kind,
    torch_logits,
    torch_operations,
)


class _Written(nn.Module):
    """A softmax written out."""

    def forward(self, x):
        e = torch.exp(x - x.max(dim=-1, keepdim=True).values)
        return e / e.sum(dim=-1, keepdim=True)


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (nn.Identity(), LOGITS),
        (nn.Softmax(dim=-1), PROBABILITIES),
        (nn.LogSoftmax(dim=-1), LOG_PROBABILITIES),
        (nn.Sigmoid(), SIGMOID),
        (_Written(), PROBABILITIES),
        (nn.Softmax(dim=0), LOGITS),  # over the batch: no distribution over the classes
        (nn.ReLU(), LOGITS),
        (nn.Sequential(nn.Softmax(dim=-1), nn.Unflatten(1, (3, 1)), nn.Flatten()), PROBABILITIES),
    ],
)
def test_of_a_network(end, kind):
    torch.manual_seed(0)
    output = nn.Sequential(nn.Linear(5, 3), end)(torch.randn(4, 5))
    assert output_kind(torch_operations(output), output.detach().numpy()) == kind


@pytest.mark.parametrize(
    ("operators", "kind"),
    [
        (["Softmax"], PROBABILITIES),
        (["LogSoftmax"], LOG_PROBABILITIES),
        (["Sigmoid"], SIGMOID),
        (["Softmax", "Identity"], PROBABILITIES),
        (["Softmax", "Log"], LOG_PROBABILITIES),
        (["LogSoftmax", "Exp"], PROBABILITIES),
        (["Relu"], LOGITS),
    ],
)
def test_of_a_graph(operators, kind):
    import onnxruntime as ort

    names = ["x", *[f"v{place}" for place in range(1, len(operators))], "y"]
    nodes = [helper.make_node(op, [names[place]], [names[place + 1]]) for place, op in enumerate(operators)]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)})[0]
    assert output_kind(graph_operations(graph, "y"), found) == kind


def test_the_softmax_of_what_metrics_get_is_the_models_own():
    logits = np.random.default_rng(0).normal(size=(5, 4)) * 3
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    back = np.exp(logits_of(p, PROBABILITIES))
    assert np.allclose(back / back.sum(axis=1, keepdims=True), p, atol=1e-12)
    assert logits_of(p, LOGITS) is p
    assert np.isneginf(logits_of(np.array([[0.0, 1.0]]), PROBABILITIES)[0, 0])


def test_a_loss_of_probabilities_is_that_of_the_logits():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2])
    p = {"logits": logits.softmax(dim=1)}
    found = nn.functional.cross_entropy(torch_logits(p, {"logits": PROBABILITIES})["logits"], labels)
    assert torch.isclose(found, nn.functional.cross_entropy(logits, labels))
    while_training = {"logits": logits}  # some networks give logits while they train
    assert torch_logits(while_training, {"logits": PROBABILITIES})["logits"] is logits
