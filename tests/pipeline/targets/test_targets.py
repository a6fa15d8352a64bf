"""Every target keeps the contract where its runtime is installed, and says what is missing where it is not."""

import ast
import re
import shutil

import pytest

from pipeline.targets import _onnxruntime
from pipeline.targets.api import TARGETS, MissingRuntimeError, TargetError, needs_module
from pipeline.targets.open import open_target, target_class
from tests.pipeline.command import ROOT
from tests.pipeline.nets import samples
from tests.pipeline.targets.target_contract import OnnxTargetContract, TargetContract


def test_sessions_of_onnx_runtime_begin_in_one_place():
    """Else their options, threads and messages drift apart."""
    callers = [
        str(path.relative_to(ROOT))
        for package in ("ops", "pipeline", "viewer")
        for path in sorted((ROOT / package).rglob("*.py"))
        if any(
            isinstance(node, ast.Call) and "InferenceSession" in ast.unparse(node.func)
            for node in ast.walk(ast.parse(path.read_text()))
        )
    ]
    assert callers == ["ops/onnx_graph/session.py"]


class TestOnnxRuntime(OnnxTargetContract):
    @pytest.fixture
    def target(self):
        return open_target({"target": "onnxruntime"})

    def test_does_not_spin(self, target, model):
        """Waiting threads must not burn CPU time, or CPU time would say nothing."""
        import time

        with target.open(model, threads=2) as session:
            session.run({"pixel_values": samples(8)})
            before = time.process_time()
            time.sleep(0.3)
            assert time.process_time() - before < 0.05

    def test_uses_the_threads_it_is_given(self, target, model):
        import psutil

        process = psutil.Process()
        alone = process.num_threads()
        with target.open(model, threads=1):
            assert process.num_threads() == alone
        with target.open(model, threads=3):
            assert process.num_threads() == alone + 2  # the caller works too

    def test_optimization_can_be_switched_off(self, nets):
        with open_target({"target": "onnxruntime", "optimization": "none"}).open(nets.float32, threads=1) as session:
            assert session.run({"pixel_values": samples(1)})[0].shape == (1, 7)


class TestOpenVino(OnnxTargetContract):
    @pytest.fixture
    def target(self):
        pytest.importorskip("openvino", reason="the extra `openvino` is not installed")
        return open_target({"target": "openvino"})

    def test_keeps_float32(self, target, model):
        """On a CPU with bf16 units OpenVINO would round to bfloat16 unasked."""
        compiled = target._compile(model, 1)
        assert str(compiled.get_property("INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"
        assert compiled.get_property("NUM_STREAMS") == 1

    def test_uses_the_threads_it_is_given(self, target, model):
        assert [target._compile(model, count).get_property("INFERENCE_NUM_THREADS") for count in (1, 2)] == [1, 2]


class TestPyTorch(TargetContract):
    @pytest.fixture
    def target(self):
        return open_target({"target": "pytorch"})

    def test_uses_the_threads_it_is_given(self, target, model):
        import torch

        for count in (2, 1):
            with target.open(model, threads=count):
                assert torch.get_num_threads() == count

    def test_refuses_an_onnx_artifact(self, target, nets, tmp_path):
        shutil.copy(nets.float32, tmp_path / "model.onnx")
        shutil.copy(nets.folder / "architecture.json", tmp_path)
        with pytest.raises(TargetError, match="PyTorch runs torch models, and this is an ONNX file"):
            target.open(tmp_path, threads=1)


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
class TestTorchCompile(TargetContract):
    """One session for all tests: a compilation takes half a minute."""

    @pytest.fixture(scope="class")
    def target(self):
        return open_target({"target": "torch_compile"})

    @pytest.fixture(scope="class")
    def model(self, nets):
        return nets.folder

    @pytest.fixture(scope="class")
    def session(self, target, model):
        with target.open(model, threads=1) as session:
            yield session


def test_torch_compile_without_a_compiler(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingRuntimeError, match=re.escape("torch.compile needs a C++ compiler (g++ or clang++)")):
        open_target({"target": "torch_compile"}).require()


@pytest.mark.parametrize("name", ["onnxruntime_cuda", "onnxruntime_tensorrt"])
def test_accelerators_say_what_is_missing(name, nets):
    import onnxruntime as ort

    target = open_target({"target": name})
    if target.provider in ort.get_available_providers():
        pytest.skip(f"{target.provider} is here: there is nothing missing to say")
    assert target.clock == "wall"
    message = f"has no {target.provider}, only "
    with pytest.raises(MissingRuntimeError, match=f"{message}.*Install it with: pip install onnxruntime-gpu"):
        target.open(nets.float32, threads=1)


def test_a_target_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        MissingRuntimeError, match=re.escape("Install it with: pip install -c scripts/constraints.txt -e '.[openvino]'")
    ):
        open_target({"target": "openvino"}).require()
    with pytest.raises(
        MissingRuntimeError, match=re.escape("'gone' is not installed. Install it with: pip install it")
    ):
        needs_module("gone", install="pip install it")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"target": "onnxruntim"}, "No target is called 'onnxruntim'. Did you mean 'onnxruntime'?"),
        (
            {"target": "onnxruntime", "optimisation": "all"},
            "unknown parameter 'optimisation'. Did you mean 'optimization'?",
        ),
        ({"target": "openvino", "precision": "f31"}, "precision: Input should be 'f32', 'bf16' or 'f16' (got 'f31')"),
        ({}, "Target '?': No target is called '?'"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(entry, message):
    with pytest.raises(TargetError, match=re.escape(message)):
        target_class(entry)


def test_every_target_is_cheap_to_name():
    """Planning asks for classes; runtimes are imported when something is opened."""
    import subprocess
    import sys

    code = (
        "import sys; from pipeline.targets.api import TARGETS; from pipeline.targets.open import open_target;"
        "[open_target({'target': name}) for name in TARGETS];"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'openvino'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    for name in TARGETS:
        assert TARGETS[name].name == name
        assert TARGETS[name].clock in ("cpu", "wall")


def test_predictions_and_timings_share_their_options():
    """One function makes the session's options, whatever it is opened for."""
    options = _onnxruntime.runtime_options(3, "all")
    assert options.intra_op_num_threads == 3
    assert options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
