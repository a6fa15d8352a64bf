"""Where the time goes: layers of exported and quantized files under ONNX Runtime's profiler, and what a store says of it."""

import time

import numpy as np
import pytest

from pipeline.layers.stats.onnx_profile import layer_times
from pipeline.models import storage
from pipeline.store.reader import open_results
from pipeline.store.records import run_records
from pipeline.store.writer import Store
from pipeline.targets.api import Profiler, TargetError
from pipeline.targets.onnxruntime import OnnxRuntime
from pipeline.targets.pytorch import PyTorch
from tests.pipeline.layers.layers_bench import Bench
from tests.pipeline.store.facts import RUN, model


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = Bench(tmp_path_factory.mktemp("times"))
    made.apply("int8", made.base(), "quantize", samples=16)
    return made


def measured(bench, name, folder):
    source = bench.sources[name]
    key = source.export if name == "base" else source.model
    batch = next(bench.dataset.batches("evaluation", batch_size=1))
    return layer_times(
        bench.artifacts.path(key) / storage.ONNX_FILE, OnnxRuntime(), batch.inputs, folder, model=source.model,
        threads=1, device="here",
    )  # fmt: skip


def test_every_layer_of_a_float_file_has_a_time(bench, tmp_path):
    begin = time.perf_counter()
    found = {each.module: each for each in measured(bench, "base", tmp_path)}
    elapsed = time.perf_counter() - begin
    assert {"conv", "conv2", "mixer.0", "mixer.1", "mixer.2", "head"} <= set(found)
    assert any("Conv" in kernel for kernel in found["conv"].kernels)
    assert any("LayerNorm" in kernel for kernel in found["mixer.1"].kernels)
    assert [each.position for each in found.values()] == list(range(len(found)))
    assert all(each.runs >= 3 for each in found.values())
    assert 0 < sum(each.seconds for each in found.values()) < elapsed
    order = list(found)
    assert order.index("conv") < order.index("conv2") < order.index("mixer.1") < order.index("head")


def test_every_layer_of_an_int8_file_has_a_time_and_says_how_it_runs(bench, tmp_path):
    found = {each.module: each for each in measured(bench, "int8", tmp_path)}
    assert {"conv", "conv2", "mixer.0", "mixer.2", "head"} <= set(found)
    assert any(kernel.startswith("QLinearConv") for kernel in found["conv2"].kernels)


def test_a_wider_layer_takes_longer(tmp_path):
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((64, width)).astype(np.float32) for width in (8, 20_000)]
    nodes = [helper.make_node("MatMul", ["x", f"{name}.weight"], [name]) for name in ("small", "large")]
    graph = helper.make_graph(
        nodes, "two", [helper.make_tensor_value_info("x", 1, [1, 64])],
        [helper.make_tensor_value_info(name, 1, None) for name in ("small", "large")],
        [numpy_helper.from_array(w, f"{name}.weight") for w, name in zip(weights, ("small", "large"), strict=True)],
    )  # fmt: skip
    path = tmp_path / "two.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    inputs = {"x": np.ones((1, 64), np.float32), "unused": np.ones(1)}
    found = {
        each.module: each.seconds
        for each in layer_times(path, OnnxRuntime(), inputs, tmp_path, model="m", threads=1, device="here")
    }
    assert found["large"] > 3 * found["small"]
    path.write_bytes(b"damaged")
    with pytest.raises(TargetError, match="ONNX Runtime refuses the model"):
        OnnxRuntime().node_times(path, inputs, threads=1, folder=tmp_path)


def test_only_runtimes_that_tell_it_are_asked():
    assert isinstance(OnnxRuntime(), Profiler)
    assert not isinstance(PyTorch(), Profiler)


def test_a_store_gives_the_newest_times_and_their_shares(tmp_path):
    def times(*seconds):
        return [
            run_records.LayerTime("base", "ort", "cpu", f"layer{at}", ["Conv"], at, each, 5, 1)
            for at, each in enumerate(seconds)
        ]

    path = tmp_path / "results.duckdb"
    store = Store(path)
    store.write([RUN, model("base"), run_records.Device("cpu", {}), *times(1.0, 1.0, 1.0)])
    store.write(times(3e-3, 1e-3))
    store.publish()
    store.close()
    with open_results(path) as db:
        rows = db.sql("SELECT module, seconds, share, kernels FROM layer_times ORDER BY position").fetchall()
    assert rows == [("layer0", 3e-3, 0.75, ["Conv"]), ("layer1", 1e-3, 0.25, ["Conv"])]
