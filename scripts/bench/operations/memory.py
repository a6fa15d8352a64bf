"""Peak memory of every post-training operation, as a multiple of the model's size.

    python scripts/bench/operations/memory.py [--nets bert resnet50] [--only activation_prune ...]

Each operation runs in a process of its own: libraries are loaded and warmed on a small network, memory is read, the model is
built, the high-water mark is reset, and the operation runs. What it needed is the mark less the memory before the model:
model, result and all that lies between. Allowed is 2.5 times the model's size (weights, in float32) plus OVERHEAD, which
activations of the calibration batches, second moments and the libraries' own buffers take.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "131072")
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import numpy as np
import psutil

from ops.core.model import Architecture
from ops.core.operation import OPERATIONS, Batch, TorchModel
from pipeline.stages.operation_context import WorkerContext

LIMIT, OVERHEAD = 2.5, 400 << 20
STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "magnitude_prune": ("magnitude_prune", {"sparsity": 0.5}),
    "magnitude_prune, layer": ("magnitude_prune", {"sparsity": 0.5, "scope": "layer"}),
    "magnitude_prune, lamp": ("magnitude_prune", {"sparsity": 0.5, "scope": "layer", "allocation": "lamp"}),
    "gradient_prune": ("gradient_prune", {"sparsity": 0.5, "samples": 16, "batch_size": 8, "scope": "layer"}),
    "activation_prune, wanda": ("activation_prune", {"sparsity": 0.5, "samples": 32}),
    "activation_prune, sparsegpt": ("activation_prune", {"sparsity": 0.5, "samples": 32, "method": "sparsegpt"}),
    "nm_prune": ("nm_prune", {}),
    "nm_prune, wanda": ("nm_prune", {"score": "wanda", "samples": 32}),
    "channel_prune": ("channel_prune", {"ratio": 0.5}),
    "channel_prune, taylor": ("channel_prune", {"ratio": 0.5, "importance": "taylor", "samples": 16}),
    "factorize": ("factorize", {"ratio": 0.5}),
    "palettize": ("palettize", {"bits": 4}),
    "calibrate, batch_norm": ("calibrate", {"samples": 32}),
    "calibrate, bias_correction": ("calibrate", {"samples": 32, "method": "bias_correction"}),
    "calibrate, reconstruct": ("calibrate", {"samples": 32, "method": "reconstruct"}),
    "smooth": ("smooth", {"samples": 32}),
    "restore": ("restore", {"include": ["norm"]}),
}
UNSUITED = {"bert": {"calibrate, batch_norm"}, "resnet50": {"smooth"}}


def network(name: str, *, small: bool = False) -> TorchModel:
    """A network of real shape, or the same kind small for the warm-up."""
    import torch
    import transformers

    torch.manual_seed(0)
    if name == "bert":
        config = transformers.BertConfig(
            **({"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 1} if small else {})
        )
        tokens = {"input_ids": ("int64", (64,)), "attention_mask": ("int64", (64,))}
        module = transformers.BertForSequenceClassification(config)
        architecture = Architecture(name, "", {}, "text-classification", ("0", "1"), tokens)
    else:
        config = transformers.ResNetConfig(
            **({"hidden_sizes": [64, 64], "depths": [1, 1]} if small else {}), num_labels=10
        )
        pictures = {"pixel_values": ("float32", (3, 64, 64))}
        module = transformers.ResNetForImageClassification(config)
        architecture = Architecture(name, "", {}, "image-classification", tuple("0123456789"), pictures)
    return TorchModel(module.eval(), architecture)


class Noise:
    """Instances of the right shapes."""

    fingerprint = "noise"

    def __init__(self, architecture: Architecture) -> None:
        self.task, self.classes, self.inputs = architecture.task, architecture.classes, architecture.inputs

    def size(self, split: str) -> int:
        """As many as are asked for."""
        return 64

    def batches(
        self, split: str, *, batch_size: int, samples: int | None = None, seed: int | None = None, augment: bool = False
    ) -> Iterator[Batch]:
        """Yield the same instances each time."""
        draws = np.random.default_rng(0)
        for start in range(0, samples or 64, batch_size):
            count = min(batch_size, (samples or 64) - start)
            inputs = {name: self._draw(draws, name, (count, *shape)) for name, (_, shape) in self.inputs.items()}
            labels = draws.integers(0, len(self.classes), count)
            yield Batch(tuple(str(start + row) for row in range(count)), inputs, {"labels": labels})

    def _draw(self, draws: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name == "attention_mask":
            return np.ones(shape, np.int64)
        return draws.standard_normal(shape, np.float32) if name == "pixel_values" else draws.integers(0, 1000, shape)


def apply(model: TorchModel, step: str) -> TorchModel:
    """Apply a step; operations that compare with another model compare with the model itself."""
    op, params = STEPS[step]
    context = WorkerContext(
        seed=0, scratch=Path(tempfile.mkdtemp()), dataset=lambda: Noise(model.architecture), build=_no_build,
        references={"base": lambda: model},
    )  # fmt: skip
    spec = OPERATIONS[op]
    result: TorchModel = spec.apply(model, context, **spec.check(params))
    return result


def _no_build(*_: Any) -> TorchModel:
    raise AssertionError("no step here builds a model")


def measure(name: str, step: str) -> dict[str, float]:
    """Return bytes: of the model, and of the peak above what was there before the model. Call in a fresh process."""
    import torch

    torch.set_num_threads(1)
    apply(network(name, small=True), step)
    before = psutil.Process().memory_info().rss
    model = network(name)
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.module.state_dict().values())
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again
    result = apply(model, step)
    marks = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    assert result.module is not model.module
    return {"size": size, "peak": int(marks["VmHWM"].split()[0]) * 1024 - before}


def main() -> None:
    """Print one line per step and network; exit with 1 if one needs more than is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=["bert", "resnet50"])
    parser.add_argument("--only", nargs="+", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(*given.measure)))
        return
    above = 0
    for name in given.nets:
        for step in given.only:
            if step not in UNSUITED[name]:
                above += report(name, step)
    sys.exit(1 if above else 0)


def report(name: str, step: str) -> bool:
    """Print a step's line; return whether it needs more than is allowed."""
    command = [sys.executable, __file__, "--measure", name, step]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(run.stdout.splitlines()[-1])
    size, peak = found["size"], found["peak"]
    above = peak > LIMIT * size + OVERHEAD
    beyond = max(0.0, peak - LIMIT * size)
    print(
        f"{name:<9} {step:<28} {peak / size:5.2f} x the model's {size / 1e6:.0f} MB"
        f"   {beyond / 1e6:4.0f} MB beyond {LIMIT} x{'   ABOVE THE LIMIT' if above else ''}",
        flush=True,
    )
    return above


if __name__ == "__main__":
    main()
