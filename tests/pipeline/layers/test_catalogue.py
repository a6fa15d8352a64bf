"""The result of every registered operation opens in Layers, alone and beside its parent."""

import pytest

from ops.core.operation import OPERATIONS, Format
from pipeline.models import storage
from tests.pipeline.layers.layers_bench import Bench

PARAMETERS = {
    "magnitude_prune": {"sparsity": 0.5},
    "gradient_prune": {"sparsity": 0.5, "samples": 32},
    "activation_prune": {"sparsity": 0.5, "samples": 32},
    "channel_prune": {"ratio": 0.5, "round_to": 2},
    "factorize": {"ratio": 0.5},
    "restore": {"include": ["norm"]},
    "finetune": {"epochs": 1, "samples": 32},
    "calibrate": {"samples": 32},
    "smooth": {"samples": 32},
    "nm_prune": {"samples": 32},
    "quantize": {"samples": 32},
}
"""Operations that are not listed run with their defaults."""
VARIANTS = [
    ("quantize", {"method": "dynamic"}),
    ("quantize", {"method": "weight_only", "bits": 4, "block_size": 16}),
    ("quantize", {"method": "weight_only", "bits": 8, "block_size": 32}),
    ("quantize", {"method": "float16"}),
    ("quantize", {"method": "float16", "compute": "float16"}),
    ("quantize", {"method": "bfloat16"}),
    ("quantize", {"samples": 32, "per_channel": False}),
    ("finetune", {"epochs": 1, "samples": 32, "quantization_aware": True}),
]
CATALOGUE = [
    name for name in OPERATIONS if OPERATIONS[name].consumes and OPERATIONS[name].apply.__module__.startswith("ops.")
]
CASES = [(name, PARAMETERS.get(name, {})) for name in CATALOGUE] + VARIANTS
MATRICES = {f"{layer}.weight" for layer in ("conv", "conv2", "mixer.0", "mixer.2", "head")}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = Bench(tmp_path_factory.mktemp("catalogue"))
    made.base()
    return made


@pytest.mark.matrix
@pytest.mark.parametrize(("op", "parameters"), CASES, ids=str)
def test_every_artifact_opens(bench, op, parameters):
    name = f"{op}{sorted(parameters.items())}"
    bench.apply(name, "base", op, **parameters)
    changes, _ = bench.compare(name, "base", op=op)
    found = bench.distributions(name)
    weights = [change for change in changes if change.place == "parameter"]
    matrices = {change.site: change for change in weights if change.site in MATRICES}
    assert set(matrices) == MATRICES
    assert {change.status for change in matrices.values()} == {"compared"}
    assert min(change.sqnr_db for change in matrices.values()) > -10, "the same weights, not others"
    assert not [record for record in found if record.nans or record.infs]
    outputs = [
        change for change in changes if change.place == "activation" and change.reference_key != change.model_key
    ]
    assert [change for change in outputs if change.site == "head" and change.status == "compared"]
    folder = bench.artifacts.path(bench.sources[name].model)
    stages = {record.stage for record in found if record.place == "activation"}
    assert stages == ({"torch", "onnx"} if storage.format_of(folder) is Format.TORCH else {"onnx"})


def test_an_onnx_file_of_ones_own_opens_without_any_network(bench, tmp_path):
    own = Bench(tmp_path)
    export = bench.artifacts.path(bench.sources["base"].export)
    own.put("base", storage.load(export), None)
    own.apply("int8", "base", "quantize", samples=32)
    changes, _ = own.compare("int8", "base")
    found = {change.site: change for change in changes if change.place == "parameter"}
    assert found["conv2.weight"].how == ["int8 dequantized"]
    assert found["conv2.weight"].sqnr_db > 40
    assert [change for change in changes if change.site == "head" and change.status == "compared"]
