"""Unlike experiments are apart: recipes, runs, seeds, data sets and tasks, and imported files that say nothing of theirs."""

import html
import re
from datetime import datetime, timedelta

import numpy as np
import pytest

from pipeline.store.records import run_records as facts
from pipeline.store.writer import Store
from tests.viewer.browsing import Visitor, served, why_not
from tests.viewer.test_browser_layout import COLLISIONS, CUT
from tests.viewer.visits import Page, visit
from viewer.overview.report import ReportView
from viewer.results.results import load_results
from viewer.session.choices import choices
from viewer.session.state import ViewState
from viewer.table.table_view import TableView

START = datetime(2026, 1, 1, 8)
RUNS = [("r1", "small", 0), ("r2", "small", 7), ("r3", "words", 0), ("import-a", "a", None), ("import-b", "b", None)]
MADE = [  # run, model, data, accuracy, bytes
    ("r1", "s0", "pictures", 0.90, 3e6), ("r1", "s0/int8", "pictures", 0.89, 1e6),
    ("r2", "s7", "pictures", 0.91, 3e6), ("r2", "s7/int8", "pictures", 0.90, 1e6),
    ("r3", "words", "texts", 0.70, 9e5), ("r3", "unmeasured", "", None, 5e5),
    ("import-a", "a0", "", 0.99, 10.0), ("import-a", "a1", "", 0.98, 9.0),
    ("import-b", "b0", "", 0.5, 1.0),
]  # fmt: skip


def records():
    for name, task in (("pictures", "image-classification"), ("texts", "text-classification")):
        yield facts.DatasetInfo(name, name, task, ["a", "b"], {"evaluation": 10}, {})
    for at, (run, recipe, seed) in enumerate(RUNS):
        config = {"import": "x"} if seed is None else {"recipe": {"name": recipe, "seed": seed}}
        yield facts.Run(run, recipe, config, {}, {}, None, START + timedelta(hours=at))
        yield facts.RunEnd(run, START + timedelta(hours=at, minutes=5), 0)
    for name, unit, better, role in (("accuracy", "", "higher", "quality"), ("file_bytes", "B", "lower", "size")):
        yield facts.Metric(name, unit, ".3g", better, True, "", role)
    for name in ("latency_p50", "energy"):
        yield facts.Metric(name, "ms", ".3g", "lower", True, "", "cost")
    recipes = {run: recipe for run, recipe, _ in RUNS}
    for run, name, data, accuracy, size in MADE:
        parent = name.split("/")[0] if "/" in name else None
        yield facts.Model(name, parent, name, "", recipes[run], "train", 1, "base", "torch", {})
        yield facts.Step(run, name, "operation", name, parent, "train", "base", {}, "done", 1.0, finished_at=START)
        target = "ort" if data else ""
        if accuracy is not None:
            ends = (accuracy - 0.005, accuracy + 0.005) if data else (None, None)
            yield facts.Measurement(name, target, "", data, "accuracy", accuracy, *ends, 9, run, START, f"a{name}")
        yield facts.Measurement(name, "", "", "", "file_bytes", size, None, None, None, run, START, f"b{name}")
        for metric in ("energy", "latency_p50")[: 1 + (name != "s0")]:
            yield facts.Measurement(name, target, "", "", metric, 1.0, 0.9, 1.1, 9, run, START, f"{metric}{name}")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("experiments") / "results.duckdb"
    store = Store(path)
    store.write(records())
    store.publish()
    store.close()
    return path


@pytest.fixture(scope="module")
def results(path):
    return load_results(path)


def names(results, mask):
    return [results.keys[row] for row in np.flatnonzero(mask)]


def test_every_model_has_the_facets_that_its_run_and_its_measurements_tell(results):
    experiments = results.experiments
    assert experiments.counts("recipe") == {"a": 2, "b": 1, "small": 4, "words": 2}
    assert experiments.counts("seed") == {"0": 4, "7": 2}
    assert experiments.counts("run") == {
        "2026-01-01 08:00": 2, "2026-01-01 09:00": 2, "2026-01-01 10:00": 2, "2026-01-01 11:00": 2, "2026-01-01 12:00": 1,
    }  # fmt: skip
    assert experiments.counts("dataset") == {"pictures": 4, "texts": 1}
    assert experiments.counts("task") == {"image-classification": 4, "text-classification": 1}
    assert experiments.telling == ["recipe", "run", "seed", "dataset", "task"]


def test_no_front_and_no_best_has_models_of_two_data_sets_or_imports(results):
    found = {}
    for context in results.snapshot.contexts:
        here = results.within(context.id)
        every = np.ones(len(here.keys), dtype=bool)
        found[context.dataset or context.recipe] = (
            {here.keys[row] for row in here.ranking.front("file_bytes", "accuracy")},
            here.keys[here.ranking.best("file_bytes", every).row],
        )
    assert found == {
        "pictures": ({"s7", "s7/int8"}, "s0/int8"),
        "texts": ({"words"}, "unmeasured"),  # it is of the recipe whose other model is
        "a": ({"a0", "a1"}, "a1"),
        "b": ({"b0"}, "b0"),
    }


def test_of_one_import_alone_the_context_needs_no_name(tmp_path):
    store = Store(tmp_path / "results.duckdb")
    store.write(
        record for record in records() if getattr(record, "run_id", "import-b") == "import-b" and _is_of_b(record)
    )
    store.publish()
    store.close()
    (context,) = load_results(tmp_path / "results.duckdb").snapshot.contexts
    assert (context.recipe, context.text) == ("", "all measurements")


def _is_of_b(record):
    return getattr(record, "model_key", "b0") == "b0"


def test_axes_are_what_is_measured_for_most_models_at_hand(results):
    """`energy` and `latency_p50` are both costs: one model of these lacks the second."""
    assert choices(results).metric("x", ViewState()) == "energy"
    seven = results.only({"seed": ["7"]})
    assert choices(seven).metric("x", ViewState()) == "energy", "all have both: the first of the study"


def test_a_choice_of_experiments_narrows_what_passes_ranks_and_is_listed(path):
    page = Page(visit(path))
    app = page.app
    app.state.change({"x": "file_bytes", "y": "accuracy", "selected": ["s0"]})
    page.say("scope", facet="seed", value="7")
    results = app.session.results
    assert app.state.only == {"seed": ["7"]}
    assert app.state.selected == [], "what is out of scope is no longer selected"
    assert names(results, results.scope) == ["s7", "s7/int8"]
    assert [results.keys[row] for row in app.scatter.front()] == ["s7/int8", "s7"]
    assert names(results, choices(results).visible_rows(app.state)) == ["s7", "s7/int8"]
    table = next(view for view in app._views if isinstance(view, TableView))
    assert [results.keys[row] for row in table.rows()] == ["s7", "s7/int8"]
    study = app._views[0].draw_study()
    assert "2 of 9 models" in study
    assert "Only 7" in study
    page.say("scope", facet="recipe", value="words")
    assert not app.session.results.scope.any(), "facets are combined"
    page.say("scope")
    assert app.state.only == {}
    assert app.session.results.scope.all()


def test_the_choice_is_in_the_address_and_what_is_unknown_is_told(path):
    app = visit(path, {"only": '{"recipe":["small","gone"]}'})
    assert app.state.only == {"recipe": ["small"]}
    assert app.session.notices == ["No model of these results is of 'gone'."]
    assert app.session.results.scope.sum() == 4
    page = Page(app)
    page.say("link", query="")
    assert app.session.results.scope.all(), "Back to where everything was in scope"


def test_back_to_no_choice_of_a_data_set_is_back_to_the_first(path):
    page = Page(visit(path))
    texts = next(each for each in page.app.session.results.snapshot.contexts if each.dataset == "texts")
    page.app.state.change({"setting": texts.id})
    assert page.app.session.results.context.dataset == "texts"
    page.say("link", query="")
    assert page.app.session.results.context.dataset == "pictures"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("seed=7", {"s7", "s7/int8"}), ("dataset=texts", {"words"}), ("text-classification", {"words"}),
        ("recipe=a", {"a0", "a1"}), ("int8 small", {"s0/int8", "s7/int8"}), ("run=2026-01-01 words", {"words", "unmeasured"}),
        ("2026", set()),
    ],
)  # fmt: skip
def test_search_finds_experiments(path, query, found):
    page = Page(visit(path))
    page.say("search", text=query, submitted=True)
    assert set(page.app.state.selected) == found


def test_the_report_says_which_experiments_it_is_of(path):
    page = Page(visit(path, {"only": '{"seed":["7"]}', "group": "dataset"}))
    report = next(view for view in page.app._views if isinstance(view, ReportView)).html()
    assert " · only 7" in report
    assert "Data set pictures · 2 models" in report


def test_colours_tell_experiments_apart_with_a_legend(path):
    page = Page(visit(path))
    page.app.state.change({"color": ":seed"})
    colors = dict(zip(page.app.scatter.models.data["key"], page.app.scatter.models.data["color"], strict=True))
    assert len({colors["s0"], colors["s7"], colors["a0"]}) == 3
    assert colors["s0"] == colors["words"]
    legend = page.app.map.draw_legend()
    assert re.findall(r"</i>(\w+)</span>", legend) == ["0", "7"]
    assert 'value=":recipe"' in page.app.map.draw_map_tools()


def test_the_table_groups_by_experiments(path):
    page = Page(visit(path))
    page.app.state.change({"page": "table", "group": "dataset"})
    table = next(view for view in page.app._views if isinstance(view, TableView))
    heads = re.findall(r'rowgroup"[^>]*><div>(.*?)</div>', html.unescape(table.draw_page()))
    assert heads == ["Data set pictures · 4 models", "Data set texts · 1 model", "Data set unknown · 4 models"]
    text = table.as_csv([page.app.session.results.row["s0"]])
    assert text.splitlines()[0].startswith(
        "model_key,model,name,parent_key,operation,parameters,recipe,run,seed,dataset,task,"
    )
    assert ",small,2026-01-01 08:00,0,pictures,image-classification," in text


@pytest.mark.parametrize(
    ("selected", "mixture"),
    [(["s0", "s7"], ""), (["s0", "words"], "pictures, texts"), (["a0", "b0"], "a, b"), (["words", "unmeasured"], "")],
)
def test_a_comparison_of_unlike_experiments_says_so(path, results, selected, mixture):
    assert results.mixture(selected) == mixture
    page = Page(visit(path))
    page.app.state.change({"selected": selected, "page": "compare"})
    details = page.app._views[3].draw_side()
    assert ("all else equal" in details) is (not mixture)
    assert (f"of different data sets or files: {mixture}" in details) is bool(mixture)
    assert ('id="mixture"' in page.app._draw_page()) is bool(mixture)


@pytest.fixture(scope="module")
def address(path, tmp_path_factory):
    with served(path, tmp_path_factory.mktemp("log") / "server.log") as address:
        yield address


@pytest.mark.browser
@pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")
@pytest.mark.parametrize("width", [1440, 1024, 860, 390])
def test_the_menu_of_experiments_has_room_and_stays_open(width, address, chromium):
    page = chromium.new_page(viewport={"width": width, "height": 800})
    visitor = Visitor(page).open(f"{address}?color=:seed")
    menu = page.locator("#menu-only")
    menu.locator("summary").click()
    seven = menu.get_by_role("button", name="7 2", exact=True)
    box = menu.locator(".facets").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    seven.click()
    visitor.until("location.search.includes('only=')")
    assert seven.is_visible(), "another value may be chosen too"
    visitor.until("[...bouillon.model('models').data.alpha].filter((alpha) => alpha > 0.5).length === 2")
    for code in (COLLISIONS, CUT):
        page.keyboard.press("Escape")
        assert visitor.run(code) == []
    assert visitor.run("document.querySelector('#set-setting').getBoundingClientRect().width") >= 70
    visitor.page.goto(f"{address}?page=table&group=dataset")
    page.locator("tr.group").first.wait_for()
    assert visitor.run(COLLISIONS) == []
    assert visitor.complaints == []
    page.close()
