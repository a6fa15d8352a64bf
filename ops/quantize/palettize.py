"""Palettization: the weights of a tensor share a few values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ops.core.errors import OperationError
from ops.core.operation import Ancestry, Context, Exclude, Include, Kind, TorchModel, operation
from ops.core.params import PerLayer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ROUNDS = 100
_BLOCK = 1 << 20
_BINS = 256
_FEW = 256


def _refuse(_: Ancestry, params: Mapping[str, Any]) -> str | None:
    return "bits: 1 to 8; 0 stands only in a mapping, for layers that are left alone" if params["bits"] == 0 else None


@operation(kind=Kind.CLUSTER, version=3, refuse=_refuse)
def palettize(
    model: TorchModel,
    ctx: Context,
    *,
    bits: PerLayer[Annotated[int, Field(ge=0, le=8)]] = 4,
    group_channels: Annotated[int, Field(ge=0)] = 0,
    include: Include = (),
    exclude: Exclude = (),
) -> TorchModel:
    """Replace the weights of each tensor by 2^bits values, found by k-means.

    Shrinks what compression makes of the file (`compressed_bytes`: what a download costs), not the file itself or the time:
    the few values are written out for every weight, as runtimes need them. Zeros of earlier pruning stay zero, and zero is
    then one of the values. Needs no data.

    A file of indices and tables (uint8, `Cast` and `Gather`) would be 4.0 times smaller. Measured with ONNX Runtime 1.32 on six
    feed-forward blocks of width 768: it loads in 0.34 in place of 0.14 CPU seconds, since the runtime writes the weights out
    then, and runs as fast (ratio 1.00); without graph optimisations it takes 12 times as long. Files keep plain weights, which
    every runtime, every quantizer and every view of layers reads.

    Args:
        model: stays as it is.
        ctx: not asked for data.
        bits: per weight, 1 to 8, also by layer; a tensor has at most 2^bits distinct values afterwards.
        group_channels: this many output channels share a table (the last group may be smaller); 0: the whole tensor.
        include: default: the weights of convolutions and linear layers.
        exclude: layers to leave alone.

    Raises:
        OperationError: a pattern matches nothing, or a tensor holds NaN or infinity.

    Han et al., "Deep Compression", ICLR 2016; optimal up to 256 distinct values, else the best of three starts.
    """
    import torch

    from ops.core.selector import choose_parameters
    from ops.core.strength import strengths
    from ops.core.tied import note_unchanged
    from ops.prune.weights.masks import flat, kept_before, with_tensors

    selection = choose_parameters(model, include, exclude)
    widths, others = strengths(model, selection, bits)
    selection = {name: weight for name, weight in selection.items() if name in widths}
    note_unchanged(ctx, model, include, exclude, others)
    tensors: dict[str, torch.Tensor] = {}
    error = energy = 0.0
    tables = 0  # values in all of them
    for done, (name, weight) in enumerate(selection.items()):
        values = flat(weight).copy()
        remaining = kept_before(model, name)
        channel = values.size // weight.shape[0]
        step = channel * (group_channels or weight.shape[0])
        for start in range(0, values.size, step):
            part = slice(start, start + step)
            lost, total = _share(values[part], None if remaining is None else remaining[part], 2 ** widths[name], name)
            error, energy, tables = error + lost, energy + total, tables + 2 ** widths[name]
        tensors[name] = torch.from_numpy(values).view(weight.shape)
        ctx.progress(done + 1, len(selection), name)
    weights = sum(tensor.numel() for tensor in tensors.values())
    indices = sum(tensor.numel() * widths[name] for name, tensor in tensors.items())
    ctx.note(
        "achieved",
        {
            "bits": bits if isinstance(bits, int) else indices / weights,
            "weights": weights,
            # what an ideal file holds of the chosen weights: packed indices, and float32 tables
            "ideal_bytes": -(-indices // 8) + tables * 4,
            "relative_error": (error / energy) ** 0.5 if energy else 0.0,
        },
    )
    return with_tensors(model, tensors, {})


def _share(values: NDArray[np.float32], mask: NDArray[np.bool_] | None, count: int, name: str) -> tuple[float, float]:
    """Replace `values` in place by at most `count` of them; return the sums of squared errors and of squares."""
    import numpy as np

    pruned = mask is not None and not mask.all()
    ordered = np.sort(values[mask] if pruned else values)
    if not ordered.size:
        return 0.0, 0.0
    if not np.isfinite(ordered[[0, -1]]).all():  # NaN sorts last
        raise OperationError(f"'{name}' has NaN or infinity: the model was broken before this step")
    table = _table(ordered, count - 1 if pruned else count)
    borders = _borders(table)
    lost = total = 0.0
    for start in range(0, values.size, _BLOCK):
        block = values[start : start + _BLOCK]
        nearest = table[np.searchsorted(borders, block)]
        if mask is not None:
            nearest *= mask[start : start + _BLOCK]
        lost += float(np.square(block - nearest, dtype=np.float64).sum())
        total += float(np.square(block, dtype=np.float64).sum())
        block[:] = nearest + np.float32(0)  # -0.0 becomes 0.0
    return lost, total


def _table(ordered: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return up to `count` centres of the sorted values: the best ones of few values, of many by Lloyd's algorithm."""
    import numpy as np

    distinct = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    if distinct.size <= count:
        return np.asarray(distinct, dtype=np.float32)
    if distinct.size <= _FEW:
        return _exact(ordered, distinct, count)
    points = _Points.of(ordered)
    result = [points.lloyd(np.unique(start)) for start in _starts(ordered, count)]
    return max(result, key=lambda pair: pair[0])[1]


def _exact(ordered: NDArray[np.float32], distinct: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The best table of all, by dynamic programming over where clusters begin (Wang and Song, "Ckmeans.1d.dp", 2011)."""
    import numpy as np

    ends = np.searchsorted(ordered, distinct, side="right")
    sizes = np.append(0, ends).astype(np.float64)
    values = ordered.astype(np.float64)
    sums, squares = (np.append(0.0, part.cumsum())[np.append(0, ends)] for part in (values, values**2))
    members = np.maximum(sizes[None] - sizes[:, None], 1)
    costs = squares[None] - squares[:, None] - (sums[None] - sums[:, None]) ** 2 / members
    costs[np.tril_indices(len(costs))] = np.inf  # a cluster begins before it ends
    best, begins = costs[0], []
    for _ in range(count - 1):
        totals = best[:, None] + costs
        begins.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    edges = [distinct.size]
    for begin in reversed(begins):
        edges.append(int(begin[edges[-1]]))
    edges = [0, *reversed(edges)]
    table: NDArray[np.float32] = (np.diff(sums[edges]) / np.diff(sizes[edges])).astype(np.float32)
    return table


def _starts(ordered: NDArray[np.float32], count: int) -> list[NDArray[np.float64]]:
    """Return centres to start from: evenly spaced, equally filled, and as dense as the cube root of the values' density."""
    import numpy as np

    steps = (np.arange(count) + 0.5) / count
    evenly = np.linspace(ordered[0], ordered[-1], count)  # better for the few large weights
    filled = ordered[(steps * ordered.size).astype(int)].astype(np.float64)
    counts, edges = np.histogram(ordered, bins=_BINS)
    share = np.append(0.0, np.cbrt(counts).cumsum())  # where the optimum is for many centres: Panter and Dite, 1951
    return [evenly, filled, np.interp(steps * share[-1], share, edges)]


@dataclass(frozen=True, slots=True)
class _Points:
    """Sorted values with prefix sums: each round of Lloyd's algorithm then costs a search per centre, not a pass.

    Of more than a million values, neighbours in order count as one point at their mean.
    """

    values: NDArray[np.float64]
    sizes: NDArray[np.float64]
    sums: NDArray[np.float64]

    @classmethod
    def of(cls, ordered: NDArray[np.float32]) -> _Points:
        import numpy as np

        starts = np.arange(0, ordered.size, -(-ordered.size // _BLOCK))
        counts = np.diff(np.append(starts, ordered.size))
        totals = np.add.reduceat(ordered, starts, dtype=np.float64)
        return cls(totals / counts, np.append(0.0, counts.cumsum()), np.append(0.0, totals.cumsum()))

    def lloyd(self, centres: NDArray[np.float64]) -> tuple[float, NDArray[np.float32]]:
        """Return (explained sum of squares, centres): the larger, the better."""
        import numpy as np

        explained = 0.0
        for _ in range(_ROUNDS):
            edges = np.concatenate([[0], np.searchsorted(self.values, _borders(centres)), [self.values.size]])
            sizes, totals = np.diff(self.sizes[edges]), np.diff(self.sums[edges])
            moved = totals[sizes > 0] / sizes[sizes > 0]
            explained = float((moved * totals[sizes > 0]).sum())
            if moved.size == centres.size and np.allclose(moved, centres, rtol=1e-6, atol=0):
                break
            centres = moved
        return explained, np.unique(centres.astype(np.float32))


def _borders(centres: NDArray[np.floating]) -> NDArray[np.float64]:
    import numpy as np

    middle: NDArray[np.float64] = (centres[1:].astype(np.float64) + centres[:-1]) / 2
    return middle
