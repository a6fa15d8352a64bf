"""Weights of 16 bits."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ops.core.errors import OperationError
from ops.core.operation import OnnxModel
from ops.onnx_graph.macs import count_macs
from tests.ops.digits import (
    apply,
    context,
    exported,
    logits,
)  # fmt: skip
from tests.ops.test_quantize import CONVOLUTIONS, initializers, optimized


@pytest.mark.parametrize(("method", "error"), [("float16", 1e-3), ("bfloat16", 1e-2)])
def test_sixteen_bits_halve_the_file_and_run_as_float(method, error, tmp_path):
    ctx = context()
    half = apply("quantize", exported(), ctx, method=method)
    assert half.path.stat().st_size < 0.62 * exported().path.stat().st_size
    assert np.abs(logits(half) - logits(exported())).max() < error * np.abs(logits(exported())).max()
    assert ctx.notes["compute"] == "float32"
    assert not optimized(half.path, tmp_path)["Cast"]  # widened once, when opened
    rows = {row.layer: row.precision for row in count_macs(half.path)}
    assert rows == dict.fromkeys([*CONVOLUTIONS, "classifier"], "float32")


def test_sixteen_bit_layers_can_be_excluded():
    half = apply("quantize", exported(), context(), method="float16", exclude=["stem.0"])
    kinds = {name: array.dtype for name, array in initializers(half.path).items()}
    assert kinds["stem.0.weight"] == np.float32
    assert kinds["stages.0.0.conv1.weight_float16"] == np.float16


def test_a_whole_graph_in_float16():
    ctx = context()
    half = apply("quantize", exported(), ctx, method="float16", compute="float16")
    assert np.abs(logits(half) - logits(exported())).max() < 0.02 * np.abs(logits(exported())).max()
    assert ctx.notes["warnings"][0].startswith("ONNX Runtime's x86 CPU kernels compute in float32")
    with pytest.raises(
        OperationError, match="compute: float16 goes with method: float16; bfloat16 weights are computed"
    ):
        apply("quantize", exported(), context(), method="bfloat16", compute="float16")


def test_weights_too_large_for_float16_are_named(tmp_path):
    model = onnx.load(exported().path)
    large = next(tensor for tensor in model.graph.initializer if tensor.name == "stem.0.weight")
    large.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(large) * 1e9, large.name))
    onnx.save(model, tmp_path / "large.onnx")
    with pytest.raises(
        OperationError, match=r"'stem\.0\.weight' has weights beyond 65504, which float16 cannot hold; use bfloat16"
    ):
        apply("quantize", OnnxModel(tmp_path / "large.onnx", exported().architecture), context(), method="float16")


def test_a_file_of_half_precision_is_not_called_quantized():
    half = apply("quantize", exported(), context(), method="float16", compute="float16")
    with pytest.raises(
        OperationError, match=r"with float32 weights: its weights are float16; give the file in float32"
    ):
        apply("quantize", OnnxModel(half.path, half.architecture), context())
