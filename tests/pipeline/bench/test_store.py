"""What a session adds to the store: views with gates and intervals, every number traceable to its raw runs."""

from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

import numpy as np
import pytest

from pipeline.core import environment
from pipeline.core.statistics import wilson
from pipeline.measure.metrics.definitions import metric_records
from pipeline.measure.timing.records import records_of
from pipeline.measure.timing.results import Candidate, Failure, Role, SessionResult
from pipeline.measure.timing.speedup import compare_all
from pipeline.store.reader import open_results
from pipeline.store.records.run_records import DatasetInfo, Device, Instances, Lint, Model, PredictionSet, Run
from pipeline.store.writer import Store
from tests.pipeline.bench.test_compare import process

DEVICE = environment.device_id()
NOW = datetime(2026, 1, 2, tzinfo=UTC)
LATER = datetime(2026, 1, 3, tzinfo=UTC)


def model(key, parent=None):
    return Model(key, parent, key, "", "r", "train", 1, "base", "torch", {})


def session(samples, *, name="s1", at=NOW, failures=(), preset=MappingProxyType({"name": "default"})):
    known = [Candidate("base", "base", None, "ort", None), Candidate("int8", "base", "base", "ort", None)]
    found = [c for clock in ("cpu", "wall") for c in compare_all(samples, known, clock)]
    return SessionResult(name, preset, at, at, tuple(samples), tuple(failures), tuple(found))


@pytest.fixture
def results(tmp_path):
    """A function that stores sessions and opens the results."""
    path = tmp_path / "results.duckdb"
    store = Store(path)
    store.write([
        Run("run", "r", {}, {}, {}, None, NOW), model("base"), model("int8", "base"), *metric_records(),
        Device(DEVICE, environment.device()),
    ])  # fmt: skip
    opened = []

    def add(*sessions, lints=()):
        for found in sessions:
            store.write(records_of(found, device=DEVICE, run_id="run"))
        store.write(lints)
        store.publish()
        opened.append(open_results(path))
        return opened[-1]

    yield add
    for db in opened:
        db.close()
    store.close()


def samples(runs_per_round=6, **fields):
    generator = np.random.default_rng(0)
    base, int8, twin = (np.log(cost) + generator.normal(0, 0.01, 12) for cost in (3e6, 1e6, 3e6))
    made = [
        process("base", base), process("int8", int8, number=1, **fields), process("base", twin, Role.TWIN, number=2),
    ]  # fmt: skip
    return [repeat(found, runs_per_round) for found in made]


def repeat(found, runs_per_round):
    """The same process with more runs in each round."""
    each = {
        name: np.repeat(getattr(found, name)[::3], runs_per_round) for name in ("wall_ns", "cpu_ns", "round", "kept")
    }
    return replace(found, **each)


def one(db, query):
    return db.execute(query).fetchall()


def test_every_number_is_traced_to_its_raw_runs_by_one_query(results):
    db = results(session(samples()))
    traced = one(db, """
        SELECT m.model, m.value, m.count, count(*), list_sort(list(1000 * t.wall_seconds))[ceil(0.5 * count(*))::INTEGER]
        FROM measurements m JOIN timing_runs t USING (evidence_key, model_key, target)
        WHERE m.metric = 'latency_p50' AND t.role = 'model' AND t.scenario = 'single_stream' AND t.kept
        GROUP BY ALL""")  # fmt: skip
    assert len(traced) == 2
    for _, value, count, runs, median in traced:
        assert value == pytest.approx(median)
        assert count == runs == 72


def test_a_speedup_is_traced_to_the_rounds_of_both(results):
    db = results(session(samples()))
    ((stored, traced),) = one(db, """
        WITH rounds AS (
            SELECT evidence_key, model_key, round, ln(quantile_cont(cpu_seconds, 0.25)) AS time FROM timing_runs
            WHERE role = 'model' AND kept GROUP BY ALL),
        differences AS (
            SELECT s.ratio, m.round, b.time - m.time AS difference FROM speedups s
            JOIN rounds m ON m.evidence_key = s.evidence_key AND m.model_key = s.model_key
            JOIN rounds b ON b.evidence_key = s.evidence_key AND b.model_key = s.against_key AND b.round = m.round
            WHERE s.relation = 'base' AND s.clock = 'cpu')
        SELECT one.ratio, exp(median((one.difference + other.difference) / 2))
        FROM differences one JOIN differences other ON one.round <= other.round GROUP BY ALL""")  # fmt: skip
    assert stored == pytest.approx(traced)
    assert stored == pytest.approx(3, rel=0.05)


def test_percentiles_are_null_with_too_few_runs(results):
    few, many = samples(runs_per_round=8), samples(runs_per_round=56)  # 96 and 672 runs
    db = results(session(few))
    query = "SELECT runs, p50_ms IS NULL, p90_ms IS NULL, p99_ms IS NULL FROM timings WHERE model = 'int8'"
    assert one(db, query) == [(96, False, False, True)]
    db = results(session(many, name="s2", at=datetime(2026, 1, 3, tzinfo=UTC)))
    assert one(db, query) == [(672, False, False, False)]


@pytest.mark.parametrize(("per_round", "bound"), [(1, False), (4, True)])
def test_where_p90_is_null_its_bound_stands(results, per_round, bound):
    """12 runs cannot bound the 90th percentile; the largest of 48 does."""
    db = results(session(samples(runs_per_round=per_round)))
    ((p90, found, largest),) = one(db, """
        SELECT any_value(p90_ms), any_value(p90_bound_ms), max(1000 * r.wall_seconds)
        FROM timings t JOIN timing_runs r USING (evidence_key, model_key) WHERE t.model = 'int8'""")  # fmt: skip
    assert p90 is None
    assert found == (pytest.approx(largest) if bound else None)


def test_the_newest_session_is_shown(results):
    slow = [repeat(process("base", np.log([9e6] * 12)), 6)]
    db = results(session(samples()), session(slow, name="s2", at=datetime(2026, 1, 3, tzinfo=UTC)))
    assert one(db, "SELECT evidence_key, p50_ms FROM timings WHERE model = 'base'") == [
        ("s2", pytest.approx(18, rel=1e-3))
    ]
    assert one(db, "SELECT evidence_key FROM timings WHERE model = 'int8'") == [("s1",)]
    assert one(db, "SELECT DISTINCT evidence_key FROM timing_runs ORDER BY 1") == [("s1",), ("s2",)]


def test_a_model_keeps_its_figures_when_it_is_measured_again_for_another(results):
    """As the base of a model that comes later: else it would stand in another session than its older children."""
    base, int8, twin = samples()
    slow = repeat(process("base", np.log([9e6] * 12), Role.REFERENCE), 6)
    db = results(session([base, twin]), session([slow, int8], name="s2", at=datetime(2026, 1, 3, tzinfo=UTC)))
    assert one(db, "SELECT model, evidence_key FROM timings ORDER BY ALL") == [("base", "s1"), ("int8", "s2")]
    ((timing, stated, shown),) = one(db, """
        SELECT t.p50_ms, m.value, s.latency_p50 FROM timings t
        JOIN measurements m USING (model_key, evidence_key) JOIN scoreboard s USING (model_key)
        WHERE t.model = 'base' AND m.metric = 'latency_p50'""")  # fmt: skip
    assert timing == stated == shown == pytest.approx(6, rel=0.05)


ROUGH = MappingProxyType({"name": "smoke", "alone": False})


def rough(cost=9e6, runs=200, **options):
    """A first figure of int8, taken beside other work: enough runs even for a 90th percentile."""
    one = repeat(process("int8", np.log([cost] * 2)), runs // 2)
    return session([one], name="early", preset=ROUGH, **options)


class TestRoughFigures:
    TIMINGS = "SELECT preset, rough, p50_ms, p90_ms IS NULL FROM timings WHERE model = 'int8'"
    LATENCIES = (
        "SELECT metric, value, low, high FROM measurements WHERE model = 'int8' AND metric LIKE 'latency%' ORDER BY ALL"
    )

    def test_are_marked_and_promise_nothing(self, results):
        db = results(rough())
        assert one(db, self.TIMINGS) == [("smoke", True, pytest.approx(18), False)]
        assert one(db, self.LATENCIES) == [
            ("latency_p50", pytest.approx(18), None, None), ("latency_p90", pytest.approx(18), None, None),
        ]  # fmt: skip
        assert one(db, "SELECT latency_p50, speedup FROM scoreboard WHERE model = 'int8'") == [
            (pytest.approx(18), None)
        ]
        assert one(db, "SELECT * FROM speedups") == []

    @pytest.mark.parametrize("at", [NOW, datetime(2026, 1, 4, tzinfo=UTC)], ids=["before", "after"])
    def test_give_way_to_a_sessions_whenever_they_were_taken(self, results, at):
        """All of them: of the session's 48 runs there is no 90th percentile, so none is shown."""
        db = results(rough(at=at), session(samples(runs_per_round=4), at=LATER))
        ((preset, is_rough, p50, without_p90),) = one(db, self.TIMINGS)
        assert (preset, is_rough, without_p90) == ("default", False, True)
        assert p50 == pytest.approx(2, rel=0.05)
        ((metric, value, low, high),) = one(db, self.LATENCIES)
        assert metric == "latency_p50"
        assert low < value == p50 < high
        assert one(db, "SELECT latency_p50, latency_p90 FROM scoreboard WHERE model = 'int8'") == [(p50, None)]
        speedups = "SELECT DISTINCT evidence_key FROM speedups"
        assert one(db, speedups) == [("s1",)]

    def test_stay_in_the_history_and_the_newest_of_them_counts(self, results):
        newer = rough(cost=5e6, at=LATER)
        db = results(rough(), replace(newer, session="early2"))
        assert one(db, self.LATENCIES)[0][:2] == ("latency_p50", pytest.approx(10))
        history = "SELECT evidence_key FROM measurement_history WHERE metric = 'latency_p50' ORDER BY ALL"
        assert one(db, history) == [("early",), ("early2",)]

    def test_of_other_models_stay(self, results):
        base = repeat(process("base", np.log([3e6] * 12)), 6)
        db = results(rough(), session([base], at=LATER))
        assert one(db, "SELECT model, rough FROM timings ORDER BY ALL") == [("base", False), ("int8", True)]
        assert len(one(db, self.LATENCIES)) == 2


def test_runs_that_were_set_aside_are_kept_out_of_figures_but_not_of_the_store(results):
    kept = [True] * 11 + [False]
    model = process("base", np.log([1e6] * 11 + [99e6]), kept=kept)
    db = results(session([repeat(model, 6)]))
    assert one(db, "SELECT runs, round(instances_per_second) FROM timings") == [(66, 500)]
    assert one(db, "SELECT count(*), max(wall_seconds) > 0.1 FROM timing_runs") == [(72, True)]


def test_flags_are_there_for_sql(results):
    db = results(session(samples(contended=True, valid=False)))
    assert one(db, "SELECT valid, contended FROM timings WHERE model = 'int8'") == [(False, True)]
    assert one(db, "SELECT DISTINCT contended FROM speedups WHERE model = 'int8'") == [(True,)]
    assert one(db, "SELECT count(*) FROM measurements WHERE model = 'int8' AND metric LIKE 'latency%'") == [(0,)]


def test_a_model_that_could_not_be_timed_says_why(results):
    base, int8, twin = samples()
    db = results(session([base, twin], failures=[Failure(int8.case, "refused")]))
    query = "SELECT model, runs, p50_ms IS NULL, error FROM timings ORDER BY model"
    assert one(db, query) == [("base", 72, False, None), ("int8", 0, True, "refused")]
    db = results(session([base, int8, twin], name="s2", at=datetime(2026, 1, 3, tzinfo=UTC)))
    assert one(db, query) == [("base", 72, False, None), ("int8", 72, False, None)]


def test_a_model_that_failed_says_why_even_if_it_ran_beside_others(results):
    base, int8, _ = samples()
    beside = repeat(process("base", np.log([3e6] * 12), Role.REFERENCE), 6)
    db = results(session([beside, int8], failures=[Failure(base.case, "refused")]))
    assert one(db, "SELECT model, runs, error FROM timings ORDER BY ALL") == [
        ("base", 0, "refused"),
        ("int8", 72, None),
    ]


def test_a_check_without_findings_takes_back_what_was_found(results):
    finding = Lint("base", "contended", "ort", "message", "advice", {"foreign_cores": 0.7}, "run", NOW)
    db = results(lints=[finding])
    assert one(db, "SELECT model, lint, target, message, advice FROM lints") == [
        ("base", "contended", "ort", "message", "advice")
    ]
    db = results(lints=[Lint("base", "", "", "", "", {}, "run", datetime(2026, 1, 3, tzinfo=UTC))])
    assert one(db, "SELECT * FROM lints") == []


def test_classes_and_groups_have_wilson_intervals(results):
    """Ten instances of class a, of which eight are right, half of them in each group; none of class b is."""
    labels, correct = ["a"] * 10 + ["b"] * 2, [True] * 8 + [False] * 4
    ids = [str(row) for row in range(12)]
    db = results(lints=[
        DatasetInfo("data", "data", "image-classification", ["a", "b"], {"evaluation": 12}, {}),
        Instances("data", "evaluation", ids, labels, {"half": ["x", "y"] * 6}),
        PredictionSet(
            "base", "ort", "data", ["a"] * 12, np.ones(12), np.ones(12), np.array(correct), np.array(correct) * 1.0,
            np.full((12, 2), 0.5),
        ),
    ])  # fmt: skip
    expected = {"a": (8, 10), "b": (0, 2)}
    for name, instances, accuracy, low, high in one(
        db, "SELECT class, instances, accuracy, low, high FROM class_accuracy ORDER BY class"
    ):
        hits, count = expected[name]
        interval = wilson(hits, count)
        assert instances == count
        assert (accuracy, low, high) == pytest.approx((hits / count, interval.low, interval.high), abs=1e-4)
    groups = one(db, "SELECT attribute, value, instances, accuracy FROM group_accuracy ORDER BY value")
    assert groups == [("half", "x", 6, pytest.approx(4 / 6)), ("half", "y", 6, pytest.approx(4 / 6))]


def test_every_view_and_column_is_commented(results):
    db = results()
    views = ("timings", "timing_runs", "speedups", "lints", "class_accuracy", "group_accuracy")
    missing = one(
        db,
        f"SELECT view_name FROM duckdb_views() WHERE database_name = 'results' AND view_name IN {views} AND comment IS NULL",
    )
    missing += one(
        db,
        f"SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'results' AND table_name IN {views} AND comment IS NULL",
    )
    assert missing == []
