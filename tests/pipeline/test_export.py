"""Exported files speak of the network, in its own names, and of nothing else."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from ops.core.model import Architecture, TorchModel
from ops.onnx_graph.layers import fixed_length, matrix_nodes
from pipeline.core.errors import first_cause, reason
from pipeline.models.api import ModelError, Need
from pipeline.models.build import build
from pipeline.models.export_check import check_export
from pipeline.models.onnx_export import ExportError, export_onnx
from tests.ops.stored import load


@pytest.fixture(scope="module", params=["residual", "depthwise", "transformer"])
def exported(request, tmp_path_factory):
    """A network and its ONNX file."""
    model, path = load(request.param), tmp_path_factory.mktemp(request.param) / "model.onnx"
    export_onnx(model, path)
    return model, path


def test_weights_keep_the_names_of_the_modules_parameters(exported):
    model, path = exported
    multiply = {name for name, part in model.module.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)}
    found = {node.weight for node in matrix_nodes(onnx.load(path)) if node.weight}
    assert found == {f"{name}.weight" for name in multiply}


def test_nodes_that_multiply_bear_the_names_of_their_layers(exported):
    model, path = exported
    modules = dict(model.module.named_modules())
    for found in matrix_nodes(onnx.load(path)):
        assert found.node.name == found.layer.name
        assert found.layer.name in modules or found.weight is None


def test_nothing_speaks_of_the_machine(exported):
    written = exported[1].read_bytes()
    for trace in (b".py", b"File ", *(str(path).encode() for path in (sys.prefix, Path.cwd()))):
        assert trace not in written


def test_records_are_of_the_layers_alone(exported):
    proto = onnx.load(exported[1])
    recorded = {node.name for node in proto.graph.node if node.metadata_props}
    assert recorded == {found.layer.name for found in matrix_nodes(proto)}
    everything = (proto, proto.graph, *proto.graph.input, *proto.graph.output, *proto.graph.value_info)
    assert not any(described.metadata_props for described in (*everything, *proto.graph.initializer))


def test_the_same_model_gives_the_same_file(exported, tmp_path):
    model, path = exported
    export_onnx(model, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_a_network_that_cannot_be_followed_is_named(tmp_path):
    model = load("residual").copy()
    model.module.forward = lambda pixel_values: pixel_values if pixel_values.sum() > 0 else -pixel_values
    with pytest.raises(ExportError, match=f"'{model.architecture.name}' cannot be exported to ONNX: "):
        export_onnx(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def _model(module, inputs, task="image-classification", **more):
    classes = ("a", "b", "c")
    return TorchModel(module.eval(), Architecture("mine", "python", {}, task, classes, inputs, **more))


PIXELS = {"pixel_values": ("float32", (5,))}
TOKENS = dict.fromkeys(("input_ids", "attention_mask"), ("int64", (6,)))


class _Several(nn.Module):
    """Gives what the task asks for between other things."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, pixel_values):
        hidden = self.body(pixel_values)
        return {"hidden": hidden, "logits": self.head(hidden), "sum": hidden.sum(dim=1)}


def test_the_tasks_output_is_the_files_wherever_the_network_returns_it(tmp_path):
    model = _model(_Several(), PIXELS)
    export_onnx(model, tmp_path / "model.onnx")
    session = ort.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    pixels = torch.randn(3, 5)
    assert [value.name for value in session.get_outputs()] == ["logits"]
    found = session.run(None, {"pixel_values": pixels.numpy()})[0]
    assert np.allclose(found, model.module(pixels)["logits"].detach().numpy(), atol=1e-5)


def several(need):
    return _Several()


@dataclass
class _Answer:
    hidden: torch.Tensor
    logits: torch.Tensor
    aside: torch.Tensor | None = None


class _OfAClass(_Several):
    def forward(self, pixel_values):
        hidden = self.body(pixel_values)
        return _Answer(hidden, self.head(hidden))


class _Renamed(_Several):
    def forward(self, pixel_values):
        return {"hidden": self.body(pixel_values), "scores": self.head(self.body(pixel_values))}


def of_a_class(need):
    return _OfAClass()


def renamed(need):
    return _Renamed()


def test_outputs_may_be_an_object_of_ones_own(tmp_path):
    need = Need("image-classification", ("a", "b", "c"), PIXELS, pretrained=False)
    model = build({"name": "mine", "builder": "python", "factory": f"{__name__}:of_a_class"}, need)
    assert model.notes == {"outputs_left_out": ["hidden"]}
    export_onnx(model, tmp_path / "model.onnx")
    pixels = torch.randn(3, 5)
    session = ort.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {"pixel_values": pixels.numpy()})[0]
    with torch.no_grad():
        assert np.allclose(found, model.module.head(model.module.body(pixels)).numpy(), atol=1e-5)


def test_outputs_of_which_none_is_called_as_the_task_calls_it_are_named():
    need = Need("image-classification", ("a", "b", "c"), PIXELS, pretrained=False)
    message = "the network returns 'hidden', 'scores', and no 'logits'; return it by that name"
    with pytest.raises(ModelError, match=message):
        build({"name": "mine", "builder": "python", "factory": f"{__name__}:renamed"}, need)


def test_outputs_that_the_file_leaves_out_are_named():
    need = Need("image-classification", ("a", "b", "c"), PIXELS, pretrained=False)
    model = build({"name": "mine", "builder": "python", "factory": f"{__name__}:several"}, need)
    assert model.notes == {"outputs_left_out": ["hidden", "sum"]}


class _Positions(nn.Module):
    """Has a table of positions, and cannot be followed at other lengths than that of the data."""

    def __init__(self, stubborn):
        super().__init__()
        self.words, self.positions, self.head = nn.Embedding(9, 4), nn.Embedding(16, 4), nn.Linear(4, 3)
        self.stubborn = stubborn

    def forward(self, input_ids, attention_mask):
        length = 6 if self.stubborn else input_ids.shape[1]
        hidden = self.words(input_ids) + self.positions(torch.arange(length))
        weights = attention_mask.unsqueeze(2).float()
        return self.head((hidden * weights).sum(dim=1) / weights.sum(dim=1))


@pytest.mark.parametrize("stubborn", [False, True])
def test_texts_may_be_of_any_length_or_it_is_said_why_not(stubborn, tmp_path):
    model = _model(_Positions(stubborn), TOKENS, "text-classification")
    notes = export_onnx(model, tmp_path / "model.onnx")
    assert fixed_length(onnx.load(tmp_path / "model.onnx")) == (6 if stubborn else None)
    assert list(notes) == (["fixed_length"] if stubborn else [])
    mask = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]])
    check_export(model, tmp_path / "model.onnx", {"input_ids": np.full((2, 6), 3), "attention_mask": mask})


def test_a_file_that_computes_something_else_is_refused(tmp_path):
    model = _model(nn.Linear(5, 3), PIXELS)
    export_onnx(model, tmp_path / "model.onnx")
    pixels = {"pixel_values": np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)}
    check_export(model, tmp_path / "model.onnx", pixels)
    with torch.no_grad():
        model.module.bias[1] += 0.1
    with pytest.raises(ExportError, match=r"output 'logits' of the file differs from torch's by 0\.1") as found:
        check_export(model, tmp_path / "model.onnx", pixels)
    assert "\n" not in str(found.value)


def test_the_first_cause_is_said_without_colours(tmp_path):
    class Odd(nn.Module):
        def forward(self, pixel_values):
            if torch.compiler.is_compiling() or torch.compiler.is_exporting():
                raise RuntimeError("\x1b[31mthe sensor is of a new kind\x1b[0m\nand more")
            return pixel_values[:, :3]

    with pytest.raises(ExportError) as found:
        export_onnx(_model(Odd(), PIXELS), tmp_path / "model.onnx")
    assert str(found.value) == "'mine' cannot be exported to ONNX: the sensor is of a new kind"


def test_the_first_cause_of_a_chain():
    first, second = KeyError("first"), ValueError("second")
    second.__cause__ = first
    assert reason(first_cause(second)) == "'first'"
    first.__cause__ = second  # a circle must end
    assert first_cause(second) in (first, second)
