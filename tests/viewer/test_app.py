"""The application without a browser: what messages do to the state, and the state to the page."""

import csv
import io
import math
import re
from pathlib import Path

import numpy as np
import pytest

from tests.studies import study, synthetic_study
from tests.viewer.stores import key_of, publish
from tests.viewer.visits import Page, visit
from viewer.app import results_path
from viewer.format.palette import KINDS
from viewer.map.appearance import appearance
from viewer.overview.budgets_view import Budgets
from viewer.overview.report import ReportView
from viewer.results.results import load_results
from viewer.table.table_view import TableView

ROOT, MAG50, MAG75 = (key_of(f"resnet50trained{end}") for end in ("", "-mag50", "-mag75"))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "results.duckdb"
    publish(path, study(52), failures=1).close()
    return path


@pytest.fixture
def app(results):
    return visit(results)


@pytest.fixture
def page(app):
    return Page(app)


def test_the_file_is_the_argument_else_the_environment_s_else_the_folder_s(monkeypatch):
    monkeypatch.setenv("BOUILLON_RESULTS", "named.duckdb")
    assert results_path(["given.duckdb"]) == Path("given.duckdb")
    assert results_path([]) == Path("named.duckdb")
    monkeypatch.delenv("BOUILLON_RESULTS")
    assert results_path([]) == Path("results.duckdb")


def test_one_pick_is_one_event_and_one_update(app, page):
    events = []
    app.state.param.watch(events.append, "selected")
    app.map.nodes.selected.indices = [app.map._index[MAG50]]
    assert app.state.selected == [MAG50]
    assert len(events) == 1
    assert len(page.updates) == 1
    assert page.updates[0]["link"]["query"] == f"page=decide&selected={MAG50[:6]}"


def test_a_selection_shows_in_both_plots(app, page):
    page.say("node", key=MAG75)
    assert app.scatter.models.selected.indices == [load_results(app.session.path).row[MAG75]]
    assert app.map.nodes.selected.indices == [app.map._index[MAG75]]


def test_a_click_on_a_mark_that_stands_for_a_selected_model_keeps_that_model_alone(app, page):
    page.say("set", field="closed", value=MAG50)
    below = key_of("resnet50trained-mag50-int8")
    page.say("find", key=below)
    assert app.state.selected == [below]
    mark, other = app.map._index[MAG50], app.map._index[MAG75]
    assert app.map.nodes.selected.indices == [mark]
    app.map.nodes.selected.indices = [mark, other]
    assert app.state.selected == [below, MAG75]


def test_nonsense_messages_change_nothing(app, page):
    before = app.state.values()
    for message in [
        {"kind": "set", "field": "page", "value": "<b>"},
        {"kind": "set", "field": "nothing", "value": 1},
        {"kind": "column", "column": 99},
        {"kind": "range", "index": 7, "low": 1},
        {"kind": "bound", "index": 3, "end": "low", "value": "x"},
        {"kind": "filter_metric", "index": 0, "value": "none"},
        {"kind": "sort", "order": "'; DROP TABLE model"},
        {"kind": "row", "key": "unknown"},
        {"kind": "hover", "key": "unknown"},
        {"kind": "kin", "kin": "cousins"},
        {"kind": "fold", "key": "unknown"},
        {"kind": "no such kind"},
    ]:
        page.say(**message)
    app._bridge.message = "not a mapping"
    assert app.state.values() == before


@pytest.mark.parametrize(("typed", "bound"), [("9000", 9000.0), ("9 s", 9000.0), ("2,000 ms", 2000.0), ("", None)])
def test_a_typed_bound_is_understood_in_its_unit(app, page, typed, bound):
    app.state.filters = [("Latency", None, 1.0)]
    page.say("bound", index=0, end="high", value=typed)
    assert app.state.filters == [("Latency", None, bound)]


def test_a_bound_that_is_no_number_is_said_beside_its_field(app, page):
    app.state.change({"filters": [("Latency", None, None)], "pane": "budgets"})
    update = page.say("bound", index=0, end="high", value="fast")
    assert "&#39;fast&#39; is not a number" in update["panes"]["side"]
    assert app.state.filters == [("Latency", None, None)]


def test_a_bound_beyond_the_other_is_refused_and_stays_in_its_field(app, page):
    app.state.change({"filters": [("Top-1 Accuracy", 0.8, None), ("Latency", None, 9000.0)], "pane": "budgets"})
    side = page.say("bound", index=0, end="high", value="50 %")["panes"]["side"]
    assert "Top-1 Accuracy cannot be at least 80% and at most 50%." in side
    assert re.search(r'id="high-0"[^>]*value="50 %"[^>]*aria-invalid="true"', side)
    assert app.state.filters[0] == ("Top-1 Accuracy", 0.8, None)
    side = page.say("bound", index=1, end="high", value="9 s")["panes"]["side"]  # as it was: the refusal is over
    assert "aria-invalid" not in side
    assert re.search(r'id="high-1"[^>]*value="9 s"', side)
    assert "Did you mean" not in page.say("bound", index=0, end="low", value="> 50%")["panes"]["side"]
    assert app.state.filters[0] == ("Top-1 Accuracy", math.nextafter(0.5, 1), None)


def test_where_no_single_budget_is_the_reason_the_page_says_what_is(app):
    app.state.change({"filters": [("Top-1 Accuracy", 0.99, None), ("Latency", None, 1.0)], "pane": "budgets"})
    budgets = next(view for view in app._views if isinstance(view, Budgets))
    assert "Without it" not in budgets.draw_side()
    assert "No single budget is the reason. Furthest from any model: Top-1 Accuracy at least" in budgets.draw_side()
    app.state.filters = [*app.state.filters, ("Epochs", 0.0, None)]
    measured = int(np.isfinite(app.session.results.values("Epochs")).sum())
    both = rf"Without both Top-1 Accuracy at least [\d.]+% and Latency at most [\d.]+ ms, {measured} would pass\."
    assert re.search(both, budgets.draw_side())


def curve_of(app, **state):
    """Where the curve of the Budgets pane begins and goes along the axis, and where the budget stands on it."""
    app.state.change({"pane": "budgets", **state})
    side = next(view for view in app._views if isinstance(view, Budgets)).draw_side()
    start, path = re.search(r'<path d="M([\d.]+) [\d.]+(.*?)"', side).groups()
    across = [float(start), *map(float, re.findall(r"H([\d.]+)", path))]
    return across, float(re.search(r'class="budget" x1="([\d.]+)"', side)[1]), side


@pytest.mark.parametrize(
    ("metric", "goal", "loose", "tight"),
    [("Top-1 Accuracy", "Latency", (0.01, None), (0.99, None)), ("Latency", "Top-1 Accuracy", (None, 90_000.0), (None, 1.0))],
)  # fmt: skip
def test_the_curve_goes_on_to_the_relaxed_end_and_the_budget_stands_where_it_is(app, metric, goal, loose, tight):
    across, budget, side = curve_of(app, filters=[(metric, *loose)], goal=goal)
    assert across == sorted(across)  # relaxing goes to the right, whichever way is better
    assert across[-1] > budget == 430
    assert across[-2] < 430
    assert f">{app.session.results.show_value(metric, loose[0] or loose[1])}</text>" in side
    across, budget, _ = curve_of(app, filters=[(metric, *tight)], goal=goal)
    assert budget == 60 < across[0]
    middle = app.session.results.values(metric).mean()
    _, budget, _ = curve_of(app, filters=[(metric, *(end and middle for end in loose))], goal=goal)
    assert 60 < budget <= 430


def test_what_is_relaxed_is_in_the_address_and_never_the_goal(app, page):
    app.state.change({"pane": "budgets", "goal": "Top-1 Accuracy"})
    app.state.filters = [("Top-1 Accuracy", 0.5, None), ("Latency", None, 9000.0), ("Epochs", None, None)]
    update = page.say("set", field="relax", value="Epochs")
    assert "relax=Epochs" in update["link"]["query"]
    offered = re.search(r'<select id="relax".*?</select>', update["panes"]["side"])[0]
    assert re.findall(r'<option value="(.*?)"( selected)?>', offered) == [("Latency", ""), ("Epochs", " selected")]
    app.state.filters = [("Top-1 Accuracy", 0.5, None)]
    side = page.say("set", field="relax", value="Latency")["panes"]["side"]
    assert 'id="relax"' not in side
    assert 'id="set-goal"' in side
    assert "A budget on something other than Top-1 Accuracy can be relaxed here." in side


def test_a_curve_without_steps_leaves_its_choices_on_the_page(app, page):
    cheapest = float(np.nanmin(app.session.results.values("Latency")))
    app.state.change({"pane": "budgets", "goal": "Top-1 Accuracy", "relax": "Epochs"})
    app.state.filters = [("Latency", None, cheapest), ("Epochs", None, None)]
    side = page.say("budget_save", name="one")["panes"]["side"]
    assert "Relaxing it brings nothing better than" in side
    assert 'id="relax"' in side
    app.state.filters = [("Latency", None, cheapest / 2), ("Epochs", None, None)]
    side = page.say("budget_save", name="none")["panes"]["side"]
    assert "No model meets the other budgets" in side
    assert 'id="relax"' in side


def test_filters_agree_with_the_values(app):
    app.state.filters = [("Top-1 Accuracy", 0.5, None), ("Latency", None, 9000.0)]
    study_ = app.session.results
    wanted = (study_.values("Top-1 Accuracy") >= 0.5) & (study_.values("Latency") <= 9000.0)
    assert (study_.ranking.passing(app.state.filters) == wanted).all()
    drawn = np.asarray(app.map.nodes.data["alpha"]) > 0.5
    rows = np.asarray(app.map.nodes.data["model"])
    app.state.change({"color": "Latency"})  # drawn anew, as a report would be
    drawn = np.asarray(app.map.nodes.data["alpha"]) > 0.5
    assert (drawn[rows >= 0] == wanted[rows[rows >= 0]]).all()


def test_back_in_the_browser_s_history_restores_the_earlier_view(app, page):
    page.say("set", field="arrange", value="step")
    page.say("link", query=f"selected={MAG50[:8]}")
    assert app.state.arrange == "operation"
    assert app.state.selected == [MAG50]


def test_the_table_sorts_numbers_as_numbers_with_missing_ones_last(app, page):
    table = next(view for view in app._views if isinstance(view, TableView))
    page.say("sort", order="Latency")
    values = app.session.results.values("Latency")[table.rows()]
    assert (np.diff(values) >= 0).all()
    page.say("sort", order="Latency")
    assert (np.diff(app.session.results.values("Latency")[table.rows()]) <= 0).all()
    page.say("sort", order=" name")
    rows = list(csv.DictReader(io.StringIO(table.as_csv(table.rows()))))
    assert [row["name"] for row in rows][:2] == ["mobilenetv2trained", "mobilenetv2trained-int8"]


def test_a_spreadsheet_runs_no_name_as_a_formula(tmp_path):
    small = study(1)
    small["models"][0]["id"] = '=HYPERLINK("http://x")'
    publish(tmp_path / "results.duckdb", small).close()
    app = visit(tmp_path / "results.duckdb")
    table = next(view for view in app._views if isinstance(view, TableView))
    assert next(csv.DictReader(io.StringIO(table.as_csv(table.rows()))))["name"] == '\'=HYPERLINK("http://x")'


def test_the_copied_sql_gives_the_rows_of_the_table(app, page):
    from pipeline.store.reader import open_results

    page.say("sort", order="Latency")
    query = page.say("sql")["copy"]
    db = open_results(app.session.path)
    rows = db.execute(query.rstrip(";")).fetchall()
    db.close()
    assert len(rows) == 52
    table = next(view for view in app._views if isinstance(view, TableView))
    assert [row[0] for row in rows] == [
        app.session.results.forest[app.session.results.keys[at]].name for at in table.rows()
    ]


def test_a_typed_budget_sets_the_ranges_and_is_written_as_they_are_dragged(app, page):
    app.state.pane = "budgets"
    page.say("budget_type", text="Top-1 Accuracy >= 50%; Latency <= 9 s", name="")
    assert app.state.filters == [("Top-1 Accuracy", 0.5, None), ("Latency", None, 9000.0)]
    side = page.say("range", index=1, low=None, high=8123.456789)["panes"]["side"]
    assert 'value="Top-1 Accuracy &gt;= 50%; Latency &lt;= 8.12346 s"' in side
    page.say("budget_type", text="Top-1 Accuracy >= 60%; Latency <= 8.12346 s")
    assert app.state.filters == [("Top-1 Accuracy", 0.6, None), ("Latency", None, 8123.456789)]
    page.say("filter_add")
    page.say("budget_type", text="latency < 7000")
    assert app.state.filters[0] == ("Latency", None, math.nextafter(7000.0, 0))
    assert [each[1:] for each in app.state.filters[1:]] == [(None, None)]
    page.say("budget_type", text="")
    assert all(each[1:] == (None, None) for each in app.state.filters)


def test_what_is_no_budget_is_said_below_what_was_typed(app, page):
    app.state.pane = "budgets"
    side = page.say("budget_type", text="Latncy <= 9 s")["panes"]["side"]
    assert "There is no metric &#39;Latncy&#39;. Did you mean &#39;Latency&#39;?" in side
    assert 'value="Latncy &lt;= 9 s"' in side
    assert app.state.filters == []
    assert "Did you mean" not in page.say("budget_type", text="Latency <= 9 s")["panes"]["side"]


def test_the_table_the_file_and_the_sql_keep_to_the_budget_if_asked(app, page):
    from pipeline.store.reader import open_results

    app.state.change({"filters": [("Latency", None, 9000.0), ("Top-1 Accuracy", 0.5, None)], "within": True})
    inside = int(app.session.results.ranking.passing(app.state.filters).sum())
    table = next(view for view in app._views if isinstance(view, TableView))
    assert len(table.rows()) == inside < 52
    assert f"of {inside}" in table.draw_page()
    db = open_results(app.session.path)
    rows = db.execute(page.say("sql")["copy"].rstrip(";")).fetchall()
    db.close()
    assert {row[0] for row in rows} == {
        app.session.results.forest[app.session.results.keys[at]].name for at in table.rows()
    }
    assert len(list(csv.DictReader(io.StringIO(page.say("csv")["save"]["text"])))) == inside
    assert len(list(csv.DictReader(io.StringIO(page.say("csv", every="1")["save"]["text"])))) == 52


def test_colour_by_kind_of_operation_has_a_legend_of_the_kinds(app, page):
    legend = page.say("set", field="color", value=":kind")["panes"]["legend"]
    assert [kind for kind in KINDS if f"</i>{kind}</span>" in legend] == appearance(app.session.results).kinds
    row = app.session.results.row[MAG50]
    assert appearance(app.session.results).rgb(":kind", dark=False)[row].tolist() == list(
        bytes.fromhex(KINDS["prune"][1:])
    )
    assert page.say("set", field="size", value=":kind").get("panes", {}).get("notice", "") != ""
    assert app.state.size == ""


def test_new_results_and_folding_outdate_what_the_page_knows_of_models(app, page):
    known = page.say("hover", key=MAG50)["card"]
    assert "Fold its descendants" in known["alone"]
    assert "forget" not in page.say("node", key=MAG50)
    assert page.updates[-1]["panes"]["side"] == known["alone"]
    assert page.say("fold", key=MAG50)["forget"]


def test_nothing_selected_offers_the_front_within_the_budget(app):
    side = app._views[3].draw_side()
    front = app.session.results.ranking.front("Latency", "Top-1 Accuracy")
    assert all(app.session.results.keys[row] in side for row in front)
    app.state.change({"filters": [("Latency", None, 9000.0)]})
    inside = app.session.results.ranking.front(
        "Latency", "Top-1 Accuracy", app.session.results.ranking.passing(app.state.filters)
    )
    side = app._views[3].draw_side()
    assert all(app.session.results.keys[row] in side for row in inside)
    assert not any(app.session.results.keys[row] in side for row in set(front) - set(inside))


def test_a_report_says_what_it_leaves_out(app, tmp_path):
    report = next(view for view in app._views if isinstance(view, ReportView))
    assert "The table has" not in report.html()
    publish(tmp_path / "results.duckdb", synthetic_study(1200)).close()
    large = visit(tmp_path / "results.duckdb")
    text = next(view for view in large._views if isinstance(view, ReportView)).html()
    assert "The table has the first 1,000 of 1,200 models." in text
    assert "The facts on hover are those of the first 300 of 1,200 models." in text
    assert "This report has the facts of the first 300 models" in text


def test_failed_and_skipped_steps_are_told_with_their_reason(page):
    card = page.say("hover", key=key_of("failed-0"))["card"]["html"]
    assert "Failed: RuntimeError: shapes do not match in layer conv1" in card
    assert "Skipped:" in page.say("hover", key=key_of("below-0"))["card"]["html"]


def test_visitors_share_the_results_and_nothing_else(results, app):
    other = visit(results)
    assert other.session.results is app.session.results
    other.state.pick([MAG50])
    assert app.state.selected == []


def test_new_results_keep_the_selection(tmp_path):
    path = tmp_path / "results.duckdb"
    publish(path, study(20)).close()
    app = visit(path, {"selected": MAG50[:8]})
    page = Page(app)
    publish(path, study(52)).close()
    app._look_again()
    assert len(app.session.results.keys) == 52
    assert app.state.selected == [MAG50]
    assert app.map.nodes.selected.indices == [app.map._index[MAG50]]
    assert "52 models" in page.updates[-1]["panes"]["study"]
    app._look_again()
    assert len(page.updates) == 1


def test_another_colour_leaves_the_selection_on_the_map(app, page):
    page.say("node", key=MAG50)
    page.say("set", field="color", value="Latency")
    page.say("ground", dark=True)
    assert app.map.nodes.selected.indices == [app.map._index[MAG50]]


def test_a_metric_without_direction_has_no_front(app, page):
    page.say("set", field="x", value="Epochs")
    page.say("set", field="y", value="Epochs")
    assert app.scatter.front() == []


def test_a_hit_of_the_search_shows_what_it_names_also_a_step_that_failed(app, page):
    failed = key_of("failed-0")
    found = page.say("search", text="failed")["panes"]["found"]
    assert failed in found
    update = page.say("find", key=failed)
    assert app.state.selected == [failed]
    assert update["bring"] == failed
    assert "shapes do not match in layer conv1" in update["panes"]["side"]
    assert page.say("find", key="unknown")["panes"]["found"] == ""
    assert app.state.selected == [failed]
