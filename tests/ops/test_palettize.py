import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ops.core.errors import OperationError
from ops.quantize.palettize import _table
from tests.ops.digits import apply, context
from tests.ops.stored import base


def palettize(model, **params):
    ctx = context()
    return apply("palettize", model, ctx, **params), ctx.notes["achieved"]


def error(values, table):
    return float(np.square(values[:, None] - np.asarray(table, np.float64)[None]).min(axis=1).sum())


def optimum(values, count):
    """The least squared error of any table, by dynamic programming over the sorted values."""
    values = np.sort(values.astype(np.float64))
    sums, squares = (np.concatenate([[0], np.cumsum(part)]) for part in (values, values**2))

    def cost(start, end):
        return squares[end] - squares[start] - (sums[end] - sums[start]) ** 2 / (end - start)

    best = [0.0] + [np.inf] * len(values)
    for _ in range(count):
        best = [0.0] + [
            min(best[start] + cost(start, end) for start in range(end)) for end in range(1, len(values) + 1)
        ]
    return best[-1]


@given(seed=st.integers(0, 10_000), size=st.integers(1, 60), bits=st.integers(1, 3), power=st.sampled_from([1, 2, 5]))
def test_tables_of_few_values_are_optimal(seed, size, bits, power):
    values = np.random.default_rng(seed).normal(size=size).astype(np.float32) ** power
    table = _table(np.sort(values), 2**bits)
    assert len(table) <= 2**bits
    assert error(values, table) <= optimum(values, 2**bits) * (1 + 1e-5) + 1e-7


def test_tables_are_as_good_as_scikit_learns():
    from sklearn.cluster import KMeans

    values = base("residual").module.stages[1][0].conv2.weight.detach().numpy().ravel()
    theirs = KMeans(16, n_init=10, random_state=0).fit(values[:, None]).inertia_
    assert error(values, _table(np.sort(values), 16)) <= 1.01 * theirs


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("group_channels", [0, 5])
def test_a_group_has_at_most_two_to_the_bits_values(bits, group_channels):
    found, achieved = palettize(base("residual"), bits=bits, group_channels=group_channels)
    weights = tables = 0
    for name, weight in base("residual").module.named_parameters():
        after = found.module.get_parameter(name)
        if weight.dim() == 1:
            assert torch.equal(after, weight)
            continue
        parts = after.detach().split(group_channels or len(weight))
        assert all(len(part.unique()) <= 2**bits for part in parts)
        weights, tables = weights + weight.numel(), tables + len(parts)
    assert achieved["weights"] == weights
    assert achieved["ideal_bytes"] == (weights * bits + 7) // 8 + tables * 2**bits * 4


def test_more_bits_and_smaller_groups_lose_less():
    errors = [palettize(base("residual"), bits=bits)[1]["relative_error"] for bits in (1, 2, 3, 4, 6, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01
    grouped = [palettize(base("residual"), bits=3, group_channels=size)[1]["relative_error"] for size in (0, 8, 1)]
    assert grouped == sorted(grouped, reverse=True)


@pytest.mark.parametrize("bits", [1, 3])
def test_zeros_of_pruning_stay_zero_and_take_one_value(bits):
    first = apply("magnitude_prune", base("residual"), context(), sparsity=0.6)
    found, _ = palettize(first, bits=bits)
    for name, mask in first.masks.items():
        weight = found.module.get_parameter(name).detach()
        assert not weight[~mask].any()
        assert not torch.signbit(weight[~mask]).any()
        assert len(weight.unique()) <= 2**bits
        assert torch.equal(found.masks[name], mask)


def test_a_large_tensor_is_summarised_and_as_good():
    """Beyond a million values neighbours count as one point."""
    values = np.random.default_rng(0).normal(size=(1 << 20) + 5).astype(np.float32)
    found, sample = (_table(np.sort(part), 8) for part in (values, values[: 1 << 19]))
    np.testing.assert_allclose(found, sample, atol=0.02)


def test_a_broken_model_is_refused():
    for bad in (torch.nan, torch.inf, -torch.inf):
        model = base("residual").copy()
        model.module.classifier.weight.data[0, 0] = bad
        with pytest.raises(OperationError, match=re.escape("'classifier.weight' has NaN or infinity")):
            palettize(model, bits=4)
