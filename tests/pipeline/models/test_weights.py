"""Weights from files: what fits, what does not, and what is never run."""

import pickle
import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from pipeline.models.api import ModelError
from pipeline.models.build import build
from pipeline.models.weights import load_into, read_tensors
from tests.pipeline.models import factories
from tests.pipeline.models.conftest import PICTURES, entry

FACTORY = "tests.pipeline.models.factories:linear"


class Bomb:
    """Would write a file if it were unpickled."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return (open, (str(self.place), "w"))


def _saved(path, state):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return str(path)


@pytest.fixture
def state():
    torch.manual_seed(5)
    return factories.linear().state_dict()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.bin", "w.pth"])
def test_tensors_come_back_from_every_kind_of_file(name, tmp_path, state, pretrained):
    weights = _saved(tmp_path / name, state)
    model = build(entry("python", factory=FACTORY, weights=weights), pretrained(PICTURES))
    loaded = model.module.state_dict()
    assert all(torch.equal(loaded[one], state[one]) for one in state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {f"module.{name}": one for name, one in state.items()},
        lambda state: {f"module._orig_mod.{name}": one for name, one in state.items()},
        lambda state: {f"_orig_mod.module.{name}": one for name, one in state.items()},
    ],
)
def test_usual_wrappings_are_taken_off(wrap, tmp_path, state, pretrained):
    weights = _saved(tmp_path / "w.pt", wrap(state))
    loaded = build(entry("python", factory=FACTORY, weights=weights), pretrained(PICTURES)).module.state_dict()
    assert all(torch.equal(loaded[one], state[one]) for one in state)


class Wrapping(torch.nn.Module):
    """Calls a part of its own `module`, as wrappers do."""

    def __init__(self):
        super().__init__()
        self.module, self.head = torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_a_part_that_is_called_as_a_wrapper_calls_it_keeps_its_name(prefix):
    torch.manual_seed(0)
    state = {f"{prefix}{name}": one for name, one in Wrapping().state_dict().items()}
    network = Wrapping()
    assert load_into(network, state, source="w.pt", new_head=False, match="names") == {}
    assert torch.equal(network.module.weight, state[f"{prefix}module.weight"])
    assert torch.equal(network.head.weight, state[f"{prefix}head.weight"])


def test_a_name_that_stands_there_with_and_without_its_wrapping_is_refused(state):
    both = state | {"module.1.weight": -state["1.weight"]}
    message = "holds both '1.weight' and 'module.1.weight'; save the state_dict() of one network"
    with pytest.raises(ModelError, match=re.escape(message)):
        load_into(factories.linear(), both, source="w.pt", new_head=False, match="names")


def test_layers_without_a_shape_are_loaded(tmp_path, state, pretrained):
    conf = entry("python", factory="tests.pipeline.models.factories:lazy", weights=_saved(tmp_path / "w.pt", state))
    loaded = build(conf, pretrained(PICTURES)).module.state_dict()
    assert all(torch.equal(loaded[one], state[one]) for one in state)


@pytest.mark.parametrize("kind", [torch.int8, torch.complex64])
def test_numbers_of_another_kind_are_no_weights(kind, state):
    """int8 without its scale, or a complex number without its second part, would be a network of noise."""
    name = str(kind).removeprefix("torch.")
    message = f"w.pt: '1.weight' is {name} [4, 192] there and float32 [4, 192] here"
    with pytest.raises(ModelError, match=re.escape(message)):
        load_into(
            factories.linear(),
            state | {"1.weight": state["1.weight"].to(kind)},
            source="w.pt",
            new_head=False,
            match="names",
        )


def test_pickled_objects_are_refused_and_not_run(tmp_path):
    place = tmp_path / "written"
    for name, write in (
        ("torch.pt", torch.save),
        ("bare.bin", lambda bomb, path: path.write_bytes(pickle.dumps(bomb))),
    ):
        write(Bomb(place), tmp_path / name)
        with pytest.raises(
            ModelError, match=re.escape(f"{tmp_path / name}: holds pickled Python objects, which could run code")
        ):
            read_tensors(str(tmp_path / name))
    assert not place.exists()


def test_a_whole_module_is_refused(tmp_path):
    torch.save(factories.linear(), tmp_path / "module.pt")
    with pytest.raises(
        ModelError, match=r"module.pt: holds pickled Python objects.*Save the network's state_dict\(\), best as safe"
    ):
        read_tensors(str(tmp_path / "module.pt"))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("w.safetensors", lambda whole: whole[:-9], "w.safetensors: damaged or no safetensors file ("),
        ("w.safetensors", lambda whole: b"", "w.safetensors: damaged or no safetensors file ("),
        ("w.safetensors", lambda whole: b"\xff" * 100, "w.safetensors: damaged or no safetensors file ("),
        ("w.pt", lambda whole: whole[: len(whole) // 2], "w.pt: damaged or no file of torch.save ("),
        ("w.pt", lambda whole: b"", "w.pt: damaged or no file of torch.save ("),
        ("w.pt", lambda whole: b"hello", "w.pt: damaged or no file of torch.save ("),
    ],
)
def test_damaged_files_are_named(name, damage, message, tmp_path, state):
    path = tmp_path / name
    _saved(path, state)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=re.escape(str(tmp_path / message))):
        read_tensors(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "w.pt: holds a list, not named tensors; save the network's state_dict()"),
        ({"epoch": 1, "lr": 0.1}, "w.pt: holds no named tensors (found 'epoch, lr'); save the network's state_dict()"),
        ({}, "w.pt: holds no named tensors (found '')"),
    ],
)
def test_files_without_tensors_are_refused(content, message, tmp_path):
    with pytest.raises(ModelError, match=re.escape(message)):
        read_tensors(_saved(tmp_path / "w.pt", content))


def test_a_missing_file_is_named(pretrained):
    with pytest.raises(ModelError, match=re.escape("Model 'mine': nowhere.pt: there is no such file")):
        build(entry("python", factory=FACTORY, weights="nowhere.pt"), pretrained(PICTURES))


def test_a_head_for_other_classes_needs_to_be_asked_for(tmp_path, state, pretrained):
    weights = _saved(tmp_path / "w.safetensors", factories.linear(classes=7).state_dict())
    conf = entry("python", factory=FACTORY, weights=weights)
    message = f"Model 'mine': {weights}: '3.weight' is [7, 4] there and [3, 4] here; '3.bias' is [7] there and [3] here. If it is only"
    with pytest.raises(ModelError, match=re.escape(message)):
        build(conf, pretrained(PICTURES))
    torch.manual_seed(0)
    one = build({**conf, "new_head": True}, pretrained(PICTURES)).module.state_dict()
    torch.manual_seed(1)
    two = build({**conf, "new_head": True}, pretrained(PICTURES)).module.state_dict()
    assert torch.equal(one["1.weight"], two["1.weight"])
    assert torch.equal(one["1.weight"], read_tensors(weights)["1.weight"])
    assert not torch.equal(one["3.weight"], two["3.weight"])


def test_a_new_head_does_not_excuse_a_wrong_body(tmp_path, pretrained):
    weights = _saved(tmp_path / "w.safetensors", factories.linear(width=5).state_dict())
    with pytest.raises(
        ModelError, match=r"'1.weight' is \[5, 192\] there and \[4, 192\] here.*More than the head does not fit"
    ):
        build(entry("python", factory=FACTORY, weights=weights, new_head=True), pretrained(PICTURES))


class Encoder(nn.Module):
    """Blocks as encoders have them, and a head."""

    def __init__(self, blocks, *, head="head"):
        super().__init__()
        self.body = nn.Module()
        self.body.layers = nn.ModuleList(nn.Linear(192, 192) for _ in range(blocks))
        self.add_module(head, nn.Linear(192, 3))
        self._head = head

    def forward(self, pixel_values):
        values = pixel_values.flatten(1)
        for layer in self.body.layers:
            values = layer(values).relu()
        return self.get_submodule(self._head)(values)


def test_a_new_head_does_not_excuse_layers_that_the_network_lacks():
    deeper = Encoder(4).state_dict()
    with pytest.raises(
        ModelError,
        match=r"w.pt: 'body.layers.2.weight' \[192, 192\] has no place here.*'body.layers.3.bias' \[192\] has",
    ) as caught:
        load_into(Encoder(2), deeper, source="w.pt", new_head=True, match="names")
    assert "More than the head does not fit" in str(caught.value)
    branch = Encoder(2).state_dict() | {"body.scale": torch.ones(1)}
    with pytest.raises(ModelError, match=r"'body.scale' \[1\] has no place here"):
        load_into(Encoder(2), branch, source="w.pt", new_head=True, match="names")


def test_a_head_inside_the_same_container_is_told_from_layers_that_are_missing():
    def state(features, classifier):
        names = [*(f"features.{row}" for row in range(features)), *(f"classifier.{row}" for row in classifier)]
        return {f"{name}.weight": torch.ones(3, 3) for name in names}

    network = nn.Module()
    network.features = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(2)))
    network.classifier = nn.Sequential(*(nn.Linear(3, 3, bias=False) for _ in range(2)))
    notes = load_into(network, state(2, [0, 1, 2]), source="w.pt", new_head=True, match="names")
    assert notes == {"weights_left_out": ["classifier.2.weight"]}
    with pytest.raises(ModelError, match=r"'features.2.weight' \[3, 3\] has no place here"):
        load_into(network, state(3, [0, 1]), source="w.pt", new_head=True, match="names")


def test_another_head_a_pooler_and_whole_numbers_are_left_out_and_said():
    tensors = Encoder(2, head="old_head").state_dict()
    tensors |= {"body.pooler.dense.weight": torch.ones(2, 2), "body.position_ids": torch.arange(5)}
    network = Encoder(2)
    notes = load_into(network, tensors, source="w.pt", new_head=True, match="names")
    assert notes == {
        "untrained_head": ["head.bias", "head.weight"],
        "weights_left_out": ["body.pooler.dense.weight", "body.position_ids", "old_head.bias", "old_head.weight"],
    }
    assert torch.equal(network.body.layers[1].weight, tensors["body.layers.1.weight"])
    assert load_into(network, network.state_dict(), source="w.pt", new_head=True, match="names") == {}


def test_missing_and_surplus_tensors_are_named_with_the_nearest(state):
    renamed = {("1.weigth" if name == "1.weight" else name): tensor for name, tensor in state.items()}
    with pytest.raises(ModelError) as caught:
        load_into(factories.linear(), renamed, source="w.pt", new_head=False, match="names")
    assert "'1.weight' [4, 192] is not there; '1.weigth' [4, 192] has no place here Did you mean '1.weight'?" in str(
        caught.value
    )


def test_weights_of_another_librarys_names_are_matched_by_order(tmp_path, state, pretrained):
    weights = _saved(tmp_path / "w.pt", {f"features.{row}": tensor for row, tensor in enumerate(state.values())})
    conf = entry("python", factory=FACTORY, weights=weights, match="order")
    loaded = build(conf, pretrained(PICTURES)).module.state_dict()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    with pytest.raises(ModelError, match=r"'1.weight' .* is not there"):
        build({**conf, "match": "names"}, pretrained(PICTURES))


def test_a_headless_file_matched_by_order_needs_a_new_head(tmp_path, state, pretrained):
    weights = _saved(tmp_path / "w.pt", {f"x{row}": tensor for row, tensor in enumerate(list(state.values())[:2])})
    conf = entry("python", factory=FACTORY, weights=weights, match="order")
    with pytest.raises(
        ModelError, match=re.escape(f"{weights}: 2 tensors, but the network has 4: they cannot be matched by order")
    ):
        build(conf, pretrained(PICTURES))
    loaded = build({**conf, "new_head": True}, pretrained(PICTURES)).module.state_dict()
    assert torch.equal(loaded["1.weight"], state["1.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factory": "no_colon"}, "factory: must be package.module:function (got 'no_colon')"),
        (
            {"factory": "no.such.module:f"},
            "factory: 'no.such.module' cannot be imported (No module named 'no'); is its folder on",
        ),
        ({"factory": "tests.pipeline.models.factories:liner"}, "has no function 'liner'. Did you mean 'linear'?"),
        ({"factory": "tests.pipeline.models.factories:LIMIT"}, "has no function 'LIMIT'."),
        ({"factory": "tests.pipeline.models.factories:nothing"}, "nothing returns a str, not a torch.nn.Module"),
        (
            {"factory": "tests.pipeline.models.factories:needy"},
            "arguments: tests.pipeline.models.factories:needy needs 'width'",
        ),
        (
            {"arguments": {"widht": 1}},
            f"arguments: {FACTORY} takes no 'widht'. Did you mean 'width'? Known: width, classes",
        ),
        (
            {"arguments": {"classes": 9}},
            "output 'logits' has shape [2, 9] for 2 instances; the data has 3 classes, so it must be [2, 3]",
        ),
    ],
)
def test_a_factory_that_does_not_do_is_explained(changes, message):
    with pytest.raises(ModelError, match=re.escape(message)):
        build(entry("python", **{"factory": FACTORY, **changes}), PICTURES)


def test_a_network_for_other_pictures_is_refused_with_the_shape():
    from dataclasses import replace

    large = replace(PICTURES, inputs={"pixel_values": ("float32", (3, 16, 16))})
    with pytest.raises(
        ModelError,
        match=re.escape(
            "the network does not run on pixel_values [3, 16, 16]: its forward pass raises RuntimeError: mat1 and mat2"
        ),
    ):
        build(entry("python", factory=FACTORY), large)


def test_factories_may_take_any_keywords_and_come_in_half_precision():
    model = build(entry("python", factory="tests.pipeline.models.factories:anything", arguments={"width": 6}), PICTURES)
    assert model.module[1].out_features == 6
    half = build(entry("python", factory="tests.pipeline.models.factories:half"), PICTURES)
    assert half.module[1].weight.dtype is torch.float32
