"""Apply an operation's example to a network, and take down everything that could differ."""

import copy
import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np

from ops.core.forward import example_inputs, forward, tensors
from ops.core.operation import OPERATIONS, Format, OnnxModel, TorchModel
from pipeline.models.onnx_export import export_onnx
from pipeline.targets.onnxruntime import OnnxRuntime
from tests.ops.context import make_context
from tests.ops.examples import Case, Example
from tests.ops.stored import base


def ours() -> list[str]:
    """Registered operations of the package itself: other tests register toys."""
    return [name for name in OPERATIONS if OPERATIONS[name].apply.__module__.startswith("ops.")]


@cache
def damaged(net: str, steps: str) -> TorchModel:
    """The base after some operations, given as JSON so that it can be cached."""
    model = base(net)
    for op, params in json.loads(steps):
        model = OPERATIONS[op].apply(model, make_context(Path()), **OPERATIONS[op].check(params))
    return model


@cache
def onnx_base(net: str, folder: Path) -> OnnxModel:
    path = folder / f"{net}.onnx"
    export_onnx(base(net), path)
    return OnnxModel(path, base(net).architecture)


def given(op: str, example: Example, net: str, folder: Path):
    """The input model in the form that the operation consumes."""
    consumes = OPERATIONS[op].consumes
    if consumes is None:
        return None
    return onnx_base(net, folder) if consumes is Format.ONNX else damaged(net, json.dumps(example.after))


def apply(op: str, example: Example, net: str, *, folder: Path, scratch: Path, **more) -> Case:
    """Apply it as the worker does; `more` parameters override the example's."""
    scratch.mkdir(parents=True, exist_ok=True)
    spec = OPERATIONS[op]
    before = given(op, example, net, folder)
    params = {**example.params, **more}
    if spec.consumes is None:
        params.setdefault("model", dict(example.entry(net, scratch)))
    uses = spec.uses_with(spec.check(params))  # what is not declared is refused, as in a run
    context = make_context(scratch, references={"base": lambda: copy_of(base(net))}, uses=uses)
    arguments = [context] if before is None else [before, context]
    after = spec.apply(*arguments, **spec.check(params))
    return Case(before, after, json.loads(json.dumps(context.notes)))


def copy_of(model: TorchModel) -> TorchModel:
    """As when an artifact is loaded: nothing shared."""
    return TorchModel(copy.deepcopy(model.module), model.architecture, list(model.edits), dict(model.masks))


def snapshot(model) -> dict[str, str]:
    """Digests of all that a model is made of."""
    if isinstance(model, OnnxModel):
        return {"file": hashlib.sha256(model.path.read_bytes()).hexdigest()}
    taken = {name: _digest(tensor) for name, tensor in model.module.state_dict().items()}
    taken |= {f"mask {name}": _digest(mask) for name, mask in model.masks.items()}
    taken["edits"] = json.dumps(model.edits)
    taken["modes"] = str([part.training for part in model.module.modules()])
    taken["gradients"] = str([(p.requires_grad, p.grad is None) for p in model.module.parameters()])
    hooks = [len(p._forward_hooks) + len(p._forward_pre_hooks) + len(p._backward_hooks) for p in model.module.modules()]
    taken["hooks"] = str(hooks)
    return taken


def outputs(model, *, batch: int = 4, inputs=None) -> dict[str, np.ndarray]:
    """What a model gives for these inputs (arrays by name), or else for example inputs, on one thread."""
    import torch

    torch.set_num_threads(1)
    inputs = tensors(inputs) if inputs else example_inputs(model.architecture, batch=batch)
    if isinstance(model, OnnxModel):
        with OnnxRuntime().open(model.path, threads=1) as session:
            given = {name: tensor.numpy() for name, tensor in inputs.items()}
            return dict(zip(session.outputs, session.run(given), strict=True))
    with torch.no_grad():
        return {name: out.numpy() for name, out in forward(model.module, inputs, model.architecture.task).items()}


def _digest(tensor) -> str:
    array = tensor.detach().contiguous().numpy()
    return f"{array.dtype} {array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
