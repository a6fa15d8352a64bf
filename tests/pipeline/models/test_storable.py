"""Networks with state that is no dense numbers are refused by name; layers that are shaped by their first input work."""

import numpy as np
import pytest
import torch
from torch import nn

from ops.core.operation import TorchModel
from pipeline.models import storage
from pipeline.models.api import ModelError
from pipeline.models.build import build
from tests.ops.context import need
from tests.ops.digits import apply, context, logits


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.LazyLinear(24), nn.LazyLinear(10)

    def forward(self, x):
        return self.head(torch.relu(self.hidden(x.flatten(1))))


class Packed(nn.Module):
    """A float layer, and a quantized one that it does not use."""

    def __init__(self):
        super().__init__()
        self.head, self.packed = nn.Linear(64, 10), torch.ao.nn.quantized.Linear(4, 4)

    def forward(self, x):
        return self.head(x.flatten(1))


class Sparse(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)
        self.register_buffer("places", torch.eye(4).to_sparse())

    def forward(self, x):
        return self.head(x.flatten(1))


class Stateful(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def get_extra_state(self):
        return {"steps": 3}

    def set_extra_state(self, state):
        pass

    def forward(self, x):
        return self.head(x.flatten(1))


class Closed(Lazy):
    """Runs its layers inside a function that it keeps, which no copy of the network has one of its own of."""

    def __init__(self):
        super().__init__()
        self.run = lambda x: self.head(torch.relu(self.hidden(x.flatten(1))))

    def forward(self, x):
        return self.run(x)


class Scaling(nn.Module):
    """The function holds a tensor."""

    def __init__(self):
        super().__init__()
        self.head, self.factor = nn.Linear(64, 10), nn.Parameter(torch.ones(()))
        factor = self.factor
        self.scale = lambda x: x * factor

    def forward(self, x):
        return self.scale(self.head(x.flatten(1)))


class Watched(nn.Module):
    """A hook keeps what a layer gives, for the layer after it."""

    def __init__(self, *, method):
        super().__init__()
        self.hidden, self.head, self.seen = nn.Linear(64, 16), nn.Linear(16, 10), {}
        self.hidden.register_forward_hook(
            self.keep if method else lambda layer, inputs, output: self.seen.update(value=output)
        )

    def keep(self, layer, inputs, output):
        self.seen["value"] = output

    def forward(self, x):
        self.hidden(x.flatten(1))
        return self.head(torch.relu(self.seen["value"]))


class WatchedByFunction(Watched):
    def __init__(self):
        super().__init__(method=False)


class WatchedByMethod(Watched):
    def __init__(self):
        super().__init__(method=True)


class Harmless(nn.Module):
    """The function holds a number, and another one that is never used a layer."""

    def __init__(self, factor=2.0):
        super().__init__()
        self.head = nn.Linear(64, 10)
        self.scale, self.spare = lambda x: x * factor, lambda: self.head.weight

    def forward(self, x):
        return self.scale(self.head(x.flatten(1)))


def made(kind):
    return globals()[kind]()


def entry(kind):
    return {"name": "net", "builder": "python", "factory": f"{__name__}:made", "arguments": {"kind": kind}}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("Packed", "layer 'packed' is torch's own quantized Linear.*Give the network in float"),
        ("Sparse", r"'places' is stored as sparse_coo: make it dense \(`\.to_dense\(\)`\)"),
        ("Stateful", "'_extra_state' is a dict in the network's state"),
        ("Closed", "'run' of the network: a function .* that holds layers or tensors .* Make it a method"),
        ("Scaling", "'scale' of the network: a function .* that holds layers or tensors"),
        ("WatchedByFunction", "a hook of 'hidden': a function .* that holds layers or tensors"),
    ],
)
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
def test_what_cannot_be_stored_or_copied_is_refused_by_name(kind, message):
    with pytest.raises(ModelError, match=message):
        build(entry(kind), need())


@pytest.mark.parametrize("kind", ["WatchedByMethod", "Harmless"])
def test_functions_that_copies_have_of_their_own_or_do_not_use_are_taken(kind):
    model = build(entry(kind), need())
    found = apply("finetune", model, context(), epochs=1, samples=64)
    assert not torch.equal(found.module.head.weight, model.module.head.weight)


def test_layers_that_take_their_shape_from_their_input_are_trained_pruned_and_stored(tmp_path):
    model = build(entry("Lazy"), need())
    assert isinstance(model, TorchModel)
    found = apply("magnitude_prune", model, context(), sparsity=0.5)
    found = apply("finetune", found, context(), epochs=1, samples=64)
    factors = apply("factorize", found, context(), ratio=0.5)
    for number, other in enumerate((model, found, factors)):
        folder = tmp_path / str(number)
        folder.mkdir()
        storage.save(other, folder)
        assert np.array_equal(logits(storage.load(folder)), logits(other))


def test_one_name_of_a_shared_weight_is_enough(tmp_path):
    """As `safetensors.torch.save_model` writes it."""
    from safetensors.torch import save_model

    from tests.ops.shared_nets import network

    model = network("Tied")
    save_model(model.module, str(tmp_path / "tied.safetensors"))
    given = {"factory": "tests.ops.shared_nets:make", "arguments": {"net": "Tied"}}
    weights = {"weights": str(tmp_path / "tied.safetensors")}
    found = build({"name": "tied", "builder": "python", **given, **weights}, need(pretrained=True))
    assert np.array_equal(logits(found), logits(model))


def test_a_new_head_is_the_layer_that_gives_the_outputs(tmp_path):
    from safetensors.torch import save_file

    from tests.ops.shared_nets import network

    tensors = {name: tensor.contiguous() for name, tensor in network("HeadFirst").module.state_dict().items()}
    tensors["zz.weight"], tensors["zz.bias"] = torch.zeros(3, 16), torch.zeros(3)
    save_file(tensors, tmp_path / "three.safetensors")
    given = {"factory": "tests.ops.shared_nets:make", "arguments": {"net": "HeadFirst"}, "new_head": True}
    weights = {"weights": str(tmp_path / "three.safetensors")}
    found = build({"name": "net", "builder": "python", **given, **weights}, need(pretrained=True))
    assert torch.equal(found.module.head.weight, tensors["head.weight"])
    tensors.pop("head.weight")
    save_file(tensors, tmp_path / "three.safetensors")
    with pytest.raises(ModelError, match=r"'head\.weight' .* is not there"):
        build({"name": "net", "builder": "python", **given, **weights}, need(pretrained=True))
