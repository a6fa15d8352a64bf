"""The pane of a selection: comparisons that are not confounded, in plain words."""

import re

import pytest

from tests.studies import study
from tests.viewer.stores import key_of, publish
from tests.viewer.visits import Page, visit


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "results.duckdb"
    publish(path, study(52)).close()
    return path


@pytest.fixture
def app(results):
    return visit(results)


@pytest.fixture
def page(app):
    return Page(app)


def test_of_models_that_differ_in_more_than_is_drawn_no_bar_claims_an_effect(app, page):
    resnets = [key_of(f"resnet50trained-mag{amount}") for amount in (50, 75, 90)]
    small = key_of("mobilenetv2trained-mag25")
    app.state.pick([*resnets, small])
    side = app._views[3].draw_side()
    assert "4 amounts of magnitude prune; not all else is equal: base model differs too" in side
    names = [app.session.results.text.name(key) for key in app.state.selected]
    charts = re.findall(r"<figure>.*?</figure>", side, re.DOTALL)
    assert len(charts) == len(app.session.results.primary)
    for chart in charts:
        assert "<rect" not in chart
        assert chart.count("<circle") == 4
        assert all(f" {name}</title>" in chart for name in names), "each row is a model, with its letter"
    assert "Rows:" not in side
    assert "Select the 3 that share all of that" in side
    page.say("clean")
    assert app.state.selected == resnets
    side = app._views[3].draw_side()
    assert "3 amounts of magnitude prune; all else equal" in side
    assert "<rect" in side
    assert "<circle" not in side
    page.say("clean")
    assert app.state.selected == resnets


def test_no_identifier_is_taken_for_a_word(tmp_path):
    small = study(14)
    for model in small["models"]:
        model["operation"]["name"] = model["operation"]["name"].replace(" ", "_")
    publish(tmp_path / "results.duckdb", small).close()
    app = visit(tmp_path / "results.duckdb")
    app.state.pick(list(app.session.results.keys))
    side = app._views[3].draw_side()
    words = re.sub(r"<[^>]+>", " ", side)
    assert "magnitude prune" in words
    assert "_" not in words
    assert not re.search(r"\bnone \d", words), "a chip says what is absent"
