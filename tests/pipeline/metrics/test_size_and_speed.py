"""Sizes of real files, each by its own name, and figures of timings that are only stated with enough runs."""

import numpy as np
import pytest
import zstandard

from pipeline.measure.metrics import size, speed
from pipeline.measure.metrics.api import Estimate, ModelFiles, Scenario, Speedups, Timings
from pipeline.measure.metrics.compute import compute


def layer(size, nonzeros, bits=32):
    return {"size": size, "nonzeros": nonzeros, "bits": bits}


def files(path, *layers, **fields):
    return ModelFiles(path, tuple(layers), **{"macs": None, **fields})


def test_bytes_of_the_file_and_of_its_download(nets):
    model = files(nets.float32)
    stored = nets.float32.read_bytes()
    assert size.file_bytes(model) == len(stored)
    assert size.compressed_bytes(model) == pytest.approx(len(zstandard.ZstdCompressor(3).compress(stored)), rel=0.01)


def test_external_weights_and_folders_count(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"12345")
    (tmp_path / "model.onnx.data").write_bytes(b"1234567")
    (tmp_path / "manifest.json").write_bytes(b"not part of the model")
    assert size.file_bytes(files(tmp_path / "model.onnx")) == 12
    assert size.file_bytes(files(tmp_path)) == 12


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layer(1024, 1024), 4096),  # dense: no index
        (layer(1024, 512), (512 * 32 + 1024) / 8),  # half: a bitmap
        (layer(1024, 10), np.ceil((10 * 32 + 10 * 10) / 8)),  # few: ten positions of ten bits
        (layer(1024, 10, bits=8), np.ceil((10 * 8 + 10 * 10) / 8)),
        (layer(1, 1), 4),
        (layer(8, 0), 0),
    ],
)
def test_ideal_sparse_bytes_by_hand(tmp_path, layer, expected):
    assert size.ideal_sparse_bytes(files(tmp_path, layer)) == expected


def test_counts(tmp_path):
    model = files(tmp_path, layer(100, 25), layer(300, 75), macs=1234, kernels={"int8": 0.6, "int4_weights": 0.4})
    assert (size.parameters(model), size.nonzeros(model), size.sparsity(model)) == (400, 100, 0.75)
    assert (size.macs(model), size.integer_mac_share(model)) == (1234, 0.6)
    assert size.sparsity(files(tmp_path)) is None
    assert size.integer_mac_share(files(tmp_path)) is None
    assert size.integer_mac_share(files(tmp_path, kernels={})) is None
    assert size.integer_mac_share(files(tmp_path, kernels={"float32": 1.0})) == 0


def test_batch_norms_left_in_a_quantized_file(nets, tmp_path):
    import onnx

    assert size.unfused_batch_norms(files(nets.float32)) is None
    assert size.unfused_batch_norms(files(nets.int8)) == 0
    model = onnx.load(nets.int8)
    model.graph.node.add(op_type="BatchNormalization")
    onnx.save(model, tmp_path / "left.onnx")
    assert size.unfused_batch_norms(files(tmp_path / "left.onnx")) == 1


def timings(runs, **fields):
    milliseconds = np.arange(1, runs + 1) / 1000
    return Timings(milliseconds, milliseconds / 2, **{"batch_size": 1, "threads": 1, **fields})


def test_percentiles_need_their_runs():
    few, many = timings(100), timings(662)
    assert speed.latency_p99(few) is None
    assert speed.latency_p99(many).value == pytest.approx(656)
    assert speed.latency_p90(few).value == pytest.approx(90)
    assert speed.latency_p90(timings(63)) is None
    assert speed.latency_p50(timings(10)) is None
    found = speed.latency_p50(few)
    assert found.value == pytest.approx(50)
    assert found.low < found.value < found.high
    assert speed.cpu_time_p50(few).value == pytest.approx(25)


def test_a_target_without_cpu_time_has_none():
    assert speed.cpu_time_p50(Timings(np.ones(20), np.zeros(20), 1, 1)) is None


def test_throughput_counts_instances():
    found = Timings(np.full(10, 0.5), np.full(10, 1.0), batch_size=8, threads=2, scenario=Scenario.OFFLINE)
    assert speed.throughput(found).value == pytest.approx(16)


def test_cold_figures_stay_apart():
    found = timings(20, load_seconds=0.25, first_run_seconds=0.05, peak_bytes=7, joules=40)
    values = {spec.name: estimate.value for spec, estimate in compute(found)}
    assert values["load_time"] == 250
    assert values["first_run_time"] == 50
    assert values["peak_memory"] == 7
    assert values["energy"] == 2
    assert "energy" not in {spec.name for spec, _ in compute(timings(20))}  # no counter, no figure


def test_speedups_carry_their_intervals():
    found = {spec.name: estimate for spec, estimate in compute(Speedups(Estimate(2, 1.9, 2.1, 12), None))}
    assert found == {"speedup": Estimate(2, 1.9, 2.1, 12)}
