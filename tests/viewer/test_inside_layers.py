"""What stands on the page of layers, from stores with known numbers."""

import re

import pytest

from tests.viewer.inside_stores import SITES, publish
from tests.viewer.visits import Page, visit
from viewer.layers.page import NOTHING, LayerPage, _share_axis, in_turn
from viewer.layers.queries import Found, read_layer_data
from viewer.layers.strip import FittedAxis, fitted_axis, strip
from viewer.layers.table import ROWS, bars, matcher, roll_up, show_number, stacked, tree_rows
from viewer.session.notes import Notes
from viewer.session.state import ViewState

MODELS = ["base", "pruned", "int8"]
NAMES = {key: key for key in (*MODELS, "other")}


@pytest.fixture
def layers(results):
    def make(models=MODELS, **fields):
        state = ViewState()
        state.change(fields)
        return LayerPage(read_layer_data(results, models, models[0]), state, models, NAMES, Notes(results))

    return make


def test_the_tree_opens_as_in_the_code(layers):
    closed, _, total = layers(l_open=[NOTHING]).page()
    assert [row["row"].name for row in closed] == ["stem", "block", "head"]
    assert total == 3
    rows, _, _ = layers(l_open=["stem", "stem.conv"]).page()
    assert [row["row"].name for row in rows[:4]] == ["stem", "stem.conv", "stem.conv.weight", "stem.norm"]
    assert layers().open_modules[:3] == ["stem", "block", "head"], "what makes a screenful is open at first"


def test_zeros_are_told_beside_the_histogram_that_leaves_them_out(layers):
    (drawn,) = (row["cells"][0] for row in layers(l_flat=True).page()[0] if row["row"].name == "stem.conv.weight")
    share = dict(layers(l_show="sparsity", l_flat=True)._number_texts(layers()._numbers("base", "stem.conv.weight")))[
        "sparsity"
    ]
    assert share != "0.0%"
    assert dict(drawn["numbers"])["zeros, not drawn"] == share
    assert not layers()._number_texts({"sparsity": 0.0})


def test_a_large_tree_opens_as_far_as_a_screen_goes(layers):
    made = layers()
    made.sites = [f"net.stage{at}.block{inner}.weight" for at in range(4) for inner in range(30)]
    assert made.open_modules == ["net"]
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
    assert [(row["row"].name, row["notes"].own.why if row["notes"] else "") for row in rows] == [
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
        db.execute("DROP VIEW layer_times; DROP TABLE layer_time")
    assert read_layer_data(path, MODELS, "base").timed == frozenset()


def test_filters_by_name_and_type(layers):
    assert layers(l_filter="^head").sites == ["head.weight", "head.bias"]
    assert layers(l_filter="[").sites == [], "no expression, and no name with that in it"
    assert layers(l_filter="^head").filter_problem == ""
    broken = layers(l_filter="(((")
    assert broken.sites == []
    assert broken.filter_problem.startswith("No valid expression: missing )")
    assert "at character 3." in broken.filter_problem
    assert "repetition" in layers(l_filter="a{99999999999999999999}").filter_problem
    assert layers(l_types=["BatchNorm2d"]).sites == ["stem.norm.weight"]


def test_activations_and_where_they_diverge(layers):
    made = layers(l_show="activations", l_flat=True)
    assert made.sites[0] == "stem.conv"
    drawn = strip(made, made.data.findings)
    assert {line["name"] for line in drawn["lines"]} == {"pruned", "int8"}
    assert [label["whole"] for label in drawn["labels"]][:2] == ["stem.conv", "stem.norm"]
    assert [row["name"] for row in drawn["rows"]] == ["pruned", "int8"], "of the base there is no change"


def test_the_strip_has_a_cell_per_layer_and_model_darker_where_it_is_worse(layers):
    made = layers(l_show="activations")
    drawn = strip(made, made.data.findings)
    pruned, int8 = drawn["rows"]
    assert [cell["text"] for cell in pruned["cells"]] == ["identical", "39.0", "38.0", "37.0", "37.0"][
        : len(made.sites)
    ]
    shades = [cell["shade"] for cell in pruned["cells"]]
    assert shades[0] == 0
    assert shades[1:] == sorted(shades[1:]), "less signal is darker"
    assert int8["cells"][1]["shade"] is None, "it has no such layer"
    weights = strip(layers(l_show="weights"), [])
    assert [cell["shade"] for cell in weights["rows"][0]["cells"]] == sorted(
        cell["shade"] for cell in weights["rows"][0]["cells"]
    )
    assert [row["name"] for row in strip(layers(l_show="sparsity"), [])["rows"]] == MODELS


def test_findings_sit_at_their_layer(layers):
    made = layers(l_show="weights")
    (first, *rest) = strip(made, made.data.findings)["marks"]
    assert (first["site"], first["key"]) == (SITES[1], "pruned")
    assert first["text"].startswith("The scale of")
    assert {mark["key"] for mark in rest} <= {"int8"}
    module = strip(layers(l_show="activations"), made.data.findings)["marks"][0]
    assert module["site"] == "stem.norm", "of its outputs the layer that the tensor is of"


def test_of_very_many_layers_and_models_the_first_are_drawn(layers):
    made = layers([*MODELS, "other"], l_show="numbers", l_by="sparsity")
    made.sites = [*SITES, *(f"net.block{at}.weight" for at in range(600))]
    drawn = strip(made, [])
    assert [len(row["cells"]) for row in drawn["rows"]] == [300] * 4
    assert (drawn["left_out"], drawn["models_left_out"]) == (305, 0)
    assert len(drawn["labels"]) < 200, "as many names as there is room for"


def test_an_axis_fits_what_is_on_it():
    assert fitted_axis([23.0, 41.0]) == FittedAxis(22.5, 42.5)
    assert fitted_axis([0.0, float("inf")]) == FittedAxis(0.0, 1.0)
    assert fitted_axis([]) == FittedAxis(0.0, 1.0)
    assert fitted_axis([3.0, 3.0]).low == 0
    assert FittedAxis(0, 10).share(20) == 1


def test_a_click_on_a_cell_opens_the_layer_of_all_models_on_one_axis(results):
    page = Page(visit(results, {"page": "layers", "selected": "base,pruned,int8", "l_show": "sparsity"}))
    drawn = page.say("l_cell", site="stem.conv.weight")["panes"]["page"]
    panel = drawn.partition('id="l-site"')[2].partition("</section>")[0]
    assert panel.count('<svg class="bars"') == 3
    assert page.updates[-1]["link"]["query"].count("l_site=stem.conv.weight")
    assert 'id="l-site"' not in page.say("l_cell", site="stem.conv.weight")["panes"]["page"], "and closes it"
    assert 'id="l-site"' not in page.say("l_cell", site="no such layer")["panes"]["page"]


def test_models_that_were_not_compared_with_this_base(layers):
    assert layers(["pruned", "base", "int8"]).uncompared() == ["base", "int8"]
    rows, _, _ = layers(["pruned", "base", "int8"], l_flat=True).page()
    assert rows[0]["cells"][1]["bars"], "its own distribution is shown all the same"


def test_comparisons_beside_the_results_are_read_too(tmp_path):
    path = tmp_path / "results.duckdb"
    publish(path, compared=False)
    assert read_layer_data(path, MODELS, "base").changes == {}
    publish(path.with_suffix(".layers.duckdb"))
    assert set(read_layer_data(path, MODELS, "base").changes) == {"pruned", "int8"}
    path.with_suffix(".layers.duckdb").write_bytes(b"damaged, not a database at all")
    assert read_layer_data(path, MODELS, "base").changes == {}


def test_pieces():
    assert matcher("a+")[0]("baab")
    assert not matcher("^a")[0]("b")
    assert matcher("[0")[0]("layer[0]"), "no expression: plain text"
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


def test_histograms_of_a_row_share_their_axis():
    def cell(low, high):
        return {"bars": [1], "limits": (low, high)}

    def placed(cell, value):
        """Where a value stands in the box: the bins run from 10 to 330 before they are moved."""
        low, high = cell["limits"]
        shift, scale = map(float, re.findall(r"-?[\d.]+", cell["place"])[::2])
        return shift + scale * (10 + 320 * (value - low) / (high - low))

    cells = [cell(-1.0, 3.0), cell(0.0, 1.0), {"bars": [], "limits": (-9.0, 9.0)}]
    assert _share_axis(cells) == ("-1", "3")
    for each in cells[:2]:
        for value in each["limits"]:
            assert placed(each, value) == pytest.approx(10 + 320 * (value + 1) / 4, abs=0.1)
    assert "place" not in cells[2]
    constant = [cell(0.5, 0.5), cell(0.0, 1.0)]
    _share_axis(constant)
    assert "scale(0.0300 1)" in constant[0]["place"], "a single value is seen too"
    assert _share_axis([]) == ("", "")


def test_sorting_by_a_model_begins_with_the_worst(results):
    page = Page(visit(results))
    page.app.state.change({"page": "layers", "selected": ["base", "pruned"], "l_by": "sqnr_db"})
    page.say("l_sort", key="pruned")
    assert page.app.state.layers.descending is False, "little signal is bad"
    page.app.state.change({"l_order": "", "l_by": "relative_change"})
    page.say("l_sort", key="pruned")
    assert page.app.state.layers.descending is True
