"""Each lint fires on the measurement that it is about, says what to try, and is silent otherwise."""

import json
import re

import numpy as np
import pytest

from ops.core.operation import Batch
from ops.core.registry import UnknownNameError
from pipeline.measure.lints.api import LINTS, lint
from pipeline.measure.lints.check import Evidence, run_lints
from pipeline.measure.lints.overlap import calibration_overlap
from tests.pipeline.lints.sweep_rows import NOW, Sweep

ISSUE = {
    "costs_more_under_shift",
    "slower_with_fewer_macs", "int8_slower_than_float", "low_integer_share", "larger_at_higher_ratio",
    "quantized_without_preprocessing", "unsteady_latency", "contended", "drifted", "target_disagrees",
    "calibration_overlaps_evaluation", "constant_predictor", "not_a_number", "a_few_pay", "timed_apart",
    "untrained_head", "outputs_left_out", "further_outputs", "fixed_length",
    "weights_left_out", "matched_by_order",
    "outputs_far_from_parent",
    "nothing_done", "little_done", "larger_than_parent",
}  # fmt: skip


def test_all_are_registered():
    assert set(LINTS) == ISSUE
    with pytest.raises(UnknownNameError, match="Did you mean 'contended'"):
        LINTS["contendet"]


def test_a_lint_that_fails_is_noted_and_the_others_go_on(sweep, monkeypatch):
    monkeypatch.setattr(LINTS, "_items", dict(LINTS._items))

    @lint
    def broken(subject):
        """Raises."""
        raise KeyError("oops")

    @lint
    def wordy(subject):
        """Return no finding."""
        return "odd" if subject.name == "m" else None

    sweep.model("m").measure("base", "ort", invalid_outputs=0.02)
    evidence, failed = Evidence(sweep.models, sweep.measurements, [], [], []), {}
    findings = run_lints(evidence, run_id="run", at=NOW, failed=failed)
    assert {(finding.model_key, finding.lint) for finding in findings} == {("base", "not_a_number"), ("m", "")}
    assert list(failed) == ["broken", "wordy"]
    assert re.fullmatch(r"KeyError: 'oops' \(.*test_lints\.py:\d+\), at 'base' on ort", failed["broken"])
    assert failed["wordy"].startswith("AttributeError: 'str' object has no attribute 'message'")
    with pytest.raises(KeyError):
        run_lints(evidence, run_id="run", at=NOW)


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


@pytest.mark.parametrize(("lost", "says"), [(3, False), (4, True)])
def test_a_share_that_differs_by_chance_is_no_finding(sweep, lost, says):
    """Of 100 answers 3 lost and none won: Tango's score is 3 / sqrt(3) = 1.73 standard errors, of 4 lost it is 2."""
    sweep.model("m").measure("m", "pytorch", accuracy=0.9 + lost / 100)
    sweep.differences.append({
        "model_key": "m", "metric": "accuracy", "is_share": True, "target": "ort", "other": "pytorch", "count": 100,
        "mean": -lost / 100, "deviation": 0.2, "won": 0, "lost": lost, "same": 100 - lost, "largest": 1.0,
    })  # fmt: skip
    assert (("m", "target_disagrees") in sweep.findings()) is says


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
    assert message == f"One {what} lost 30.0 points of accuracy where all together lost 1.0 (p = 0.001, corrected)"


def test_a_few_pay_where_all_together_gain(sweep):
    sweep.model("m", accuracy_drop=-0.128, worst_class_drop=0.282, class_drop_p=0.01)
    message = sweep.findings()["m", "a_few_pay"].message
    assert message == "One class lost 28.2 points of accuracy where all together gained 12.8 (p = 0.01, corrected)"


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


def test_weights_that_have_no_layer_are_counted_and_named_for_the_root_alone():
    names = [f"pooler.{number}.weight" for number in range(7)]
    sweep = Sweep().model("base", op="load", kind="base", notes=json.dumps({"weights_left_out": names}))
    sweep.model("int8", op="quantize", kind="quantize")
    found = sweep.findings()
    assert [model for model, lint in found if lint == "weights_left_out"] == ["base"]
    assert found["base", "weights_left_out"].message == (
        "The weights also hold 7 tensors that the network has no layer for, left out: pooler.0.weight, pooler.1.weight, "
        "pooler.2.weight, pooler.3.weight, pooler.4.weight and 2 more"
    )
    one = Sweep().model("base", op="load", kind="base", notes=json.dumps({"weights_left_out": names[:1]}))
    message = one.findings()["base", "weights_left_out"].message
    assert message.endswith("hold a tensor that the network has no layer for, left out: pooler.0.weight")


def test_names_that_were_matched_by_their_order_are_said():
    notes = json.dumps({"matched_by_order": ["first as start_logits", "second as end_logits"]})
    found = Sweep().model("base", op="load_onnx", kind="base", notes=notes).findings()["base", "matched_by_order"]
    assert "its order was taken: first as start_logits, second as end_logits." in found.message
    assert "under the task's names" in found.advice


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
