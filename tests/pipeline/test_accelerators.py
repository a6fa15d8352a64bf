"""GPUs are part of a device: found in the driver's files, and as far as the process may use them."""

import pytest

from pipeline.core import environment
from pipeline.core.machine import accelerators

TWO = [("GPU-aa11", "NVIDIA H200"), ("GPU-bb22", "NVIDIA L4")]


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Writes what the NVIDIA driver says of each GPU; no tool of it, and no AMD driver."""
    monkeypatch.setattr(accelerators, "_NVIDIA", tmp_path / "gpus")
    monkeypatch.setattr(accelerators, "_AMD", tmp_path / "nodes")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    caches = (accelerators.accelerators, environment.device)
    for function in caches:
        function.cache_clear()

    def write(*names):
        for number, name in enumerate(names):
            folder = tmp_path / "gpus" / f"0000:{number:02d}:00.0"
            folder.mkdir(parents=True)
            (folder / "information").write_text(f"Model: \t\t {name}\nIRQ:   \t\t 84\nGPU UUID: \t GPU-{number}\n")
        for function in caches:
            function.cache_clear()

    yield write
    for function in caches:
        function.cache_clear()


def test_machines_that_differ_in_their_gpu_alone_are_two_devices(driver, monkeypatch):
    none = environment.device_id()
    assert "accelerators" not in environment.device()  # the short names of machines without any stay what they were
    driver("NVIDIA H200", "NVIDIA L4")
    assert environment.device()["accelerators"] == ["NVIDIA H200", "NVIDIA L4"]
    both = environment.device_id()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    for function in (accelerators.accelerators, environment.device):
        function.cache_clear()
    assert environment.device()["accelerators"] == ["NVIDIA L4"]
    assert len({none, both, environment.device_id()}) == 3


def test_amd_nodes_with_shader_units_are_accelerators_and_processors_are_not(driver, tmp_path):
    for number, (name, units) in enumerate((("", 0), ("gfx942", 1216))):
        folder = tmp_path / "nodes" / str(number)
        folder.mkdir(parents=True)
        (folder / "properties").write_text(f"cpu_cores_count 8\nsimd_count {units}\n")
        (folder / "name").write_text(f"{name}\n")
    assert accelerators.accelerators() == ("gfx942",)


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        (None, ["NVIDIA H200", "NVIDIA L4"]),
        ("", []),
        ("-1", []),
        ("1", ["NVIDIA L4"]),
        ("1,0", ["NVIDIA L4", "NVIDIA H200"]),
        ("GPU-bb", ["NVIDIA L4"]),
        ("0,7,1", ["NVIDIA H200"]),
    ],
)
def test_what_the_process_may_use(chosen, names):
    assert accelerators.visible(TWO, chosen) == names
