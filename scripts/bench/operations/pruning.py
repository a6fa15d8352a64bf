"""Pruning beside what it is measured against: torch.nn.utils.prune, Torch-Pruning, and the memory bus.

    python scripts/bench/operations/pruning.py [--rounds 5]

One thread, CPU seconds, best of the rounds on each side. Exits with 1 where ours is behind what is promised: the same masks
as torch.nn.utils.prune, the same operations and weights as Torch-Pruning called directly, and magnitude pruning of a
100-million-weight model at a quarter of the memory bandwidth or more.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import numpy as np
import torch
import torch_pruning
from torch import nn
from torch.nn.utils import prune

from ops.core.forward import example_inputs
from ops.core.model import Architecture
from ops.core.operation import OPERATIONS, TorchModel
from pipeline.stages.operation_context import WorkerContext
from tests.ops.resnet18 import resnet18

SHARE = 0.25
"""Of the memory bandwidth that magnitude pruning is to reach."""


class NoData:
    """A data set without instances: cuts are compared on random inputs."""

    def size(self, split: str) -> int:
        """Return the number of instances of a split."""
        return 0


def apply(op: str, model: TorchModel, **params: Any) -> TorchModel:
    """Apply an operation that needs no instances."""
    with tempfile.TemporaryDirectory() as scratch:
        context = WorkerContext(seed=0, scratch=Path(scratch), dataset=NoData, build=_none, references={})
        result: TorchModel = OPERATIONS[op].apply(model, context, **OPERATIONS[op].check(params))
    return result


def _none(*_: Any) -> Any:
    raise AssertionError("nothing here builds models")


def best(work: Callable[[], object], rounds: int) -> float:
    """CPU seconds of the quickest of `rounds` runs."""
    found = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def beside_torch(rounds: int) -> bool:
    """Global magnitude pruning of ResNet-18 beside `torch.nn.utils.prune`; return whether the masks agree."""
    model = resnet18()

    def torchs() -> nn.Module:
        module = copy.deepcopy(model.module)
        layers = [(part, "weight") for part in module.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
        prune.global_unstructured(layers, prune.L1Unstructured, amount=0.5)
        for layer, name in layers:
            prune.remove(layer, name)
        return module

    ours, theirs = apply("magnitude_prune", model, sparsity=0.5).module.state_dict(), torchs().state_dict()
    differing = sum(int((tensor != theirs[name]).sum()) for name, tensor in ours.items())
    mine, other = best(lambda: apply("magnitude_prune", model, sparsity=0.5), rounds), best(torchs, rounds)
    print(
        f"magnitude_prune, ResNet-18: {differing} weights differ from torch.nn.utils.prune's; {other / mine:.1f} times as fast"
    )
    return differing == 0


def beside_torch_pruning(rounds: int) -> bool:
    """Channel pruning of ResNet-18 beside Torch-Pruning called directly; return whether operations and weights agree."""
    model = resnet18()
    example = example_inputs(model.architecture, batch=1)["pixel_values"]
    agree = True
    for ours, theirs in (
        ({"round_to": 1}, {}),
        ({"round_to": 8}, {"round_to": 8}),
        ({"round_to": 8, "scope": "global"}, {"round_to": 8, "global_pruning": True}),
    ):

        def directly(options: dict[str, Any] = theirs) -> nn.Module:
            module = copy.deepcopy(model.module)
            pruner = torch_pruning.pruner.BasePruner(
                module, example, importance=torch_pruning.importance.GroupMagnitudeImportance(p=2), pruning_ratio=0.5,
                ignored_layers=[module.fc], in_channel_groups={}, out_channel_groups={}, num_heads={}, **options,
            )  # fmt: skip
            pruner.step()
            return module

        def by_us(options: dict[str, Any] = ours) -> TorchModel:
            return apply("channel_prune", model, ratio=0.5, max_ratio=1.0, **options)

        mine = torch_pruning.utils.count_ops_and_params(by_us().module, example)
        other = torch_pruning.utils.count_ops_and_params(directly(), example)
        ratio = best(directly, rounds) / best(by_us, rounds)
        same = "as" if mine == other else f"not as ({other[0]:,.0f} MACs, {other[1]:,} parameters)"
        print(
            f"channel_prune, ResNet-18 at 0.5 {ours}: {mine[0]:,.0f} MACs, {mine[1]:,} parameters, {same} Torch-Pruning "
            f"called directly; {ratio:.2f} times as fast (ours also checks and records the cut)"
        )
        agree &= mine == other
    return agree


def beside_memory(rounds: int) -> bool:
    """Magnitude pruning of 24 layers of 2048 x 2048; return whether it reaches the promised share of the bandwidth.

    The bandwidth is that of copying as many weights into new memory, which every operation that leaves its input alone has to
    do; that between arrays whose pages are already there is printed beside it.
    """
    layers = nn.Sequential(*(nn.Linear(2048, 2048, bias=False) for _ in range(24)))
    model = TorchModel(layers.eval(), Architecture("wide", "", {}, "image-classification", (), {}))
    count = sum(p.numel() for p in layers.parameters())
    source, target = np.ones(count, np.float32), np.zeros(count, np.float32)
    new = 8 * count / best(source.copy, rounds) / 1e9
    touched = 8 * count / best(lambda: np.copyto(target, source), rounds) / 1e9
    print(
        f"memory bandwidth, reading and writing: {new:.1f} GB/s into new memory, {touched:.1f} GB/s between touched arrays"
    )
    reached = True
    for scope in ("global", "layer"):
        seconds = best(lambda scope=scope: apply("magnitude_prune", model, sparsity=0.5, scope=scope), rounds)
        # weights are read once to find the threshold and once to apply it; the result and its masks are written
        rate = (4 + 4 + 4 + 1) * count / seconds / 1e9
        print(
            f"magnitude_prune, scope {scope}, {count / 1e6:.1f} M weights: {seconds * 1e3:.0f} ms, {rate:.1f} GB/s: "
            f"{rate / new:.0%} of the bandwidth into new memory, {rate / touched:.0%} of that between touched arrays"
        )
        reached &= rate / new >= SHARE
    return reached


def main() -> None:
    """Print every comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    met = [compare(given.rounds) for compare in (beside_torch, beside_torch_pruning, beside_memory)]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
