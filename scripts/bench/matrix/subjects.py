"""Strangers: an architecture as the parent of operations, with what checks need of it; and the cells of the matrix."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ops.core.model import OnnxModel, TorchModel
from ops.core.operation import OPERATIONS, Ancestry, Format
from ops.onnx_graph.session import open_session
from pipeline.models import storage
from pipeline.models.onnx_export import export_onnx
from scripts.bench.matrix import by_hand
from scripts.bench.matrix.architectures import Subject
from scripts.bench.matrix.by_hand import require
from scripts.bench.matrix.data import INSTANCES, Noise, context, network

RATE = 1e-2
STEP = {
    "epochs": 1, "samples": INSTANCES, "batch_size": INSTANCES, "optimizer": "sgd", "learning_rate": RATE,
    "schedule": "constant", "weight_decay": 0.0,
}  # fmt: skip
"""One step of training, that `by_hand.step` makes too."""


class Stranger:
    """One architecture with its data, and what several cells need of it."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self.subject, self.folder = subject, folder
        self.data = Noise(subject)

    @cached_property
    def model(self) -> TorchModel:
        """The network with random weights."""
        return network(self.subject, self.data)

    @cached_property
    def onnx(self) -> OnnxModel:
        """The same as a file, as the pipeline writes it."""
        path = self.folder / "exported.onnx"
        export_onnx(self.model, path)
        return OnnxModel(path, self.model.architecture)

    @cached_property
    def pruned(self) -> TorchModel:
        """Half of the weights are zero."""
        return self.apply("magnitude_prune", {"sparsity": 0.5, "scope": "layer"}, self.model)[0]

    def apply(self, op: str, params: Mapping[str, Any], model: Any) -> tuple[Any, dict[str, Any]]:
        """Apply an operation as a worker does; return its result and its notes."""
        spec = OPERATIONS[op]
        ctx = context(Path(tempfile.mkdtemp(dir=self.folder)), self.data, self.model)
        arguments = [ctx] if model is None else [model, ctx]
        result = spec.apply(*arguments, **spec.check(params))
        return result, json.loads(json.dumps(ctx.notes))

    def run_file(self, path: Path, count: int = 8) -> dict[str, torch.Tensor]:
        """Return what a file gives for the first instances, one by one: so are files with dynamic ranges served."""
        session = open_session(path)
        names = [value.name for value in session.get_outputs()]
        batch = self.data.batch(count).inputs
        feeds = [
            {value.name: batch[value.name][row : row + 1] for value in session.get_inputs()} for row in range(count)
        ]
        parts = [session.run(names, feed) for feed in feeds]
        return {name: torch.cat([torch.from_numpy(part[place]) for part in parts]) for place, name in enumerate(names)}


Check = Callable[[Stranger, Any, Any, Mapping[str, Any]], None]
"""Of an architecture, the parent, the result and the notes; raises `WrongError`."""


@dataclass(frozen=True, slots=True)
class Column:
    """An operation with parameters."""

    op: str
    check: Check
    params: Mapping[str, Any] = field(default_factory=dict)
    variant: str = ""
    after: Callable[[Stranger], Any] = lambda stranger: stranger.model
    """The model that it is applied to."""
    before: tuple[str, ...] = ()
    """Operations that made that model, for the plan."""

    @property
    def title(self) -> str:
        """The operation, and what tells it from its other columns."""
        return f"{self.op} {self.variant}".strip()


def run(column: Column, stranger: Stranger) -> str | None:
    """Apply the operation and check the result; return why it is refused, or None if all is right.

    Raises:
        Exception: whatever goes wrong, `WrongError` if the result is not that of the computation by hand.
    """
    params = dict(column.params)
    spec = OPERATIONS[column.op]
    if spec.consumes is None:
        entry = _entry(stranger, column.op)
        params["model"] = entry
    else:
        entry = dict(stranger.subject.entry)
    ancestry = Ancestry(entry, stranger.subject.task, tuple((name, {}) for name in column.before))
    if spec.refuse is not None and (reason := spec.refuse(ancestry, spec.check(params))):
        return reason
    parent = (
        None if spec.consumes is None else stranger.onnx if spec.consumes is Format.ONNX else column.after(stranger)
    )
    before = None if parent is None else _state(parent)
    result, notes = stranger.apply(column.op, params, parent)
    require(before is None or _unchanged(before, _state(parent)), "the operation changed its input")
    column.check(stranger, parent, result, notes)
    if isinstance(result, TorchModel):
        _check_stored(stranger, result)
    return None


def _entry(stranger: Stranger, op: str) -> dict[str, Any]:
    entry = dict(stranger.subject.entry)
    if op == "load":
        from safetensors.torch import save_file

        path = stranger.folder / "weights.safetensors"
        state = {name: tensor.clone().contiguous() for name, tensor in stranger.model.module.state_dict().items()}
        save_file(state, path)
        return {**entry, "weights": str(path)}
    if op == "load_onnx":
        return {"name": entry["name"], "builder": "onnx", "path": str(stranger.onnx.path)}
    return entry


def _state(model: Any) -> Any:
    if isinstance(model, OnnxModel):
        return {"file": torch.frombuffer(bytearray(model.path.read_bytes()), dtype=torch.uint8)}
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


def _unchanged(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> bool:
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def _check_stored(stranger: Stranger, result: TorchModel) -> None:
    """Require that an artifact of the result gives the same outputs."""
    folder = Path(tempfile.mkdtemp(dir=stranger.folder))
    storage.save(result, folder)
    again = storage.load(folder)
    expected = by_hand.outputs(result.module, stranger.data)
    for name, values in by_hand.outputs(again.module, stranger.data).items():
        require(torch.equal(values, expected[name]), f"stored and loaded, '{name}' is another")


# pruning
