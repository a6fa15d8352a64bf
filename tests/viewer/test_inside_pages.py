"""What stands on the pages of behaviours and layers, from stores with known numbers."""

import numpy as np
import pytest

from pipeline.store import records
from pipeline.store.writer import Store
from tests.viewer.inside_stores import CLASSES, HOSTILE, SITES, START, publish
from viewer.behaviour_page import BehaviourPage
from viewer.behaviour_source import SEPARATOR, open_sheet
from viewer.layer_page import NOTHING, LayerPage, in_turn
from viewer.layer_source import Found, load_layers
from viewer.layer_table import ROWS, bars, matcher, roll_up, show_number, stacked, tree_rows
from viewer.notes import Notes
from viewer.state import ViewState

MODELS = ["base", "pruned", "int8"]
NAMES = {key: key for key in (*MODELS, "other")}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("inside") / "results.duckdb"
    publish(path)
    return path


@pytest.fixture(scope="module")
def sheet(results):
    return open_sheet(results)


@pytest.fixture
def page(sheet, results):
    def make(models=MODELS, **fields):
        state = ViewState()
        state.change(fields)
        return BehaviourPage(sheet, state, models, NAMES, Notes(results))

    return make


def test_classes_by_what_they_lost(page):
    rows, total = page().rows()
    assert total == 4
    assert rows[0]["name"] == HOSTILE, "the class that the second model breaks comes first"
    assert rows[0]["cells"][1].value == "100.0%"
    assert rows[0]["cells"][1].change == "+100.0 pt"
    assert rows[0]["cells"][1].tone == "bad"
    assert rows[0]["count"] == "60"


def test_a_base_may_be_any_model(page):
    rows, _ = page(["pruned", "base"]).rows()
    mended = next(row for row in rows if row["name"] == HOSTILE)
    assert mended["cells"][1].change == "-100.0 pt"
    assert mended["cells"][1].tone == "good"


def test_filters_count_instances_in_numpy_and_sql_alike(page, sheet):
    assert page(b_class=HOSTILE).mask.sum() == 60
    assert page(b_only="broken", b_of="pruned").mask.sum() == 60
    assert page(b_only="broken", b_of="").mask.sum() == page(b_only="changed").mask.sum() == 96
    assert page(b_only="exemplars", b_least=2).mask.sum() == 12
    assert page(b_text="i0005").mask.sum() == 1
    assert page(b_text="DROP TABLE").mask.sum() > 60
    assert page(b_groups=["sex"], b_rows="groups", b_group="f").mask.sum() == 120
    assert page(b_brush=["pruned~0.5~1.5"]).mask.sum() == 60
    assert page(b_brush=["pruned~0.5~1.5", "int8~0.5~1.5"]).mask.sum() == 12
    assert page(b_class="no such class").mask.sum() == 0
    assert page(b_brush=["nonsense"]).mask.sum() == 240


def test_crossings_of_two_attributes(page):
    rows, total = page(b_groups=["sex", "age"], b_rows="groups").rows()
    assert total == 4
    assert f"f{SEPARATOR}old" in {row["name"] for row in rows}
    panel = page(b_groups=["sex", "age"], b_rows="groups").group_panel()
    assert panel["tests"] == 8
    assert {row["count"] for row in panel["rows"]} == {40, 80}


def test_instances_with_their_answers_and_what_changed(page):
    rows, total = page(b_rows="instances", b_only="broken", b_of="pruned").rows()
    assert total == 60
    assert len(rows) == 50
    assert [cell["changed"] for cell in rows[0]["cells"][:2]] == [False, True]
    assert rows[0]["changed_in"] == 2, "changed in both models first"
    rest, _ = page(b_rows="instances", b_only="broken", b_of="pruned", b_from=50).rows()
    assert len(rest) == 10
    assert {row["id"] for row in rest}.isdisjoint(row["id"] for row in rows)
    beyond, _ = page(b_rows="instances", b_only="broken", b_of="pruned", b_from=5000).rows()
    assert beyond == rest, "a page that does not exist is the last one"


def test_headers_say_what_flipped(page):
    base, pruned, _ = page().headers()
    assert base["flips"] == []
    assert pruned["flips"] == [{"before": HOSTILE, "after": "cat", "share": "25.0%", "count": "60"}]
    assert pruned["negative"] == "60"
    assert pruned["agreement"] == "75.0%"
    assert sum(bar["count"] for bar in pruned["bars"]) == 240
    assert page().matrix("pruned")["names"] == [HOSTILE, "cat"] or page().matrix("pruned")["names"] == ["cat", HOSTILE]


def test_every_measure_draws(page):
    for measure in page().measures:
        made = page(b_measure=measure.name, b_relative=True)
        assert made.rows()[1] == 4
        made.headers()
    assert page(b_measure="no such").measure.name == "error"
    kl = page(b_measure="kl").columns[1].values
    assert kl[1] == pytest.approx(0.94 * np.log2(0.94 / 0.02) + 0.02 * np.log2(0.02 / 0.94), rel=0.01)


def test_flagged_instances_can_be_filtered(page, results, sheet):
    notes = Notes(results)
    notes.add("instance", "i0007", "look", dataset_key="d1")
    assert page(b_only="flagged").mask.sum() == 1
    assert page(b_rows="instances", b_only="flagged").rows()[0][0]["note"].why == "look"
    notes.add("class", HOSTILE, "all of them", dataset_key="d1")
    assert page(b_only="flagged").mask.sum() == 61
    assert {row["name"] for row in page(b_only="flagged").rows()[0]} == {HOSTILE, CLASSES[7 % 4]}
    notes.remove("class", HOSTILE, dataset_key="d1")
    notes.remove("instance", "i0007", dataset_key="d1")
    assert page(b_only="flagged").mask.sum() == 0


def test_questions_have_texts_for_answers_and_no_classes(tmp_path):
    path = tmp_path / "questions.duckdb"
    answers = {"base": ["in 1998", "Paris", HOSTILE], "small": ["in 1999", "Paris", "a a a"]}
    unknown = np.full(3, np.nan, np.float32)
    facts: list = [
        records.Run("r", "study", {}, {}, {}, None, START),
        records.DatasetInfo("q", "squad", "question-answering", [], {"evaluation": 3}, {}),
        records.Instances("q", "evaluation", ["q1", "q2", "q3"], ["in 1998", "Paris", "no"], {}),
    ]
    for name, texts in answers.items():
        score = np.array([1.0 if name == "base" else 0.5, 1, 0], np.float32)
        facts.append(
            records.Model(
                name, "base" if name == "small" else None, name, "", "study", "prune", 1, "prune", "torch", {}
            )
        )
        facts.append(records.PredictionSet(name, "ort", "q", texts, unknown, unknown, score == 1, score, None))
    store = Store(path)
    store.write(facts)
    store.publish()
    state = ViewState()
    state.change({"b_measure": "f1"})
    page = BehaviourPage(open_sheet(path), state, ["base", "small"], {"base": "base", "small": "small"}, Notes(path))
    assert page.rows_are == "instances"
    assert {measure.name for measure in page.measures} >= {"f1", "correct", "changed"}
    assert "kl" not in {measure.name for measure in page.measures}
    rows, total = page.rows()
    assert total == 3
    first = next(row for row in rows if row["id"] == "q1")["cells"][1]
    assert first["parts"][-2:] == [("gone", "1998"), ("new", "1999")]
    assert first["value"] == "0.500"
    assert page.headers()[1]["cell"].change == "-0.167"
    assert {flip["after"] for flip in page.headers()[1]["flips"]} == {"in 1999", "a a a"}


# ---- layers
@pytest.fixture
def layers(results):
    def make(models=MODELS, **fields):
        state = ViewState()
        state.change(fields)
        return LayerPage(load_layers(results, models, models[0]), state, models, NAMES, Notes(results))

    return make


def test_the_tree_opens_as_in_the_code(layers):
    closed, _, total = layers(l_open=[NOTHING]).page()
    assert [row["row"].name for row in closed] == ["stem", "block", "head"]
    assert total == 3
    rows, _, _ = layers(l_open=["stem", "stem.conv"]).page()
    assert [row["row"].name for row in rows[:4]] == ["stem", "stem.conv", "stem.conv.weight", "stem.norm"]
    assert layers().opened[:3] == ["stem", "block", "head"], "what makes a screenful is open at first"


def test_zeros_are_told_beside_the_histogram_that_leaves_them_out(layers):
    (drawn,) = (row["cells"][0] for row in layers(l_flat=True).page()[0] if row["row"].name == "stem.conv.weight")
    share = dict(layers(l_show="sparsity", l_flat=True)._shown(layers()._numbers("base", "stem.conv.weight")))[
        "sparsity"
    ]
    assert share != "0.0%"
    assert dict(drawn["numbers"])["zeros, not drawn"] == share
    assert not layers()._shown({"sparsity": 0.0})


def test_a_large_tree_opens_as_far_as_a_screen_goes(layers):
    made = layers()
    made.sites = [f"net.stage{at}.block{inner}.weight" for at in range(4) for inner in range(30)]
    assert made.opened == ["net"]
    assert [row.name for row in made.rows] == ["net", *(f"net.stage{at}" for at in range(4))]


def test_findings_of_every_model_have_their_turn():
    found = [
        Found(model, "dead_channels", "a", weight, "", "") for model, weight in [("m", 0.9), ("m", 0.8), ("n", 0.1)]
    ]
    assert [(each.model_key, each.weight) for each in in_turn(found)] == [("m", 0.9), ("n", 0.1), ("m", 0.8)]


def test_groups_have_sums_where_they_sum(layers):
    rows, _, _ = layers(l_show="sparsity", l_open=[NOTHING]).page()
    stem = rows[0]
    assert dict(stem["cells"][0]["numbers"])["sparsity"] == f"{10 / (326 + 646):.1%}"
    whole = roll_up([
        {"count": 100, "mean_abs_change": 0.1, "relative_change": 0.5, "bytes": 400},
        {"count": 300, "mean_abs_change": 0.3, "relative_change": 0.5, "bytes": None},
    ])  # fmt: skip
    assert whole["count"] == 400
    assert whole["mean_abs_change"] == pytest.approx((10 + 90) / 400)
    assert whole["relative_change"] == pytest.approx(0.5)
    assert whole["bytes"] == 400


def test_a_list_sorted_by_any_number(layers):
    made = layers(l_order="pruned", l_by="relative_change")
    assert [row.name for row in made.rows] == SITES[::-1]
    made = layers(l_order="pruned", l_by="sqnr_db", l_descending=False)
    assert made.rows[0].name == SITES[4]
    made = layers(l_order="int8", l_by="relative_change")
    assert made.rows[-1].name == "stem.norm.weight", "what a model lacks comes last"
    assert layers(l_order="size").rows[0].name == "head.bias"


def test_gone_layers_say_so_and_nan_is_shown(layers):
    rows, _, _ = layers(l_flat=True).page()
    gone = rows[1]["cells"][2]
    assert gone["text"] == "not in this model: folded into 'stem.conv'"
    assert rows[3]["cells"][0]["odd"] == "1 NaN, 0 infinite"
    assert dict(rows[0]["cells"][1]["numbers"])["SQNR [dB]"] == "identical"
    assert [shape.kind for shape in rows[0]["cells"][1]["bars"]] == [0]
    assert rows[0]["cells"][1]["bars"][0].path.count("z") == ROWS - 3, "every bin, and nothing outside"


def test_flagged_layers_and_what_lies_in_flagged_modules(layers, results):
    notes = Notes(results)
    notes.add("layer", "stem", "look at the stem")
    notes.add("layer", "head.bias", "odd")
    notes.add("layer", "hea", "no layer is called so")
    assert layers(l_flagged=True).sites == ["stem.conv.weight", "stem.norm.weight", "head.bias"]
    rows, _, _ = layers(l_flagged=True, l_open=[NOTHING]).page()
    assert [(row["row"].name, row["note"].why if row["note"] else "") for row in rows] == [
        ("stem", "look at the stem"),
        ("head", ""),
    ]
    for about in ("stem", "head.bias", "hea"):
        notes.remove("layer", about)
    assert layers(l_flagged=True).sites == []


def test_the_time_of_a_layer_stands_with_its_weights_and_sums_up(layers):
    made = layers(l_show="numbers", l_open=["stem"])
    rows, _, _ = made.page()
    stem, conv, norm = (dict(row["cells"][0]["numbers"]) for row in rows[:3])
    assert (stem["time"], stem["share of time"], stem["MACs"]) == ("1.25 ms", "25.0%", "3,000")
    assert (conv["time"], norm["time"]) == ("1 ms", "250 µs")
    assert made.untimed() == ["int8"], "its runtime did not tell"
    assert "time" not in dict(rows[0]["cells"][2]["numbers"])
    assert dict(rows[0]["cells"][2]["numbers"])["MACs"] == "1,000", "of the same shape as the base's"
    assert layers(l_order="base", l_by="seconds").rows[0].name == "head.weight"
    (head,) = (row for row in layers(l_show="activations", l_flat=True).sites if row == "head")
    assert layers(l_show="activations")._numbers("base", head)["seconds"] == pytest.approx(3.75e-3)


def test_results_without_times_of_layers_open(tmp_path):
    import duckdb

    path = tmp_path / "older.duckdb"
    publish(path).close()
    with duckdb.connect(str(path)) as db:
        db.execute("DROP VIEW layer_times")
    assert load_layers(path, MODELS, "base").timed == frozenset()


def test_filters_by_name_and_type(layers):
    assert layers(l_filter="^head").sites == ["head.weight", "head.bias"]
    assert layers(l_filter="[").sites == [], "no expression, and no name with that in it"
    assert layers(l_types=["BatchNorm2d"]).sites == ["stem.norm.weight"]


def test_activations_and_where_they_diverge(layers):
    made = layers(l_show="activations", l_flat=True)
    assert made.sites[0] == "stem.conv"
    chart = made.chart()
    assert {line["model"] for line in chart["lines"]} == {"pruned", "int8"}
    assert chart["sites"][:2] == ["stem.conv", "stem.norm"]


def test_models_that_were_not_compared_with_this_base(layers):
    assert layers(["pruned", "base", "int8"]).uncompared() == ["base", "int8"]
    rows, _, _ = layers(["pruned", "base", "int8"], l_flat=True).page()
    assert rows[0]["cells"][1]["bars"], "its own distribution is shown all the same"


def test_comparisons_beside_the_results_are_read_too(tmp_path):
    path = tmp_path / "results.duckdb"
    publish(path, compared=False)
    assert load_layers(path, MODELS, "base").changes == {}
    publish(path.with_suffix(".layers.duckdb"))
    assert set(load_layers(path, MODELS, "base").changes) == {"pruned", "int8"}
    path.with_suffix(".layers.duckdb").write_bytes(b"damaged, not a database at all")
    assert load_layers(path, MODELS, "base").changes == {}


def test_pieces():
    assert matcher("a+")("baab")
    assert not matcher("^a")("b")
    assert show_number("bytes", 25_600_000.0) == "25.6 MB"
    assert show_number("sqnr_db", float("-inf")) == "-∞"
    assert show_number("cosine", None) == "—"
    (plain,) = bars([1] * ROWS)
    assert plain.path.count("z") == ROWS - 1
    column = stacked([4 if at == 6 else 12 if at == 7 else 0 for at in range(ROWS * 6)])
    assert [(shape.kind, shape.path) for shape in column] == [(0, "M10 200v-50h9V200z"), (1, "M10 150v-150h9V150z")]
    assert bars([0] * ROWS) == []
    deep = tree_rows([".".join(f"m{at}" for at in range(2000))], {}, {"m0"})
    assert len(deep) == 2


def test_classes_are_written_as_they_are(page):
    assert {row["name"] for row in page().rows()[0]} == set(CLASSES)
