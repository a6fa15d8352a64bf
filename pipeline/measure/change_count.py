"""The number of a model's values that an operation changed: asked of every operation, whatever it says of itself."""

from __future__ import annotations

from pathlib import Path

from ops.core.operation import OnnxModel, TorchModel

_FULL_BITS = 32

Changed = dict[str, int]
"""`values`: how many of the parent's values are no longer what they were; `of`: how many it has."""


def count_changed(before: TorchModel | OnnxModel, after: TorchModel | OnnxModel) -> Changed | None:
    """Compare a model with its parent; None where the two are not of one kind.

    Of torch models, parameters and the statistics of normalisation count, each tensor once. Of ONNX files, a value has
    changed if it is stored in fewer bits, or differs.
    """
    if isinstance(before, TorchModel) and isinstance(after, TorchModel):
        return _of_networks(before, after)
    if isinstance(before, OnnxModel) and isinstance(after, OnnxModel):
        return _of_files(before.path, after.path)
    return None


def _of_networks(before: TorchModel, after: TorchModel) -> Changed:
    from ops.core.network.parametrized import is_parametrized, plain_weights

    if is_parametrized(before.module) and not is_parametrized(after.module):
        before, _ = plain_weights(before)  # to be made plain changes nothing
    present = {**dict(after.module.named_parameters()), **dict(after.module.named_buffers())}
    count = total = 0
    for name, old in (*before.module.named_parameters(), *before.module.named_buffers()):
        if not (old.is_floating_point() or old.is_complex()):
            continue  # counters, ids
        total += old.numel()
        new = present.get(name)
        comparable = new is not None and new.shape == old.shape
        count += int((new.detach() != old.detach()).sum()) if new is not None and comparable else old.numel()
    return {"values": count, "of": total}


def _of_files(before: Path, after: Path) -> Changed:
    import numpy as np

    from pipeline.layers.tensors.onnx_tensors import onnx_tensors

    present = {tensor.name: tensor for tensor in onnx_tensors(after)}
    count = total = 0
    for old in onnx_tensors(before):
        total += old.size
        new = present.get(old.name)
        if new is None or new.shape != old.shape or (new.bits < _FULL_BITS and new.bits < old.bits):
            count += old.size
        else:
            count += int(np.count_nonzero(new.read() != old.read()))
    return {"values": count, "of": total}
