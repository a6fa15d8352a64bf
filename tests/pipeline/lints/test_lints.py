"""Each lint fires on the measurement that it is about, says what to try, and is silent otherwise."""

import json
import re
from datetime import UTC, datetime

import numpy as np
import pytest

from ops.core.operation import Batch
from ops.core.registry import UnknownNameError
from pipeline.measure.lints.api import LINTS
from pipeline.measure.lints.check import Evidence, run_lints
from pipeline.measure.lints.overlap import calibration_overlap

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ISSUE = {
    "slower_with_fewer_macs", "int8_slower_than_float", "low_integer_share", "larger_at_higher_ratio",
    "quantized_without_preprocessing", "unsteady_latency", "contended", "drifted", "target_disagrees",
    "calibration_overlaps_evaluation", "constant_predictor", "not_a_number", "a_few_pay", "timed_apart",
    "untrained_head", "outputs_left_out", "further_outputs", "fixed_length",
    "outputs_far_from_parent",
    "nothing_done", "little_done", "larger_than_parent",
}  # fmt: skip


class Sweep:
    """Rows as the views give them; a test says what is odd."""

    def __init__(self):
        self.models, self.measurements, self.timings, self.speedups, self.answers = [], [], [], [], []
        self.differences = []

    def model(self, key, parent="base", *, op="magnitude_prune", kind="prune", params="{}", notes="{}", **metrics):
        self.models.append({
            "model_key": key, "name": key, "parent_key": None if key == "base" else parent, "op": op, "kind": kind,
            "params": params, "notes": notes,
        })  # fmt: skip
        return self.measure(key, "ort", accuracy=0.9, **metrics)

    def measure(self, key, target, **metrics):
        for name, value in metrics.items():
            row = {"model_key": key, "target": target, "metric": name, "value": value, "low": None, "high": None}
            self.measurements.append(row)
        return self

    def timing(self, key, *, p50=1.0, p90=1.1, contended=False, drifted=False, **fields):
        self.timings.append({
            "model_key": key, "target": "ort", "scenario": "single_stream", "batch_size": 1, "threads": 1, "p50_ms": p50,
            "p90_ms": p90, "contended": contended, "drifted": drifted, "foreign_cores": 0.6, "evidence_key": "s",
            "base_evidence_key": None, "base_p50_ms": None, "base_beside_ms": None, **fields,
        })  # fmt: skip
        return self

    def speedup(self, key, ratio, *, relation="parent", verdict=None, clock="cpu", threads=1, width=0.05):
        low, high = ratio - width, ratio + width
        verdict = verdict or ("faster" if low > 1 else "slower" if high < 1 else "no difference")
        self.speedups.append({
            "model_key": key, "target": "ort", "relation": relation, "scenario": "single_stream", "threads": threads,
            "clock": clock, "ratio": ratio, "low": low, "high": high, "verdict": verdict, "evidence_key": "s",
        })  # fmt: skip
        return self

    def answer(self, key, share, label=0.1):
        self.answers.append(
            {"model_key": key, "target": "ort", "most_frequent": share, "most_frequent_label": label}
        )  # fmt: skip
        return self

    def check(self, overlap=None):
        evidence = Evidence(self.models, self.measurements, self.timings, self.speedups, self.answers, self.differences)
        return run_lints(evidence, run_id="run", at=NOW, overlap=overlap)

    def findings(self, **options):
        return {(found.model_key, found.lint): found for found in self.check(**options) if found.lint}


@pytest.fixture
def sweep():
    made = Sweep()
    made.model("base", op="train", kind="base", macs=100.0, file_bytes=4e6)
    return made


def test_all_are_registered():
    assert set(LINTS) == ISSUE
    with pytest.raises(UnknownNameError, match="Did you mean 'contended'"):
        LINTS["contendet"]


def test_nothing_odd_is_said_too(sweep):
    sweep.model("m", macs=50.0).speedup("m", 1.8).timing("m").answer("m", 0.12)
    found = sweep.check(overlap=0.0)
    assert [(fact.model_key, fact.lint, fact.run_id) for fact in found] == [("base", "", "run"), ("m", "", "run")]


def test_fewer_macs_but_slower(sweep):
    sweep.model("m", macs=50.0).speedup("m", 0.66)
    found = sweep.findings()["m", "slower_with_fewer_macs"]
    assert found.message == "50% of the parent's MACs, yet 0.66x (0.61 to 0.71) as fast on ort"
    assert "round_to: 8" in found.advice
    assert found.evidence == {
        "macs": 50, "macs_of_parent": 100, "speedup": 0.66, "low": 0.61, "high": pytest.approx(0.71), "evidence_key": "s",
    }  # fmt: skip


@pytest.mark.parametrize(("macs", "ratio"), [(50.0, 0.99), (50.0, 1.5), (99.5, 0.6)])
def test_a_difference_within_the_noise_or_in_macs_alone_is_none(sweep, macs, ratio):
    assert sweep.model("m", macs=macs).speedup("m", ratio).findings() == {}


def test_int8_slower_than_float(sweep):
    sweep.model("m", op="quantize", kind="quantize", integer_mac_share=0.9).speedup("m", 0.7)
    found = sweep.findings()
    assert set(found) == {("m", "int8_slower_than_float")}
    message = "0.70x (0.65 to 0.75) as fast as its parent on ort, with 90% of the MACs in integer kernels"
    assert found["m", "int8_slower_than_float"].message == message


def test_cpu_time_on_one_thread_decides(sweep):
    sweep.model("m", op="quantize", kind="quantize", integer_mac_share=0.9)
    sweep.speedup("m", 0.7, clock="wall").speedup("m", 0.7, threads=4).speedup("m", 1.5)
    assert sweep.findings() == {}


@pytest.mark.parametrize(
    ("share", "params", "fires"),
    [
        (0.5, "{}", True),
        (0.8, "{}", False),
        (0.0, '{"method": "weight_only"}', False),
        (0.1, '{"method": "dynamic"}', True),
    ],
)
def test_low_integer_share(sweep, share, params, fires):
    sweep.model("m", op="quantize", kind="quantize", params=params, integer_mac_share=share)
    found = sweep.findings()
    assert (("m", "low_integer_share") in found) is fires
    if fires:
        assert found["m", "low_integer_share"].message == f"Only {share:.0%} of the MACs run in integer kernels on ort"


class TestSweepsOfOneParameter:
    def two(self, sweep, low, high, scope="global"):
        for key, sparsity, metrics in (("low", 0.5, low), ("high", 0.75, high)):
            sweep.model(key, params={"sparsity": sparsity, "scope": scope if key == "high" else "global"}, **metrics)
        return sweep

    def test_larger_at_a_higher_ratio(self, sweep):
        found = self.two(sweep, {"file_bytes": 2e6}, {"file_bytes": 3e6}).findings()
        assert set(found) == {("high", "larger_at_higher_ratio")}
        assert found["high", "larger_at_higher_ratio"].message == "3 MB at sparsity 0.75, 2 MB at 0.5"

    def test_slower_at_a_higher_ratio(self, sweep):
        self.two(sweep, {"file_bytes": 2e6}, {"file_bytes": 2e6})
        sweep.speedup("low", 2.0, relation="base").speedup("high", 1.5, relation="base")
        message = sweep.findings()["high", "larger_at_higher_ratio"].message
        assert message == "1.50x as fast as the base at sparsity 0.75, 2.00x at 0.5"

    def test_equal_sizes_are_fine(self, sweep):
        self.two(sweep, {"file_bytes": 2e6}, {"file_bytes": 2.005e6})
        sweep.speedup("low", 1.52, relation="base").speedup("high", 1.5, relation="base")
        assert sweep.findings() == {}

    def test_intervals_that_barely_miss_each_other_are_chance(self, sweep):
        self.two(sweep, {"file_bytes": 2e6}, {"file_bytes": 2e6})
        sweep.speedup("low", 1.1, relation="base", width=0.09)
        sweep.speedup("high", 0.9, relation="base", width=0.09)
        assert sweep.findings() == {}

    def test_models_that_differ_in_more_are_not_compared(self, sweep):
        assert self.two(sweep, {"file_bytes": 2e6}, {"file_bytes": 3e6}, scope="layer").findings() == {}


def test_quantized_without_preprocessing(sweep):
    sweep.model("m", op="quantize", kind="quantize", integer_mac_share=0.9, unfused_batch_norms=20.0)
    sweep.model("fine", op="quantize", kind="quantize", integer_mac_share=0.9, unfused_batch_norms=0.0)
    found = sweep.findings()
    assert set(found) == {("m", "quantized_without_preprocessing")}
    assert found["m", "quantized_without_preprocessing"].message.startswith("20 batch normalisations stand unfused")


def test_unsteady_latency(sweep):
    sweep.timing("base", p50=2.0, p90=3.2)
    message = sweep.findings()["base", "unsteady_latency"].message
    assert message == "p90 is 3.2 ms where p50 is 2 ms (1.6 times) on 1 thread(s)"


@pytest.mark.parametrize(
    "timing", [{"p90": 1.4}, {"p90": None}, {"p50": None, "p90": 9.0}, {"p90": 9, "scenario": "offline"}]
)
def test_steady_or_unknown_latency(sweep, timing):
    assert sweep.timing("base", **timing).findings() == {}


def test_contended(sweep):
    sweep.timing("base").timing("base", threads=2, contended=True, drifted=True)
    [found] = sweep.findings().values()
    assert found.lint == "contended"
    assert re.search(r"0\.60 cores busy \(1 of 2 conditions\)", found.message)


def test_a_machine_that_changed_its_speed_is_not_called_contended(sweep):
    sweep.timing("base").timing("base", threads=2, drifted=True)
    [found] = sweep.findings().values()
    assert found.lint == "drifted"
    assert re.search(r"own speed changed \(1 of 2 conditions\)", found.message)


@pytest.mark.parametrize(
    ("beside", "fields"),
    [
        (1.05, {"evidence_key": "later"}),  # the machine was as fast
        (None, {"evidence_key": "later"}),
        (5.0, {"evidence_key": "s"}),
        (5.0, {"evidence_key": "later", "scenario": "offline"}),
    ],
)
def test_times_that_compare(sweep, beside, fields):
    assert (
        sweep.timing("base", base_evidence_key="s", base_p50_ms=1.0, base_beside_ms=beside, **fields).findings() == {}
    )


def test_target_disagrees(sweep):
    sweep.model("m").measure("m", "pytorch", accuracy=0.95).measure("m", "openvino", accuracy=0.905)
    found = sweep.findings()
    assert {key for key in found if key[0] == "m"} == {("m", "target_disagrees")}
    texts = {fact.target: fact.message for fact in sweep.check() if fact.lint}
    assert texts == {
        "ort": "accuracy 90.0% on ort and 95.0% on pytorch",
        "openvino": "accuracy 90.5% on openvino and 95.0% on pytorch",
    }


@pytest.mark.parametrize("what", ["class", "group"])
def test_a_few_pay(sweep, what):
    sweep.model("m", accuracy_drop=0.01, **{f"worst_{what}_drop": 0.3, f"{what}_drop_p": 0.001})
    message = sweep.findings()["m", "a_few_pay"].message
    assert message == f"One {what} lost 30.0% of accuracy where all together lost 1.0% (p = 0.001, corrected)"


@pytest.mark.parametrize(("drop", "p"), [(0.3, 0.2), (0.05, 0.001)])
def test_a_loss_by_chance_or_a_common_one_is_no_finding(sweep, drop, p):
    assert sweep.model("m", accuracy_drop=0.01, worst_class_drop=drop, class_drop_p=p).findings() == {}


def test_of_a_model_that_is_lost_all_pay(sweep):
    assert sweep.model("m", accuracy_drop=0.5, worst_class_drop=0.9, class_drop_p=0.0).findings() == {}


def test_constant_predictor(sweep):
    sweep.answer("base", 0.999)
    assert sweep.findings()["base", "constant_predictor"].message == (
        "99.9% of the instances get one and the same prediction"
    )


def test_what_a_constant_predictor_is_told_to_try_is_possible(sweep):
    sweep.answer("base", 1.0).model("pruned").answer("pruned", 1.0)
    found = sweep.findings()
    assert "compress less" not in found["base", "constant_predictor"].advice  # nothing was compressed
    assert "fine-tune" in found["pruned", "constant_predictor"].advice
    of_file = Sweep()
    of_file.model("base", op="load_onnx", kind="base").model("int8", op="quantize", kind="quantize").answer("int8", 1.0)
    advice = of_file.findings()["int8", "constant_predictor"].advice
    assert not re.search("fine-tune|calibrate|prune", advice)


def test_data_of_one_class_make_no_constant_predictor(sweep):
    assert sweep.answer("base", 1.0, label=1.0).findings() == {}
    assert Sweep().model("base", op="train", kind="base").answer("base", 0.5).findings() == {}


def test_not_a_number(sweep):
    sweep.measure("base", "ort", invalid_outputs=0.02)
    assert sweep.findings()["base", "not_a_number"].message == "2.00% of the instances get NaN or infinity on ort"


def test_a_head_that_nothing_has_trained_is_said_of_all_below_it():
    sweep = Sweep()
    sweep.model("base", op="load", kind="base", notes='{"untrained_head": ["classifier.weight"]}')
    sweep.model("int8", op="quantize", kind="quantize").model("tuned", op="finetune", kind="finetune")
    sweep.model("tuned_int8", "tuned", op="quantize", kind="quantize")
    found = sweep.findings()
    assert {model for model, lint in found if lint == "untrained_head"} == {"base", "int8"}
    assert "classifier.weight" in found["base", "untrained_head"].message


@pytest.mark.parametrize("note", ["outputs_left_out", "further_outputs"])
def test_outputs_that_nothing_judges_are_named(note):
    sweep = Sweep()
    sweep.model("base", op="load", kind="base", notes=json.dumps({note: ["hidden_states.0"]}))
    assert "hidden_states.0" in sweep.findings()["base", note].message


def test_a_length_that_is_fixed_is_said(sweep):
    sweep.model("m", fixed_length=7.0)
    assert "exactly 7 tokens" in sweep.findings()["m", "fixed_length"].message


def test_calibration_overlaps_evaluation(sweep):
    sweep.model("m", op="quantize", kind="quantize", integer_mac_share=0.9).model("pruned")
    found = sweep.findings(overlap=0.05)
    assert set(found) == {("m", "calibration_overlaps_evaluation")}
    message = found["m", "calibration_overlaps_evaluation"].message
    assert message == "5.0% of the calibration instances also stand in the evaluation split"


class Copies:
    """One of four calibration instances is also an evaluation instance, under another id."""

    def batches(self, split, *, batch_size):
        rows = {"evaluation": [0, 1, 2], "calibration": [7, 8, 9, 1]}[split]
        yield Batch(tuple(f"{split}{row}" for row in rows), {"x": np.array(rows, np.float32)[:, None]}, {})


class Nothing:
    def batches(self, split, *, batch_size):
        return iter(())


def test_the_overlap_is_one_of_contents():
    assert calibration_overlap(Copies()) == 0.25
    assert calibration_overlap(Nothing()) is None


@pytest.mark.parametrize(
    ("op", "kind", "params", "changed", "fires"),
    [
        ("magnitude_prune", "prune", {"sparsity": 0.5}, (0, 1000), "nothing_done"),
        ("restore", "restore", {"include": ["norm"]}, (0, 1000), "nothing_done"),
        ("calibrate", "calibrate", {}, (0, 1000), "nothing_done"),
        ("finetune", "finetune", {}, (0, 1000), "nothing_done"),
        ("magnitude_prune", "prune", {"sparsity": 0.8, "include": [], "exclude": []}, (64, 14_154), "little_done"),
        ("magnitude_prune", "prune", {"sparsity": 0.8, "include": ["head"]}, (64, 14_154), None),
        ("magnitude_prune", "prune", {"sparsity": 0.05}, (50, 1000), None),
        ("nm_prune", "prune", {"n": 2, "m": 4}, (40, 1000), "little_done"),
        ("nm_prune", "prune", {"n": 2, "m": 4}, (500, 1000), None),
        ("quantize", "quantize", {"method": "weight_only"}, (320, 14_154), "little_done"),
        ("quantize", "quantize", {"method": "static"}, (900, 1000), None),
        ("factorize", "factorize", {"ratio": 0.5}, (10, 1000), "little_done"),
        ("train", "base", {}, (0, 0), None),
    ],
)
def test_operations_that_did_next_to_nothing(sweep, op, kind, params, changed, fires):
    sweep.model("m", op=op, kind=kind, params=json.dumps(params), file_bytes=4e6, integer_mac_share=0.9)
    sweep.models[-1]["notes"] = json.dumps({"changed": {"values": changed[0], "of": changed[1]}})
    assert {lint for _, lint in sweep.findings()} == ({fires} if fires else set())


def test_the_share_that_was_changed_is_told_with_what_was_asked_for(sweep):
    sweep.model("m", params='{"sparsity": 0.8}')
    sweep.models[-1]["notes"] = '{"changed": {"values": 64, "of": 14154}}'
    found = sweep.findings()["m", "little_done"]
    assert found.message == "`magnitude_prune` changed 64 of 14,154 values (0.5%), where 80% was asked for"


@pytest.mark.parametrize(
    ("kind", "size", "fires"), [("factorize", 6e6, True), ("quantize", 4.1e6, True), ("quantize", 4e6, False)]
)
def test_a_file_that_became_larger(sweep, kind, size, fires):
    sweep.model("m", op=kind, kind=kind, file_bytes=size, integer_mac_share=0.9)
    found = sweep.findings()
    assert (("m", "larger_than_parent") in found) is fires
    if kind == "factorize":
        assert found["m", "larger_than_parent"].message == (
            "The file has 6,000,000 bytes, that of its parent 4,000,000 (1.50 times)"
        )


class TestRepeatedPruning:
    """Sparsity is the share of zeros afterwards: of what a parent has already, a step need not do anything."""

    def findings(self, sweep, before, after, changed):
        """A child with `after` zeros of a parent with `before`; `changed` of a thousand values became zero."""
        sweep.model("parent", sparsity=before)
        sweep.model("child", "parent", params=json.dumps({"sparsity": after}))
        sweep.models[-1]["notes"] = json.dumps({"changed": {"values": changed, "of": 1000}})
        return sweep.findings()

    @pytest.mark.parametrize(
        ("before", "after", "changed"), [(0.75, 0.8, 50), (0.89, 0.9, 10), (0.8, 0.8, 3), (0.9, 0.5, 1)]
    )
    def test_a_small_further_step_is_what_was_asked_for(self, sweep, before, after, changed):
        assert self.findings(sweep, before, after, changed) == {}

    def test_a_step_that_did_next_to_nothing_of_what_was_left(self, sweep):
        found = self.findings(sweep, 0.3, 0.8, 40)["child", "little_done"]
        assert found.message == (
            "`magnitude_prune` changed 40 of 1,000 values (4.0%), where 80% zeros were asked for and the parent has 30%"
        )


class TestChannelPruning:
    """What was cut is what is missing: a tensor that lost one channel is another tensor altogether."""

    def findings(self, sweep, *, ratio, left, **params):
        sweep.measure("base", "", parameters=10_000.0)
        sweep.model("m", op="channel_prune", params=json.dumps({"ratio": ratio, **params}))
        sweep.measure("m", "", parameters=float(left))
        sweep.models[-1]["notes"] = json.dumps({"changed": {"values": 9000, "of": 10_000}})
        return sweep.findings()

    def test_one_channel_of_many_is_little(self, sweep):
        found = self.findings(sweep, ratio=0.5, left=9_900)["m", "little_done"]
        assert found.message == ("`channel_prune` removed 100 of 10,000 values (1.0%), where 50% was asked for")

    @pytest.mark.parametrize(("ratio", "left"), [(0.5, 2_500), (0.05, 9_900), (0.5, 10_000)])
    def test_what_was_asked_for_is_not(self, sweep, ratio, left):
        """Nor is nothing: that has a lint of its own, by the values that changed."""
        assert self.findings(sweep, ratio=ratio, left=left) == {}

    def test_layers_that_a_person_chose_are_not(self, sweep):
        assert self.findings(sweep, ratio=0.5, left=9_900, include=["head"]) == {}


@pytest.mark.parametrize(("kind", "fires"), [("factorize", False), ("prune", True)])
def test_a_factorization_keeps_more_at_a_higher_ratio(sweep, kind, fires):
    for ratio, size in ((0.3, 1e6), (0.6, 2e6)):
        sweep.model(f"m{ratio}", op=kind, kind=kind, params={"ratio": ratio}, file_bytes=size)
    assert (("m0.6", "larger_at_higher_ratio") in sweep.findings()) is fires


class TestAncestorsThatWereNotMeasuredHere:
    """A target that takes ONNX files alone has no figures of the networks that they were made from."""

    @pytest.fixture
    def sweep(self):
        made = Sweep()
        for key, op, notes in (
            ("base", "load", '{"untrained_head": ["classifier"]}'),
            ("pruned", "magnitude_prune", "{}"),
        ):
            made.models.append({
                "model_key": key, "name": key, "parent_key": None if key == "base" else "base", "op": op, "kind": "prune",
                "params": "{}", "notes": notes,
            })  # fmt: skip
            made.measure(key, "torch", accuracy=0.9)
        return made

    def test_are_ancestors_all_the_same(self, sweep):
        sweep.model("int8", "pruned", op="quantize", kind="quantize").answer("int8", 1.0)
        found = sweep.findings()
        assert "compress less" in found["int8", "constant_predictor"].advice  # it is no root
        assert ("int8", "untrained_head") in found

    def test_of_a_file_is_what_began_with_one(self, sweep):
        sweep.models[0]["op"] = "load_onnx"
        sweep.model("int8", "pruned", op="quantize", kind="quantize").answer("int8", 1.0)
        assert not re.search("fine-tune|calibrate|prune", sweep.findings()["int8", "constant_predictor"].advice)

    def test_get_no_findings_where_they_were_not_measured(self, sweep):
        sweep.model("int8", "pruned", op="quantize", kind="quantize")
        assert {(fact.model_key, fact.target) for fact in sweep.check() if fact.lint == "untrained_head"} == {
            ("base", "torch"), ("pruned", "torch"), ("int8", "ort"),
        }  # fmt: skip


class TestLossOnTwoTargets:
    """A relative percent of a loss may be nothing: the difference by instance decides."""

    def findings(self, sweep, mean, deviation):
        sweep.model("m", loss=0.0102).measure("m", "torch", loss=0.01)
        if mean is not None:
            sweep.differences.append({
                "model_key": "m", "metric": "loss", "target": "ort", "other": "torch", "mean": mean, "deviation": deviation,
                "count": 400,
            })  # fmt: skip
        return sweep.findings()

    @pytest.mark.parametrize(("mean", "deviation"), [(None, None), (2e-4, 2.1e-3)])
    def test_within_noise_is_no_finding(self, sweep, mean, deviation):
        """1.96 x 0.0021 / 20 = 0.00021."""
        assert self.findings(sweep, mean, deviation) == {}

    def test_beyond_it_is_one(self, sweep):
        """1.96 x 0.0020 / 20 = 0.00020."""
        found = self.findings(sweep, 2e-4, 2.0e-3)
        assert found["m", "target_disagrees"].message == "loss 0.0102 nat on ort and 0.01 nat on torch"
