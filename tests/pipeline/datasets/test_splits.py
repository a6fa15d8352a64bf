import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.datasets.api import DataError
from pipeline.datasets.division import first_spread, hashed_split, scrambled, spread_order
from pipeline.datasets.splits import SplitDataset, SplitInstances, bucketed


def test_scrambled_numbers_never_change():
    """The splits of every data set hang on them: these are SplitMix64's outputs for the seed 0."""
    assert [hex(number) for number in scrambled(3)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200))
def test_every_beginning_of_the_order_holds_each_class_in_proportion(classes):
    strata = np.array(classes)
    order = spread_order(strata)
    assert sorted(order) == list(range(len(strata)))
    for count in range(1, len(strata) + 1):
        found = np.bincount(strata[order[:count]], minlength=5)
        expected = np.bincount(strata, minlength=5) * count / len(strata)
        assert (abs(found - expected) < 3).all()


@given(st.integers(1, 60), st.integers(1, 70))
def test_a_sample_is_sorted_and_of_the_size_asked_for(count, wanted):
    rows = np.arange(100, 100 + count)
    chosen = first_spread(rows, np.zeros(200, int), wanted)
    assert len(chosen) == min(count, wanted)
    assert list(chosen) == sorted(chosen)
    assert set(chosen) <= set(rows)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=50), st.floats(0, 0.9), st.floats(0, 0.9))
def test_held_out_rows_are_disjoint_complete_and_kept_together(groups, evaluation, calibration):
    splits = hashed_split(groups, evaluation=evaluation, calibration=calibration)
    assert sorted(np.concatenate(list(splits.values()))) == list(range(len(groups)))
    of_group = [{groups[row] for row in rows} for rows in splits.values()]
    assert sum(map(len, of_group)) == len(set(groups))
    assert bool(len(splits["evaluation"])) >= (evaluation > 0)


def test_a_row_stays_where_it_is_when_others_come():
    few, many = (
        hashed_split([f"row {n}" for n in range(count)], evaluation=0.2, calibration=0.1) for count in (500, 900)
    )
    assert all(set(few[split]) <= set(many[split]) for split in few)
    assert 70 < len(few["evaluation"]) < 130


@pytest.mark.parametrize(
    ("ids", "rows", "message"),
    [
        (
            "abcd",
            {"train": [0, 1], "calibration": [2], "evaluation": [1, 3]},
            "the instance id 'b' is in 'train' and in 'evaluation'",
        ),
        (
            "abcb",
            {"train": [0, 1], "calibration": [2], "evaluation": [3]},
            "the instance id 'b' is in 'train' and in 'evaluation'",
        ),
        ("aacd", {"train": [0, 1], "calibration": [2], "evaluation": [3]}, "the instance id 'a' is twice in 'train'"),
    ],
)
def test_splits_that_share_an_instance_are_refused(ids, rows, message):
    instances = SplitInstances(
        ids=np.array(list(ids), object),
        labels=["x"] * 4,
        strata=np.zeros(4, int),
        splits={split: np.array(part) for split, part in rows.items()},
        classes=("x", "y"),
        inputs={},
        reader=None,
    )
    data = SplitDataset(name="mine", task="image-classification", fingerprint="0", load=lambda: instances)
    with pytest.raises(DataError, match=f"Data set 'mine': {message}; ids must be unique"):
        data.size("train")


@given(st.integers(0, 300), st.integers(1, 9), st.integers(0, 3))
def test_batches_of_like_length_hold_every_row_once(count, size, seed):
    rows = np.random.default_rng(seed).permutation(count) + 5
    lengths = np.random.default_rng(seed + 1).integers(1, 100, count + 5)
    ordered = bucketed(rows, lengths, size, np.random.default_rng(seed))
    assert sorted(ordered) == sorted(rows)
    again = bucketed(rows, lengths, size, np.random.default_rng(seed))
    assert np.array_equal(ordered, again)
    assert set(ordered[count // size * size :]) == set(rows[count // size * size :])  # the smaller batch stays the last


def test_batches_of_like_length_hold_little_padding_in_no_order_of_length():
    lengths = np.random.default_rng(0).integers(10, 200, 4096)
    rows = np.random.default_rng(1).permutation(4096)

    def padded(order):
        return (lengths[order].reshape(-1, 16).max(axis=1) * 16).sum() / lengths.sum()

    ordered = bucketed(rows, lengths, 16, np.random.default_rng(2))
    assert padded(ordered) < 1.06
    assert padded(rows) > 1.7
    longest = lengths[ordered].reshape(-1, 16).max(axis=1)
    assert abs(np.corrcoef(np.arange(256), longest)[0, 1]) < 0.15
