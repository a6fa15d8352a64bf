"""The pane of budgets: who just misses, what a refusal leaves, and what the page judges by while a hand drags."""

import math
import re

import numpy as np
import pytest

from tests.studies import study
from tests.viewer.stores import publish
from tests.viewer.visits import Page, visit
from viewer.overview.budgets_view import Budgets


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


def budgets_pane(app):
    return re.sub(r"<[^>]+>", "", next(view for view in app._views if isinstance(view, Budgets)).draw_side())


def test_who_misses_a_budget_by_little_is_named_with_the_distance(app):
    results = app.session.results
    times = np.sort(results.values("Latency"))
    bound = float(times[20]) / 1.01
    app.state.change({"pane": "budgets", "filters": [("Latency", None, bound)]})
    near = results.text.name(results.keys[int(np.argsort(results.values("Latency"))[np.searchsorted(times, bound)])])
    assert f"Just outside: {near} Latency" in budgets_pane(app)
    assert re.search(r"Just outside: \S+ Latency [\d.]+ m?s, [\d.]+ % above", budgets_pane(app))
    app.state.change({"filters": [("Latency", None, float(times[0]) / 3)]})
    assert re.search(r"Nearest: \S+ Latency [\d.]+ ms, 200 % above", budgets_pane(app))
    app.state.change({"filters": [("Top-1 Accuracy", float(results.values("Top-1 Accuracy").max()) + 0.004, None)]})
    assert "0.4 pp below" in budgets_pane(app)


def test_what_cannot_be_read_judges_nothing(app, page):
    app.state.change({"pane": "budgets", "filters": [("Latency", None, 9000.0)]})
    side = page.say("budget_type", text="Latncy <= 9 s")["panes"]["side"]
    assert "Not judged:" in side
    assert "models pass" not in side
    assert "Just outside" not in side
    assert "models pass" in page.say("budget_type", text="Latency <= 9 s")["panes"]["side"]


def test_the_page_judges_a_drag_as_the_server_does(app, page):
    """What the page is sent are the bounds that count: of 9 s, all that is shown as 9 s."""
    page.say("budget_type", text="Latency <= 9 s")
    ((metric, low, high),) = page.updates[-1]["filters"]["ranges"]
    assert (metric, low) == ("Latency", None)
    assert app.session.results.show_value("Latency", high) == app.session.results.show_value("Latency", 9000.0)
    assert app.session.results.show_value("Latency", math.nextafter(high, math.inf)) != "9 s"
    assert app.state.filters == [("Latency", None, 9000.0)]
