"""Sizes of a model's weights as they are written out and after compression, and its multiply-accumulates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ops.core.operation import OnnxModel, TorchModel
from pipeline.measure.metrics.size import ZSTD_LEVEL

__all__ = ["Sizes", "WeightSizes", "work_of"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of all weights of a model."""

    weight_bytes: int
    compressed_weight_bytes: int


@dataclass(slots=True)
class WeightSizes:
    """Sizes of models that have most of their tensors in common: each content is compressed once."""

    _compressed: dict[bytes, int] = field(default_factory=dict)

    def of(self, model: TorchModel | OnnxModel) -> Sizes:
        """Add up the sizes of a model's tensors, each tensor once."""
        import zstandard

        total = compressed = 0
        for array in _arrays(model):
            content = np.ascontiguousarray(array).tobytes()
            name = hashlib.sha256(content).digest()
            if name not in self._compressed:
                self._compressed[name] = len(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(content))
            total += len(content)
            compressed += self._compressed[name]
        return Sizes(total, compressed)


def _arrays(model: TorchModel | OnnxModel) -> Iterator[np.ndarray]:
    """Every tensor once, but for counters."""
    if isinstance(model, OnnxModel):
        import onnx

        for tensor in onnx.load(model.path).graph.initializer:
            yield onnx.numpy_helper.to_array(tensor)
        return
    visited: set[int] = set()
    for tensor in model.module.state_dict().values():
        if tensor.data_ptr() not in visited and tensor.is_floating_point():
            visited.add(tensor.data_ptr())
            yield tensor.detach().numpy()


def work_of(model: TorchModel) -> int:
    """Count the multiply-accumulates of one instance, as torch's own counter does: half of its operations."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from ops.core.forward import example_inputs, forward

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        forward(model.module.eval(), example_inputs(model.architecture, batch=1), model.architecture.task)
    return int(counter.get_total_flops()) // 2
