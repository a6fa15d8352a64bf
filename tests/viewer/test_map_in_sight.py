"""What is seen on the map: colours by rank with an honest legend, named labels, the front, lineages, failures, the best first."""

import html
import re

import numpy as np
import pytest

from tests.studies import study, synthetic_study
from tests.viewer.forests import imported
from tests.viewer.stores import key_of, publish
from tests.viewer.visits import Page, visit
from viewer.map.appearance import appearance
from viewer.map.bundles import Bundles
from viewer.map.drawing import FAINT, LINEAGE, Looks, Words, draw
from viewer.map.layout import ROWS, layout
from viewer.results.lineage import Forest, Node

ROOT, MAG50, RETRAINED = (key_of(f"resnet50trained{end}") for end in ("", "-mag50", "-mag50-retrained"))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("map") / "results.duckdb"
    publish(path, study(52), failures=2).close()
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "results.duckdb"
    publish(path, synthetic_study(500)).close()
    return path


def test_the_legend_has_the_colours_that_models_at_the_quarters_have(store):
    app = visit(store)
    results, looks = app.session.results, appearance(app.session.results)
    values = results.values("Top-1 Accuracy")
    ticks = looks.color_ticks("Top-1 Accuracy")
    quarters = np.quantile(values, [0, 0.25, 0.5, 0.75, 1], method="nearest")
    assert [value for value, _ in ticks] == pytest.approx(quarters.tolist(), abs=0.01)
    legend = html.unescape(app.map.draw_legend())
    begins = re.findall(r"linear-gradient\(90deg, #(\w{6})", legend)
    for (value, _), color in zip(ticks, begins, strict=False):
        row = int(np.flatnonzero(values == value)[0])
        assert looks.rgb("Top-1 Accuracy", dark=False)[row].tolist() == list(bytes.fromhex(color))
        assert f"<span>{results.show_value('Top-1 Accuracy', value)}</span>" in legend
    assert len(begins) == len(ticks) - 1


def test_one_outlier_leaves_the_others_their_colours(store):
    app = visit(store)
    looks = appearance(app.session.results)
    rgb = looks.rgb("Top-1 Accuracy", dark=False)
    assert len(np.unique(rgb, axis=0)) > 25, "models of 70 to 80 % are not all one navy beside one of 0.2 %"


@pytest.mark.parametrize("models", [52, 500])
def test_no_label_is_a_value_without_its_name(models, request):
    app = visit(request.getfixturevalue({52: "store", 500: "large"}[models]))
    nodes, forest = app.map.nodes.data, app.session.results.forest
    for key, label, brief in zip(nodes["key"], nodes["label"], nodes["brief"], strict=True):
        if brief:
            name = brief.partition("\N{NO-BREAK SPACE}")[0]
            bundle = appearance(app.session.results).bundle(key)
            params = [bundle.parameter] if bundle else list(forest[key].params)
            assert name in [each.replace("_", " ") for each in params]
            assert label.startswith(name)


def alphas(app):
    return dict(zip(app.map.nodes.data["key"], app.map.nodes.data["alpha"].tolist(), strict=True))


def test_what_led_to_a_model_within_the_budget_stays_in_sight(store):
    app = visit(store)
    app.state.change({"filters": [("Top-1 Accuracy", 0.7895, None)]})
    app.map.update({"results"})
    results, seen = app.session.results, alphas(app)
    passing = {results.keys[row] for row in np.flatnonzero(results.ranking.passing(app.state.filters))}
    assert RETRAINED in passing
    assert MAG50 not in passing
    assert (seen[ROOT], seen[MAG50], seen[RETRAINED]) == pytest.approx((1, LINEAGE, 1))
    leads = {each for key in passing for each in results.forest.ancestors(key)}
    assert {key for key, alpha in seen.items() if key in results.row and alpha == pytest.approx(FAINT)} == set(
        results.keys
    ) - passing - leads


def test_a_folded_model_shows_that_what_it_hides_is_within_the_budget():
    forest = Forest([Node("a"), Node("b", "a"), Node("c", "b"), Node("d", "c")])
    placed = layout(forest, closed=["b"])
    assert list(placed.positions) == ["a", "b"]
    looks = Looks(np.zeros((4, 3), np.uint8), np.ones(4), np.array([False, False, False, True]))
    drawn = draw(placed, forest, {key: row for row, key in enumerate("abcd")}, looks, Words(str, lambda node: ""))
    assert drawn.nodes["alpha"].tolist() == pytest.approx([LINEAGE, LINEAGE])
    assert drawn.nodes["below"] == [[], [2, 3]]


@pytest.mark.parametrize("fixture", ["store", "large"])
def test_every_model_of_the_front_has_its_mark_or_its_bundle_has(fixture, request):
    app = visit(request.getfixturevalue(fixture))
    results, nodes, marks = app.session.results, app.map.nodes.data, app.map._front_marks.data
    owner = app.map._layout().owner
    wanted = {owner[results.keys[row]] for row in app.scatter.front()}
    at = {(float(x), float(y)): key for x, y, key in zip(nodes["x"], nodes["y"], nodes["key"], strict=True)}
    assert {at[place] for place in zip(marks["x"], marks["y"], strict=True)} == wanted
    if fixture == "large":
        assert any(key not in results.row or app.map._layout().positions[key].hidden for key in wanted), (
            "some are hidden"
        )
    app.state.change({"x": "Model Size"})
    assert len(app.map._front_marks.data["x"]) == len({owner[results.keys[row]] for row in app.scatter.front()})


def test_the_legend_tells_the_marks_that_are_there(store, large):
    few, many = visit(store), visit(large)
    for meaning, here in (("models folded below", (False, True)), ("on the Pareto front", (True, True)), ("failed or skipped", (True, False))):  # fmt: skip
        assert (meaning in few.map.draw_legend(), meaning in many.map.draw_legend()) == here
    assert "several models, drawn as one" not in few.map.draw_legend()
    few.state.change({"closed": [next(iter(appearance(few.session.results).bundles.bundles))]})
    assert "several models, drawn as one" in few.map.draw_legend()


def test_failures_are_listed_with_their_reasons_and_lead_to_their_nodes(store, large):
    page = Page(visit(store))
    markup = html.unescape(page.app.map.draw_failures())
    assert "2 failed, 2 skipped" in markup
    assert markup.count("RuntimeError: shapes do not match in layer conv1") == 2
    assert markup.index("failed</span>") < markup.index("skipped</span>")
    page.app.state.change({"page": "table"})
    update = page.say("find", key=key_of("failed-0"))
    assert (page.app.state.page, page.app.state.selected) == ("overview", [key_of("failed-0")])
    assert update["bring"] == key_of("failed-0")
    assert visit(large).map.draw_failures().strip() == ""


@pytest.mark.parametrize("models", [500, 5000])
def test_the_best_models_are_in_sight_at_first(models):
    forest = Forest(imported(synthetic_study(models)))
    deepest = sorted(forest.nodes, key=lambda key: (-forest.depth(key), key))[:3]
    bundles = Bundles(forest)
    plain, found = (layout(forest, bundles=bundles, focus=focus) for focus in ((), deepest))
    assert deepest[0] not in plain.positions
    assert deepest[0] in found.positions
    assert found.rows <= ROWS
    assert layout(forest, bundles=bundles, focus=deepest, closed=[forest.root(deepest[0])]).rows == 1


def test_the_page_is_told_where_the_best_model_is(large):
    app = visit(large)
    results = app.session.results
    best = appearance(results).focus[0]
    values = results.values("Top-1 Accuracy")
    front = app.scatter.front()
    assert results.row[best] in front
    assert values[results.row[best]] == max(values[row] for row in front)
    frame = app._bridge.first["map"]
    placed = app.map._layout().positions[app.map._layout().owner[best]]
    assert frame["focus"] == {"column": placed.column, "row": placed.row}
