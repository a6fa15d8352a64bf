"""The frame of every page: the rail of compared models, the budget with its chips, the progress of what runs; and addresses."""

import html
import re
import time

import pytest

from pipeline.store import heartbeat
from pipeline.store.heartbeat import RunProgress, read_progress
from tests.studies import study
from tests.viewer import inside_stores
from tests.viewer.stores import key_of, publish
from tests.viewer.visits import Page, visit
from viewer.decide.rail_view import Rail
from viewer.overview.header import progress_text
from viewer.session.choices import choices
from viewer.session.compared_models import models_on_rail, proposed_models
from viewer.session.state import ViewState
from viewer.session.url import Keys, name_page, read_link, write_link


@pytest.fixture(scope="module")
def inside(tmp_path_factory):
    path = tmp_path_factory.mktemp("rail") / "results.duckdb"
    inside_stores.publish(path).close()
    return path


@pytest.fixture(scope="module")
def fifty(tmp_path_factory):
    path = tmp_path_factory.mktemp("fifty") / "results.duckdb"
    publish(path, study(52)).close()
    return path


def words(markup):
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", markup)).split())


def rail_of(page):
    return next(view for view in page.app._views if isinstance(view, Rail))


def letters(markup):
    """Letter and colour, with the name that follows, of every badge."""
    badges = re.findall(r'<b class="letter" style="--own: (#\w+)">(\w+)</b>(?:<span[^>]*>)?\s*([\w-]+)', markup)
    return {name: (letter, color) for color, letter, name in badges}


def test_every_page_gives_a_model_the_letter_and_colour_that_it_has_on_the_rail(inside):
    page = Page(visit(inside, {"selected": "pruned,int8,other", "base": "int8"}))
    own = letters(rail_of(page).draw_rail())
    assert {name: letter for name, (letter, _) in own.items()} == {"pruned": "A", "int8": "B", "other": "C"}
    assert len({color for _, color in own.values()}) == 3
    for name in ("compare", "behaviours", "layers"):
        assert letters(page.app._pages[name].draw_page()) == own, name


def test_the_base_is_pinned_and_stands_on_the_rail_though_it_was_not_chosen(inside):
    app = visit(inside, {"selected": "pruned,int8", "base": "other"})
    models = models_on_rail(app.session)
    assert [(each.key, each.letter, each.is_base) for each in models] == [
        ("other", "A", True),
        ("pruned", "B", False),
        ("int8", "C", False),
    ]
    app.state.change({"base": ""})
    assert [each.key for each in models_on_rail(app.session) if each.is_base] == ["pruned"], "the nearest to the root"


def test_a_base_that_nobody_chose_can_be_pinned_and_a_pin_taken_away(inside):
    page = Page(visit(inside, {"selected": "pruned,int8"}))
    rail = rail_of(page)
    assert rail.draw_rail().count('data-do="rail_base"') == 2
    assert [each.is_pinned for each in models_on_rail(page.app.session)] == [False, False]
    page.say("rail_base", key="pruned")
    page.say("rail_add", key="base")
    assert [(each.key, each.is_base, each.is_pinned) for each in models_on_rail(page.app.session)] == [
        ("pruned", True, True), ("int8", False, False), ("base", False, False),
    ]  # fmt: skip
    page.say("rail_base", key="pruned")
    assert page.app.state.base == ""
    assert [each.key for each in models_on_rail(page.app.session) if each.is_base] == ["base"]


def test_many_models_have_letters_of_their_own(fifty):
    app = visit(fifty)
    app.state.pick(list(app.session.results.keys))
    models = models_on_rail(app.session)
    assert len({each.letter for each in models}) == len({each.name for each in models}) == 52
    assert [models[at].letter for at in (0, 25, 26, 51)] == ["A", "Z", "AA", "AZ"]


def test_an_empty_rail_proposes_models_and_says_why_and_one_click_takes_them(fifty):
    page = Page(visit(fifty))
    told = {each.key: each.why for each in proposed_models(page.app.session)}
    assert told[key_of("resnet50trained")] == "the original"
    assert set(told.values()) >= {"the original", "smallest on the Pareto front"}
    rail = rail_of(page)
    text = words(rail.draw_rail())
    assert text.startswith("Proposed A")
    assert all(why in text for why in told.values())
    page.say("rail_take")
    assert page.app.state.selected == list(told)
    assert words(rail.draw_rail()).startswith("Compared A")
    assert words(rail.draw_rail()).endswith("Empty")


def test_a_proposal_within_a_budget_is_within_it(fifty):
    page = Page(visit(fifty, {"filters": "~5000000~Model Size"}))
    results = page.app.session.results
    within = [each.key for each in proposed_models(page.app.session) if "within the budget" in each.why]
    assert within
    assert all(results.values("Model Size")[results.row[key]] <= 5e6 for key in within)


def test_the_budget_stands_on_every_page_as_a_sentence_and_each_part_can_be_removed(fifty):
    page = Page(visit(fifty, {"filters": "~9000~Latency", "page": "table"}))
    update = page.say("budget_type", text="Latency <= 9 s; Model Size <= 20 MB")
    line = words(update["panes"]["budget_line"])
    assert "Latency at most 9 s" in line
    assert "Model Size at most 20 MB" in line
    assert re.search(r"\d+ of 52 pass", line)
    line = words(page.say("filter_drop", index="0")["panes"]["budget_line"])
    assert "Latency" not in line
    assert "Model Size at most 20 MB" in line


def test_signs_of_life_say_how_far_a_run_is(tmp_path, monkeypatch):
    results, far = tmp_path / "results.duckdb", [RunProgress(95, 113, 130.0)]
    monkeypatch.setattr(heartbeat, "_PERIOD_S", 0.01)
    with heartbeat.heartbeat(results, "r1", lambda: far[0]):
        assert read_progress(results, "r1") == far[0]
        far[0] = RunProgress(96, 113, 125.0)
        while read_progress(results, "r1") != far[0]:
            time.sleep(0.01)
        assert heartbeat.is_alive(results, "r1")
    assert read_progress(results, "r1") is None
    heartbeat._sign(results, "r1").parent.mkdir(parents=True, exist_ok=True)
    endless = '{"done": %s, "total": 5, "seconds_left": %s, "unit": "jobs"}'
    for text in (
        "", "[]", '{"done": 5}', '{"done": 9, "total": 3, "seconds_left": null, "unit": "jobs"}', "[" * 100_000,
        endless % ("Infinity", "null"), endless % (1, "9" * 400),
    ):  # fmt: skip
        heartbeat._sign(results, "r1").write_text(text)
        assert read_progress(results, "r1") is None, "what is no sign of ours says nothing"
    assert progress_text(RunProgress(96, 113, 125.0)) == "96 of 113 jobs, about 2 min 05 s left"
    assert progress_text(RunProgress(2, 5, None, "groups of models timed")) == "2 of 5 groups of models timed"


def test_axes_differ_wherever_there_are_two_metrics(tmp_path):
    logged = study(6)
    for model in logged["models"]:
        model["metrics"] = {name: model["metrics"][name] for name in ("Top-1 Accuracy", "Epochs")}
    logged["metrics"] = [{**metric, "primary": metric["name"] == "Top-1 Accuracy"} for metric in logged["metrics"]]
    publish(tmp_path / "results.duckdb", logged).close()
    app = visit(tmp_path / "results.duckdb")
    own = choices(app.session.results)
    assert own.metric("y", app.state) == "Top-1 Accuracy"
    assert own.metric("x", app.state) == "Epochs"


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ({}, "decide"),
        ({"selected": "pruned"}, "overview"),
        ({"arrange": "step"}, "overview"),
        ({"page": "table"}, "table"),
    ],
)
def test_addresses_from_before_there_was_a_first_page_mean_what_they_did(inside, query, page):
    assert visit(inside, query).state.page == page


def test_an_address_says_which_page_it_is_of_and_those_of_the_overview_are_as_before():
    keys = Keys(["a" * 64])
    for values, query in (
        ({}, ""),
        ({"page": "overview"}, "page=overview"),
        ({"arrange": "step"}, "page=decide&arrange=step"),
        ({"page": "overview", "arrange": "step"}, "arrange=step"),
        ({"page": "table", "arrange": "step"}, "page=table&arrange=step"),
    ):
        state = ViewState()
        state.change(values)
        assert write_link(state, keys) == query
        again = ViewState()
        again.change(name_page(read_link(query, keys)[0]))
        assert again.values() == state.values()
