"""What is set aside for confirmation: how much, which instances, and what the data set is called then."""

import numpy as np
import pytest

from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from pipeline.datasets.reserve import ENOUGH, Reserve, default_reserve
from pipeline.datasets.splits import SplitDataset, SplitInstances


def instances(count: int, groups: list[str] | None = None) -> SplitInstances:
    """So many evaluation instances after ten to train on."""
    ids = np.array([f"i{number}" for number in range(10 + count)], object)
    rows = np.arange(10 + count)
    splits = {"train": rows[:10], "calibration": rows[:0], "evaluation": rows[10:]}
    own = None if groups is None else ["t"] * 10 + groups
    return SplitInstances(ids, ["a"] * len(ids), np.zeros(len(ids), int), splits, ("a",), {}, None, groups=own)


def test_an_instance_stays_where_it_is_when_others_come():
    few, many = (set(ids_of(instances(count), Reserve(0.3))) for count in (1000, 2000))
    assert few == many & {f"i{number}" for number in range(10, 1010)}
    assert len(few) == pytest.approx(300, abs=60)  # four standard deviations of a binomial


def ids_of(whole: SplitInstances, reserve: Reserve) -> list[str]:
    rows = whole.splits["evaluation"]
    return whole.ids[rows[reserve.rows(whole)]].tolist()


def test_what_is_left_and_what_is_set_aside_are_the_whole():
    whole, reserve = instances(500), Reserve(120)
    left = reserve.remainder(whole)
    aside = ids_of(whole, reserve)
    assert len(left.withheld) == len(aside) == 120
    assert {*left.ids[left.splits["evaluation"]], *aside} == {f"i{number}" for number in range(10, 510)}
    assert left.splits["train"] is whole.splits["train"]


def test_no_group_is_on_both_sides():
    groups = [f"patient {number // 5}" for number in range(500)]
    whole = instances(500, groups)
    for reserve in (Reserve(0.3), Reserve(98)):
        selection = reserve.rows(whole)
        aside = {group for group, is_aside in zip(groups, selection, strict=True) if is_aside}
        left = {group for group, is_aside in zip(groups, selection, strict=True) if not is_aside}
        assert not aside & left
    assert selection.sum() == 100  # the twentieth group begins below 98, and is not torn apart


@pytest.mark.parametrize(
    ("count", "expected"), [(397, None), (ENOUGH - 1, None), (ENOUGH, 1000), (10_000, 3333), (50_000, 5000)]
)
def test_a_third_is_set_aside_where_there_is_enough(count, expected):
    reserve = default_reserve(count)
    assert (None if reserve is None else round(reserve.size * count)) == expected


def test_enough_tells_what_the_guide_says():
    """Wilson's interval of 1,000 instances: within 1.4 points of 95 %, 1.9 of 90 %."""
    from pipeline.core.statistics import wilson

    for right, points in ((950, 1.5), (900, 2.0)):
        interval = wilson(right, 1000)
        assert 50 * (interval.high - interval.low) < points
        assert 50 * (interval.high - interval.low) > points - 0.2


@pytest.mark.parametrize(
    ("size", "word"), [(500, "none to evaluate"), (900, "none to evaluate"), (1e-9, "none to confirm")]
)
def test_a_part_that_leaves_nothing_is_refused(size, word):
    with pytest.raises(DataError, match=word):
        Reserve(size).rows(instances(500))


def test_a_data_set_is_what_it_was_where_nothing_is_set_aside(tmp_path):
    plain, none, some = (
        open_dataset({"dataset": "digits", **words}, tmp_path)
        for words in ({}, {"confirmation": 0}, {"confirmation": 100})
    )
    assert plain.fingerprint == none.fingerprint != some.fingerprint
    assert plain.ids("evaluation") == none.ids("evaluation")
    assert some.size("evaluation") == 297
    assert some.withheld == 100
    assert set(some.ids("evaluation")) < set(plain.ids("evaluation"))
    assert some.ids("train") == plain.ids("train")


def test_a_large_data_set_sets_some_aside_by_itself_and_is_read_once_to_know(tmp_path, monkeypatch):
    from pipeline.datasets import open as opening
    from pipeline.datasets.api import DATASETS

    loads = []

    def factory(folder, *, note: str = ""):
        def load():
            loads.append(note)
            return instances(4000)

        return SplitDataset(name="many", task="image-classification", fingerprint="f" * 64, load=load)

    monkeypatch.setitem(DATASETS._items, "many", factory) if hasattr(DATASETS, "_items") else DATASETS.add(
        "many", factory
    )
    monkeypatch.setattr(opening, "code_of_definition", lambda definition: None)
    first = open_dataset({"dataset": "many"}, tmp_path)
    assert first.size("evaluation") + first.withheld == 4000
    assert first.withheld == pytest.approx(1333, abs=120)
    loads.clear()
    second = open_dataset({"dataset": "many"}, tmp_path)
    assert second.fingerprint == first.fingerprint != "f" * 64
    assert loads == []


@pytest.mark.parametrize("wrong", [-1, 1.0, 1.5, "some", True])
def test_wrong_sizes_are_one_line(tmp_path, wrong):
    with pytest.raises(DataError, match="Data set 'd': confirmation"):
        open_dataset({"name": "d", "dataset": "digits", "confirmation": wrong}, tmp_path)
