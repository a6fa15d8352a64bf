"""Verdicts that know their noise: the front, the best and the curve of a relaxing budget against brute force and by hand."""

import html
import math
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.store.records import run_records as facts
from pipeline.store.writer import Store
from tests.viewer.visits import Page, visit
from viewer.format.metrics import Better, MetricInfo, MetricRole, Pairing
from viewer.overview.budgets_view import Budgets
from viewer.results.lineage import Node
from viewer.results.pareto import front
from viewer.results.results import Results
from viewer.results.snapshot import MetricColumn, ModelLint, Setting, Snapshot

SETTING = Setting("ort", "m1", "d1", "digits", "CPU")
ACCURACY = MetricInfo("accuracy", "", ".1%", Better.HIGHER, True, role=MetricRole.QUALITY)
TIME = MetricInfo("time", "ms", ".3g", Better.LOWER, True, role=MetricRole.COST)


def results_of(accuracy, time, *, broken=(), unsure=()):
    """Results of models "0", "1", ... with (value, half-interval; 0: exact) in two metrics; they need no file."""
    keys = [str(at) for at in range(len(accuracy))]

    def column(pairs):
        values, halves = (np.array(part, dtype=float) for part in zip(*pairs, strict=True))
        ends = np.where(halves > 0, halves, np.nan)
        return MetricColumn(values, values - ends, values + ends, halves == 0)

    return Results(
        Snapshot(
            path=Path("nowhere.duckdb"),
            id=(0, 0),
            nodes=[Node(key, None, key, order=at) for at, key in enumerate(keys)],
            keys=keys,
            metrics=[ACCURACY, TIME],
            contexts=[SETTING],
            columns={SETTING: {"accuracy": column(accuracy), "time": column(time)}},
            recipes=["r"],
            lints={key: [ModelLint("constant_predictor", "ort", "always the same", "")] for key in broken},
            unsure={("ort", "m1", "wall"): frozenset(unsure)},
        )
    )


def every(results):
    return np.ones(len(results.keys), dtype=bool)


measured = st.lists(
    st.tuples(
        st.tuples(st.integers(0, 8), st.sampled_from([0, 0.6, 1.2])),
        st.tuples(st.integers(0, 8), st.sampled_from([0, 0.6, 1.2])),
    ),
    min_size=1,
    max_size=10,
)


@given(measured)
@settings(max_examples=150)
def test_the_front_is_what_the_best_by_value_do_not_measurably_beat(models):
    accuracy, time = zip(*models, strict=True)
    results = results_of(accuracy, time)

    def told(one, other, sign):
        (a, half_a), (b, half_b) = one, other
        return 0 if abs(a - b) <= math.hypot(half_a, half_b) else sign * (1 if a > b else -1)

    def beats(i, j):
        verdicts = told(accuracy[i], accuracy[j], 1), told(time[i], time[j], -1)
        return max(verdicts) == 1 and min(verdicts) >= 0

    nominal = front([x for x, _ in time], [y for y, _ in accuracy], Better.LOWER, Better.HIGHER)
    expected = {i for i in range(len(models)) if not any(beats(j, i) for j in nominal)} or set(nominal)
    assert set(results.ranking.front("time", "accuracy")) == expected


@given(measured)
def test_without_intervals_the_front_is_that_of_the_values(models):
    accuracy = [(value, 0) for (value, _), _ in models]
    time = [(value, 0) for _, (value, _) in models]
    expected = front([x for x, _ in time], [y for y, _ in accuracy], Better.LOWER, Better.HIGHER)
    assert results_of(accuracy, time).ranking.front("time", "accuracy") == expected


def test_models_that_cannot_be_told_apart_share_a_place():
    results = results_of([(0.90, 0.02), (0.89, 0.02), (0.80, 0.01)], [(5, 0), (5, 0), (5, 0)])
    assert results.ranking.front("time", "accuracy") == [0, 1]
    best = results.ranking.best("accuracy", every(results))
    assert (best.row, best.alike) == (0, (1,))
    slower = results_of([(0.90, 0.02), (0.89, 0.02)], [(5, 0.1), (2, 0.1)])
    assert slower.ranking.front("time", "accuracy") == [1], "no more exact that anybody can tell, and slower"


def test_a_broken_model_is_never_recommended():
    results = results_of([(0.1, 0), (0.9, 0), (0.8, 0)], [(1, 0), (5, 0), (3, 0)], broken=["0"])
    assert results.ranking.front("time", "accuracy") == [2, 1]
    assert results.ranking.best("time", every(results)).row == 2
    assert [step.row for step in results.ranking.relaxation_steps("time", "accuracy", every(results))] == [2, 1]
    none = results_of([(0.1, 0)], [(1, 0)], broken=["0"])
    assert none.ranking.front("time", "accuracy") == []
    assert none.ranking.best("time", every(none)) is None


def test_a_rough_time_wins_nothing_until_it_is_measured():
    figures = [(0.9, 0), (0.8, 0), (0.9, 0)], [(5, 0), (1, 0), (6, 0)]
    assert results_of(*figures).ranking.front("time", "accuracy") == [1, 0]
    rough = results_of(*figures, unsure=["1"])
    assert rough.ranking.front("time", "accuracy") == [0], "less exact, and who knows how fast"
    assert rough.ranking.best("time", every(rough)).row == 0
    assert not rough.ranking.verdicts("time", 1).any()
    assert rough.ranking.verdicts("accuracy", 1).tolist() == [1, 0, 1], "its answers are as good as any"
    assert rough.change("time", "1", "0") == {"change": "timed roughly (\N{MINUS SIGN}80.0%)", "tone": "soft"}
    assert results_of(*figures, unsure=["0", "1", "2"]).ranking.best("time", every(rough)) is None


def test_a_relaxing_budget_buys_what_can_be_told_to_be_better():
    results = results_of([(0.80, 0.02), (0.81, 0.02), (0.90, 0.02)], [(1, 0), (2, 0), (3, 0)])
    assert [step.row for step in results.ranking.relaxation_steps("time", "accuracy", every(results))] == [0, 2]


def test_a_change_that_is_written_as_nothing_is_no_verdict():
    results = results_of([(0.9, 0), (0.900001, 0)], [(5, 0), (5, 0)])
    assert results.change("accuracy", "1", "0") == {"change": "+0.00 pp", "tone": ""}


def test_one_figure_has_one_interval():
    results = results_of([(0.9, 0.01), (0.8, 0.01)], [(5, 0), (5, 0)])
    assert results.figure("accuracy", "1", None)["value"] == "80.0% (79.0% to 81.0%)"
    against = results.figure("accuracy", "1", "0")
    assert (against["value"], against["change"]) == ("80.0%", "\N{MINUS SIGN}10.0 ± 1.4 pp")


def test_which_metrics_a_clock_told():
    told = {
        MetricInfo("latency", "ms", role=MetricRole.COST, pairing=Pairing.WALL_TIME): "wall",
        MetricInfo("cpu", "ms", role=MetricRole.COST, pairing=Pairing.CPU_TIME): "cpu",
        MetricInfo("throughput", "1/s", role=MetricRole.COST): "wall",
        MetricInfo("macs", "", role=MetricRole.COST): "",
        MetricInfo("memory", "B", role=MetricRole.COST): "",
        ACCURACY: "",
    }
    assert {metric.name: metric.clock for metric in told} == {metric.name: clock for metric, clock in told.items()}


# ---- on the page, from a store
@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Four models: a broken one that is the smallest, two alike, one worse."""
    path = tmp_path_factory.mktemp("verdicts") / "results.duckdb"
    start = datetime(2026, 1, 1)
    made = [
        facts.Run("r1", "study", {}, {}, {}, None, start),
        facts.RunEnd("r1", start, 0),
        facts.DatasetInfo("d1", "digits", "image-classification", ["a", "b"], {"evaluation": 10}, {}),
        facts.Metric("accuracy", "", ".1%", "higher", True, "", "quality"),
        facts.Metric("file_bytes", "B", ".3g", "lower", True, "", "size"),
    ]
    for name, accuracy, size in (("good", 0.9, 3e6), ("alike", 0.89, 3e6), ("worse", 0.7, 2e6), ("stuck", 0.1, 1e6)):
        made += [
            facts.Model(name, None, name, "", "study", "train", 1, "base", "torch", {}),
            facts.Measurement(name, "ort", "", "d1", "accuracy", accuracy, accuracy - 0.02, accuracy + 0.02, 900, "r1", start, f"a{name}"),
            facts.Measurement(name, "", "", "", "file_bytes", size, None, None, None, "r1", start, f"s{name}"),
        ]  # fmt: skip
    made.append(facts.Lint("stuck", "constant_predictor", "ort", "One answer for all", "", {}, "r1", start))
    store = Store(path)
    store.write(made)
    store.publish()
    store.close()
    return path


def test_the_pane_of_budgets_names_the_best_and_those_that_may_be_as_good(store):
    page = Page(visit(store))
    page.say("budget_type", text="file bytes <= 3 MB")
    side = html.unescape(next(view for view in page.app._views if isinstance(view, Budgets)).draw_side())
    verdict = side[side.index('id="verdict"') :]
    verdict = verdict[: verdict.index("</div>")]
    assert "4 of 4 models pass." in verdict
    assert 'data-key="good" title="Select it">good</button> <b>90.0% (88.0% to 92.0%)' in verdict
    assert "1 more cannot be told apart from it" in verdict
    assert 'data-key="alike"' in verdict
    page.say("budget_type", text="file bytes <= 1 MB")
    side = next(view for view in page.app._views if isinstance(view, Budgets)).draw_side()
    assert "1 of 4 models pass.</b> None of them can be called the best in accuracy." in side


def test_before_anything_is_selected_no_broken_model_is_offered(store):
    page = Page(visit(store))
    page.app.state.change({"x": "file_bytes", "y": "accuracy"})
    side = page.app._views[3].draw_side()
    assert "no model measurably beats these" in side
    assert [key for key in ("good", "alike", "worse", "stuck") if f'data-key="{key}"' in side] == [
        "good",
        "alike",
        "worse",
    ]
    assert page.app.scatter.labels == [] or all("stuck" not in each["text"] for each in page.app.scatter.labels)


def test_models_of_other_data_sets_are_on_no_front_of_these(tmp_path):
    path, start = tmp_path / "results.duckdb", datetime(2026, 1, 1)
    made = [facts.Run("r1", "study", {}, {}, {}, None, start), facts.RunEnd("r1", start, 0)]
    made += [facts.Metric(name, unit, ".3g", better, True, "", role) for name, unit, better, role in (
        ("accuracy", "", "higher", "quality"), ("file_bytes", "B", "lower", "size"), ("macs", "", "lower", "cost"))]  # fmt: skip
    for name, data, size in (("a", "d1", 3e6), ("b", "d1", 2e6), ("other", "d2", 1e6), ("file", "", 2.5e6)):
        if data:
            made.append(facts.DatasetInfo(data, data, "image-classification", ["a", "b"], {"evaluation": 10}, {}))
            made.append(
                facts.Measurement(name, "ort", "", data, "accuracy", 0.9, None, None, None, "r1", start, f"a{name}")
            )
        made.append(facts.Model(name, None, name, "", "study", "train", 1, "base", "torch", {}))
        for metric, value in (("file_bytes", size), ("macs", 1e9 - size)):
            made.append(
                facts.Measurement(name, "", "", "", metric, value, None, None, None, "r1", start, f"{metric}{name}")
            )
    store = Store(path)
    store.write(made)
    store.publish()
    store.close()
    page = Page(visit(path))
    results = page.app.session.results
    assert results.context.dataset == "d1"
    assert [results.keys[row] for row in results.ranking.front("file_bytes", "macs")] == ["b", "file", "a"]
    assert results.keys[results.ranking.best("file_bytes", np.ones(4, dtype=bool)).row] == "b"
    page.app.state.change({"x": "file_bytes", "y": "macs"})
    assert "1 of other data sets, on no front of these" in page.app.scatter.draw_front()
