"""The choice of one candidate for each layer: against all choices one by one, and what is said where there is none."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.measure.sensitivity.allocation import AllocationError, Option, choose_options
from pipeline.store.records.run_records import Allocation
from pipeline.sweep.allocation.outcome import outcome_of

BEFORE = {"weight_bytes": 1000.0, "macs": 500.0}


@st.composite
def problems(draw):
    """A few layers with a few candidates each, and groups that have layers in common."""
    options = []
    for layer in range(draw(st.integers(1, 4))):
        for candidate in range(draw(st.integers(1, 3))):
            members = (f"l{layer}", *([f"l{layer + 1}"] if draw(st.booleans()) else []))
            savings = {"weight_bytes": draw(st.integers(0, 250)), "macs": draw(st.integers(0, 125))}
            damage = draw(st.integers(0, 20)) / 8
            options.append(Option(f"l{layer}", members, f"c{candidate}", damage, 0.25, savings))
    bounds = {
        cost: BEFORE[cost] * draw(st.integers(0, 20)) / 20
        for cost in draw(st.sets(st.sampled_from(sorted(BEFORE)), min_size=1))
    }
    return options, bounds


def choices(options):
    """Every set of options of which no layer has two."""
    for size in range(len(options) + 1):
        for chosen in itertools.combinations(options, size):
            members = [name for one in chosen for name in one.members]
            if len(members) == len(set(members)):
                yield chosen


def costs(chosen):
    return {cost: BEFORE[cost] - sum(one.savings[cost] for one in chosen) for cost in BEFORE}


@given(problems())
def test_no_choice_is_better(problem):
    options, bounds = problem
    fit = [one for one in choices(options) if all(costs(one)[cost] <= bound for cost, bound in bounds.items())]
    if not fit:
        with pytest.raises(AllocationError, match=r"cannot be met|no choice"):
            choose_options(options, BEFORE, bounds)
        return
    found = choose_options(options, BEFORE, bounds)
    assert found.damage == pytest.approx(min(sum(one.damage for one in chosen) for chosen in fit))
    assert found.options in [tuple(sorted(chosen, key=options.index)) for chosen in fit]
    assert found.error == pytest.approx(0.25 * len(found.options) ** 0.5)
    assert {cost: found.costs[cost] for cost in bounds} == {cost: costs(found.options)[cost] for cost in bounds}


def test_a_chain_with_known_effects_is_recovered():
    """Layer i loses i * s^2 at strength s, and saves 10 s: Lagrange's multiplier makes i * s alike, in whole steps."""
    options = [
        Option(f"l{layer}", (f"l{layer}",), f"s{step}", layer * step**2, 0.0, {"weight_bytes": 10 * step})
        for layer in (1, 2, 4)
        for step in range(1, 9)
    ]
    found = choose_options(options, {"weight_bytes": 200}, {"weight_bytes": 60})
    assert {one.layer: one.candidate for one in found.options} == {"l1": "s8", "l2": "s4", "l4": "s2"}


def test_what_cannot_be_met_is_told_with_what_lacks():
    options = [
        Option("a", ("a",), "x", 1.0, 0.0, {"weight_bytes": 300, "macs": 0}),
        Option("a", ("a",), "y", 1.0, 0.0, {"weight_bytes": 0, "macs": 300}),
        Option("b", ("b",), "x", 1.0, 0.0, {"weight_bytes": 100, "macs": 100}),
    ]
    with pytest.raises(AllocationError) as error:
        choose_options(options, BEFORE, {"weight_bytes": 500, "macs": 50})
    lines = str(error.value).splitlines()
    assert lines[0].startswith(
        "weight_bytes <= 500 cannot be met: the candidates reach 600 at the least, 100 too much (now 1,000)"
    )
    assert lines[1].startswith("macs <= 50 cannot be met: the candidates reach 100 at the least, 50 too much (now 500)")
    with pytest.raises(
        AllocationError,
        match="weight_bytes <= 700 cannot be met together with the other budgets: 900 is the least, 200 too much",
    ):
        choose_options(options, BEFORE, {"weight_bytes": 700, "macs": 300})


def test_of_equal_damages_the_cheaper_is_taken():
    options = [Option("a", ("a",), f"c{n}", 0.5, 0.0, {"weight_bytes": 100 * n}) for n in (1, 3, 2)]
    found = choose_options(options, BEFORE, {"weight_bytes": 950})
    assert [one.candidate for one in found.options] == ["c3"]


def test_what_came_out_is_told_beside_what_was_asked_for():
    record = Allocation(
        "m", "p", {"candidates": {}, "budget": {"macs": 0.5, "weight_bytes": "2 kB"}}, {"a": "x"}, "kl", 0.01, 0.002,
        0.03, 0.004, {"macs": 480, "weight_bytes": 1900.0}, {"macs": 610, "weight_bytes": 1900.0},
        {"macs": 1000, "weight_bytes": 4000.0},
    )  # fmt: skip
    assert outcome_of(record, 1234.0) == (
        "misses its budget of macs: macs 610 (predicted 480, at most 500); weight_bytes 1,900 (predicted 1,900, at most 2,000); "
        "kl 0.03 ± 0.004 (predicted 0.01 ± 0.002). Its file takes 1,234 B compressed"
    )
    met = replace(record, measured={"macs": 500, "weight_bytes": 1900.0})
    assert outcome_of(met).startswith("macs 500 (predicted 480")
    assert outcome_of(replace(met, measured={"macs": 500})).startswith("misses its budget of weight_bytes: ")
