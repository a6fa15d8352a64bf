"""Estimate of damage from gradients: how far the outputs move, to second order, when one layer's outputs do.

With g the gradient of log p(y) with respect to a layer's output and d the change of that output on the layer's own inputs,
E[(g . d)^2] / 2 over instances and over y drawn from the model's own distribution is the second-order term of the divergence
from the model (its Fisher information: Martens, "New Insights and Perspectives on the Natural Gradient Method", JMLR 2020). One
run of the network with a few gradients and one of each changed layer alone serve all layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ops.core.forward import forward, loss, tensors
from ops.core.operation import Batch, TorchModel
from ops.core.tasks.task import TASKS

__all__ = ["DRAWS", "layer_scores"]

DRAWS = 4
"""Answers drawn for each instance."""


@dataclass(slots=True)
class _Call:
    """One call of a layer."""

    args: tuple[Any, ...]
    by_name: dict[str, Any]
    output: torch.Tensor
    gradient: torch.Tensor | None = None


def layer_scores(
    model: TorchModel, changed: TorchModel, groups: Sequence[Sequence[str]], batches: Sequence[Batch]
) -> dict[str, float | None]:
    """Return the estimated divergence, in nats, of changing each group of layers alone, by its first layer.

    Args:
        model: stays as it is.
        changed: the model with all layers changed; of it the layers alone are run.
        groups: names of layers, those that change together.
        batches: instances of the calibration split.

    Returns:
        None for groups whose outputs have another shape, or that torch cannot run alone: they have no estimate.
    """
    totals: dict[str, float | None] = {group[0]: 0.0 for group in groups}
    generator = torch.Generator().manual_seed(0)
    count = sum(len(batch) for batch in batches)
    names = [name for group in groups for name in group]
    for batch in batches:
        with _recorded(model.module, names) as calls, torch.enable_grad():
            outputs = forward(model.module.eval(), tensors(batch.inputs), model.architecture.task)
            moves = {name: _moves(changed, name, calls[name]) for name in names}
            for objective, weight in _objectives(outputs, batch, model.architecture.task, generator):
                _gradients(model.module, objective)
                for group in groups:
                    if totals[group[0]] is not None:
                        totals[group[0]] = _added(totals[group[0]], group, calls, moves, weight / count)
    return totals


def _added(
    total: float | None,
    group: Sequence[str],
    calls: Mapping[str, list[_Call]],
    moves: Mapping[str, list[torch.Tensor] | None],
    weight: float,
) -> float | None:
    """Add the squares of what a group's layers move the objective by, instance by instance."""
    rows: torch.Tensor | None = None
    for name in group:
        own = moves[name]
        if own is None:
            return None
        for call, move in zip(calls[name], own, strict=True):
            if call.gradient is not None:
                product = (call.gradient * move).flatten(1).sum(dim=1).double()
                rows = product if rows is None or rows.shape != product.shape else rows + product
    return (total or 0.0) + (0.0 if rows is None else 0.5 * weight * float(rows.square().sum()))


def _objectives(
    outputs: Mapping[str, torch.Tensor], batch: Batch, task: str, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, float]]:
    """Yield sums over the batch of log probabilities of answers drawn from the model, or else its loss; and their weights."""
    names = [name for name in TASKS[task].softmax_outputs if name in outputs]
    if not names:
        targets = tensors(batch.targets)
        yield loss(outputs, targets, task) * len(batch), 1.0
        return
    for _ in range(DRAWS):
        total = torch.zeros(())
        for name in names:
            log_p = outputs[name].float().log_softmax(dim=-1)
            flat = log_p.detach().exp().reshape(-1, log_p.shape[-1])
            answers = torch.multinomial(flat, 1, generator=generator).reshape(log_p.shape[:-1])
            total = total + log_p.gather(-1, answers.unsqueeze(-1)).sum()
        yield total, 1.0 / (DRAWS * len(names))


def _gradients(module: torch.nn.Module, objective: torch.Tensor) -> None:
    """Let every recorded output take its gradient; the network's own parameters keep theirs."""
    objective.backward(retain_graph=True, inputs=[each for each in module.parameters() if each.requires_grad])
    module.zero_grad(set_to_none=True)


def _moves(changed: TorchModel, name: str, calls: Sequence[_Call]) -> list[torch.Tensor] | None:
    """Return what a changed layer adds to each of its outputs; None where it cannot be compared."""
    layer, moves = changed.module.get_submodule(name), []
    for call in calls:
        try:
            with torch.no_grad():
                output = layer(*call.args, **call.by_name)
        except (RuntimeError, TypeError, ValueError):
            return None
        output = output[0] if isinstance(output, tuple | list) else output
        if not isinstance(output, torch.Tensor) or output.shape != call.output.shape:
            return None
        moves.append(output - call.output)
    return moves


@contextmanager
def _recorded(module: torch.nn.Module, names: Sequence[str]) -> Iterator[dict[str, list[_Call]]]:
    """Take down the inputs and outputs of layers, and the gradients of the outputs when there are any."""
    calls: dict[str, list[_Call]] = {name: [] for name in names}
    frozen = [each for each in module.parameters() if each.is_floating_point() and not each.requires_grad]

    def hook(name: str) -> Any:
        def run(_: Any, args: Any, by_name: Any, output: Any) -> None:
            value = output[0] if isinstance(output, tuple | list) else output
            if not isinstance(value, torch.Tensor):
                return
            # copies: what follows may change both in place
            call = _Call(_copied(args), {key: _copied(each) for key, each in by_name.items()}, value.detach().clone())
            calls[name].append(call)
            if value.requires_grad:
                value.register_hook(lambda gradient: setattr(call, "gradient", gradient.detach()))

        return run

    hooks = [module.get_submodule(name).register_forward_hook(hook(name), with_kwargs=True) for name in names]
    try:
        for each in frozen:
            each.requires_grad_(True)
        yield calls
    finally:
        for handle in hooks:
            handle.remove()
        for parameter in frozen:
            parameter.requires_grad_(False)


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, tuple | list):
        return type(value)(_copied(part) for part in value)
    return value
