"""No library tells its maker which models are opened."""

import os
import subprocess
import sys

import pytest
from onnx import TensorProto, helper, save

from tests.pipeline.command import ROOT

OPENED = {
    "ops": "from ops.onnx_graph.session import open_session; open_session(file)",
    "pipeline": (
        "from pathlib import Path; from pipeline.targets.open import open_target\n"
        "with open_target({'target': 'onnxruntime'}).open(Path(file), threads=1): pass"
    ),
}


@pytest.mark.parametrize("package", OPENED)
def test_onnx_runtime_prepares_no_report(tmp_path, package):
    """It would keep an identity of the machine, and what is to be sent, in the person's home."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "private", ends[:1], ends[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "private.onnx")
    home = tmp_path / "home"
    home.mkdir()
    # it is silent by itself where it takes the machine for one that tests software
    passed_on = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    }
    process = subprocess.run(
        [sys.executable, "-c", f"file = {str(tmp_path / 'private.onnx')!r}\n{OPENED[package]}"],
        env={**passed_on, "HOME": str(home), "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert not [path for path in home.rglob("*") if "onnxruntime" in path.name]
