"""Find the k smallest of many scores exactly, in about one and a half passes over them and little memory.

Sorting 100 million scores takes seconds and as much memory again. Instead a strided sample brackets the k-th smallest,
one pass counts what lies below the bracket and collects the few scores inside it, and the k-th is selected among those.
If the sample misled, the bracket widens until it holds the k-th. Scores pass in blocks that fit the second-level cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ops.core.errors import OperationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 1 << 16
_SAMPLE = 1 << 18
PRUNED = np.float32(-1)
"""Score of a weight that an earlier mask removed: it goes first."""


class Scores(Protocol):
    """Scores of one tensor's weights, in memory order: at least 0, or PRUNED."""

    @property
    def name(self) -> str:
        """Name of the tensor."""
        ...

    @property
    def size(self) -> int:
        """Number of its weights."""
        ...

    def block(self, where: slice, out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the scores at `where`; `out` is scratch memory of that length that may be used for them."""
        ...


@dataclass(frozen=True, slots=True)
class Magnitudes:
    """Absolute values of float32 weights."""

    name: str
    weights: NDArray[np.float32]
    mask: NDArray[np.bool_] | None = None

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.weights.size

    def block(self, where: slice, out: NDArray[np.float32]) -> NDArray[np.float32]:
        """See Scores."""
        np.abs(self.weights[where], out=out)
        if self.mask is not None:
            out[~self.mask[where]] = PRUNED
        return out


@dataclass(frozen=True, slots=True)
class Saliencies:
    """Scores that were computed before."""

    name: str
    values: NDArray[np.float32]
    mask: NDArray[np.bool_] | None = None

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.values.size

    def block(self, where: slice, out: NDArray[np.float32]) -> NDArray[np.float32]:
        """See Scores."""
        if self.mask is None:
            return self.values[where]
        return np.where(self.mask[where], self.values[where], PRUNED)


@dataclass(frozen=True, slots=True)
class Cut:
    """The `count` smallest: every score below `value`, and the first `ties` of the `equal` scores that equal it."""

    value: float
    ties: int
    equal: int
    count: int
    peak: float
    """The smallest of the parts' largest scores: a part may lose everything if this is not above `value`."""


class Keeper:
    """Says which weights stay, for parts in the order in which they were given to `smallest`."""

    def __init__(self, cut: Cut) -> None:
        self._value = np.float32(cut.value)
        self._some_stay = cut.ties < cut.equal
        self._ties = cut.ties

    def block(self, scores: NDArray[np.float32], out: NDArray[np.bool_]) -> None:
        """Write which weights of the next block stay into `out`."""
        if self._some_stay and not self._ties:
            np.greater_equal(scores, self._value, out=out)
            return
        np.greater(scores, self._value, out=out)
        if self._some_stay:
            equal = np.flatnonzero(scores == self._value)
            out[equal[self._ties :]] = True
            self._ties = max(0, self._ties - equal.size)

    def part(self, part: Scores) -> NDArray[np.bool_]:
        """Return which weights of the next part stay."""
        out = np.empty(part.size, dtype=bool)
        for where, scores in blocks(part):
            self.block(scores, out[where])
        return out


def smallest(parts: Sequence[Scores], count: int) -> Cut:
    """Return the cut that takes the `count` smallest scores of all parts together, 0 <= count <= their number.

    What is PRUNED goes in any case, even if that is more than `count`.

    Raises:
        OperationError: a score is NaN; names the tensor.
    """
    total = sum(part.size for part in parts)
    if count <= 0:
        return Cut(float(PRUNED), 0, 0, 0, np.inf)
    if count >= total:
        return Cut(np.inf, 0, 0, total, -np.inf)
    sample = np.sort(_sample(parts, total))
    rank = sample.size * (count - 1) / total
    margin = 4 * np.sqrt(sample.size * (count / total) * (1 - count / total)) + 16
    while True:
        low = sample[int(rank - margin)] if rank - margin >= 0 else np.float32(-np.inf)
        high = sample[int(rank + margin)] if rank + margin < sample.size else np.float32(np.inf)
        below, up_to, inside, peak = _pass(parts, low, high)
        if below < count <= up_to:
            value, ties, equal = _select(inside, count - below) if low < high else (low, count - below, up_to - below)
            return Cut(float(value), equal if value == PRUNED else ties, equal, count, peak)
        margin *= 8


def blocks(part: Scores) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield the part's scores block by block; each is valid until the next."""
    scratch = np.empty(min(BLOCK, part.size), dtype=np.float32)
    for start in range(0, part.size, BLOCK):
        where = slice(start, min(start + BLOCK, part.size))
        yield where, part.block(where, scratch[: where.stop - start])


def empties(parts: Sequence[Scores], cut: Cut) -> bool:
    """Whether a part would lose its last weight; a layer can do without its bias."""
    if cut.peak > cut.value:
        return False
    keeper = Keeper(cut)
    lost = [part.name for part in parts if not keeper.part(part).any()]
    return any(map(_vital, lost))


def largest_count(parts: Sequence[Scores]) -> tuple[int, str]:
    """Return how many of the smallest scores can go before a part loses its last weight, and the name of that part."""
    peaks = {part.name: max(float(scores.max()) for _, scores in blocks(part)) for part in parts if _vital(part.name)}
    first = min(peaks, key=lambda name: peaks[name])
    count = sum(int(np.count_nonzero(scores < peaks[first])) for part in parts for _, scores in blocks(part))
    return count, first


def _vital(name: str) -> bool:
    return not name.endswith("bias")


def _sample(parts: Sequence[Scores], total: int) -> NDArray[np.float32]:
    stride = max(64, total // _SAMPLE) | 1  # odd: rows of weights have even lengths
    in_use = [np.empty(0, dtype=np.float32)]
    for part in parts:
        where = slice(stride // 2 % part.size, part.size, stride)
        scratch = np.empty(len(range(part.size)[where]), dtype=np.float32)
        in_use.append(part.block(where, scratch))
    return np.concatenate(in_use)


def _pass(parts: Sequence[Scores], low: Any, high: Any) -> tuple[int, int, NDArray[np.float32], float]:
    """Count the scores below `low` and up to `high`, collect those between, and find the smallest of the parts' peaks."""
    below = up_to = 0
    lowest_peak = np.inf
    inside = [np.empty(0, dtype=np.float32)]
    less, less_equal = np.empty(BLOCK, dtype=bool), np.empty(BLOCK, dtype=bool)
    for part in parts:
        peak = -np.inf
        for _, scores in blocks(part):
            peak = np.maximum(peak, scores.max())  # NaN goes through, which spares a pass to look for it
            first = np.less(scores, low, out=less[: scores.size])
            second = np.less_equal(scores, high, out=less_equal[: scores.size])
            below += int(np.count_nonzero(first))
            up_to += int(np.count_nonzero(second))
            if low < high:
                inside.append(scores[np.flatnonzero(np.not_equal(first, second, out=first))])
        if np.isnan(peak):
            raise OperationError(
                f"'{part.name}' has NaN among its weights or scores: the model was broken before this step"
            )
        lowest_peak = min(lowest_peak, float(peak))
    return below, up_to, np.concatenate(inside), lowest_peak


def _select(inside: NDArray[np.float32], rank: int) -> tuple[np.float32, int, int]:
    """Return the value at a rank from 1, how many equal ones the rank takes, and how many there are."""
    value = np.partition(inside, rank - 1)[rank - 1]
    return value, rank - int(np.count_nonzero(inside < value)), int(np.count_nonzero(inside == value))
