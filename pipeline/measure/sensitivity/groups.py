"""The layers that a candidate can change, each alone or, where channels or tensors are shared, together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ops.core.errors import OperationError
from ops.core.operation import TorchModel
from pipeline.plan.candidates import LayerCandidate

if TYPE_CHECKING:
    import torch

__all__ = ["changed_groups", "quantized_groups"]


def changed_groups(candidate: LayerCandidate, model: TorchModel, changed: TorchModel) -> list[tuple[str, ...]]:
    """Return the groups of layers that differ between a model and the same with the candidate everywhere, in its order."""
    if candidate.spec.joint is not None:
        return [group for group in candidate.spec.joint(model, candidate.params) if group]
    parts, others = dict(model.module.named_modules()), dict(changed.module.named_modules())
    names = [name for name, part in parts.items() if _own(part) and _differs(part, others.get(name))]
    if not names:
        raise OperationError(f"'{candidate.label}' changes no layer of this model")
    return _tied(parts, names)


def quantized_groups(notes: Mapping[str, Any], label: str) -> list[tuple[str, ...]]:
    """Return the layers of an ONNX file that an operation has noted as quantized, each alone."""
    layers = [*notes.get("layers_quantized", ()), *(notes.get("embeddings_quantized") or ())]
    if not layers:
        raise OperationError(f"'{label}' quantizes no layer apart: it has no sensitivity by layer")
    return [(name,) for name in dict.fromkeys(map(str, layers))]


def _own(part: torch.nn.Module) -> bool:
    return next(part.parameters(recurse=False), None) is not None


def _differs(part: torch.nn.Module, other: torch.nn.Module | None) -> bool:
    import torch

    if other is None or type(other) is not type(part):
        return True
    for before, after in ((part.named_parameters, other.named_parameters), (part.named_buffers, other.named_buffers)):
        old, new = dict(before(recurse=False)), dict(after(recurse=False))
        if old.keys() != new.keys():
            return True
        if not all(torch.equal(old[name], new[name]) for name in old):
            return True
    return False


def _tied(parts: Mapping[str, torch.nn.Module], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Put layers that have a tensor in common into one group."""
    groups: list[list[str]] = []
    owners: dict[int, list[str]] = {}
    for name in names:
        tensors = [parameter.data_ptr() for parameter in parts[name].parameters(recurse=False)]
        group = next((owners[each] for each in tensors if each in owners), None)
        if group is None:
            group = []
            groups.append(group)
        group.append(name)
        owners.update(dict.fromkeys(tensors, group))
    return [tuple(group) for group in groups]
