"""Run a network and take its loss, whatever its calling convention. Torch is imported by the caller already."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

from ops.core.tasks.task import TASKS

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ops.core.model import Architecture

TOKENS = ("input_ids", "attention_mask", "token_type_ids")
"""Inputs with a column for each token of a text."""


def tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Return the arrays as tensors, without a copy."""
    import torch

    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def without_padding(inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Cut off the columns at the end of a batch of tokens that no instance attends to.

    They cost time, and change no output but their own.
    """
    mask = inputs.get("attention_mask")
    if mask is None or not mask.any():
        return dict(inputs)
    length = int(mask.any(dim=0).nonzero().max()) + 1
    return {name: tensor[:, :length] if name in TOKENS else tensor for name, tensor in inputs.items()}


def example_inputs(architecture: Architecture, *, batch: int) -> dict[str, torch.Tensor]:
    """Inputs of the right names, types and shapes: normal noise for floats, ones for integers."""
    import torch

    generator = torch.Generator().manual_seed(0)
    output = {}
    for name, (dtype, shape) in architecture.inputs.items():
        kind = getattr(torch, dtype)
        full = (batch, *shape)
        output[name] = (
            torch.randn(full, generator=generator).to(kind) if kind.is_floating_point else torch.ones(full, dtype=kind)
        )
    return output


def give_shapes(module: torch.nn.Module, architecture: Architecture) -> None:
    """Run a network once if it has layers that take their shape from their first input (`LazyLinear`)."""
    import torch
    from torch.nn.parameter import is_lazy

    if any(is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers())):
        with torch.no_grad():
            call(module.eval(), example_inputs(architecture, batch=2))


def forward(module: torch.nn.Module, inputs: Mapping[str, torch.Tensor], task: str) -> dict[str, torch.Tensor]:
    """Return the task's outputs by name, one row per instance (classification: `logits` (N, classes)).

    A network that names its arguments as the data does is called by keyword (Hugging Face), any other by position.

    Args:
        module: in the mode (training or evaluation) that the caller wants.
        inputs: a batch by the data's names, instances along the first axis.
        task: the name of one in `ops.core.tasks`.
    """
    return task_outputs(call(module, inputs), task)


def call(module: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> Any:
    """Return whatever the network returns. It may change its inputs in place (`x -= mean`): it gets copies of its own."""
    accepted = inspect.signature(module.forward).parameters
    own = {name: tensor.clone() for name, tensor in inputs.items()}
    return module(**own) if set(own) <= set(accepted) else module(*own.values())


def task_outputs(result: Any, task: str) -> dict[str, torch.Tensor]:
    """Pick the task's outputs, by name, out of what a network returns; of a task without any, all that have axes."""
    if TASKS[task].any_outputs:
        distinct = {id(output): name for name, output in reversed(all_outputs(result).items()) if output.ndim}
        return {name: output for name, output in all_outputs(result).items() if distinct.get(id(output)) == name}
    return {name: _output(result, name, index) for index, name in enumerate(TASKS[task].outputs)}


def output_names(module: torch.nn.Module, architecture: Architecture) -> tuple[str, ...]:
    """Return the names of the task's outputs; of a task without any, those of what the network gives when it is run once."""
    import torch

    names = TASKS[architecture.task].outputs
    if names:
        return names
    with torch.no_grad():
        return tuple(forward(module.eval(), example_inputs(architecture, batch=1), architecture.task))


def all_outputs(result: Any) -> dict[str, torch.Tensor]:
    """Every tensor that a network returns, in the order in which an exported graph gives them.

    Those without a name of the network's own are called `output N`, by their place.
    """
    import torch
    from torch.utils import _pytree as tree

    if is_dataclass(result) and type(result) not in tree.SUPPORTED_NODES:
        torch.export.register_dataclass(type(result))  # the exporter, too, looks into a person's own only then
    flat = tree.tree_flatten_with_path(result)[0]
    leaves = [(path, leaf) for path, leaf in flat if isinstance(leaf, torch.Tensor)]
    return {_place(path) or f"output {index}": leaf for index, (path, leaf) in enumerate(leaves)}


def _place(path: Any) -> str:
    """`hidden_states.0` of a mapping's or object's nested parts; empty where the first part is a number."""
    parts = [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", "")))) for key in path]
    return ".".join(parts) if parts and not parts[0].isdigit() else ""


def _output(result: Any, name: str, index: int) -> torch.Tensor:
    """Hugging Face gives an object with named tensors, other networks a tensor or a tuple of them."""
    by_name = result.get(name, result) if isinstance(result, Mapping) else getattr(result, name, result)
    output: torch.Tensor = by_name
    return output[index] if isinstance(output, tuple | list) else output


def loss(
    outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor], task: str, *, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Return the task's loss of a batch, as `Task.loss`.

    Args:
        outputs: the network's, by name.
        targets: the batch's, by name.
        task: its name.
        label_smoothing: share of the target that is spread over all classes.
    """
    return TASKS[task].loss(outputs, targets, label_smoothing=label_smoothing)
