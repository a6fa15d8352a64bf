"""Effects of operations: places, pooling, verdicts and sweeps, by hand and against SciPy; the page from stores."""

import csv
import html
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from pipeline.store.interchange.compress_and_compare import import_file
from pipeline.store.writer import Store
from tests.studies import study
from tests.viewer.stores import key_of, publish
from tests.viewer.visits import Page, visit
from viewer.compare.effects.curve_chart import Curve, CurvePoint, curve_chart
from viewer.compare.effects.effects import effects, pool
from viewer.compare.effects.page import EffectsPage, parameter_sweeps
from viewer.compare.effects.words import EffectText, describe_effect, factor_text
from viewer.format.metrics import Better, MeasuredValue, MetricInfo, MetricRole
from viewer.results.lineage import Node, StepOutcome
from viewer.results.results import Results
from viewer.results.snapshot import MetricColumn, Setting, Snapshot
from viewer.session.state import EffectsState

SETTING = Setting("ort", "m1", "d1", "digits", "CPU")
ACCURACY = MetricInfo("accuracy", "", ".1%", Better.HIGHER, True, role=MetricRole.QUALITY)
BYTES = MetricInfo("bytes", "B", ".3g", Better.LOWER, True, role=MetricRole.SIZE)
TIME = MetricInfo("time", "ms", ".3g", Better.LOWER, True, role=MetricRole.COST)


def results_of(models, *, noise=0.01, unsure=(), failed=()):
    """Results of key -> (parent, operation, parameters, accuracy, bytes); a time of 10 ms, exact."""
    nodes = [
        Node(key, parent, key if parent is None else "", op=op, kind="prune", params=params, order=at)
        for at, (key, (parent, op, params, *_)) in enumerate(models.items())
    ]
    nodes += [
        Node(f"failed-{at}", parent, op=op, params=params, outcome=outcome)
        for at, (parent, op, params, outcome) in enumerate(failed)
    ]
    accuracy = np.array([figures[3] for figures in models.values()], dtype=float)
    sizes = np.array([figures[4] for figures in models.values()], dtype=float)
    nothing, exact = np.full(len(models), np.nan), np.ones(len(models), dtype=bool)
    columns = {
        "accuracy": MetricColumn(accuracy, accuracy - noise, accuracy + noise, ~exact),
        "bytes": MetricColumn(sizes, nothing, nothing, exact),
        "time": MetricColumn(np.full(len(models), 10.0), np.full(len(models), 9.0), np.full(len(models), 11.0), ~exact),
    }
    return Results(
        Snapshot(
            path=Path("nowhere.duckdb"),
            id=(0, 0),
            nodes=nodes,
            keys=list(models),
            metrics=[ACCURACY, BYTES, TIME],
            contexts=[SETTING],
            columns={SETTING: columns},
            recipes=["r"],
            unsure={("ort", "m1", "wall"): frozenset(unsure)},
        )
    )


HALF, MOST = {"sparsity": 0.5}, {"sparsity": 0.9}
NETS = {
    "net": (None, "train", {}, 0.90, 1000),
    "net2": (None, "train", {}, 0.80, 400),
    "half": ("net", "prune", HALF, 0.85, 600),
    "half2": ("net2", "prune", HALF, 0.60, 200),
    "most": ("net", "prune", MOST, 0.50, 300),
    "tuned": ("half", "tune", {}, 0.86, 600),
}


def operation(results, op, params):
    return next(each for each in effects(results).operations if (each.op, each.params) == (op, params))


def text_of(results, op, params, metric):
    """What a cell says, in characters of a keyboard."""
    found, spec = effects(results), results.spec(metric)
    effect = found.of_operation(operation(results, op, params), metric)
    text = describe_effect(effect, spec, is_factor=found.is_factor(metric))
    return EffectText(*(typed(getattr(text, name)) for name in ("change", "tone", "spread", "caution")))


def typed(text):
    return text.replace("\N{MINUS SIGN}", "-").replace("\N{MULTIPLICATION SIGN}", "x")


def test_an_operation_with_its_parameters_is_one_row_with_the_places_where_it_was_applied():
    failed = [("net", "prune", HALF, StepOutcome.FAILED), ("net2", "cut", {}, StepOutcome.FAILED), ("net", "tune", {}, StepOutcome.SKIPPED)]  # fmt: skip
    found = effects(results_of(NETS, failed=failed)).operations
    rows = [(each.op, each.text, len(each.places), each.failed) for each in found]
    assert rows == [
        ("cut", "", 0, 1),
        ("prune", "sparsity 0.5", 2, 1),
        ("prune", "sparsity 0.9", 1, 0),
        ("tune", "", 1, 0),
    ]


def test_seeds_of_one_lineage_are_one_place():
    models = {
        **{f"net{seed}": (None, "train", {}, 0.90 + seed / 100, 1000) for seed in (1, 2, 3)},
        **{f"half{seed}": (f"net{seed}", "prune", HALF, 0.80 + seed**2 / 100, 500) for seed in (1, 2, 3)},
    }
    results = results_of(models)
    same_name = [replace(node, name="net") if node.parent is None else node for node in results.snapshot.nodes]
    results = Results(replace(results.snapshot, nodes=same_name))
    (prune,) = effects(results).operations
    assert [len(place.pairs) for place in prune.places] == [3]
    effect = effects(results).of_operation(prune, "accuracy")
    assert effect.parts == pytest.approx([-0.10, -0.08, -0.04])
    student = scipy.stats.ttest_1samp([-0.10, -0.08, -0.04], 0).confidence_interval(0.95)
    assert (effect.measured.low, effect.measured.high) == pytest.approx((student.low, student.high))
    assert effect.heterogeneity is None, "seeds are no places"


def test_the_mean_over_places_has_students_interval_but_none_narrower_than_theirs():
    parts = [MeasuredValue(value, value - 0.01, value + 0.02) for value in (0.10, 0.30, 0.20, 0.25)]
    found, student = pool(parts), scipy.stats.ttest_1samp([0.10, 0.30, 0.20, 0.25], 0).confidence_interval(0.95)
    assert (found.value, found.low, found.high) == pytest.approx((0.2125, student.low, student.high))
    alike = pool([MeasuredValue(0.1, 0.05, 0.2)] * 3)
    assert (alike.value, alike.low, alike.high) == pytest.approx((0.1, 0.05, 0.2))
    assert pool(parts[:1]) == parts[0]
    assert math.isnan(pool([*parts, MeasuredValue(0.2)]).low), "what is unknown of one is unknown of the mean"


def test_shares_change_by_points_and_sizes_by_factors():
    results = results_of(NETS)
    assert text_of(results, "prune", MOST, "accuracy").change == "-40.0 ± 1.4 pp"
    assert text_of(results, "prune", MOST, "bytes").change == "x0.30"
    assert text_of(results, "prune", MOST, "bytes").tone == "good"
    size = text_of(results, "prune", HALF, "bytes")
    assert size.spread == "x0.50 to x0.60"
    assert size.change.startswith(f"within noise (x{math.sqrt(0.5 * 0.6):.2f}"), (
        "of two places, Student's interval is wide"
    )
    assert text_of(results, "tune", {}, "accuracy").change == "within noise (+1.0 ± 1.4 pp)"
    assert text_of(results, "tune", {}, "bytes") == EffectText("x1.00")


def test_effects_that_differ_between_places_by_more_than_noise_are_not_called_noise():
    found = text_of(results_of(NETS), "prune", HALF, "accuracy")
    assert (found.change, found.spread) == ("", "-20.0 pp to -5.0 pp")
    # independent of the code: each error is hypot(0.01, 0.01) / 1.96, Q = (0.20 - 0.05)² / (2 error²) at one degree
    q = 0.15**2 / (2 * (math.hypot(0.01, 0.01) / 1.959964) ** 2)
    assert f"Cochran's Q = {q:.3g}, p < 0.001" in found.caution
    assert "the mean, -12.5 ± 95.3 pp, speaks for none" in found.caution
    alike = {**NETS, "half2": ("net2", "prune", HALF, 0.755, 200)}
    assert text_of(results_of(alike), "prune", HALF, "accuracy").caution == ""


def test_without_known_noise_effects_are_told_and_not_judged():
    results = results_of(NETS, noise=math.nan)
    assert text_of(results, "prune", MOST, "accuracy").change == "noise unknown (-40.0 pp)"
    both = text_of(results, "prune", HALF, "accuracy")
    assert (both.change, both.tone, both.spread, both.caution) == ("noise unknown (-12.5 pp)", "soft", "-20.0 pp to -5.0 pp", "")  # fmt: skip


def test_rough_times_are_said_to_be_rough():
    times = results_of(NETS, unsure=["most"])
    times._columns["time"].value[4] = 5.0
    times._columns["time"].low[:], times._columns["time"].high[:] = (
        times.values("time") - 0.1,
        times.values("time") + 0.1,
    )
    assert text_of(times, "prune", MOST, "time").change == "timed roughly (x0.50 [0.49, 0.51])"
    (sweep,) = EffectsPage(times, EffectsState(), ["time"], []).sweeps()
    assert [mark.rough for mark in sweep["charts"][0]["drawn"].marks] == [False, False, True]
    assert sweep["charts"][0]["drawn"].marks[2].text.endswith(", timed roughly")


def test_rows_are_sorted_by_harm_or_gain_and_stand_by_operation():
    results = results_of(NETS)

    def order(**state):
        fields = EffectsState()
        fields.param.update(**state)
        return [(each.op, each.text) for each in EffectsPage(results, fields, ["accuracy", "bytes"], []).operations()]

    half, most, tune = ("prune", "sparsity 0.5"), ("prune", "sparsity 0.9"), ("tune", "")
    assert order() == [half, most, tune]
    assert order(order="accuracy") == [most, half, tune]
    assert order(order="accuracy", gain=True) == [tune, half, most]
    assert order(order="bytes", flat=True) == [tune, half, most]
    assert order(order=" places", flat=True)[0] == half


def test_a_sweep_has_the_values_that_the_same_models_had_applied():
    others = {
        "quarter": ("net", "prune", {"sparsity": 0.25}, 0.89, 800),
        "other": ("net", "prune", {"sparsity": 0.25, "scope": "layer"}, 0.7, 800),
        "tuned9": ("half", "prune", MOST, 0.2, 100),
    }
    (sweep,) = parameter_sweeps(results_of({**NETS, **others}))
    assert (sweep.op, sweep.parameter, sweep.fixed) == ("prune", "sparsity", "")
    (lineage,) = sweep.lineages
    assert lineage.parents == ("net",), "net2 and half had one value each"
    assert [(each.value, each.children) for each in lineage.values] == [(0.25, ("quarter",)), (0.5, ("half",)), (0.9, ("most",))]  # fmt: skip


def test_a_seed_that_lacks_a_value_is_on_no_curve():
    models = {f"net{seed}": (None, "train", {}, 0.9, 1000) for seed in (1, 2)}
    models |= {f"half{seed}": (f"net{seed}", "prune", HALF, 0.8 + seed / 10, 500) for seed in (1, 2)}
    models |= {"most1": ("net1", "prune", MOST, 0.5, 200)}
    results = results_of(models)
    same_name = [replace(node, name="net") if node.parent is None else node for node in results.snapshot.nodes]
    ((lineage,),) = (sweep.lineages for sweep in parameter_sweeps(Results(replace(results.snapshot, nodes=same_name))))
    assert [each.children for each in lineage.values] == [("half1",), ("most1",)]


def test_a_curve_is_to_scale_with_bars_and_labels_apart():
    points = [CurvePoint(None, (0.9,), 0.88, 0.92, ("a",), "before")]
    points += [CurvePoint(at, (1 - at,), 0.95 - at, 1.05 - at, (str(at),), "") for at in (0.2, 0.21, 0.6, 1.0)]
    drawn = curve_chart([Curve("a", tuple(points))], str)
    before, first, _, third, last = drawn.marks
    assert before.is_before
    assert before.x < first.x - 30
    assert (third.x - first.x) / (last.x - first.x) == pytest.approx(0.5)
    assert (third.y - first.y) / (last.y - first.y) == pytest.approx(0.5)
    assert first.y - first.high == pytest.approx(first.low - first.y) == pytest.approx((last.y - first.y) / 16)
    assert [tick.text for tick in drawn.across] == ["0.2", "0.6", "1"], "0.21 would stand on 0.2"
    assert len(drawn.lines[0][0].split()) == 4, "the line begins at the first value"
    assert curve_chart([Curve("a", (points[0],))], str) is None


@pytest.mark.parametrize(
    ("factor", "text"),
    [((0.26, 0.25, 0.27), "x0.26 [0.25, 0.27]"), ((0.5, 0.4999, 0.5001), "x0.50"), ((0.0341, math.nan, math.nan), "x0.034"), ((123.4, math.nan, math.nan), "x123")],
)  # fmt: skip
def test_factors_are_written_with_the_digits_that_tell(factor, text):
    assert typed(factor_text(MeasuredValue(*(math.log(each) for each in factor)))) == text


# ---- the page, from stores
@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("effects") / "results.duckdb"
    publish(path, study(52), failures=1).close()
    return path


def shown(page):
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.app._draw_page())))


def test_the_page_tells_unfolds_and_selects(store):
    page = Page(visit(store, {"page": "effects"}))
    assert "Rows 1 to 11 of 11" in shown(page)
    assert "failed on 1" in shown(page)
    quantize = next(each for each in effects(page.app.session.results).operations if each.op == "quantize")
    assert "26 places" in shown(page)
    page.say("e_open", operation=quantize.id)
    assert "from resnet50trained" in shown(page)
    first = quantize.places[0].pairs[0]
    page.say("e_select", operation=quantize.id, place="0")
    assert page.app.state.selected == [first.parent, first.child]
    assert '<tr class="place chosen">' in page.app._draw_page()
    page.say("e_select", operation=quantize.id)
    assert len(page.app.state.selected) == 52
    update = page.say("e_sort", order="Top-1 Accuracy")
    assert update["link"]["push"]
    assert f"e_open={quantize.id}" in update["link"]["query"]
    again = visit(store, dict(part.split("=") for part in update["link"]["query"].replace("%20", " ").split("&") if not part.startswith("selected")))  # fmt: skip
    assert "points, harm first" in shown(Page(again))


def test_curves_tell_their_points_in_words_and_select_them(store):
    page = Page(visit(store, {"page": "effects", "e_show": "sweeps"}))
    markup = html.unescape(page.app._draw_page())
    assert "magnitude prune by amount" in markup
    assert re.search(r'aria-label="amount 0\.75 after resnet50trained: 54\.9%.*?\. Select\."', markup)
    page.say("e_select", keys=key_of("resnet50trained-mag75"))
    assert page.app.state.selected == [key_of("resnet50trained-mag75")]


def test_the_csv_has_every_place_in_full_precision(store):
    page = Page(visit(store, {"page": "effects"}))
    rows = list(csv.DictReader(io.StringIO(page.say("e_csv")["save"]["text"])))
    mine = [row for row in rows if row["model"] == key_of("resnet50trained-mag50") and row["metric"] == "Model Size"]
    assert [(row["parent"], float(row["change"]), row["factor"]) for row in mine] == [(key_of("resnet50trained"), pytest.approx(0.55), "yes")]  # fmt: skip


def test_imported_figures_without_noise_are_told_and_not_judged(tmp_path):
    (tmp_path / "models.json").write_text(json.dumps(study(13)))
    store = Store(tmp_path / "results.duckdb")
    import_file(store, tmp_path / "models.json")
    store.publish()
    store.close()
    page = Page(visit(tmp_path / "results.duckdb", {"page": "effects"}))
    cells = re.findall(r'<span class="(\w*)">([^<]+)</span>', html.unescape(page.app._draw_page()))
    accuracy = [(tone, typed(text)) for tone, text in cells if "pp" in text and "noise" in text]
    assert ("soft", "noise unknown (-10.0 pp)") in accuracy
    assert {tone for tone, text in accuracy} == {"soft"}
    assert ("good", "x0.55") in [(tone, typed(text)) for tone, text in cells], "bytes are counted"


@pytest.mark.parametrize("models", [0, 1])
def test_without_effects_the_page_says_what_they_are(models, tmp_path):
    publish(tmp_path / "results.duckdb", study(models)).close()
    assert "An effect is what an operation changed" in shown(
        Page(visit(tmp_path / "results.duckdb", {"page": "effects"}))
    )
