import re
from collections import Counter
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from ops.core.errors import OperationError
from ops.core.operation import OPERATIONS, Ancestry, OnnxModel
from ops.onnx_graph.macs import count_macs, precision_shares
from ops.onnx_graph.session import open_session
from ops.quantize.methods import cpu_features
from ops.quantize.methods.cpu_features import integer_arithmetic
from tests.ops.digits import (
    Changed,
    Sentences,
    accuracy,
    apply,
    bert,
    context,
    digits,
    export,
    exported,
    logits,
    vit,
    with_nan,
)  # fmt: skip
from tests.ops.shared_nets import model_of

CONVOLUTIONS = [
    "stem.0", "stages.0.0.conv1", "stages.0.0.conv2", "stages.1.0.conv1", "stages.1.0.conv2", "stages.1.0.shortcut.0",
]  # fmt: skip


@cache
def bert_file():
    return export(bert())


@cache
def vit_file():
    return export(vit())


def sentences():
    return context(data=Sentences())


def initializers(path):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def optimized(path, folder):
    """Operators of the graph that ONNX Runtime runs."""
    saved = Path(folder) / "optimized.onnx"
    open_session(path, save_optimized=saved)
    return Counter(node.op_type for node in onnx.load(saved).graph.node)


def agreement(int8, model, batch=None):
    """Signal-to-noise ratio in dB of a quantized model's outputs against those of the float file."""
    wanted, given = logits(model, batch), logits(int8, batch)
    return 10 * np.log10(np.square(wanted).sum() / np.square(wanted - given).sum())


def sentence_batch():
    return next(iter(Sentences().batches("calibration", batch_size=64)))


def test_static_is_int8_in_truth_and_keeps_accuracy(tmp_path):
    ctx = context()
    int8 = apply("quantize", exported(), ctx, samples=128)
    runs = optimized(int8.path, tmp_path)
    assert runs["QLinearConv"] == 6
    assert runs["QGemm"] == 1
    assert not {"Conv", "FusedConv", "Gemm", "MatMul"} & set(runs)
    assert ctx.notes["integer_mac_share"] == 1.0
    assert ctx.notes["layers_quantized"] == [*CONVOLUTIONS, "classifier"]
    assert ctx.notes["layers_in_float"] == {}
    assert "warnings" not in ctx.notes
    # without a plan, which decides for a processor, what is right on every one
    assert {name: ctx.notes[name] for name in ("method", "activation_type", "reduce_range", "calibration", "samples")} == {
        "method": "static", "activation_type": "uint8", "reduce_range": True,
        "calibration": "minmax", "samples": 128,
    }  # fmt: skip
    assert ctx.notes["per_channel"] is True
    weights = initializers(int8.path)
    assert weights["stages.1.0.conv1.weight_quantized"].dtype == np.int8
    assert weights["stages.1.0.conv1.weight_scale"].shape == (32,)
    assert accuracy(int8) >= accuracy(exported()) - 0.01
    assert int8.path.stat().st_size < exported().path.stat().st_size / 2


def test_the_input_file_stays_and_nothing_else_is_left_behind(tmp_path):
    before = exported().path.read_bytes()
    int8 = apply("quantize", exported(), context(tmp_path), samples=16)
    assert exported().path.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} - {"progress.json"} == {int8.path.name}


@pytest.mark.parametrize(
    "params", [{}, {"calibration": "entropy"}, {"method": "dynamic"}, {"method": "weight_only"}], ids=str
)
def test_the_same_bytes_each_time(params):
    first, second = (apply("quantize", exported(), context(), samples=24, **params) for _ in range(2))
    assert first.path.read_bytes() == second.path.read_bytes()


@pytest.mark.parametrize("calibration", ["entropy", "percentile"])
def test_other_ways_to_find_ranges(calibration):
    ctx = context()
    int8 = apply("quantize", exported(), ctx, samples=60, calibration=calibration, percentile=99.9)
    assert ctx.notes["calibration"] == calibration
    assert accuracy(int8) >= accuracy(exported()) - 0.02
    scales = [initializers(apply("quantize", exported(), context(), samples=60, calibration=c).path)["pixel_values_scale"]
              for c in ("minmax", calibration)]  # fmt: skip
    assert scales[1] <= scales[0]


def test_nothing_is_printed_or_logged(capfd, caplog):
    for params in (
        {"calibration": "percentile"},
        {"method": "dynamic"},
        {"method": "weight_only"},
        {"method": "float16"},
    ):
        apply("quantize", exported(), context(), samples=8, **params)
    printed = capfd.readouterr()
    assert (printed.out, printed.err, caplog.text) == ("", "", "")


def test_excluded_layers_stay_in_float_and_are_named(tmp_path):
    ctx = context()
    int8 = apply("quantize", exported(), ctx, samples=32, exclude=["stages.0.*", "head"])
    assert ctx.notes["layers_in_float"] == {
        "stages.0.0.conv1": "not chosen", "stages.0.0.conv2": "not chosen", "classifier": "not chosen",
    }  # fmt: skip
    assert "stages.0.0.conv1.weight" in initializers(int8.path)
    assert optimized(int8.path, tmp_path)["QLinearConv"] == 4
    assert ctx.notes["warnings"] == [
        f"Only {ctx.notes['integer_mac_share']:.0%} of the multiply-accumulates run in integer kernels: the model may be no "
        "faster than float"
    ]


@pytest.mark.parametrize("pattern", ["stages.1", "stages.1.0.*", "Conv", "conv", "stages.1.0.conv1"])
def test_include_takes_names_types_and_groups(pattern):
    ctx = context()
    apply("quantize", exported(), ctx, samples=8, include=[pattern])
    everything = pattern in {"Conv", "conv"}
    expected = CONVOLUTIONS if everything else [name for name in CONVOLUTIONS if name.startswith(pattern.rstrip("*."))]
    assert ctx.notes["layers_quantized"] == expected


def test_a_pattern_that_matches_no_layer_names_the_nearest():
    with pytest.raises(OperationError, match=re.escape("exclude 'stage.1' matches no layer. Did you mean 'stages.1'?")):
        apply("quantize", exported(), context(), exclude=["stage.1"])


def test_transformers_have_their_products_in_int8_and_attention_left_sensible():
    ctx = sentences()
    int8 = apply("quantize", bert_file(), ctx, samples=64)
    names = ctx.notes["layers_quantized"]
    assert "bert.encoder.layer.0.attention.self.query" in names
    assert "classifier" in names
    assert len(names) == 14
    assert ctx.notes["layers_in_float"] == {
        f"bert.encoder.layer.{n}.attention.self.matmul{twice}": "a product of two activations; include it by name or with "
        "the group attention"
        for n in (0, 1) for twice in ("", "#2")
    }  # fmt: skip
    assert (
        agreement(int8, bert_file(), sentence_batch()) > 19
    )  # without a plan weights have 7 bits, as any processor takes


def test_attention_products_are_quantized_when_asked_for():
    ctx = sentences()
    apply("quantize", bert_file(), ctx, samples=16, include=["linear", "attention"])
    assert ctx.notes["integer_mac_share"] == 1.0


def test_layers_of_a_transformer_are_chosen_by_torch_names():
    ctx = context()
    apply("quantize", vit_file(), ctx, samples=16, exclude=["vit.layers.0.attention.q_proj", "*.mlp"])
    left = [name for name, why in ctx.notes["layers_in_float"].items() if why == "not chosen"]
    assert left == ["vit.layers.0.attention.q_proj"] + [f"vit.layers.{n}.mlp.fc{m}" for n in (0, 1) for m in (1, 2)]


def test_dynamic_rounds_linear_layers_without_data():
    ctx = context(data=Changed(empty=("calibration",)))
    int8 = apply("quantize", vit_file(), ctx, method="dynamic")
    assert "calibration" not in ctx.notes
    assert ctx.notes["layers_in_float"]["vit.embeddings.patch_embeddings.projection"] == "not chosen"
    assert {row.precision for row in count_macs(int8.path) if "proj" in row.layer and "patch" not in row.layer} == {
        "int8"
    }
    assert agreement(int8, vit_file()) > 20


def test_dynamic_layers_may_follow_each_other_and_share_weights(tmp_path):
    """As after factorisation, where one layer's output is the next one's input."""
    draws = np.random.default_rng(0)
    weights = {
        name: draws.standard_normal(shape).astype(np.float32)
        for name, shape in (("a.weight", (8, 8)), ("b.weight", (8, 8)))
    }
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "a.weight"], ["h1"]),
        onnx.helper.make_node("MatMul", ["h1", "a.weight"], ["h2"]),
        onnx.helper.make_node("MatMul", ["h2", "b.weight"], ["y"]),
    ]
    value = partial(onnx.helper.make_tensor_value_info, elem_type=onnx.TensorProto.FLOAT)
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = onnx.helper.make_graph(nodes, "g", [value("x", shape=["n", 8])], [value("y", shape=["n", 8])], tensors)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "chain.onnx")
    architecture = replace(exported().architecture, inputs={"x": ("float32", (8,))})
    int8 = apply("quantize", OnnxModel(tmp_path / "chain.onnx", architecture), context(), method="dynamic")
    x = draws.standard_normal((5, 8)).astype(np.float32)
    wanted = x @ weights["a.weight"] @ weights["a.weight"] @ weights["b.weight"]
    [given] = open_session(int8.path).run(None, {"x": x})
    assert np.abs(given - wanted).max() < 0.05 * np.abs(wanted).max()
    assert precision_shares(count_macs(int8.path)) == {"int8": 1.0}


def test_dynamic_convolutions_come_with_a_warning():
    ctx = context()
    apply("quantize", exported(), ctx, method="dynamic", include=["conv"])
    assert ctx.notes["warnings"] == [
        "Dynamic int8 convolutions are several times slower than float in ONNX Runtime; method: static is the fast one"
    ]


@pytest.mark.parametrize(("bits", "decibels"), [(8, 25), (4, 6)])
def test_weight_only_stores_blocks(bits, decibels):
    ctx = sentences()
    result = apply("quantize", bert_file(), ctx, method="weight_only", bits=bits, block_size=16)
    graph = onnx.load(result.path).graph
    blocks = [node for node in graph.node if node.op_type == "MatMulNBits"]
    assert len(blocks) == 14
    assert {a.i for node in blocks for a in node.attribute if a.name == "bits"} == {bits}
    assert ctx.notes["mac_shares"][f"int{bits}_weights"] > 0.8
    assert ctx.notes["integer_mac_share"] == 0.0
    assert agreement(result, bert_file(), sentence_batch()) > decibels


def test_weight_only_says_what_it_does_not_cover():
    ctx = context()
    apply("quantize", exported(), ctx, method="weight_only")
    reason = "weight-only integers are for linear layers; method: static covers convolutions"
    assert ctx.notes["layers_in_float"] == dict.fromkeys(CONVOLUTIONS, reason)
    with pytest.raises(OperationError, match=r"changes linear or embedding layers only, and 'stem\.0' is none"):
        apply("quantize", exported(), context(), method="weight_only", include=["stem.0"])


def test_embedding_tables_are_stored_in_int8():
    ctx = sentences()
    int8 = apply("quantize", bert_file(), ctx, samples=16)
    assert ctx.notes["embeddings_quantized"] == ["bert.embeddings.word_embeddings"]
    table = bert().module.bert.embeddings.word_embeddings.weight.detach().numpy()
    weights = initializers(int8.path)
    stored = weights["bert.embeddings.word_embeddings.weight_quantized"]
    assert stored.dtype == np.int8
    widened = stored * weights["bert.embeddings.word_embeddings.weight_scale"]
    assert np.abs(widened - table).max() <= np.abs(table).max() / 254 * 1.01
    without = sentences()
    apply("quantize", bert_file(), without, samples=16, exclude=["embedding"])
    assert without.notes["embeddings_quantized"] == []


def test_what_is_quantized_already_is_refused():
    int8 = apply("quantize", exported(), context(), samples=8)
    with pytest.raises(
        OperationError, match="no convolution or linear layer with float32 weights: it is quantized already"
    ):
        apply("quantize", int8, context(), samples=8)
    refuse, check = OPERATIONS["quantize"].refuse, OPERATIONS["quantize"].check
    below = Ancestry({}, "", (("train", {}), ("quantize", check({}))))
    assert refuse(below, check({})).startswith(
        "a step above has quantized with `method: static`, which takes all its layers"
    )
    half = check({"method": "float16", "compute": "float16"})
    assert refuse(below, half).startswith("`compute: float16` converts the whole graph")
    for params in ({"method": "dynamic"}, {"method": "weight_only", "bits": 4}, {"method": "float16"}):
        assert refuse(below, check(params)) is None
    assert refuse(Ancestry({}, "", (("train", {}),)), check({})) is None


@pytest.mark.parametrize(
    ("method", "gives"), [("static", 8), ("dynamic", 8), ("float16", 16), ("bfloat16", 16), ("weight_only", None)]
)
def test_bits_that_a_method_cannot_give_are_refused(method, gives):
    spec = OPERATIONS["quantize"]
    refused = spec.refuse(Ancestry({}, "", ()), spec.check({"method": method, "bits": 4}))
    assert refused == (
        gives
        and f"`bits: 4` is for `method: weight_only`; `{method}` always gives {gives} bits. Set `method: weight_only`, or "
        "leave `bits` out"
    )
    assert spec.refuse(Ancestry({}, "", ()), spec.check({"method": method})) is None


def test_bad_calibration_data_is_refused(tmp_path):
    with pytest.raises(OperationError, match="The calibration split is empty: give the data set some calibration"):
        apply("quantize", exported(), context(data=Changed(empty=("calibration",))))
    broken = context(data=Changed(lambda split, batch, call: with_nan(batch)))
    with pytest.raises(
        OperationError, match=r"Calibration instance 'digit-\d+': input 'pixel_values' has NaN or infinite"
    ):
        apply("quantize", exported(), broken)


def test_calibration_uses_the_calibration_split_alone():
    asked = []
    data = Changed(lambda split, batch, call: asked.append((split, len(batch))) or batch)
    apply("quantize", exported(), context(data=data), samples=20)
    assert asked == [("calibration", 20), ("calibration", 8)]  # ranges, then outputs beside the float file's


def test_a_users_file_with_other_names_is_calibrated_by_position(tmp_path):
    model = onnx.load(exported().path)
    for node in model.graph.node:
        del node.metadata_props[:]
        for index, name in enumerate(node.input):
            node.input[index] = "image" if name == "pixel_values" else name
    model.graph.input[0].name = "image"
    onnx.save(model, tmp_path / "user.onnx")
    ctx = context()
    int8 = apply("quantize", OnnxModel(tmp_path / "user.onnx", exported().architecture), ctx, samples=32)
    assert ctx.notes["layers_quantized"] == [*CONVOLUTIONS, "classifier"]
    assert precision_shares(count_macs(int8.path)) == {"int8": 1.0}


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "flags : fpu avx2 avx512_vnni", ("uint8", False)),
        ("x86_64", "flags : fpu avx2 avx_vnni", ("uint8", False)),
        ("x86_64", "flags : fpu avx2", ("uint8", True)),
        ("AMD64", None, ("uint8", True)),
        ("aarch64", "Features : asimd", ("int8", False)),
        ("arm64", None, ("int8", False)),
    ],
)
def test_types_follow_the_cpu(monkeypatch, tmp_path, machine, flags, expected):
    if flags:
        (tmp_path / "cpuinfo").write_text(f"processor : 0\n{flags}\n")
    monkeypatch.setattr(cpu_features, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(cpu_features.platform, "machine", lambda: machine)
    integer_arithmetic.cache_clear()
    found = integer_arithmetic()
    integer_arithmetic.cache_clear()
    assert (found.activations, found.reduce_range) == expected


def test_types_can_be_given():
    ctx = context()
    int8 = apply("quantize", exported(), ctx, samples=8, activations="int8", reduce_range=True)
    assert (ctx.notes["activation_type"], ctx.notes["reduce_range"]) == ("int8", True)
    weights = initializers(int8.path)
    assert weights["pixel_values_zero_point"].dtype == np.int8
    assert np.abs(weights["stem.0.weight_quantized"].astype(int)).max() <= 64
    assert set(digits().classes) == set("0123456789")


class Pooled(nn.Module):
    """The last windows of the average hang over the edge of the picture: 8 is no multiple of 3."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.pool, self.head = nn.AvgPool2d(3, ceil_mode=True), nn.Linear(8, 10)

    def forward(self, x):
        return self.head(torch.relu(self.second(self.pool(torch.relu(self.first(x))))).mean((2, 3)))


def test_an_average_over_the_edge_is_what_it_is_in_float():
    """ONNX Runtime's average in integers divides by nine there, where there are six cells or four."""
    torch.manual_seed(0)
    file = export(model_of(Pooled()))
    int8 = apply("quantize", file, context(), samples=64)
    batch = next(digits().batches("calibration", batch_size=64, samples=64))
    expected, values = logits(file, batch), logits(int8, batch)
    assert 10 * np.log10(np.square(expected).sum() / np.square(values - expected).sum()) > 25
    assert sum(row.macs for row in count_macs(int8.path) if row.precision == "int8") > 0
