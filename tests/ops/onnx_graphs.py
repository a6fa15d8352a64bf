"""Small ONNX graphs of forms that torch's exporter does not write, and what they compute according to NumPy or torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from ops.core.model import Architecture
from ops.core.operation import OnnxModel

CLASSES = tuple("0123456789")


@dataclass(frozen=True)
class Graph:
    """Nodes between `x` (N, 1, 8, 8) and `y` (N, 10)."""

    nodes: Callable[[], list]
    weights: dict[str, np.ndarray]
    expected: Callable[[np.ndarray, dict[str, np.ndarray]], np.ndarray]


def draw(*shape, seed=0, scale=0.3):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def write(graph: Graph, path: Path) -> OnnxModel:
    value = helper.make_tensor_value_info
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes(), "g",
            [value("x", TensorProto.FLOAT, ["n", 1, 8, 8])], [value("y", TensorProto.FLOAT, ["n", 10])],
            [numpy_helper.from_array(array, name) for name, array in graph.weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)], ir_version=10,
    )  # fmt: skip
    onnx.checker.check_model(proto)
    onnx.save(proto, path)
    inputs = {"x": ("float32", (1, 8, 8))}
    return OnnxModel(path, Architecture("graph", "", {}, "image-classification", CLASSES, inputs))


def _flat():
    return helper.make_node("Flatten", ["x"], ["flat"], "flat")


def _gemm(name="fc", inputs=("flat", "fc.weight", "fc.bias"), **attributes):
    return helper.make_node("Gemm", list(inputs), ["y"], name, **attributes)


def _linear(bias, *, weight=None, turned=False, alpha=1.0, beta=1.0, **more):
    """One Gemm over the pixels."""
    weight = draw(64, 10) if weight is None else weight
    attributes = {"alpha": alpha, "beta": beta, "transB": int(turned), **more}
    weights = {"fc.weight": np.ascontiguousarray(weight.T) if turned else weight}
    if bias is not None:
        weights["fc.bias"] = bias
    inputs = ("flat", *weights)
    return Graph(
        lambda: [_flat(), _gemm(inputs=inputs, **attributes)], weights,
        lambda x, w: alpha * (x.reshape(len(x), -1) @ weight) + (0 if bias is None else beta * bias),
    )  # fmt: skip


def _pooled(nodes, weights, expected):
    """A convolutional part whose output `h` has 10 channels, averaged."""
    last = [
        helper.make_node("GlobalAveragePool", ["h"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["y"], "end"),
    ]

    def run(x, w):
        with torch.no_grad():
            return (
                expected(torch.from_numpy(x), {k: torch.from_numpy(np.asarray(v)) for k, v in w.items()})
                .mean((2, 3))
                .numpy()
            )

    return Graph(lambda: [*nodes(), *last], weights, run)


def _named(op, inputs, outputs, name, **attributes):
    return helper.make_node(op, inputs, outputs, name, **attributes)


F = torch.nn.functional
CONV = {"c.weight": draw(10, 1, 3, 3), "c.bias": draw(10, seed=1)}


def _two_gemms(second):
    """Two products with one weight."""
    weights = {"w.weight": draw(64, 64, scale=0.1), "a.bias": draw(64, seed=1), "fc.weight": draw(64, 10)}
    return Graph(
        lambda: [
            _flat(), _named("Gemm", ["flat", "w.weight", "a.bias"], ["h"], "first", alpha=0.5, beta=2.0),
            _named("Relu", ["h"], ["r"], "relu"), _named("Gemm", ["r", "w.weight", *second], ["g"], "second", transB=1, beta=3.0),
            _named("MatMul", ["g", "fc.weight"], ["y"], "fc"),
        ],
        weights,
        lambda x, w: (
            np.maximum(0.5 * x.reshape(len(x), -1) @ w["w.weight"] + 2 * w["a.bias"], 0) @ w["w.weight"].T
            + (3 * w["a.bias"] if second else 0)
        ) @ w["fc.weight"],
    )  # fmt: skip


GRAPHS: dict[str, Graph] = {
    **{f"beta {beta}": _linear(draw(10, seed=1, scale=2), beta=beta) for beta in (0.0, 0.25, 3.0, -1.0)},
    **{f"alpha {alpha}": _linear(draw(10, seed=1), alpha=alpha) for alpha in (0.1, 5.0, -2.0)},
    "alpha and beta, transposed": _linear(draw(10, seed=1), alpha=0.2, beta=4.0, turned=True),
    "no bias": _linear(None, alpha=3.0),
    "scalar bias": _linear(np.float32(1.5).reshape(()), beta=2.0),
    "bias of one": _linear(draw(1, seed=1, scale=3), beta=2.0),
    "bias as a row": _linear(draw(1, 10, seed=1, scale=3), beta=0.5),
    "input transposed": Graph(
        lambda: [_flat(), _named("Transpose", ["flat"], ["t"], "t", perm=[1, 0]), _gemm(inputs=("t", "fc.weight", "fc.bias"), transA=1, beta=2.0)],
        {"fc.weight": draw(64, 10), "fc.bias": draw(10, seed=1)},
        lambda x, w: x.reshape(len(x), -1) @ w["fc.weight"] + 2 * w["fc.bias"],
    ),
    "bias that is computed": Graph(
        lambda: [_flat(), _named("MatMul", ["flat", "b.weight"], ["c"], "b"), _gemm(inputs=("flat", "fc.weight", "c"), beta=2.0, alpha=0.5)],
        {"fc.weight": draw(64, 10), "b.weight": draw(64, 10, seed=1)},
        lambda x, w: x.reshape(len(x), -1) @ (0.5 * w["fc.weight"] + 2 * w["b.weight"]),
    ),
    "matmul and add": Graph(
        lambda: [_flat(), _named("MatMul", ["flat", "fc.weight"], ["m"], "fc"), _named("Add", ["fc.bias", "m"], ["y"], "add")],
        {"fc.weight": draw(64, 10), "fc.bias": draw(10, seed=1, scale=3)},
        lambda x, w: x.reshape(len(x), -1) @ w["fc.weight"] + w["fc.bias"],
    ),
    "shared weight and bias": _two_gemms(["a.bias"]),
    "shared weight": _two_gemms([]),
    "weight behind an identity": Graph(
        lambda: [_flat(), _named("Identity", ["fc.weight"], ["w"], "same"), _gemm(inputs=("flat", "w", "fc.bias"), beta=2.0)],
        {"fc.weight": draw(64, 10), "fc.bias": draw(10, seed=1)},
        lambda x, w: x.reshape(len(x), -1) @ w["fc.weight"] + 2 * w["fc.bias"],
    ),
    "weight behind a transposition": Graph(
        lambda: [_flat(), _named("Transpose", ["fc.weight"], ["w"], "turn", perm=[1, 0]), _gemm(inputs=("flat", "w", "fc.bias"), alpha=0.5)],
        {"fc.weight": draw(10, 64), "fc.bias": draw(10, seed=1)},
        lambda x, w: 0.5 * x.reshape(len(x), -1) @ w["fc.weight"].T + w["fc.bias"],
    ),
    "weight as a constant": Graph(
        lambda: [
            _flat(), _named("Constant", [], ["w"], "constant", value=numpy_helper.from_array(draw(64, 10))),
            _gemm(inputs=("flat", "w", "fc.bias"), beta=3.0),
        ],
        {"fc.bias": draw(10, seed=1)}, lambda x, w: x.reshape(len(x), -1) @ draw(64, 10) + 3 * w["fc.bias"],
    ),
    "channels of very different sizes, transposed": _linear(
        draw(10, seed=1), weight=draw(64, 10) * np.geomspace(1e-3, 10, 10, dtype=np.float32), turned=True, beta=2.0
    ),
    **{f"padding {mode}": _pooled(
        lambda mode=mode: [_named("Conv", ["x", "c.weight", "c.bias"], ["h"], "c", auto_pad=mode, strides=[2, 2])], CONV,
        lambda x, w, mode=mode: F.conv2d(
            F.pad(x, {"SAME_UPPER": (0, 1, 0, 1), "SAME_LOWER": (1, 0, 1, 0), "VALID": (0, 0, 0, 0)}[mode]),
            w["c.weight"], w["c.bias"], stride=2),
    ) for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")},
    **{f"transposed convolution of {groups} groups": _pooled(
        lambda groups=groups: [
            _named("Conv", ["x", "s.weight"], ["s"], "s", pads=[1, 1, 1, 1]), _named("Relu", ["s"], ["r"], "relu"),
            _named("ConvTranspose", ["r", "c.weight", "c.bias"], ["h"], "c", group=groups, strides=[2, 2]),
        ],
        {"s.weight": draw(8, 1, 3, 3, seed=3), "c.weight": draw(8, 10 // groups, 2, 2), "c.bias": draw(10, seed=1)},
        lambda x, w, groups=groups: F.conv_transpose2d(
            F.relu(F.conv2d(x, w["s.weight"], padding=1)), w["c.weight"], w["c.bias"], stride=2, groups=groups),
    ) for groups in (1, 2)},
    "batch normalisation that cannot be folded": _pooled(
        lambda: [
            _named("Conv", ["x", "c.weight", "c.bias"], ["k"], "c"), _named("Relu", ["k"], ["r"], "relu"),
            _named("BatchNormalization", ["r", "n.weight", "n.bias", "n.mean", "n.var"], ["h"], "n"),
        ],
        {**CONV, "n.weight": draw(10, seed=4), "n.bias": draw(10, seed=5), "n.mean": draw(10, seed=6), "n.var": np.abs(draw(10, seed=7)) + 0.1},
        lambda x, w: F.batch_norm(F.relu(F.conv2d(x, w["c.weight"], w["c.bias"])), w["n.mean"], w["n.var"], w["n.weight"], w["n.bias"]),
    ),
    "clip": _pooled(
        lambda: [
            _named("Conv", ["x", "c.weight", "c.bias"], ["k"], "c"), _named("Clip", ["k", "low", "high"], ["r"], "clip"),
            _named("Conv", ["r", "d.weight"], ["h"], "d"),
        ],
        {**CONV, "d.weight": draw(10, 10, 1, 1, seed=2), "low": np.float32(0).reshape(()), "high": np.float32(6).reshape(())},
        lambda x, w: F.conv2d(F.conv2d(x, w["c.weight"], w["c.bias"]).clamp(0, 6), w["d.weight"]),
    ),
    "convolutions that share a weight and a bias": _pooled(
        lambda: [
            _named("Conv", ["x", "s.weight"], ["s"], "s", pads=[1, 1, 1, 1]), _named("Conv", ["s", "c.weight", "c.bias"], ["a"], "c1"),
            _named("Mul", ["a", "factor"], ["b"], "mul"), _named("Conv", ["b", "c.weight", "c.bias"], ["h"], "c2"),
        ],
        {"s.weight": draw(10, 1, 3, 3, seed=3), "c.weight": draw(10, 10, 1, 1), "c.bias": draw(10, seed=1, scale=2), "factor": np.float32(20).reshape(())},
        lambda x, w: F.conv2d(20 * F.conv2d(F.conv2d(x, w["s.weight"], padding=1), w["c.weight"], w["c.bias"]), w["c.weight"], w["c.bias"]),
    ),
    "weight of a convolution and of a transposed convolution": _pooled(
        lambda: [
            _named("Conv", ["x", "s.weight"], ["s"], "s", pads=[1, 1, 1, 1]), _named("Conv", ["s", "c.weight", "c.bias"], ["a"], "c"),
            _named("Relu", ["a"], ["r"], "relu"), _named("ConvTranspose", ["r", "c.weight", "t.bias"], ["h"], "t"),
        ],
        {"s.weight": draw(10, 1, 3, 3, seed=3), "c.weight": draw(4, 10, 3, 3), "c.bias": draw(4, seed=1), "t.bias": draw(10, seed=2)},
        lambda x, w: F.conv_transpose2d(
            F.relu(F.conv2d(F.conv2d(x, w["s.weight"], padding=1), w["c.weight"], w["c.bias"])), w["c.weight"], w["t.bias"]),
    ),
    "convolution scaled by channel": _pooled(
        lambda: [_named("Conv", ["x", "c.weight", "c.bias"], ["k"], "c"), _named("Mul", ["k", "gamma"], ["h"], "scale")],
        {**CONV, "gamma": draw(1, 10, 1, 1, seed=9)},
        lambda x, w: F.conv2d(x, w["c.weight"], w["c.bias"]) * w["gamma"],
    ),
}  # fmt: skip
