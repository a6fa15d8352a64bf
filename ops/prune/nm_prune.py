"""N:M semi-structured pruning: at most N of every M neighbouring weights stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ops.core.errors import OperationError
from ops.core.operation import Ancestry, Context, Exclude, Include, Kind, Requirement, TorchModel, Uses, operation
from ops.core.params import PerLayer, largest

if TYPE_CHECKING:
    import torch

    from ops.prune.weights.layerwise import Rows


def _refuse(_: Ancestry, params: Mapping[str, Any]) -> str | None:
    n, m = params["n"], params["m"]
    if largest(n) >= m:
        return f"n must be smaller than m, as in 2:4 and 4:8 (got {largest(n)}:{m})"
    if n == 0:
        return "n: 1 or more; 0 stands only in a mapping, for layers that are left alone"
    return None


@operation(
    kind=Kind.PRUNE,
    version=3,
    uses={Uses.DATA},
    refuse=_refuse,
    needs=lambda params: Requirement.INSTANCES if params["score"] == "wanda" else None,
)
def nm_prune(
    model: TorchModel,
    ctx: Context,
    *,
    n: PerLayer[Annotated[int, Field(ge=0)]] = 2,
    m: Annotated[int, Field(ge=2)] = 4,
    score: Literal["magnitude", "wanda"] = "magnitude",
    samples: Annotated[int, Field(ge=1)] = 128,
    include: Include = (),
    exclude: Exclude = (),
) -> TorchModel:
    """Keep at most N of every M weights along the input channels (2:4, 4:8).

    The pattern that sparse tensor cores and some sparse CPU kernels run faster; plain kernels do not. Layers whose input
    channels M does not divide are left alone and noted with the reason; so are depthwise convolutions.

    Args:
        model: stays as it is.
        ctx: gives calibration instances, for the score `wanda` only.
        n: weights that may stay of each M, also by layer; 0 leaves a layer alone.
        m: neighbouring input channels, at one kernel position of one output.
        score: `magnitude` keeps the largest |w| (Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021); `wanda`
            the largest |w| times the norm of the input (Sun et al., ICLR 2024), layer after layer.
        samples: calibration instances for `wanda`.
        include: default: convolutions and linear layers.
        exclude: layers to leave alone.

    Raises:
        OperationError: a pattern matches nothing, no chosen layer can take the pattern, or calibration data is unfit.
    """
    from ops.core.strength import strengths
    from ops.core.text import reasons_in_line
    from ops.core.tied import choose_weighted
    from ops.prune.weights.layerwise import note_achieved, prune_layers

    layers, reasons = choose_weighted(model, include, exclude)
    counts, others = strengths(model, layers, n)
    layers, reasons = {name: layer for name, layer in layers.items() if name in counts}, reasons | others
    unfit = {name: reason for name, layer in layers.items() if (reason := _unfit(layer, m))}
    fit = {name: layer for name, layer in layers.items() if name not in unfit}
    if not fit:
        raise OperationError(f"No chosen layer can take the pattern {largest(n)}:{m}: {reasons_in_line(unfit)}")
    kernels = {name: _kernel(layer) for name, layer in fit.items()}

    def prune(rows: Rows) -> torch.Tensor:
        return _largest(_scores(rows), kernels[rows.name], counts[rows.name], m)

    result = prune_layers(model, fit, ctx, prune, samples=samples if score == "wanda" else 0, unchanged=reasons | unfit)
    for name in fit:
        _verify(result, name, kernels[name], counts[name], m)
    note_achieved(ctx, result, {name: 1 - counts[name] / m for name in fit})
    return result


def _unfit(layer: torch.nn.Module, m: int) -> str | None:
    from ops.calibration.layer_inputs import as_rows, unsuitable

    if reason := unsuitable(layer):
        return reason
    channels = as_rows(layer).shape[2] // _kernel(layer)
    return f"{channels} input channels per output are not a multiple of {m}" if channels % m else None


def _kernel(layer: torch.nn.Module) -> int:
    """Kernel positions: the weights of one output are (input channels, positions)."""
    return int(layer.get_parameter("weight")[0, 0].numel())


def _scores(rows: Rows) -> torch.Tensor:
    scores = rows.weights.abs()
    if rows.moments is not None:
        scores = scores * rows.moments.sqrt().float().unsqueeze(1)
    return scores.masked_fill_(~rows.mask, -1)


def _largest(scores: torch.Tensor, kernel: int, n: int, m: int) -> torch.Tensor:
    """Mark the n largest of every m input channels; of equal ones the first."""
    import torch

    shape = (*scores.shape[:2], -1, m, kernel)
    order = scores.reshape(shape).argsort(dim=3, descending=True, stable=True)
    keep = torch.zeros_like(order, dtype=torch.bool)
    keep.scatter_(3, order[..., :n, :], value=True)
    return keep.reshape(scores.shape)


def _verify(model: TorchModel, name: str, kernel: int, n: int, m: int) -> None:
    from ops.calibration.layer_inputs import as_rows

    weights = as_rows(model.module.get_submodule(name))
    most = int((weights != 0).reshape(*weights.shape[:2], -1, m, kernel).sum(dim=3).max())
    assert most <= n, f"{name} keeps {most} of {m} neighbours"
