"""What two models differ by where they were measured together, against NumPy and against a store made by hand."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.store.records import run_records as facts
from pipeline.store.records.timing_records import Speedup
from pipeline.store.writer import Store
from viewer.format.metrics import MeasuredValue
from viewer.results.paired_difference import of_instances, of_speedup
from viewer.results.results import load_results

START = datetime(2026, 1, 1)
INSTANCES = 1000


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(*[arrays.arrays(bool, n)] * 2)))
def test_the_interval_of_the_mean_difference_is_walds_where_answers_are_right_or_wrong(answers):
    mine, other = answers
    gained, lost, count = int((mine & ~other).sum()), int((other & ~mine).sum()), len(mine)
    found = of_instances(mine.astype(float), other.astype(float))
    assert found.value == pytest.approx((gained - lost) / count, abs=1e-12)
    half = 1.959963984540054 * (gained + lost - (gained - lost) ** 2 / count) ** 0.5 / count
    assert found.noise == pytest.approx(half, abs=1e-9)


def test_a_time_is_divided_by_the_speedup_and_a_rate_multiplied():
    twice = MeasuredValue(2.0, 1.6, 2.5)
    assert of_speedup(twice, 10.0, less=True) == MeasuredValue(-5.0, pytest.approx(-6.0), pytest.approx(-3.75))
    assert of_speedup(twice, 10.0, less=False) == MeasuredValue(10.0, pytest.approx(6.0), pytest.approx(15.0))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """`close` loses 20 of 1,000 instances and gains 5, which intervals of each accuracy alone could not tell from noise."""
    path = tmp_path_factory.mktemp("paired") / "results.duckdb"
    store = Store(path)
    base = np.arange(INSTANCES) % 10 != 0
    close = base.copy()
    close[np.flatnonzero(base)[:20]], close[np.flatnonzero(~base)[:5]] = False, True
    right = {"base": base, "close": close, "other": np.roll(base, 1)}
    stated = {"base": base.mean(), "close": close.mean(), "other": 0.5}  # that of `other` is of another evaluation
    found: list[facts.Record] = [
        facts.Run("r1", "study", {}, {}, {}, None, START),
        facts.RunEnd("r1", START, 0),
        facts.DatasetInfo("d1", "pictures", "image-classification", ["a", "b"], {"evaluation": INSTANCES}, {}),
        facts.Instances("d1", "evaluation", [f"i{at}" for at in range(INSTANCES)], ["a"] * INSTANCES, {}),
        facts.Device("m1", {}),
        facts.Metric("accuracy", "", ".1%", "higher", True, "Share of right answers.", "quality", "instances"),
        facts.Metric("latency_p50", "ms", ".3g", "lower", True, "Median time.", "cost", "wall_time"),
    ]
    for name, answers in right.items():
        share = float(stated[name])
        found += [
            facts.Model(name, None if name == "base" else "base", name, "", "study", "op", 1, "prune", "torch", {}),
            facts.Measurement(name, "ort", "", "d1", "accuracy", share, share - 0.02, share + 0.02, INSTANCES, "r1", START, f"e{name}"),
            facts.Measurement(name, "ort", "m1", "", "latency_p50", 9.0 if name == "close" else 10.0, 8.9, 10.1, 100, "r1", START, f"t{name}"),
            facts.InstanceValues(name, "ort", "", "d1", "accuracy", answers.astype(np.float32), f"e{name}"),
        ]  # fmt: skip
    for clock, ratio in (("wall", 1.02), ("cpu", 3.0)):
        found.append(
            Speedup("s1", "close", "base", "base", "ort", "m1", "single_stream", 1, 1, clock, ratio, ratio - 0.05,
                          ratio + 0.05, "unknown", 12, 0.01, False, 0, START)
        )  # fmt: skip
    store.write(found)
    store.publish()
    store.close()
    return load_results(path)


def test_a_small_loss_on_the_same_instances_is_told_from_noise(study):
    assert study.change("accuracy", "close", "base") == {"change": "\N{MINUS SIGN}1.5 ± 1.0 pp", "tone": "bad"}


def test_a_time_is_compared_as_it_was_in_one_session(study):
    assert study.change("latency_p50", "close", "base") == {
        "change": "within noise (\N{MINUS SIGN}2.0 ± 4.8%)",
        "tone": "soft",
    }


def test_without_a_common_measurement_the_two_intervals_count(study):
    assert study.change("accuracy", "other", "base")["change"].endswith("± 2.8 pp")
    assert study.change("latency_p50", "other", "base") == {"change": "no change", "tone": ""}


def test_of_two_times_either_may_be_the_one_that_is_compared_with(study):
    """The recorded ratio is 1.02 (0.97 to 1.07): turned round, 1 / 1.02 (1 / 1.07 to 1 / 0.97)."""
    difference = study.difference("latency_p50", "base", "close")
    assert difference.absolute == pytest.approx(9.0 * 1.02 - 9.0)
    assert difference.noise == pytest.approx(9.0 * (1.07 - 0.97) / 2)
    assert difference.within_noise


def test_rankings_tell_models_apart_as_comparisons_do(study):
    row = study.row
    for metric in ("accuracy", "latency_p50"):
        for key in study.keys:
            verdicts = study.ranking.verdicts(metric, row[key])
            for other in study.keys:
                tone = study.change(metric, other, key)["tone"] if other != key else ""
                assert verdicts[row[other]] == {"good": 1, "bad": -1}.get(tone, 0), (metric, key, other)
    assert study.ranking.verdicts("accuracy", row["base"])[row["close"]] == -1, "the intervals of the two overlap"
    best = study.ranking.best("latency_p50", np.ones(3, dtype=bool))
    assert (study.keys[best.row], [study.keys[at] for at in best.alike]) == ("close", ["base"])
