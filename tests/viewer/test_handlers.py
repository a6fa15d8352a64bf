"""Every message of every view without a browser: as pages send it, with nonsense, and after something else has failed."""

import logging
import math
import re
from pathlib import Path

import pytest

from tests.studies import study
from tests.viewer.controls import messages_of
from tests.viewer.inside_stores import CLASSES, HOSTILE
from tests.viewer.stores import key_of, publish
from tests.viewer.visits import Page, visit
from viewer.app import PAGES
from viewer.compare.effects.places import step_id
from viewer.layers.comparison_jobs import ComparisonJob

STATIC = Path(__file__).parents[2] / "viewer" / "static"
ROOT, MAG50, MAG75 = (key_of(f"resnet50trained{end}") for end in ("", "-mag50", "-mag75"))
CALIBRATE = step_id("calibrate", {"data": "train batch"})
NONSENSE = [None, "²", -1, 10**400, math.nan, [], {"a": {}}, "\0\ud800", "x" * 10_000, "__class__"]
HUGE = ['{"a": [["b", 1e999, null]]}', f'{{"a": [["b", {10**400}, null]]}}']
NONSENSE_IN_ADDRESSES = [*NONSENSE, "[1", '{"a": 5}', *HUGE, "~~", "nan~2~Latency"]


@pytest.fixture(scope="module")
def overview(tmp_path_factory):
    path = tmp_path_factory.mktemp("overview") / "results.duckdb"
    publish(path, study(14), failures=1).close()
    return path


@pytest.fixture(autouse=True)
def no_jobs(monkeypatch):
    """Comparisons on demand start processes, which outlive a test."""
    monkeypatch.setattr(ComparisonJob, "run", lambda self, notify: None)


@pytest.fixture
def failures(caplog):
    """Errors in the server's log: handlers that fail raise nothing, so that the page lives on."""
    caplog.set_level(logging.ERROR, logger="viewer")
    return lambda: [f"{record.getMessage()} {record.exc_info[1]!r}" for record in caplog.records]


class Sent(dict):
    """A message that notes what is asked of it."""

    def __init__(self, content):
        super().__init__(content)
        self.asked = set()

    def get(self, name, default=None):
        self.asked.add(name)
        return super().get(name, default)

    def __getitem__(self, name):
        self.asked.add(name)
        return super().__getitem__(name)

    def __contains__(self, name):
        self.asked.add(name)
        return super().__contains__(name)


def markup_of(app):
    panes = [markup for view in app._views for markup in view.markup().values()]
    return "\n".join([*panes, app._draw_page()])


def few_of_each(messages, most=2):
    """Of controls that are alike, such as those of a table's rows, the first and the last."""
    alike = {}
    for message in messages:
        if message["kind"] != "report":  # takes seconds, and has tests of its own
            alike.setdefault((message["kind"], message.get("field"), message.get("end"), *sorted(message)), []).append(
                message
            )
    return [message for same in alike.values() for message in [*same[: most - 1], same[-1]]]


STARTS = {
    "first page": "",
    "fastest within a budget": f"page=decide&aim=fastest&filters=~9000~Latency&selected={MAG50}",
    "overview": "page=overview",
    "one": f"selected={MAG50}",
    "several": f"selected={ROOT},{MAG50},{MAG75}&refine=%7B%7D",
    "budgets": "pane=budgets&filters=~9000~Latency&filters=0.5~~Top-1%20Accuracy&budgets=%7B%22a%22%3A%5B%5B%22Latency%22%2Cnull%2C5%5D%5D%7D",
    "step without model": f"selected={key_of('failed-0')}&color=%3Akind&dim_dominated=1",
    "table": f"page=table&filters=~9000~Latency&within=1&order=Latency&selected={MAG50}",
    "lines": f"page=table&look=lines&card={MAG50}",
    "notes": f"page=notes&selected={MAG50}",
    "compare": f"page=compare&selected={ROOT},{MAG50},{MAG75}",
    "effects": "page=effects&e_order=Latency",
    "sweeps": "page=effects&e_show=sweeps",
}
INSIDE = {
    "decide": "page=decide&aim=best&selected=base,int8&base=int8",
    "classes": "page=behaviours&selected=base,pruned,int8",
    "groups": "page=behaviours&b_rows=groups&b_groups=sex&b_groups=age&b_matrix=pruned",
    "instances": "page=behaviours&b_rows=instances&b_only=broken&b_text=i0&b_class=cat&b_brush=pruned~0~1",
    "joint": "page=behaviours&selected=base,pruned&b_joint=pruned&b_joint=class&b_joint=cat&b_flip=cat&b_flip=dog",
    "exemplars": "page=behaviours&b_only=exemplars&b_relative=1&b_measure=kl",
    "weights": "page=layers&selected=base,pruned,int8",
    "activations": "page=layers&l_show=activations&l_stage=onnx",
    "numbers": "page=layers&l_show=numbers&l_order=pruned&l_filter=conv",
    "sparsity": "page=layers&l_show=sparsity&l_flat=1",
}


def opened(results, start):
    page = Page(visit(results))
    page.say("link", query=start)
    return page


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("store", "start"), [*(("overview", name) for name in STARTS), *(("results", name) for name in INSIDE)]
)
def test_every_control_of_a_page_does_something_and_fails_nowhere(store, start, request, failures):
    results, query = request.getfixturevalue(store), {**STARTS, **INSIDE}[start]
    page = opened(results, query)
    messages = messages_of(markup_of(page.app))
    assert len(messages) > 20
    unhandled = {message["kind"] for message in messages} - set(page.app._actions)
    assert not unhandled, "the page has controls that nobody answers"
    before = page.app.state.values()
    for message in few_of_each(messages):
        page.say(**message)
        assert not failures(), message
        page.app.state.change(before)


def test_scripts_send_only_what_is_handled(overview):
    handled = set(visit(overview)._actions)
    for script in STATIC.glob("*.js"):
        kinds = set(re.findall(r'\bsend\("(\w+)"', script.read_text()))
        assert kinds <= handled, script.name


@pytest.mark.parametrize(("store", "start"), [("overview", "budgets"), ("results", "groups"), ("results", "numbers")])
def test_nonsense_in_any_part_of_any_message_fails_nowhere(store, start, request, failures):
    results, query = request.getfixturevalue(store), {**STARTS, **INSIDE}[start]
    page = opened(results, query)
    app = page.app
    own = {"results": ("b_", "l_")}.get(store, ())
    for kind in sorted(app._actions):
        if kind == "report" or (own and not kind.startswith(own)) or (not own and kind[:2] in ("b_", "l_")):
            continue
        probe = Sent({"kind": kind})
        app._handle(kind, probe)
        for name in sorted(probe.asked - {"kind"}):
            for value in NONSENSE:
                page.say(**{"kind": kind, "index": 0, "value": "Latency", name: value})
                assert not failures(), (kind, name, value)
        page.say("link", query=query)


def test_nonsense_in_any_field_of_an_address_is_said_and_ignored(overview, results, failures):
    for path, own in ((overview, ()), (results, ("b_", "l_"))):
        page = Page(visit(path))
        for field in page.app.state.fields():
            if (field[:2] in ("b_", "l_")) != bool(own):
                continue
            page.app.state.change({"page": {"b_": "behaviours", "l_": "layers"}.get(field[:2], "overview")})
            for value in NONSENSE_IN_ADDRESSES:
                page.say("set", field=field, value=value)
                assert not failures(), (field, value)
            page.say("link", query="")


LATENCY = [("Latency", None, 9000.0)]
PAGES_OF = {"b_": "behaviours", "l_": "layers"}
EFFECTS = {
    "set": ({}, {"field": "arrange", "value": "step"}, {"arrange": "step"}),
    "link": ({"arrange": "step"}, {"query": f"selected={MAG50[:8]}"}, {"arrange": "operation", "selected": [MAG50]}),
    "compare": ({}, {}, {"page": "compare"}),
    "scope": ({"selected": [MAG50]}, {"facet": "dataset", "value": "photos"}, {"only": {"dataset": ["photos"]}}),
    "budgets": ({"page": "help"}, {}, {"page": "overview", "pane": "budgets"}),
    "find": ({"selected": [ROOT]}, {"key": MAG50, "add": True}, {"selected": [ROOT, MAG50]}),
    "search": ({}, {"text": MAG50[:20], "submitted": True}, {"selected": [MAG50]}),
    "column": ({"arrange": "step"}, {"column": 0}, {"selected": [ROOT]}),
    "kin": ({"selected": [MAG50]}, {"kin": "parents"}, {"selected": [MAG50, ROOT]}),
    "node": ({"selected": [ROOT]}, {"key": MAG50}, {"selected": [MAG50]}),
    "fold": ({}, {"key": MAG50}, {"closed": [MAG50]}),
    "clear": ({"selected": [ROOT, MAG50]}, {}, {"selected": []}),
    "chip": ({}, {"variable": "a", "value": "1"}, {"refine": {"a": ["1"]}}),
    "refine_reset": ({"refine": {"a": ["1"]}}, {}, {"refine": {}}),
    "refine_apply": ({"selected": [ROOT, MAG50], "refine": {"unknown": ["1"]}}, {}, {"selected": [ROOT, MAG50]}),
    "only": ({"selected": [ROOT, MAG50]}, {"key": MAG50}, {"selected": [MAG50]}),
    "budget_type": ({}, {"text": "Latency <= 9 s"}, {"filters": LATENCY}),
    "range": ({"filters": LATENCY}, {"index": 0, "low": 5, "high": None}, {"filters": [("Latency", 5.0, None)]}),
    "bound": ({"filters": LATENCY}, {"index": "0", "end": "low", "value": "5 ms"}, {"filters": [("Latency", 5.0, 9000.0)]}),
    "filter_add": ({}, {}, {"filters": [("Top-1 Accuracy", None, None)]}),
    "filter_drop": ({"filters": LATENCY}, {"index": "0"}, {"filters": []}),
    "filter_clear": ({"filters": LATENCY}, {}, {"filters": []}),
    "filter_metric": ({"filters": LATENCY}, {"index": "0", "value": "Epochs"}, {"filters": [("Epochs", None, None)]}),
    "budget_save": ({"filters": LATENCY}, {"name": " phone "}, {"budgets": {"phone": LATENCY}}),
    "budget_load": ({"budgets": {"a": [*LATENCY, ("gone", 1.0, None)]}}, {"name": "a"}, {"filters": LATENCY}),
    "budget_drop": ({"budgets": {"a": LATENCY, "b": []}}, {"name": "a"}, {"budgets": {"b": []}}),
    "sort": ({}, {"order": "Top-1 Accuracy"}, {"order": "Top-1 Accuracy", "descending": True}),
    "turn": ({}, {"start": "-50"}, {"rows_from": 0}),
    "column_shown": ({"columns": ["Latency", "Epochs"]}, {"column": "Epochs"}, {"columns": ["Latency"]}),
    "columns_usual": ({"columns": ["Latency"]}, {}, {"columns": []}),
    "columns_remembered": ({}, {"study": "results.duckdb", "names": ["Latency", "gone"]}, {"columns": ["Latency"]}),
    "where": ({"rows_from": 50}, {"column": "Latency", "text": "> 5 s"}, {"where": {"Latency": "> 5 s"}, "rows_from": 0}),
    "where_clear": ({"where": {"Latency": "> 5 s"}}, {}, {"where": {}}),
    "row_card": ({}, {"key": MAG50}, {"card": MAG50}),
    "row_map": ({"page": "table"}, {"key": MAG50}, {"page": "overview", "selected": [MAG50]}),
    "rows_chosen": ({"where": {" name": "= resnet50trained"}}, {}, {"selected": [ROOT]}),
    "axis": ({"filters": LATENCY}, {"column": "Latency"}, {"filters": []}),
    "note_text": ({}, {"text": "slow"}, {"notes_text": "slow"}),
    "note_tag": ({}, {"tag": "ship"}, {"tag": "ship"}),
    "note_models": ({"selected": [ROOT], "tag": "on no model"}, {}, {"selected": []}),
    "note_table": ({"tag": "ship"}, {}, {"page": "table", "where": {" tags": "= ship"}}),
    "note_open": ({"b_rows": "instances"}, {"kind_of": "class", "about": "cat"}, {"page": "behaviours", "b_rows": "classes"}),
    "view_open": ({"arrange": "step"}, {"query": "page=help"}, {"arrange": "operation", "page": "help"}),
    "row": ({"selected": [ROOT]}, {"key": MAG50}, {"selected": [ROOT, MAG50]}),
    "e_column": ({"e_columns": ["Latency", "Epochs"]}, {"metric": "Epochs"}, {"e_columns": ["Latency"]}),
    "e_sort": ({"e_order": "Latency", "e_from": 50}, {"order": "Latency"}, {"e_order": "Latency", "e_gain": True, "e_from": 0}),
    "e_open": ({"e_open": ["gone"]}, {"operation": CALIBRATE}, {"e_open": ["gone", CALIBRATE]}),
    "e_turn": ({"e_from": 50}, {"start": "-50"}, {"e_from": 0}),
    "e_select": ({"selected": [ROOT]}, {"keys": f"{MAG50},gone", "add": True}, {"selected": [ROOT, MAG50]}),
    "rail_base": ({"selected": [ROOT, MAG50]}, {"key": MAG50}, {"base": MAG50}),
    "rail_add": ({"selected": [ROOT]}, {"key": MAG50}, {"selected": [ROOT, MAG50]}),
    "rail_drop": ({"selected": [ROOT, MAG50], "base": MAG50}, {"key": MAG50}, {"selected": [ROOT], "base": ""}),
    "rail_clear": ({"selected": [ROOT, MAG50], "base": MAG50}, {}, {"selected": [], "base": ""}),
    "rail_find": ({"selected": [ROOT]}, {"text": MAG50[:20], "submitted": True}, {"selected": [ROOT, MAG50]}),
    "explore": ({"page": "decide"}, {}, {"page": "overview", "x": "Model Size", "y": "Top-1 Accuracy"}),
    "b_measure": ({"b_from": 50, "b_brush": ["int8~0~1"]}, {"value": "kl"}, {"b_measure": "kl", "b_from": 0, "b_brush": []}),
    "b_by": ({}, {"value": "size"}, {"b_by": "size"}),
    "b_only": ({"b_from": 50}, {"value": "broken"}, {"b_only": "broken", "b_from": 0}),
    "b_of": ({}, {"value": "pruned"}, {"b_of": "pruned"}),
    "b_least": ({}, {"value": "3"}, {"b_least": 3}),
    "b_relative": ({}, {"value": "1"}, {"b_relative": True}),
    "b_attribute": ({}, {"place": "0", "value": "sex"}, {"b_groups": ["sex"], "b_rows": "groups"}),
    "b_text": ({}, {"text": "i0005"}, {"b_text": "i0005"}),
    "b_clear": ({"b_class": "cat"}, {"field": "b_class"}, {"b_class": ""}),
    "b_sort": ({}, {"key": "name"}, {"b_order": "name", "b_descending": False}),
    "b_open": ({}, {"name": "cat"}, {"b_rows": "instances", "b_class": "cat"}),
    "b_turn": ({}, {"start": "50"}, {"b_from": 50}),
    "b_brush": ({"b_brush": ["base~0~1"]}, {"model": "int8", "low": 0, "high": 0.5}, {"b_brush": ["base~0~1", "int8~0~0.5"]}),
    "b_matrix": ({}, {"value": "int8"}, {"b_matrix": "int8"}),
    "b_positive": ({}, {"value": "cat"}, {"b_positive": "cat"}),
    "b_keep": ({}, {"value": "precision"}, {"b_keep": "precision"}),
    "b_flip": ({}, {"key": "int8", "before": "cat", "after": "dog"}, {"b_rows": "instances", "b_of": "int8", "b_flip": ["cat", "dog"]}),
    "b_joint": ({"selected": ["base", "int8"]}, {"row": "class", "name": "cat"}, {"b_joint": ["int8", "class", "cat"]}),
    "b_layer": ({"selected": ["base", "int8"]}, {"site": "head", "stage": "file"}, {"page": "layers", "base": "base", "l_show": "activations", "l_stage": "onnx", "l_site": "head"}),
    "l_filter": ({"l_from": 50}, {"text": "conv"}, {"l_filter": "conv", "l_from": 0}),
    "l_type": ({"l_types": ["Linear"]}, {"type": "Conv2d"}, {"l_types": ["Linear", "Conv2d"]}),
    "l_toggle": ({"l_open": ["stem", "block"]}, {"name": "block"}, {"l_open": ["stem"]}),
    "l_damage": ({}, {"cell": "palettize|head"}, {"l_damage": "palettize|head"}),
    "l_cell": ({}, {"site": "head"}, {"l_site": "head"}),
    "l_sort": ({}, {"key": "size"}, {"l_order": "size", "l_descending": True}),
    "l_by": ({"selected": ["base", "int8"]}, {"value": "sqnr_db"}, {"l_by": "sqnr_db", "l_order": "int8", "l_descending": False}),
    "l_turn": ({}, {"start": "50"}, {"l_from": 50}),
    "t_text": ({}, {"text": "a: {op: palettize}"}, {"t_change": "a: {op: palettize}"}),
    "t_op": ({"t_origin": MAG50}, {"value": "palettize"}, {"t_change": "palettize: {op: palettize}\n", "page": "branch"}),
    "t_param": ({"t_change": "a: {op: palettize}"}, {"name": "bits", "value": "2"}, {"t_change": "a:\n  op: palettize\n  with: {bits: 2}\n"}),
    "t_name": ({"t_change": "a: {op: palettize}"}, {"value": " b "}, {"t_change": "b: {op: palettize}\n"}),
    "l_flat": ({"l_order": "size"}, {"value": "1"}, {"l_flat": True, "l_order": ""}),
}  # fmt: skip
"""Kind of message -> the state before, what the page says, and what the state is then; all else stays as it is."""
ANSWERS = {
    "hover": ({}, {"key": MAG50}, "card", lambda card: card["key"] == MAG50 and "mag50" in card["html"]),
    "copy_link": ({"arrange": "step"}, {}, "copy_link", lambda query: query == "arrange=step"),
    "copy_text": ({}, {"text": "model.onnx"}, "copy", lambda text: text == "model.onnx"),
    "rail_flag": ({"selected": [ROOT]}, {"kind_of": "model", "about": ROOT, "why": "odd three"}, "panes", lambda panes: "odd three" in panes["rail"]),
    "rail_unflag": ({"selected": [ROOT]}, {"kind_of": "model", "about": ROOT}, "panes", lambda panes: "odd three" not in panes["rail"]),
    "dismiss": ({}, {}, "panes", lambda panes: panes["notice"] == ""),
    "sql": ({}, {}, "copy", lambda text: text.startswith("SELECT model, op")),
    "csv": ({}, {"every": "1"}, "save", lambda file: file["text"].count("\n") == 15),
    "e_csv": ({}, {}, "save", lambda file: file["text"].startswith("operation,parameters,parent,model")),
    "report": ({}, {}, "save", lambda file: file["text"].startswith("<!DOCTYPE html>")),
    "ground": ({}, {"dark": True}, "panes", lambda panes: "legend" in panes),
    "b_flag": ({}, {"kind_of": "class", "about": HOSTILE, "why": "odd one"}, "panes", lambda panes: "odd one" in panes["page"]),
    "b_unflag": ({}, {"kind_of": "class", "about": HOSTILE}, "panes", lambda panes: "odd one" not in panes["page"]),
    "b_export": ({}, {}, "save", lambda file: all(name in file["text"] for name in ("int8", CLASSES[0]))),
    "l_flag": ({}, {"kind_of": "layer", "about": "head", "why": "odd two"}, "panes", lambda panes: "odd two" in panes["page"]),
    "l_unflag": ({}, {"kind_of": "layer", "about": "head"}, "panes", lambda panes: "odd two" not in panes["page"]),
    "t_flag": ({"page": "table", "card": MAG50}, {"kind_of": "model", "about": MAG50, "why": "odd three"}, "panes", lambda p: "odd three" in p["page"]),
    "t_unflag": ({"page": "table", "card": MAG50}, {"kind_of": "model", "about": MAG50}, "panes", lambda p: "odd three" not in p["page"]),
    "note_write": ({"page": "notes", "selected": [MAG75]}, {"why": "odd four", "tags": "a"}, "panes", lambda p: "odd four" in p["page"]),
    "note_remove": ({"page": "notes"}, {"kind_of": "model", "about": MAG75}, "panes", lambda p: "odd four" not in p["page"]),
    "notes_csv": ({"tag": "none has it"}, {}, "save", lambda file: file["text"].startswith("kind,about,model,note")),
    "view_save": ({}, {"name": "mine"}, "panes", lambda p: ">mine<" in p["views"]),
    "view_remove": ({}, {"name": "mine"}, "panes", lambda p: ">mine<" not in p["views"]),
    "l_export": ({}, {}, "save", lambda file: "stem.conv.weight" in file["text"]),
}  # fmt: skip
"""Kind of message that leaves the state alone -> the state, what the page says, and what it is answered."""
SELECTS = {"front_all", "clean", "rail_take"}
"""What they select depends on figures and lineages: the tests of the front, of confounded selections and of the rail have it."""
NEED_A_WORKER = {"try", "t_token", "t_queue", "t_save", "t_show", "t_withdraw", "t_clear"}  # test_branching has them


def prepared(request, kind, before):
    own = kind[:2] if kind[:2] in PAGES_OF else ""
    page = Page(visit(request.getfixturevalue("results" if own else "overview")))
    page.app.state.change({"page": PAGES_OF.get(own, "overview"), **before})
    return page


@pytest.mark.parametrize("kind", EFFECTS)
def test_a_message_changes_what_it_is_about_and_nothing_else(kind, request, failures):
    before, content, after = EFFECTS[kind]
    page = prepared(request, kind, before)
    expected = {**page.app.state.values(), **after}
    page.say(kind, **content)
    assert page.app.state.values() == expected
    assert not failures()


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_message_that_asks_is_answered(kind, request, failures):
    before, content, part, fits = ANSWERS[kind]
    page = prepared(request, kind, before)
    expected = page.app.state.values()
    assert fits(page.say(kind, **content)[part])
    assert page.app.state.values() == expected
    assert not failures()


def test_every_message_has_its_test(overview):
    assert {*EFFECTS, *ANSWERS, *SELECTS, *NEED_A_WORKER} == set(visit(overview)._actions)


def broken(*args, **kwargs):
    raise ZeroDivisionError("a fault of ours")


def test_a_handler_that_fails_is_told_on_the_page_and_logged(overview, failures):
    page = Page(visit(overview))
    page.app._actions["node"] = broken
    update = page.say("node", key=MAG50)
    assert "The viewer could not do that." in update["panes"]["notice"]
    assert "ZeroDivisionError" in failures()[0]
    assert page.say("find", key=MAG50)["panes"]["kin"], "the page goes on"
    assert page.app.state.selected == [MAG50]
    assert page.say("dismiss")["panes"]["notice"] == ""


@pytest.mark.parametrize("name", [name for name, kind in PAGES.items() if kind is not None])
def test_a_page_that_cannot_be_drawn_says_so_and_has_a_way_back(name, results, failures, monkeypatch):
    monkeypatch.setattr(PAGES[name], "draw_page", broken)
    page = Page(visit(results, {"page": "overview"}))
    panes = page.say("set", field="page", value=name)["panes"]
    assert "This page cannot be drawn" in panes["page"]
    assert {"kind": "set", "field": "page", "value": "overview"} in messages_of(panes["page"])
    assert f"The page &#39;{name}&#39; could not be drawn." in panes["notice"]
    assert "ZeroDivisionError" in failures()[0]
    assert 'aria-current="page"' in panes["pages"], "the rest of the page knows where it is"
    from_address = visit(results, {"page": name})
    assert "This page cannot be drawn" in from_address._document.template_variables["panes"]["page"]
    assert "could not be drawn" in from_address._document.template_variables["panes"]["notice"]


def test_a_part_that_cannot_be_drawn_leaves_the_others(overview, failures):
    page = Page(visit(overview, {"page": "overview"}))
    page.app.map.update = broken
    update = page.say("find", key=MAG50)
    assert "A part of the page could not be drawn." in update["panes"]["notice"]
    assert "mag50" in update["panes"]["side"]
    assert update["link"]["query"] == f"selected={MAG50[:6]}"


@pytest.mark.parametrize("plot", ["map", "scatter"])
def test_a_click_on_a_plot_that_fails_is_told(plot, overview, failures):
    page = Page(visit(overview))
    view = getattr(page.app, plot)
    view._choose = broken
    (view.nodes if plot == "map" else view.models).selected.indices = [0]
    assert "The viewer could not select that." in page.updates[-1]["panes"]["notice"]
    assert "ZeroDivisionError" in failures()[0]


def test_a_selection_of_marks_that_are_gone_is_passed_over(overview, failures):
    page = Page(visit(overview))
    page.app.map.nodes.selected.indices = [0, 10_000]
    page.app.scatter.models.selected.indices = [0, 10_000]
    assert not failures()


def test_results_that_cannot_be_shown_are_told(tmp_path, failures, monkeypatch):
    path = tmp_path / "results.duckdb"
    publish(path, study(3)).close()
    page = Page(visit(path))
    publish(path, study(5)).close()
    monkeypatch.setattr(type(page.app.session), "renew", broken)
    page.app._look_again()
    assert "New results could not be shown." in page.updates[-1]["panes"]["notice"]


def test_half_a_character_is_replaced_before_anybody_sees_it(overview, failures):
    page = Page(visit(overview))
    page.app.state.change({"filters": LATENCY})
    page.say("budget_save", name="a\ud800b")
    assert list(page.app.state.budgets) == ["a?b"]
    assert not failures()
