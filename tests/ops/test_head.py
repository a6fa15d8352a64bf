"""The group `head` is what gives the outputs, whatever the order and the names of modules."""

import pytest
import torch
from torch import nn

from ops.core.model import Architecture
from ops.core.operation import TorchModel
from ops.core.selector import choose_layers, head_of
from tests.ops.apply import base
from tests.ops.digits import apply, bert, context, vit
from tests.ops.shared_nets import model_of, network


def test_a_head_that_is_registered_first_and_called_otherwise():
    model = network("HeadFirst")
    assert head_of(model) == {"zz"}
    assert list(choose_layers(model, ["head"])) == ["zz"]
    found = apply("magnitude_prune", model, context(), sparsity=0.5, scope="layer", exclude=["head"])
    assert int((found.module.zz.weight == 0).sum()) == 0
    assert int((found.module.head.weight == 0).sum()) == 16 * 16 * 9 // 2


def test_heads_of_usual_networks():
    assert head_of(base("residual")) == {"classifier"}
    assert head_of(bert()) == {"classifier"}
    assert head_of(vit()) == {"classifier"}
    assert head_of(network("Recurrent")) == {"head"}
    assert head_of(network("TiedEmbedding")) == {"head"}


class Two(nn.Module):
    """Two layers whose outputs are added, one of them used without being called."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.stem = nn.Linear(32, 10), nn.Linear(32, 10, bias=False), nn.Linear(64, 32)

    def forward(self, x):
        hidden = torch.relu(self.stem(x.flatten(1)))
        return self.one(hidden) + hidden @ self.two.weight.t()


def test_every_layer_that_gives_a_part_of_the_outputs():
    assert head_of(model_of(Two())) == {"one", "two"}


def test_finding_the_head_leaves_the_network_as_it_was():
    model = network("HeadFirst")
    model.module.c1.weight.requires_grad_(False)
    model.module.train()
    head_of(model)
    assert model.module.training
    assert not model.module.c1.weight.requires_grad
    assert all(parameter.grad is None for parameter in model.module.parameters())
    assert not any(part._forward_hooks for part in model.module.modules())


def test_a_network_that_cannot_be_run_goes_by_order():
    architecture = Architecture("net", "", {}, "image-classification", ("a",), {"pixel_values": ("float32", (7,))})
    assert head_of(TorchModel(network("Tied").module, architecture)) == {"head"}


@pytest.mark.parametrize("training", [True, False])
def test_two_heads_of_one_answer(training):
    from tests.ops.test_selector import bert as bert_module

    model = bert()
    architecture = Architecture("bert", "", {}, "question-answering", ("",), model.architecture.inputs)
    assert head_of(TorchModel(bert_module().train(training), architecture)) == {"qa_outputs"}
