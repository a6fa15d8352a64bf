"""What a person did is not lost: Back undoes it, and a connection that breaks is told and mended."""

import html
import os
import time
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.store import heartbeat
from pipeline.store.heartbeat import is_alive
from pipeline.store.records import run_records as facts
from pipeline.store.writer import Store
from tests.studies import study
from tests.viewer.browsing import Visitor, free_port, served, why_not
from tests.viewer.stores import key_of, publish
from tests.viewer.visits import Page, visit

browser = [pytest.mark.browser, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]
STUDY = study(20)
NAMES = [model["id"] for model in STUDY["models"]]


def marked(function):
    for mark in browser:
        function = mark(function)
    return function


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    path = tmp_path_factory.mktemp("continuity") / "results.duckdb"
    publish(path, STUDY, failures=1).close()
    return path


@pytest.fixture(scope="module")
def address(published, tmp_path_factory):
    with served(published, tmp_path_factory.mktemp("log") / "server.log") as address:
        yield address


@pytest.fixture
def visitor(chromium, address):
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    yield Visitor(page).open(f"{address}?page=overview")
    page.close()


@marked
def test_a_lost_connection_is_told_and_mended_without_losing_the_state(published, chromium, tmp_path):
    port = free_port()
    with served(published, tmp_path / "first.log", port) as address:
        visitor = Visitor(chromium.new_page(viewport={"width": 1440, "height": 900})).open(f"{address}?page=overview")
        visitor.click("map", key_of(NAMES[0]))
        visitor.until("location.search.includes('selected')")
        banner = visitor.page.locator("#connection")
        assert not banner.is_visible()
        before = visitor.run("location.search")
    banner.get_by_text("The connection to the server is lost").wait_for()
    visitor.page.get_by_role("tab", name="Budgets").click()
    visitor.until("document.getElementById('live').textContent.startsWith('Not connected')")
    visitor.run("window.isTheSame = true")
    with served(published, tmp_path / "second.log", port):
        visitor.until("window.isTheSame === undefined && window.bouillonReady !== undefined")
        assert visitor.run("location.search") == before
        visitor.until("bouillon.model('models').selected.indices.length === 1")
        assert not banner.is_visible()


@marked
def test_back_undoes_every_change_and_stays_in_the_viewer(visitor):
    page = visitor.page
    page.select_option("#set-color", "Latency")
    visitor.until("location.search.includes('color=Latency')")
    visitor.click("map", key_of(NAMES[0]))
    visitor.until("location.search.includes('selected')")
    page.get_by_role("button", name="Table", exact=True).click()
    visitor.until("document.title.startsWith('Table')")
    page.go_back()
    visitor.until("document.title.startsWith('Overview') && location.search.includes('selected')")
    page.go_back()
    visitor.until("bouillon.model('models').selected.indices.length === 0")
    assert "color=Latency" in visitor.run("location.search")
    page.go_back()
    visitor.until("document.getElementById('set-color').value !== 'Latency'")
    page.go_forward()
    visitor.until("document.getElementById('set-color').value === 'Latency'")
    assert visitor.complaints == []


@marked
@pytest.mark.parametrize("plot", ["map", "scatter"])
def test_zoom_is_in_the_history_and_in_the_address(visitor, plot, chromium):
    ranges = f"[bouillon.model('{plot}').x_range.start, bouillon.model('{plot}').x_range.end]"
    before = visitor.run(ranges)
    box = visitor.page.locator(f"#{plot}").bounding_box()
    visitor.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    if plot == "map":
        visitor.page.keyboard.down("Control")
    visitor.page.mouse.wheel(0, -200)
    if plot == "map":
        visitor.page.keyboard.up("Control")
    visitor.until(f"location.hash.includes('{plot}=')")
    zoomed = visitor.run(ranges)
    assert zoomed[1] - zoomed[0] < before[1] - before[0]
    other = Visitor(chromium.new_page(viewport={"width": 1440, "height": 900})).open(visitor.run("location.href"))
    assert other.run(ranges) == pytest.approx(zoomed, rel=1e-3)
    other.page.close()
    visitor.page.go_back()
    visitor.until(f"!location.hash.includes('{plot}=')")
    assert visitor.run(ranges) == pytest.approx(before)
    visitor.page.go_forward()
    visitor.until(f"location.hash.includes('{plot}=')")
    assert visitor.run(ranges) == pytest.approx(zoomed, rel=1e-3)
    assert visitor.complaints == []


@marked
def test_a_word_that_is_typed_is_one_step_of_the_history(visitor):
    visitor.page.get_by_role("tab", name="Budgets").click()
    visitor.until("location.search.includes('pane=budgets')")
    length = visitor.run("history.length")
    visitor.page.locator("#budget-text").fill("Latency < 9000")
    visitor.page.keyboard.press("Enter")
    visitor.until("location.search.includes('filters')")
    assert visitor.run("history.length") == length + 1


@marked
def test_every_hit_of_the_search_does_something_on_every_page(visitor):
    page = visitor.page
    for name in ("Overview", "Table", "Compare", "Behaviours", "Layers"):
        for text in ("broken-0", NAMES[-1]):
            visitor.settle(page.locator(f"#page-{name.lower()}").click)
            visitor.until(f"document.title.startsWith('{name}')")
            before = visitor.run("location.search")
            visitor.settle(
                lambda text=text: page.locator("#search").fill(text)
            )  # else the hit may be one of the word before
            visitor.settle(page.locator("#pane-found button").first.click)
            visitor.until(f"location.search !== {before!r}")
            if text == "broken-0":
                visitor.until("document.title.startsWith('Overview')")  # a step without a model is on the map alone
            elif name == "Table":
                page.locator(f"#row-{key_of(text)[:16]}:checked").wait_for()
    assert visitor.complaints == []


@marked
def test_a_hit_on_a_later_page_of_the_table_is_turned_to(chromium, tmp_path):
    many = study(120)
    publish(tmp_path / "results.duckdb", many).close()
    with served(tmp_path / "results.duckdb", tmp_path / "server.log") as address:
        visitor = Visitor(chromium.new_page(viewport={"width": 1440, "height": 900})).open(f"{address}?page=table")
        last = many["models"][-1]["id"]
        assert visitor.page.locator(f"#row-{key_of(last)[:16]}").count() == 0
        visitor.page.locator("#search").fill(last)
        visitor.page.locator("#search").press("Enter")
        visitor.page.locator(f"#row-{key_of(last)[:16]}").wait_for()
        visitor.until(
            f"(() => {{ const r = document.getElementById('row-{key_of(last)[:16]}').getBoundingClientRect();"
            " return r.top > 100 && r.bottom < innerHeight; })()"
        )


# ---- what runs
@pytest.fixture
def unfinished(tmp_path):
    path = tmp_path / "results.duckdb"
    store = Store(path)
    start = datetime(2026, 1, 1)
    store.write([
        facts.Run("r1", "study", {}, {}, {}, None, start),
        facts.Model("m", None, "m", "", "study", "train", 1, "base", "torch", {}),
    ])  # fmt: skip
    store.publish()
    store.close()
    return path


def study_text(page):
    return html.unescape(page.app.header.draw_study())


def test_a_run_is_running_as_long_as_it_gives_signs_of_life(unfinished):
    page = Page(visit(unfinished))
    assert "stopped" in study_text(page), "no sign of life at all"
    with heartbeat.heartbeat(unfinished, "r1", lambda: heartbeat.RunProgress(96, 113, 125.0)):
        page.app._look_again()
        text = page.updates[-1]["panes"]["study"]
        assert "<b>running</b>: 96 of 113 jobs, about 2 min 05 s left" in text, "without anything published"
        sign = heartbeat._sign(unfinished, "r1")
        killed = time.time() - 61
        os.utime(sign, (killed, killed))
        assert not is_alive(unfinished, "r1")
        page.app._look_again()
        assert "stopped" in page.updates[-1]["panes"]["study"]
    assert not sign.exists()


def test_signs_that_the_dead_have_left_are_cleared_by_the_next_run(tmp_path):
    results = tmp_path / "results.duckdb"
    with heartbeat.heartbeat(results, "alive"):
        dead = heartbeat._sign(results, "dead")
        dead.touch()
        os.utime(dead, (0, 0))
        with heartbeat.heartbeat(results, "next"):
            assert not dead.exists()
            assert is_alive(results, "alive")
            assert is_alive(results, "next")


def test_the_recipe_that_the_start_page_names_exists(tmp_path):
    from viewer.overview.startup import startup_page
    from viewer.results.queries import StoreError, load_snapshot

    with pytest.raises(StoreError) as problem:
        load_snapshot(tmp_path / "results.duckdb")
    command = startup_page(tmp_path / "results.duckdb", problem.value).split("recipe=")[1].split("<")[0].strip()
    assert (Path(__file__).parents[2] / "conf" / "recipe" / f"{command}.yaml").exists()
