"""Times of the layers of a deployed file, from a short profiled run.

The runtime fuses and renames nodes. So every node is given a name that says by a number which layer it comes from, and
that survives: what is made of several nodes is called after one of them, or after the value that they give. A profiler
takes time itself, and other work may run meanwhile: the figures say where the time goes, latencies how long a model takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.onnx_graph.layers import WEIGHT_INPUT, matrix_nodes, module_names
from pipeline.core.keys import Key
from pipeline.store.records.run_records import LayerTime

if TYPE_CHECKING:
    import numpy as np

    from pipeline.targets.api import NodeTime, Profiler

_MARK = re.compile(r"@(\d+)@")
_LAID_OUT = re.compile(r"_nchwc(_token_\d+)?$")
"""Ends the names of convolutions that ONNX Runtime runs in a layout of its own; before it stands a value."""
_MOST = 1_500_000_000
"""Bytes of weights beyond which a copy of a file keeps them in a file of their own: protobuf holds 2 GB."""


def layer_times(
    path: Path,
    target: Profiler,
    inputs: Mapping[str, np.ndarray],
    scratch: Path,
    *,
    model: Key,
    threads: int,
    device: str,
) -> list[LayerTime]:
    """Return the time of every layer of an ONNX file, in the order in which they run; of all other nodes as layer ''.

    `inputs` are those of one instance. The time of a layer is the shortest of the runs.

    Raises:
        TargetError: if the runtime refuses the model or fails.
    """
    graph = _marked(path, scratch / "marked.onnx")
    runs: dict[str, list[float]] = {}
    kernels: dict[str, dict[str, None]] = {}
    for node in target.node_times(scratch / "marked.onnx", inputs, threads=threads, folder=scratch):
        layer = graph.layer(node)
        before = runs.setdefault(layer, [0.0] * len(node.seconds))
        runs[layer] = [one + other for one, other in zip(before, node.seconds, strict=True)]
        kernels.setdefault(layer, {})[node.kernel] = None
    return [
        LayerTime(
            model, target.name, device, layer, list(kernels[layer]), position, min(seconds), len(seconds), threads
        )
        for position, (layer, seconds) in enumerate(runs.items())
    ]


@dataclass(frozen=True, slots=True)
class _Graph:
    """A file's nodes by their numbers."""

    layers: list[str]
    multiplies: list[bool]
    """Whether it multiplies by weights."""
    inputs: list[str]
    """The first of each."""
    producers: dict[str, int]
    """Value -> the node that gives it."""

    def layer(self, node: NodeTime) -> str:
        """Return the layer that a node of the runtime's comes from."""
        mark = _MARK.search(node.name)
        if mark:
            return self.layers[int(mark[1])]
        number = self.producers.get(_LAID_OUT.sub("", node.name))
        # a convolution that has taken in what follows it gives that one's value
        while number is not None and node.kernel in WEIGHT_INPUT and not self.multiplies[number]:
            number = self.producers.get(self.inputs[number])
        return self.layers[number] if number is not None else ""


def _marked(path: Path, copy: Path) -> _Graph:
    """Write a copy of a file whose nodes are called by numbers."""
    import onnx

    model = onnx.load(path)
    initializers = {tensor.name for tensor in model.graph.initializer}
    matrices = matrix_nodes(model)  # while it is held, its nodes are the graph's own
    layer_of = {id(matrix.node): matrix.layer.name.partition("#")[0] for matrix in matrices if matrix.weight}
    graph = _Graph([], [], [], {})
    for number, node in enumerate(model.graph.node):
        graph.layers.append(layer_of.get(id(node)) or _module(node, initializers))
        graph.multiplies.append(id(node) in layer_of)
        graph.inputs.append(next(iter(node.input), ""))
        graph.producers.update(dict.fromkeys(node.output, number))
        node.name = f"@{number}@"
    large = sum(len(tensor.raw_data) for tensor in model.graph.initializer) > _MOST
    onnx.save(model, copy, save_as_external_data=large)
    return graph


def _module(node: Any, initializers: set[str]) -> str:
    """The module that a node comes from: by the exporter's records, else by the name of a constant that it takes."""
    recorded = "".join(module_names(node)[-2:-1])
    if recorded:
        return recorded
    return next((name.rpartition(".")[0] for name in node.input if name in initializers and "." in name), "")
