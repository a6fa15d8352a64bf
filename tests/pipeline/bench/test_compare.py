"""Speed-ups of synthetic samples whose truth is known: the ratio, its interval, and how often it is wrong."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.measure.metrics.api import Scenario
from pipeline.measure.timing.results import Candidate, Case, ProcessSamples, Role, Verdict
from pipeline.measure.timing.speedup import (
    ProcessNoise,
    compare_all,
    estimate_speedups,
    location,
    process_noise,
    round_logs,
)

ROUNDS = 12
NO_NOISE = ProcessNoise(0.0, 0)


def process(key, log_ns, role=Role.MODEL, *, number=0, launch=0, group=0, kept=None, **fields):
    """A process whose runs in round r all took exp(log_ns[r]) ns of CPU time, and twice that by the wall clock."""
    rounds = np.repeat(np.arange(len(log_ns)), 3)
    cpu = np.exp(np.asarray(log_ns))[rounds].astype(np.int64)
    facts = {
        "case": Case(key, "ort", Scenario.SINGLE_STREAM, 1, 1), "role": role, "group": group, "launch": launch,
        "process": number, "wall_ns": 2 * cpu, "cpu_ns": cpu, "round": rounds,
        "kept": np.ones(len(cpu), bool) if kept is None else np.repeat(kept, 3), "load_seconds": 0.1,
        "first_run_seconds": 0.1, "warmup_runs": 5, "warmup_seconds": 0.1, "warmed_up": True, "valid": True,
        "contended": False, "foreign_cores": 0.0, "drift": 0.0, "drifted": False, "peak_bytes": None, "joules": None,
        "runtime": {},
    }  # fmt: skip
    return ProcessSamples(**{**facts, **fields})


def scattered(generator, centre, *, rounds=0.03, processes=0.0):
    return np.log(1e6 * centre) + generator.normal(0, processes) + generator.normal(0, rounds, ROUNDS)


def candidates(*pairs):
    return [Candidate(key, "base", parent, "ort", Path(key)) for key, parent in pairs]


def ratio(model, base, noise=NO_NOISE, clock="cpu"):
    return estimate_speedups([model], [base], relation="base", noise=noise, clock=clock)


def test_the_ratio_is_the_others_time_over_ours():
    found = ratio(process("m", np.log([1e6] * 12)), process("base", np.log([3e6] * 12)))
    assert found.ratio == pytest.approx(3, rel=1e-5)
    assert (found.low, found.high) == (pytest.approx(3, rel=1e-5), pytest.approx(3, rel=1e-5))
    assert found.verdict is Verdict.FASTER
    assert found.rounds == 12
    assert ratio(process("m", np.log([3e6] * 12)), process("base", np.log([1e6] * 12))).verdict is Verdict.SLOWER


def test_drift_that_both_share_does_not_count():
    drift = np.linspace(0, 1, 12)
    found = ratio(process("m", np.log(1e6) + drift), process("base", np.log(2e6) + drift))
    assert found.ratio == pytest.approx(2, rel=1e-5)
    assert found.high - found.low < 1e-4


def test_an_interval_that_holds_one_says_no_difference():
    generator = np.random.default_rng(0)
    found = ratio(process("m", scattered(generator, 1)), process("base", scattered(generator, 1.001)))
    assert found.low < 1 < found.high
    assert found.verdict is Verdict.SAME


def test_a_few_bad_rounds_do_not_move_the_ratio():
    """Three of twelve rounds in which the neighbours were loud."""
    loud = np.log([1e6] * 9 + [1.5e6] * 3)
    found = ratio(process("m", loud), process("base", np.log([2e6] * 12)))
    assert found.ratio == pytest.approx(2, rel=0.01)


def test_of_a_round_the_fast_end_counts():
    runs = np.tile([3, 1, 9], 12) * 1_000_000
    found = round_logs(process("m", np.zeros(12), cpu_ns=runs), "cpu")
    assert found[0] == pytest.approx(np.log(2e6))  # the lower quartile of 1, 3 and 9


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0, 10.0], [4.0, 1.0, 3.0, 9.0]])
def test_hodges_lehmann_by_brute_force(values):
    averages = [(values[i] + values[j]) / 2 for i in range(len(values)) for j in range(i, len(values))]
    assert location(np.array(values)) == pytest.approx(np.median(averages))
    assert location(np.array([values, values])).tolist() == pytest.approx([np.median(averages)] * 2)


def test_too_few_rounds_have_no_interval():
    found = ratio(process("m", np.log([1e6] * 5)), process("base", np.log([2e6] * 5)))
    assert found.ratio == pytest.approx(2, rel=1e-5)
    assert (found.low, found.high, found.verdict) == (None, None, Verdict.UNKNOWN)


def test_processes_of_different_launches_are_not_compared():
    """A ratio of nothing would be no number, and stored as a figure."""
    times = np.log([1e6] * 12)
    samples = [process("base", times, launch=0), process("m", times, launch=1), process("n", times, launch=0)]
    known = candidates(("base", None), ("m", "base"), ("n", "base"))
    compared = compare_all(samples, known, "cpu")
    assert {(result.case.model_key, result.rounds) for result in compared} == {("n", 12)}


def test_only_rounds_that_both_kept_are_compared():
    model = process("m", np.log([1e6] * 6 + [9e6] * 6), kept=[True] * 6 + [False] * 6)
    assert ratio(model, process("base", np.log([2e6] * 12))).ratio == pytest.approx(2, rel=1e-5)
    assert set(round_logs(model, "cpu")) == set(range(6))


def test_the_wall_clock_is_another_comparison():
    model, base = process("m", np.log([1e6] * 12)), process("base", np.log([1e6] * 12))
    slower = process("m", np.log([1e6] * 12), wall_ns=5 * model.cpu_ns)
    assert ratio(slower, base).ratio == pytest.approx(1)
    assert ratio(slower, base, clock="wall").ratio == pytest.approx(0.4)


def test_what_processes_differ_by_widens_the_interval():
    generator = np.random.default_rng(1)
    model, base = process("m", scattered(generator, 1)), process("base", scattered(generator, 1.08))
    narrow, wide = ratio(model, base), ratio(model, base, ProcessNoise(0.05, 6))
    assert narrow.verdict is Verdict.FASTER
    assert wide.verdict is Verdict.SAME
    assert wide.ratio == narrow.ratio
    assert wide.noise == 0.05


def test_the_noise_of_processes_is_found_and_told_from_the_rounds():
    generator = np.random.default_rng(2)
    for truth in (0.0, 0.05):
        samples = [
            process("base", scattered(generator, 1, processes=truth), Role.TWIN if number else Role.MODEL, group=group,
                    number=number)
            for group in range(40) for number in range(4)
        ]  # fmt: skip
        found = process_noise(samples, "cpu")
        assert found.freedom == 120
        assert found.sd == pytest.approx(truth, abs=0.008)


def test_without_twins_the_noise_is_unknown():
    assert process_noise([process("base", np.log([1e6] * 12))], "cpu") == ProcessNoise(0.0, 0)


@pytest.mark.matrix
@pytest.mark.parametrize("processes", [0.0, 0.02])
def test_equal_models_differ_in_no_more_than_ten_of_a_hundred_comparisons(processes):
    """The promise of an interval of 95 %, with few rounds, few twins, and with processes that differ."""
    generator = np.random.default_rng(3)
    wrong = 0
    for _ in range(100):
        samples = [
            process("base", scattered(generator, 1, processes=processes), Role.TWIN if number else Role.REFERENCE,
                    number=number)
            for number in range(4)
        ]  # fmt: skip
        samples.append(process("m", scattered(generator, 1, processes=processes), number=4))
        found = compare_all(samples, candidates(("base", None), ("m", "base")), "cpu")
        wrong += next(c for c in found if c.relation == "base").verdict is not Verdict.SAME
    assert wrong <= 10


def test_a_difference_of_ten_percent_is_found():
    generator = np.random.default_rng(4)
    samples = [
        process("base", scattered(generator, 1, rounds=0.02, processes=0.005), Role.TWIN if n else Role.MODEL, number=n)
        for n in range(4)
    ]
    samples.append(process("m", scattered(generator, 0.9, rounds=0.02, processes=0.005), number=4))
    found = compare_all(samples, candidates(("base", None), ("m", "base")), "cpu")
    assert next(c for c in found if c.relation == "base").verdict is Verdict.FASTER


def test_every_relation_is_compared_once():
    flat = np.log([1e6] * 12)
    samples = [
        process("base", flat, Role.REFERENCE), process("p", flat, number=1), process("c", flat, number=2),
        process("base", flat, Role.TWIN, number=3), process("base", flat, Role.TWIN, number=4),
    ]  # fmt: skip
    found = compare_all(samples, candidates(("base", None), ("p", "base"), ("c", "p")), "cpu")
    relations = [(c.case.model_key, c.relation, c.against_key, c.process) for c in found]
    assert relations == [
        ("p", "base", "base", 1), ("p", "parent", "base", 1), ("c", "base", "base", 2), ("c", "parent", "p", 2),
        ("base", "itself", "base", 3), ("base", "itself", "base", 4),
    ]  # fmt: skip


def test_launches_are_paired_each_with_its_own():
    flat = np.log([1e6] * 12)
    models = [process("m", flat, launch=0), process("m", flat + 1, launch=1)]
    bases = [process("base", flat + 0.5, launch=0), process("base", flat + 1.5, launch=1)]
    found = estimate_speedups(models, bases, relation="base", noise=NO_NOISE, clock="cpu")
    assert found.ratio == pytest.approx(np.exp(0.5), rel=1e-5)
    assert found.rounds == 24


def test_a_comparison_of_contended_samples_says_so():
    flat = np.log([1e6] * 12)
    assert ratio(process("m", flat, contended=True), process("base", flat)).contended
    assert not ratio(process("m", flat), process("base", flat, drifted=True)).contended
    assert not ratio(process("m", flat), process("base", flat)).contended
