"""A small residual net, its float and int8 ONNX files, and files that are broken: what targets and timings are tested on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ops.core.model import Architecture, TorchModel
from pipeline.models.api import Need, builder

PLUGIN = "tests.pipeline.nets"
SIDE = 24
CLASSES = tuple("abcdefg")
ARCHITECTURE = Architecture(
    name="small_net",
    builder="small_test_net",
    arguments={"width": 24},
    task="image-classification",
    classes=CLASSES,
    inputs={"pixel_values": ("float32", (3, SIDE, SIDE))},
)


@builder
def small_test_net(need: Need, *, width: int = 24):
    """Four convolutions with a skip connection, batch norms, and a classifier."""
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
            self.body = nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
            )  # fmt: skip
            self.down = nn.Sequential(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU())
            self.head = nn.Linear(2 * width, len(need.classes))

        def forward(self, pixel_values):
            hidden = self.stem(pixel_values)
            hidden = self.down((hidden + self.body(hidden)).relu())
            return self.head(hidden.mean(dim=(2, 3)))

    return Net()


@dataclass(frozen=True)
class Nets:
    folder: Path
    """A torch artifact."""
    float32: Path
    int8: Path
    nan: Path
    """Gives NaN for every input."""
    broken: Path
    """No ONNX file."""
    inputs: Path
    """Samples as `write_inputs` stores them."""


def samples(count: int = 32) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3, SIDE, SIDE)).astype(np.float32)


def make_nets(folder: Path) -> Nets:
    """Make the files in `folder`, or find them there."""
    nets = Nets(*(folder / name for name in ("torch", "float.onnx", "int8.onnx", "nan.onnx", "broken.onnx", "in.npz")))
    if not nets.inputs.exists():
        folder.mkdir(exist_ok=True)
        _make_torch(nets)
        _make_int8(nets)
        _make_nan(nets)
        nets.broken.write_text("this is no model")
        np.savez(nets.inputs, pixel_values=samples())
    return nets


def _make_torch(nets: Nets) -> None:
    import torch

    from pipeline.models.onnx_export import export_onnx
    from pipeline.models.storage import save

    torch.manual_seed(0)
    need = Need(ARCHITECTURE.task, CLASSES, ARCHITECTURE.inputs, pretrained=False)
    model = TorchModel(small_test_net(need, **ARCHITECTURE.arguments).eval(), ARCHITECTURE)
    for module in model.module.modules():  # fresh statistics would make the exporter's folding of norms trivial
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2)
    nets.folder.mkdir()
    save(model, nets.folder)
    export_onnx(model, nets.float32)


def _make_int8(nets: Nets) -> None:
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from ops.onnx_graph.session import quiet_tools

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self._left = iter([{"pixel_values": samples()[row : row + 4]} for row in range(0, 32, 4)])

        def get_next(self):
            return next(self._left, None)

    prepared = nets.int8.with_suffix(".prepared")
    with quiet_tools(nets.int8.parent):
        quant_pre_process(nets.float32, prepared)
        quantization.quantize_static(
            prepared, nets.int8, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
        )  # fmt: skip


def _make_nan(nets: Nets) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(nets.float32)
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "head.weight")
    values = numpy_helper.to_array(weight).copy()
    values[0, 0] = np.nan
    weight.CopyFrom(numpy_helper.from_array(values, "head.weight"))
    onnx.save(model, nets.nan)
