"""Lints on what a store holds."""

import re
from datetime import UTC, datetime

import numpy as np
import pytest

from pipeline.core import environment
from pipeline.measure.lints.check import Evidence, run_lints
from pipeline.measure.timing.results import Role
from pipeline.store.queries.lint_rows import lint_rows
from pipeline.store.records.run_records import InstanceValues, Measurement
from pipeline.store.writer import Store
from tests.pipeline.bench import test_store

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Whole:
    """A session in the store, its rows read back, and the finding stored."""

    def __init__(self, path):
        self.path = path
        self.store = Store(path)
        self.device = environment.device_id()
        self.store.write([
            test_store.Run("run", "r", {}, {}, {}, None, NOW), test_store.model("base"),
            test_store.model("int8", "base"), *test_store.metric_records(),
            test_store.Device(self.device, environment.device()),
        ])  # fmt: skip

    def check(self, *sessions):
        for session in sessions:
            self.store.write(test_store.records_of(session, device=self.device, run_id="run"))
        self.store.publish()
        rows = lint_rows(self.path, models=["base", "int8"], device=self.device, dataset="data")
        found = run_lints(Evidence(**rows), run_id="run", at=NOW)
        self.store.write(found)
        self.store.publish()
        with test_store.open_results(self.path) as db:
            assert db.execute("SELECT model, lint FROM lints").fetchall() == [
                (fact.model_key, fact.lint) for fact in found if fact.lint
            ]
        return found


@pytest.fixture
def whole(tmp_path):
    made = Whole(tmp_path / "results.duckdb")
    yield made
    made.store.close()


def test_lints_read_what_the_store_gives(whole):
    found = whole.check(test_store.session(test_store.samples(contended=True)))
    assert {(fact.model_key, fact.lint) for fact in found} == {("int8", "contended"), ("base", "")}


@pytest.mark.parametrize(("cost", "odd"), [(2e6, True), (3.1e6, False)])
def test_a_model_that_was_timed_when_the_machine_was_faster_says_so(whole, cost, odd):
    """The base's own figure is of the first session; the second measured it again, beside its child."""
    base, int8, twin = test_store.samples()
    beside = test_store.repeat(test_store.process("base", np.log([cost] * 12), Role.REFERENCE), 6)
    found = whole.check(
        test_store.session([base, twin]),
        test_store.session([beside, int8], name="s2", at=datetime(2026, 1, 3, tzinfo=UTC)),
    )
    assert [(fact.model_key, fact.lint) for fact in found if fact.lint] == [("int8", "timed_apart")] * odd
    if odd:
        [fact] = [fact for fact in found if fact.lint]
        assert re.search(
            r"the base took 4 ms then, and (5\.9\d?|6(\.\d+)?) ms when its own time was taken \(1 thr", fact.message
        )
        assert "speed-up" in fact.advice


class TestTwoDataSets:
    """Models that have answered two data sets: four instances of `data`, then six of `other`, on which they do badly."""

    def rows(self, whole, dataset):
        whole.store.write(
            [*self.records(whole, "data", "abab", "abab"), *self.records(whole, "other", "aaabbb", "aaaaaa")]
        )
        whole.store.publish()
        return lint_rows(whole.path, models=["base", "int8"], device=whole.device, dataset=dataset)

    def records(self, whole, dataset, labels, answers):
        count = len(labels)
        ids = [str(row) for row in range(count)]
        correct = np.array([label == answer for label, answer in zip(labels, answers, strict=True)])
        yield test_store.DatasetInfo(dataset, dataset, "image-classification", ["a", "b"], {"evaluation": count}, {})
        yield test_store.Instances(dataset, "evaluation", ids, list(labels), {})
        yield test_store.PredictionSet(
            "base", "ort", dataset, list(answers), np.ones(count), np.ones(count), correct, correct * 1.0,
            np.full((count, 2), 0.5),
        )  # fmt: skip
        for target, metric, key, value in [
            ("ort", "accuracy", dataset, correct.mean()), ("other_ort", "accuracy", dataset, 1.0), ("", "macs", "", 8.0),
        ]:  # fmt: skip
            yield Measurement(
                model_key="base", target=target, device=whole.device if target else "", dataset_key=key, metric=metric,
                value=float(value), low=None, high=None, count=None, run_id="run", measured_at=NOW, evidence_key="e",
            )  # fmt: skip

    @pytest.mark.parametrize(("dataset", "accuracy", "top_answer"), [("data", 1.0, 0.5), ("other", 0.5, 1.0)])
    def test_figures_and_answers_are_of_the_one_that_is_asked_for(self, whole, dataset, accuracy, top_answer):
        rows = self.rows(whole, dataset)
        values = {(row["target"], row["metric"]): row["value"] for row in rows["measurements"]}
        assert values == {("ort", "accuracy"): accuracy, ("other_ort", "accuracy"): 1.0, (None, "macs"): 8.0}
        assert rows["answers"] == [
            {"model_key": "base", "target": "ort", "most_frequent": top_answer, "most_frequent_label": 0.5}
        ]

    def test_differences_of_targets_are_by_instance_of_one_data_set(self, whole):
        """What is no number on one target counts on neither."""
        values = {
            ("ort", "data"): [1.0, 2.0, 4.0, np.nan],
            ("torch", "data"): [0.5, 2.0, 3.0, 9.0],
            ("ort", "other"): [7.0] * 6,
            ("torch", "other"): [1.0] * 6,
        }
        right = {"ort": [1.0, 0.0, 1.0, np.nan], "torch": [0.0, 1.0, 0.0, 1.0]}  # fmt: skip
        whole.store.write(
            [*self.records(whole, "data", "abab", "abab"), *self.records(whole, "other", "aaabbb", "aaaaaa")]
        )
        whole.store.write(
            InstanceValues("base", target, whole.device, dataset, "loss", np.array(rows, np.float32), "e")
            for (target, dataset), rows in values.items()
        )
        whole.store.write(
            InstanceValues("base", target, whole.device, "data", "accuracy", np.array(rows, np.float32), "e")
            for target, rows in right.items()
        )
        whole.store.publish()
        rows = lint_rows(whole.path, models=["base"], device=whole.device, dataset="data")["differences"]
        own = np.array([0.5, 0.0, 1.0])
        for target, other, sign in (("ort", "torch", 1), ("torch", "ort", -1)):
            loss, accuracy = (
                next(row for row in rows if (row["target"], row["metric"]) == (target, metric))
                for metric in ("loss", "accuracy")
            )
            assert (loss["other"], loss["count"], loss["is_share"]) == (other, 3, False)
            assert (loss["mean"], loss["deviation"]) == pytest.approx((sign * own.mean(), own.std()))
            assert (loss["won"], loss["lost"], loss["same"], loss["largest"]) == (*((1, 0), (0, 1))[sign < 0], 1, 1.0)
            assert (accuracy["other"], accuracy["count"], accuracy["is_share"]) == (other, 3, True)
            assert (accuracy["won"], accuracy["lost"], accuracy["same"]) == (*((2, 1), (1, 2))[sign < 0], 0)
        assert len(rows) == 4

    def test_lints_do_not_mix_them(self, whole):
        findings = run_lints(Evidence(**self.rows(whole, "data")), run_id="run", at=NOW)
        assert {finding.lint for finding in findings} == {""}
        findings = run_lints(Evidence(**self.rows(whole, "other")), run_id="run", at=NOW)
        assert {finding.lint for finding in findings} >= {"constant_predictor", "target_disagrees"}
