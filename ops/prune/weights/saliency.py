"""Saliency: how much the loss depends on each weight, to first order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from ops.core.errors import OperationError
from ops.core.forward import forward, loss, tensors
from ops.core.network.sharing import drop_graphs
from ops.core.operation import Context, TorchModel
from ops.core.output_kind import torch_logits

if TYPE_CHECKING:
    import torch

Criterion = Literal["taylor", "snip", "fisher"]


def saliencies(
    model: TorchModel,
    parameters: Mapping[str, torch.nn.Parameter],
    ctx: Context,
    *,
    criterion: Criterion,
    samples: int,
    batch_size: int = 32,
) -> dict[str, torch.Tensor]:
    """Return one score per weight, of the parameter's shape, over `samples` training instances.

    taylor  mean over batches of |w * dL/dw|: the change of the loss if the weight went (Molchanov et al., "Pruning
            Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017)
    snip    |w * dL/dw| with the gradient of the mean loss (Lee et al., "SNIP", ICLR 2019)
    fisher  w^2 * mean over batches of (dL/dw)^2: the diagonal of the empirical Fisher matrix in the place of the Hessian
            (Theis et al., "Faster gaze prediction with dense networks and Fisher pruning", 2018)

    Gradients are taken in evaluation mode, one batch at a time, and added up as they come: memory is one number per weight.

    Raises:
        OperationError: there is no training data, or a gradient is not finite.
    """
    import torch

    scores = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    total = min(samples, ctx.data.size("train"))
    if not total:
        raise OperationError("The training split is empty: gradients need labelled training instances")
    visited, task = 0, model.architecture.task
    add = _ADD[criterion]
    for batch in ctx.data.batches("train", batch_size=batch_size, samples=samples):
        count = len(batch)

        def visit(name: str, parameter: torch.nn.Parameter, count: int = count) -> None:
            add(scores[name], parameter, count)

        with _gradients(model.module, parameters, visit):
            outputs = torch_logits(forward(model.module, tensors(batch.inputs), task), model.architecture.output_kinds)
            loss(outputs, tensors(batch.targets), task).backward()
        visited += count
        ctx.progress(visited, total, "gradients")
    with torch.no_grad():
        for name, score in scores.items():
            score.div_(visited)
            _FINISH[criterion](score, parameters[name])
            if not bool(torch.isfinite(score.sum())):
                raise OperationError(
                    f"The gradient of '{name}' is not finite on the training data: the loss is NaN or overflows"
                )
    return scores


@contextmanager
def _gradients(
    module: torch.nn.Module,
    parameters: Mapping[str, torch.nn.Parameter],
    visit: Callable[[str, torch.nn.Parameter], None],
) -> Iterator[None]:
    """Hand each parameter's gradient over as soon as it is there and drop it; leave the network as it was."""
    required = {name: p.requires_grad for name, p in module.named_parameters()}
    handles = []
    try:
        for p in module.parameters():
            p.requires_grad_(False)
        for name, parameter in parameters.items():
            parameter.requires_grad_(True)

            def drop(p: torch.Tensor, name: str = name) -> None:
                visit(name, parameters[name])  # noqa: PLR1733 - the loop variable has moved on by then
                p.grad = None

            handles.append(parameter.register_post_accumulate_grad_hook(drop))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for name, p in module.named_parameters():
            p.requires_grad_(required[name])
            p.grad = None
        drop_graphs(module)


def _grad(p: torch.nn.Parameter) -> torch.Tensor:
    assert p.grad is not None, "called by the hook that autograd runs after it wrote the gradient"
    return p.grad


def _add_taylor(score: torch.Tensor, p: torch.nn.Parameter, count: int) -> None:
    score.add_(_grad(p).mul_(p.detach()).abs_(), alpha=count)


def _add_snip(score: torch.Tensor, p: torch.nn.Parameter, count: int) -> None:
    score.add_(_grad(p), alpha=count)


def _add_fisher(score: torch.Tensor, p: torch.nn.Parameter, count: int) -> None:
    score.addcmul_(_grad(p), _grad(p), value=count)


_ADD: dict[Criterion, Callable[[torch.Tensor, torch.nn.Parameter, int], None]] = {
    "taylor": _add_taylor,
    "snip": _add_snip,
    "fisher": _add_fisher,
}
_FINISH: dict[Criterion, Callable[[torch.Tensor, torch.nn.Parameter], object]] = {
    "taylor": lambda score, p: score,
    "snip": lambda score, p: score.mul_(p.detach()).abs_(),
    "fisher": lambda score, p: score.mul_(p.detach()).mul_(p.detach()),
}
