"""The layers behind changed answers: which instances are set against which, and what the page says."""

import math
import time
from functools import partial
from threading import Event

import numpy as np
import pytest
from bokeh.document import Document

from pipeline.layers.compare.contrast import InstanceSets
from pipeline.stages.layer_contrast import LayerContrastRecord
from pipeline.store.records import run_records as facts
from pipeline.store.writer import Store
from tests.viewer.inside_stores import HOSTILE, publish
from tests.viewer.visits import Page, visit
from viewer.behaviours import instance_previews, joint_layers
from viewer.behaviours.joint_layers import scope_of
from viewer.behaviours.queries import open_sheet
from viewer.layers.comparison_jobs import ComparisonJob, comparison_of
from viewer.layers.queries import read_contrast
from viewer.session.view import NextTick


@pytest.fixture(scope="module")
def sheet(results):
    found = open_sheet(results)
    found.load(["base", "pruned", "int8"])
    return found


def test_instances_are_set_against_like_ones(sheet):
    whole = scope_of(sheet, "int8", "base", "all", [])
    assert (whole.changed.sum(), whole.same.sum()) == (48, 192)
    cats = scope_of(sheet, "int8", "base", "class", ["cat"])
    assert (cats.changed.sum(), cats.same.sum()) == (12, 48), "of the class alone"
    flip = scope_of(sheet, "int8", "base", "flip", ["cat", HOSTILE])
    assert (flip.changed.sum(), flip.same.sum()) == (12, 48)
    group = scope_of(sheet, "int8", "base", "group", ["f", "sex"])
    assert group.changed.sum() + group.same.sum() == 120
    for scope in (whole, cats, flip, group):
        assert not (scope.changed & scope.same).any()
        assert scope.problem == ""


def test_where_a_whole_class_changed_all_others_stand_in(sheet):
    scope = scope_of(sheet, "pruned", "base", "class", [HOSTILE])
    assert (scope.changed.sum(), scope.same.sum()) == (60, 180)
    assert "too few" in scope.against


def test_too_few_instances_say_so_and_nonsense_gives_nothing(sheet):
    assert "5 instances are needed" in scope_of(sheet, "pruned", "base", "class", ["cat"]).problem
    assert scope_of(sheet, "pruned", "base", "nonsense", ["cat"]) is None
    assert scope_of(sheet, "pruned", "base", "class", []) is None
    assert scope_of(sheet, "pruned", "base", "flip", ["no answer", "cat"]).problem


def record(site, ratio, p, key):
    return LayerContrastRecord(
        "int8", "base", key, "torch", site, 0, 0.2 * ratio, 0.2, ratio, ratio * 0.9, ratio * 1.1, p, 12, 48
    )


def models():
    return [
        facts.Model(name, parent, name, "", "study", "op", 1, "prune", "torch", {})
        for name, parent in (("base", None), ("pruned", "base"), ("int8", "pruned"))
    ]


def test_the_page_refuses_runs_and_shows_what_came_out(tmp_path, monkeypatch):
    path = tmp_path / "results.duckdb"
    publish(path).close()
    asked = []
    monkeypatch.setattr(ComparisonJob, "run", lambda job, notify: asked.append(job.sets))
    page = Page(visit(path, {"page": "behaviours", "selected": "base,pruned,int8"}))

    def panel():
        return page.app._draw_page().partition('id="b-joint"')[2].partition("</section>")[0]

    page.say("b_joint", row="class", name="cat", key="int8")
    assert page.app.state.behaviours.joint == ["int8", "class", "cat"]
    assert "The instances cannot be run: no run of yours has opened the data set" in panel()
    assert not asked, "nothing runs beside results of others"

    monkeypatch.setattr(instance_previews, "refusal", lambda *args, **more: None)
    assert "Both models run on these instances: starting" in panel()
    (sets,) = asked
    cats = [f"i{at:04d}" for at in range(0, 240, 4)]
    assert {*sets.changed, *sets.same} == set(cats)
    assert len(sets.changed) == 12

    key = sets.key("int8", "base")
    store = Store(path.with_suffix(".layers.duckdb"))
    rows = [record("head", 1.5, 0.001, key), record(HOSTILE, 2.0, 0.2, key), record("stem", math.nan, math.nan, key)]
    store.write([*models(), *rows])
    store.publish()
    store.close()
    text = panel()
    assert [text.index(name) for name in ("2.00 ×", "1.50 ×", "unchanged")] == sorted(  # noqa: RUF001 - the sign for times
        text.index(name)
        for name in ("2.00 ×", "1.50 ×", "unchanged")  # noqa: RUF001
    )
    assert text.count("(may be chance)") == 2, "what is not told from chance, or not tested, says so"
    assert "1 layer&#39;s outputs change measurably" in text
    assert "Both models were run on all of them" in text
    assert "<img" not in text
    page.say("b_joint", value="pruned")
    assert page.app.state.behaviours.joint == ["pruned", "class", "cat"]
    assert "instances are needed" in panel()
    page.say("b_joint", row="")
    assert page.app.state.behaviours.joint == []


def test_a_sample_that_ran_says_how_many_of_how_many(sheet, monkeypatch):
    row = joint_layers.ContrastRow("torch", "head", 0.2, 0.1, 2.0, 1.5, 2.5, 0.01, 64, 64)
    text = joint_layers._run_text(row, ("85", "312"))
    assert text == (
        "Both models were run on 64 of the 85 and on 64 of the 312, drawn at random: the same ones every time."
    )


def test_contrasts_that_were_never_made_are_none(results, tmp_path):
    assert read_contrast(results, "none") == []
    publish(tmp_path / "results.layers.duckdb").close()
    assert read_contrast(tmp_path / "results.duckdb", "none") == [], "a file of before there were any"


def test_the_key_is_of_the_instances_whatever_their_order():
    ids = [f"i{at}" for at in range(200)]
    one = InstanceSets("d", tuple(ids[:100]), tuple(ids[100:]))
    other = InstanceSets("d", tuple(reversed(ids[:100])), tuple(ids[100:]))
    assert one.key("m", "b") == other.key("m", "b") != one.key("b", "m")
    assert one.sample() == other.sample()
    assert len(one.sample().changed) == 64
    assert InstanceSets.parse(one.text()) == one
    assert not np.isin(one.sample().changed, one.sample().same).any()


def test_a_page_that_is_closed_ends_no_comparison_and_all_who_asked_hear_of_it(tmp_path, monkeypatch):
    begun, go_on, heard = Event(), Event(), []

    def run(job, notify):
        begun.set()
        assert go_on.wait(60)
        job.finished = True
        notify()

    monkeypatch.setattr(ComparisonJob, "run", run)
    gone, open_, server = Document(), Document(), object()
    gone.on_change_dispatch_to(server)
    monkeypatch.setattr(open_, "add_next_tick_callback", lambda callback: callback())
    ask = partial(comparison_of, tmp_path / "results.duckdb", "pruned", "base")
    tell = partial(heard.append, "told")
    job = ask(NextTick(gone, tell))
    assert begun.wait(60)
    assert [ask(NextTick(open_, tell)) for _ in range(3)] == [job] * 3
    gone.destroy(server)
    go_on.set()
    while job.listeners:
        time.sleep(0.01)
    assert heard == ["told"], "once, and not on the page that is closed"
