"""Lints of what operations did, against what was asked for, and of models whose relatives were measured elsewhere."""

import json
import re

import pytest

from tests.pipeline.lints.sweep_rows import Sweep


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
        ("magnitude_prune", "prune", {"sparsity": {"head": 0.3}}, (64, 14_154), None),
    ],
)
def test_operations_that_did_next_to_nothing(sweep, op, kind, params, changed, fires):
    sweep.model("m", op=op, kind=kind, params=json.dumps(params), file_bytes=4e6, integer_mac_share=0.9)
    sweep.models[-1]["notes"] = json.dumps({"changed": {"values": changed[0], "of": changed[1]}})
    assert {lint for _, lint in sweep.findings()} == ({fires} if fires else set())


def test_a_second_quantize_takes_what_the_first_has_left(sweep):
    for key, parent in (("int8", "base"), ("int4", "int8")):
        sweep.model(key, parent, op="quantize", kind="quantize", file_bytes=4e6, integer_mac_share=0.9)
        sweep.models[-1]["notes"] = '{"changed": {"values": 64, "of": 14154}}'
    assert sweep.findings().keys() == {("int8", "little_done")}


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
                "count": 400, "is_share": False, "won": 0, "lost": 0, "same": 0, "largest": 0.01,
            })  # fmt: skip
        return sweep.findings()

    @pytest.mark.parametrize(("mean", "deviation"), [(None, None), (2e-4, 2.1e-3)])
    def test_within_noise_is_no_finding(self, sweep, mean, deviation):
        """Student's 1.966 x 0.0021 / sqrt(399) = 0.00021."""
        assert self.findings(sweep, mean, deviation) == {}

    def test_beyond_it_is_one(self, sweep):
        """1.966 x 0.0020 / sqrt(399) = 0.000197."""
        found = self.findings(sweep, 2e-4, 2.0e-3)
        assert found["m", "target_disagrees"].message == "loss 0.0102 nat on ort and 0.01 nat on torch"
