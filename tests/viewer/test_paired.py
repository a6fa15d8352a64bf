"""What two models differ by where they were measured together, against SciPy and against a store made by hand."""

import math
from datetime import datetime

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import minimize_scalar

from pipeline.store.records import run_records as facts
from pipeline.store.records.timing_records import Speedup
from pipeline.store.writer import Store
from viewer.format.metrics import MeasuredValue
from viewer.results.paired_difference import of_instances, of_speedup
from viewer.results.results import load_results

START = datetime(2026, 1, 1)
INSTANCES = 1000


def score(won, lost, count, difference):
    """Tango's (1998): the variance is that of the most likely pair of shares with this difference, found by search."""

    def unlikely(share):  # of instances that the other has right alone
        parts = (share + difference, won), (share, lost), (1 - 2 * share - difference, count - won - lost)
        return -sum(n * math.log(max(p, 1e-300)) for p, n in parts if n)

    ends = max(0.0, -difference), (1 - difference) / 2
    best = minimize_scalar(unlikely, bounds=ends, method="bounded", options={"xatol": 1e-12}).x
    share = min((best, *ends), key=unlikely)
    return (won - lost - count * difference) / math.sqrt(count * (2 * share + difference - difference**2))


@given(st.integers(3, 60).flatmap(lambda n: st.tuples(*[arrays.arrays(bool, n)] * 2)))
@settings(max_examples=40, deadline=None)
def test_of_right_and_wrong_answers_the_interval_is_tangos(answers):
    mine, other = answers
    won, lost, count = int((mine & ~other).sum()), int((other & ~mine).sum()), len(mine)
    found = of_instances(mine.astype(float), other.astype(float))
    assert found.value == pytest.approx((won - lost) / count, abs=1e-12)
    for end, sign in ((found.low, 1), (found.high, -1)):
        if -0.999 < end < 0.999:
            assert score(won, lost, count, end) == pytest.approx(sign * 1.959964, abs=1e-3)


def test_of_other_values_it_is_students():
    mine, other = np.array([0.5, 2.0, 1.5, 3.0, 0.25]), np.array([1.0, 1.0, 1.0, 1.0, 1.0])
    expected = scipy.stats.ttest_rel(mine, other).confidence_interval(0.95)
    found = of_instances(mine, other)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert of_instances(mine[:1], other[:1]) is None, "one value has no spread"


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
        facts.Metric("macro_f1", "", ".1%", "higher", False, "Mean of the classes' F1.", "quality"),
        facts.Metric("file_bytes", "B", ",.0f", "lower", True, "Bytes.", "size"),
        facts.Metric("first_run_time", "ms", ".3g", "lower", False, "Time of the first run.", "cost"),
    ]
    for name, answers in right.items():
        share = float(stated[name])
        found += [
            facts.Model(name, None if name == "base" else "base", name, "", "study", "op", 1, "prune", "torch", {}),
            facts.Measurement(name, "ort", "", "d1", "accuracy", share, share - 0.02, share + 0.02, INSTANCES, "r1", START, f"e{name}"),
            facts.Measurement(name, "ort", "m1", "", "latency_p50", 9.0 if name == "close" else 10.0, 8.9, 10.1, 100, "r1", START, f"t{name}"),
            facts.Measurement(name, "ort", "", "d1", "macro_f1", share / 2, None, None, INSTANCES, "r1", START, f"f{name}"),
            facts.Measurement(name, "", "", "", "file_bytes", 100.0 if name == "close" else 200.0, None, None, None, "r1", START, f"b{name}"),
            facts.Measurement(name, "ort", "m1", "", "first_run_time", 9.0 if name == "close" else 10.0, None, None, 1, "r1", START, f"c{name}"),
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
    assert study.change("accuracy", "close", "base") == {
        "change": "\N{MINUS SIGN}1.5 pp [\N{MINUS SIGN}2.6, \N{MINUS SIGN}0.6]",
        "tone": "bad",
    }


def test_a_time_is_compared_as_it_was_in_one_session(study):
    assert study.change("latency_p50", "close", "base") == {
        "change": "within noise (\N{MINUS SIGN}2.0% [\N{MINUS SIGN}6.5, +3.1])",
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


def test_a_figure_without_an_interval_is_no_verdict_unless_it_is_exact(study):
    assert study.change("macro_f1", "close", "base") == {
        "change": "noise unknown (\N{MINUS SIGN}0.8 pp)",
        "tone": "soft",
    }
    assert study.change("first_run_time", "close", "base")["change"] == "noise unknown (\N{MINUS SIGN}10.0%)"
    assert study.change("file_bytes", "close", "base") == {"change": "\N{MINUS SIGN}50.0%", "tone": "good"}
    assert not study.ranking.verdicts("macro_f1", study.row["close"]).any()


def test_where_no_noise_is_known_at_all_models_are_ranked_by_their_values(study):
    """As those of imported files are: a front of all models would say nothing."""
    front = study.ranking.front("file_bytes", "macro_f1")
    assert [study.keys[row] for row in front] == ["close", "base"], "`other` has a macro F1 of 25 %"
    best = study.ranking.best("macro_f1", np.ones(3, dtype=bool))
    assert (study.keys[best.row], best.alike) == ("base", ())


def test_rankings_tell_models_apart_as_comparisons_do(study):
    row = study.row
    for metric in ("accuracy", "latency_p50", "macro_f1", "file_bytes", "first_run_time"):
        for key in study.keys:
            verdicts = study.ranking.verdicts(metric, row[key])
            for other in study.keys:
                tone = study.change(metric, other, key)["tone"] if other != key else ""
                assert verdicts[row[other]] == {"good": 1, "bad": -1}.get(tone, 0), (metric, key, other)
    assert study.ranking.verdicts("accuracy", row["base"])[row["close"]] == -1, "the intervals of the two overlap"
    best = study.ranking.best("latency_p50", np.ones(3, dtype=bool))
    alike = [study.keys[at] for at in best.alike]
    assert (study.keys[best.row], alike) == ("close", ["base", "other"]), "in one session, and of the same interval"
