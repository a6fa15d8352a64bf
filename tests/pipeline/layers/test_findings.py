"""Findings: what is said of made-up layers, and what is not."""

from dataclasses import replace

import pytest

from pipeline.layers.compare.findings import find
from pipeline.store.records.run_records import Change, Distribution

COUNTS = [0] * 35


def layer(site, *, count=1000, zeros=0, abs_sum=500.0, kind="Conv2d", shape=(10, 100), **rest):
    found = Distribution(
        "m", "parameter", "", site, site.rpartition(".")[0], kind, 0, list(shape), count, zeros, 0, 0, -1.0, 1.0, 0.0,
        0.5, abs_sum, 300.0, shape[0], 0, None, -1.0, 1.0, COUNTS,
    )  # fmt: skip
    return replace(found, **rest)


def change(site, *, place="parameter", stage="", sqnr=30.0, zero_here=0, position=0, count=1000, how=()):
    return Change(
        "m", "base", place, stage, "torch" if stage else "", site, site.rpartition(".")[0], position, "compared", "",
        list(how), count, 0, 0, zero_here, 0, 0.1, 0.1, sqnr, 0.9, -1.0, 1.0, [], 0,
    )  # fmt: skip


def said(findings, kind):
    return [finding for finding in findings if finding.kind == kind]


def test_a_flattened_normalisation():
    before = layer("bn.weight", count=64, abs_sum=64.0, kind="BatchNorm2d", shape=(64,))
    now = replace(before, abs_sum=3.0)
    (found,) = said(
        find("base", [now], [change("bn.weight", count=64)], [before], op="magnitude_prune"), "flattened_norm"
    )
    assert found.text == "The scale of the normalisation 'bn' was flattened: it lost 95% of its size"
    assert found.proposal == "magnitude_prune: {exclude: [norm]}"
    narrowed = replace(before, count=8, abs_sum=8.0)
    assert not said(find("base", [narrowed], [change("bn.weight", count=8)], [before]), "flattened_norm")


def test_a_small_layer_that_is_nearly_all_zero():
    small, large = layer("stem.weight", count=1000, zeros=940), layer("body.weight", count=1_000_000)
    there = [layer("stem.weight"), layer("body.weight", count=1_000_000)]
    changes = [change("stem.weight", zero_here=940), change("body.weight")]
    (found,) = said(find("base", [small, large], changes, there, op="magnitude_prune"), "over_pruned")
    assert found.text == "94% of 'stem' is zero while it holds 0.10% of the parameters"
    assert found.proposal == 'magnitude_prune: {exclude: ["stem"]}'
    assert not said(find("base", [layer("stem.weight", zeros=940)], changes, there), "over_pruned"), (
        "it is all there is"
    )


def test_the_heaviest_of_a_kind_are_listed_and_the_number_of_the_others_is_told():
    names = [f"layer{number}.weight" for number in range(8)]
    there = [layer(name) for name in names]
    here = [layer(name, dead_channels=number + 2) for number, name in enumerate(names)]
    findings = said(find("base", here, [change(name) for name in names], there), "dead_channels")
    assert [finding.site for finding in findings] == names[:2:-1]
    assert findings[-1].text == (
        "5 of 10 channels of 'layer3' are dead in their weights (0 before). 3 more of this kind weigh less and are not listed"
    )
    assert all("more" not in finding.text for finding in findings[:-1])
    five = said(find("base", here[:5], [change(name) for name in names], there), "dead_channels")
    assert len(five) == 5
    assert all("more" not in finding.text for finding in five)


def test_dead_channels_only_if_they_died_here():
    before, now = layer("a.weight"), layer("a.weight", dead_channels=4)
    (found,) = said(find("base", [now], [change("a.weight")], [before]), "dead_channels")
    assert found.text == "4 of 10 channels of 'a' are dead in their weights (0 before)"
    assert not said(find("base", [now], [change("a.weight")], [now]), "dead_channels")


def test_saturation_and_nan_need_no_reference():
    hot = layer("relu", place="activation", stage="onnx", saturated=0.06)
    broken = layer("b.weight", nans=3)
    findings = find("m", [hot, broken], [])
    assert said(findings, "saturated")[0].text.startswith("6.0% of the outputs of 'relu'")
    assert said(findings, "not_finite")[0].text == "'b.weight' has 3 NaN and 0 infinite values of 1,000"


def along(*levels, stage="torch"):
    return [
        change(f"l{at}", place="activation", stage=stage, sqnr=level, position=at) for at, level in enumerate(levels)
    ]


def test_the_first_layer_at_which_outputs_diverge():
    findings = find("base", [], along(float("inf"), 40.0, 12.0, 3.0), [layer("x")], op="quantize")
    (found,) = said(findings, "diverges")
    assert "first diverge from the reference at 'l2': 12 dB signal-to-noise, 40 dB before it" in found.text
    assert found.proposal == 'quantize: {exclude: ["l2"]}'
    assert not said(find("base", [], along(40.0, 35.0, 31.0), [layer("x")]), "diverges"), "a slow loss is no break"


def test_a_folded_normalisation_is_excluded_by_its_convolution():
    findings = find(
        "base", [], along(float("inf"), 5.0, stage="onnx"), [layer("x")], op="quantize", folds={"conv": "l1"}
    )
    assert said(findings, "diverges")[0].proposal == 'quantize: {exclude: ["conv"]}'


def test_outliers_that_set_the_scale():
    wide = layer("w.weight", maximum=40.0, std=0.5)
    rounded = change("w.weight", sqnr=12.0, how=["int8 dequantized"])
    assert said(find("base", [wide], [rounded], [layer("w.weight")]), "outliers")
    assert not said(find("base", [wide], [change("w.weight", sqnr=12.0)], [layer("w.weight")]), "outliers")


@pytest.mark.parametrize("levels", [(), (float("inf"),) * 4, (120.0, 110.0)])
def test_nothing_is_found_where_nothing_is(levels):
    same = layer("a.weight")
    assert find("base", [same], [change("a.weight", sqnr=float("inf")), *along(*levels)], [same]) == []
