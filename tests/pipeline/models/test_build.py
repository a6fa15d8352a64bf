"""Every builder: the same seed gives the same network, and what is stored is enough to build it again."""

import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from ops.core.forward import forward
from ops.core.operation import TorchModel
from pipeline.models import storage
from pipeline.models.api import BUILDERS, ModelError, Need, builder
from pipeline.models.build import build, build_structure, check_entry
from tests.pipeline.models.conftest import BERT, PICTURES, QUESTIONS, RESNET, TEXTS, entry
from tests.timing import in_loops

CONF = Path(__file__).resolve().parents[3] / "conf" / "model"
TINY_VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "patch_size": 4,
}
EVERY = {
    "residual_cnn": (entry("residual_cnn"), PICTURES),
    "depthwise_cnn": (entry("depthwise_cnn", depths=[1, 2], widths=[8, 16]), PICTURES),
    "resnet": (entry("huggingface", architecture="resnet", config=RESNET), PICTURES),
    "mobilenet_v2": (entry("huggingface", architecture="mobilenet_v2", config={"depth_multiplier": 0.35}), PICTURES),
    "vit": (entry("huggingface", architecture="vit", config=TINY_VIT), PICTURES),
    "bert": (entry("huggingface", architecture="bert", config=BERT), TEXTS),
    "bert_questions": (entry("huggingface", architecture="bert", config=BERT), QUESTIONS),
    "python": (entry("python", factory="tests.pipeline.models.factories:fitting", arguments={"width": 5}), PICTURES),
}


def _inputs(need, count=2):
    torch.manual_seed(7)
    return {
        name: torch.randn(count, *shape) if dtype == "float32" else torch.randint(0, 2, (count, *shape))
        for name, (dtype, shape) in need.inputs.items()
    }


@pytest.fixture(params=EVERY)
def made(request):
    return EVERY[request.param]


def test_a_seed_gives_the_same_network_and_another_seed_another(made):
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(build(*made).module.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in states[0].values())


def test_a_stored_network_gives_the_same_outputs(made, tmp_path):
    model = build(*made)
    assert not model.module.training
    storage.save(model, tmp_path)
    again = storage.load(tmp_path)
    inputs = _inputs(made[1])
    for name, output in forward(model.module, inputs, made[1].task).items():
        assert torch.equal(output, forward(again.module, inputs, made[1].task)[name])


def test_the_structure_alone_has_the_same_tensors_and_leaves_initialisation_working(made):
    model = build(*made)
    structure = build_structure(model.architecture)
    shapes = {name: tensor.shape for name, tensor in structure.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in model.module.state_dict().items()}
    assert torch.nn.Linear(50, 50).weight.std() > 0.01


def test_weights_are_not_there_unless_the_entry_names_them(made, pretrained):
    with pytest.raises(ModelError, match=r"Model 'mine': (there are no|this network has no) pretrained weights"):
        build(made[0], pretrained(made[1]))


def test_the_structure_of_resnet_50_takes_no_time():
    conf = yaml.safe_load((CONF / "resnet50.yaml").read_text())
    need = Need(
        "image-classification", tuple("abcdefghij"), {"pixel_values": ("float32", (3, 32, 32))}, pretrained=False
    )
    model = build(conf, need)
    assert sum(parameter.numel() for parameter in model.module.parameters()) == 23_528_522  # ResNet-50 with ten classes
    assert sum(isinstance(part, torch.nn.Conv2d) for part in model.module.modules()) == 53
    assert in_loops(partial(build_structure, model.architecture)) < 120


def test_torchvisions_resnet_50_has_the_same_shapes():
    """Channels, strides and paddings of the standard ResNet-50 (v1.5), from torchvision's published description."""
    conf = yaml.safe_load((CONF / "resnet50.yaml").read_text())
    need = Need(
        "image-classification",
        tuple(map(str, range(1000))),
        {"pixel_values": ("float32", (3, 32, 32))},
        pretrained=False,
    )
    module = build(conf, need).module
    assert sum(parameter.numel() for parameter in module.parameters()) == 25_557_032
    strides = [
        part.stride[0] for part in module.modules() if isinstance(part, torch.nn.Conv2d) and part.kernel_size == (3, 3)
    ]
    assert strides == [1] * 3 + [2] + [1] * 3 + [2] + [1] * 5 + [2] + [1] * 2


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_entry_of_conf_is_right_once_its_blanks_are_filled_in(file):
    conf = yaml.safe_load(file.read_text())
    assert conf["name"] == file.stem
    blanks = [key for key, value in conf.items() if value == "???"]
    if blanks:
        with pytest.raises(
            ModelError, match=re.escape(f"Model '{file.stem}': '{blanks[0]}' must be set, e.g. model.{blanks[0]}=")
        ):
            check_entry(conf)
    check_entry({key: "somewhere" if value == "???" else value for key, value in conf.items()})


@pytest.mark.parametrize(
    ("name", "need"),
    [
        ("resnet50", PICTURES),
        ("mobilenet_v2", PICTURES),
        ("digits_resnet", PICTURES),
        ("tiny_vit", PICTURES),
        ("tiny_bert", TEXTS),
    ],
)
def test_entries_without_blanks_build(name, need):
    assert isinstance(build(yaml.safe_load((CONF / f"{name}.yaml").read_text()), need), TorchModel)


def test_every_builder_has_an_entry():
    ours = {"residual_cnn", "depthwise_cnn", "perceptron", "huggingface", "timm", "torchvision", "python", "onnx"}
    named = {yaml.safe_load(file.read_text())["builder"] for file in CONF.glob("*.yaml")}
    assert ours <= set(BUILDERS)
    assert named == ours


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "m"}, "Model 'm': no `builder` is given. Known: depthwise_cnn, huggingface"),
        (
            entry("huggingfaces"),
            "Model 'mine': No model builder is called 'huggingfaces'. Did you mean 'huggingface'? Known: ",
        ),
        (
            entry("residual_cnn", width=[1]),
            "Model 'mine': unknown parameter 'width'. Did you mean 'widths'? Known: depths, widths",
        ),
        (entry("residual_cnn", widths="wide"), "Model 'mine': widths: expected a list, e.g. [a, b] (got 'wide')"),
        (
            entry("residual_cnn", widths=[0]),
            "Model 'mine': widths.0: Input should be greater than or equal to 1 (got 0)",
        ),
        (entry("python"), "Model 'mine': 'factory' is required"),
        (entry("onnx", path="???"), "Model 'mine': 'path' must be set, e.g. model.path=... on the command line"),
        (entry("huggingface", match="shape"), "Model 'mine': match: Input should be 'names' or 'order' (got 'shape')"),
    ],
)
def test_wrong_entries_are_refused_before_anything_is_built(wrong, message):
    with pytest.raises(ModelError, match=re.escape(message)):
        check_entry(wrong)


@pytest.mark.parametrize(
    ("wrong", "need", "message"),
    [
        (
            entry("residual_cnn"),
            TEXTS,
            "a convolutional network classifies pictures; the data is for text-classification",
        ),
        (entry("residual_cnn", depths=[1]), PICTURES, "depths and widths: one of each per stage (got 1 and 3)"),
        (entry("depthwise_cnn", widths=[8]), PICTURES, "depths and widths: one of each per stage (got 3 and 1)"),
    ],
)
def test_what_does_not_suit_the_data_is_refused(wrong, need, message):
    with pytest.raises(ModelError, match=re.escape(f"Model 'mine': {message}")):
        build(wrong, need)


def test_a_builder_of_ones_own_may_return_a_bare_module(monkeypatch):
    monkeypatch.setattr(BUILDERS, "_items", dict(BUILDERS._items))

    @builder
    def my_own(need, *, width: int = 3):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, width))

    model = build(entry("my_own"), PICTURES)
    assert model.architecture.arguments == {}
    with pytest.raises(
        ModelError, match=re.escape("output 'logits' has shape [2, 4] for 2 instances; the data has 3 classes")
    ):
        build(entry("my_own", width=4), PICTURES)


def test_checking_an_entry_imports_nothing_heavy():
    code = (
        "import sys; from pipeline.models.build import check_entry; check_entry({'builder': 'residual_cnn'})\n"
        "heavy = {'torch', 'transformers', 'onnx', 'onnxruntime', 'timm', 'torchvision', 'huggingface_hub'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
