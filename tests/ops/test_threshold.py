import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ops.core.errors import OperationError
from ops.prune.weights import threshold
from ops.prune.weights.threshold import PRUNED, Keeper, Magnitudes, Saliencies, empties, largest_count, smallest

VALUES = st.sampled_from([0.0, 0.25, -0.25, 0.5, 1.0, -1.0, 1e-30, 3e38]) | st.floats(-4, 4, width=32)


@st.composite
def tensors(draw):
    weights = draw(arrays(np.float32, st.integers(1, 300), elements=VALUES))
    kept = draw(st.none() | arrays(np.bool_, weights.size))
    return weights if kept is None else weights * kept, kept


@given(
    parts=st.lists(tensors(), min_size=1, max_size=4), share=st.floats(0, 1), block=st.sampled_from([7, 64, 1 << 16])
)
def test_exactly_the_k_smallest_go_and_ties_go_in_order(parts, share, block):
    """Against a stable sort of everything, in blocks of any size."""
    scores = [Magnitudes(str(number), weights, kept) for number, (weights, kept) in enumerate(parts)]
    every = np.concatenate([np.where(True if kept is None else kept, np.abs(weights), -1) for weights, kept in parts])
    count = round(share * every.size)
    expected = np.ones(every.size, dtype=bool)
    expected[np.argsort(every, kind="stable")[:count]] = False
    expected[every == PRUNED] = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threshold, "BLOCK", block)
        cut = smallest(scores, count)
        keeper = Keeper(cut)
        found = np.concatenate([keeper.part(part) for part in scores])
        emptied = empties(scores, cut)
    np.testing.assert_array_equal(found, expected)
    ends = np.cumsum([part.size for part in scores])
    assert not emptied or not all(piece.any() for piece in np.split(expected, ends[:-1]))
    assert emptied or all(piece.any() for piece in np.split(expected, ends[:-1])) or not count


def test_a_misleading_sample_costs_passes_and_not_exactness(monkeypatch):
    passes = []
    counted = threshold._pass
    monkeypatch.setattr(threshold, "_pass", lambda *given: passes.append(given) or counted(*given))
    weights = np.linspace(0, 1, 200_000, dtype=np.float32)
    weights[32::65] = 2  # where the sample looks: it sees nothing else
    part = Magnitudes("w", weights)
    kept = Keeper(smallest([part], 100_000)).part(part)
    assert int((~kept).sum()) == 100_000
    assert weights[~kept].max() < weights[kept].min()
    assert len(passes) > 1


def test_the_largest_count_leaves_every_tensor_something():
    values = {"a": [1, 2], "b": [0, 3, 4, 5]}
    parts = [Saliencies(name, np.array(scores, np.float32)) for name, scores in values.items()]
    assert largest_count(parts) == (2, "a")  # 0 and 1 go; with 2, nothing of "a" would be left
    assert not empties(parts, smallest(parts, 2))
    assert empties(parts, smallest(parts, 3))


@pytest.mark.parametrize("count", [1, 5])
def test_nan_is_an_error_that_names_the_tensor(count):
    weights = np.array([1, 2, np.nan, 3, 4, 5, 6], np.float32)
    with pytest.raises(OperationError, match=re.escape("'conv.weight' has NaN among its weights or scores")):
        smallest([Magnitudes("conv.weight", weights)], count)
