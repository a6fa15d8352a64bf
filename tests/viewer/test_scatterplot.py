"""The scatterplot without a browser, and the text of its ticks in one."""

import numpy as np
import pytest

from tests.studies import study
from tests.viewer import browsing
from tests.viewer.stores import publish
from tests.viewer.visits import visit
from viewer.map.scatter_view import TICKS


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("scatterplot") / "results.duckdb"
    made = study(52)
    for model in sorted(made["models"], key=lambda model: model["metrics"]["Top-1 Accuracy"])[:3]:
        model["metrics"]["Latency"] = 0
    publish(path, made).close()
    return path


@pytest.fixture
def app(results):
    return visit(results, {"x": "Latency", "y": "Top-1 Accuracy"})


def test_the_front_is_that_of_the_models_within_the_budget(app):
    values, every = app.session.results.values("Latency"), app.scatter.front()
    low = float(np.sort(values[every])[1]) + 1e-9  # leaves out the two fastest of the front
    app.state.change({"filters": [("Latency", low, None)]})
    front = app.scatter.front()
    assert front
    assert (values[front] >= low).all()
    assert f"Pareto front within the budget: {len(front)} model" in app.scatter.draw_front()
    [line] = app.scatter.figure.select({"name": "front"})
    assert list(line.data["x"]) == values[front].tolist()
    assert [each["x"] for each in app.scatter.labels] == values[front].tolist()


def test_what_shows_all_is_told_whatever_the_hand_has_moved(app, monkeypatch):
    """`Fit` came back to where the wheel had been if it turned while results were on their way."""
    told = []
    monkeypatch.setattr(app.session, "send", lambda name, value: told.append((name, value)))
    values, span = app.session.results.values("Latency"), app.scatter.figure.x_range
    span.start, span.end = 1.0, 2.0
    app.state.change({"dim_dominated": True})
    [[low, high]] = {tuple(value["whole"][0]) for name, value in told if name == "front"}
    assert low < np.nanmin(values) < np.nanmax(values) < high
    assert (span.start, span.end) == (1.0, 2.0)


def test_models_at_0_are_not_said_to_be_unmeasured_on_a_log_axis(app):
    assert "not measured" not in app.scatter.draw_front()
    app.state.change({"x_log": True})
    assert "3 not above 0: no place on a log axis" in app.scatter.draw_front()
    assert "not measured" not in app.scatter.draw_front()


@pytest.mark.browser
@pytest.mark.skipif(bool(browsing.why_not()), reason=browsing.why_not())
@pytest.mark.parametrize(
    ("ticks", "percent", "texts"),
    [
        ([0, 5000, 10000], False, ["0", "5k", "10k"]),
        ([1, 10], True, ["100%", "1000%"]),
        ([0.9034, 0.90345, 0.9035], True, ["90.34%", "90.345%", "90.35%"]),
        ([0.0002, 0.0004], False, ["200µ", "400µ"]),
        ([1e-141, 1e-18, 1e-9, 1], False, ["1e-141", "1e-18", "1n", "1"]),
        ([12.5], False, ["12.5"]),
    ],
)
def test_ticks_are_told_apart_and_their_sizes_are_true(ticks, percent, texts, chromium):
    run = f"([ticks, percent]) => ticks.map((tick, index) => (() => {{ {TICKS} }})())"
    page = chromium.new_page()
    assert page.evaluate(run, [ticks, percent]) == texts
    page.close()


def test_points_have_shapes_of_their_own_only_where_a_time_is_rough(app, monkeypatch):
    """Names of shapes for all are an eighth of what a browser reads of 5,000 models."""
    results, models = app.session.results, app.scatter.models
    [points] = [each for each in app.scatter.figure.renderers if each.data_source is models]
    shapes = lambda: (points.glyph.marker, points.selection_glyph.marker, models.data.get("marker"))  # noqa: E731
    assert shapes() == ("circle", "circle", None)
    rough = np.zeros(len(results.keys), dtype=bool)
    rough[2] = True
    sure = np.zeros_like(rough)
    monkeypatch.setattr(type(results), "unsure", lambda self, metric: rough if metric == "Latency" else sure)
    app.state.change({"x_log": True})
    assert shapes()[:2] == ("marker", "marker")
    assert [at for at, shape in enumerate(shapes()[2]) if shape == "diamond"] == [2]
    app.state.change({"x": "Top-1 Accuracy"})
    assert shapes() == ("circle", "circle", None)
