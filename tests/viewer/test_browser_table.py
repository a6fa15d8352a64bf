"""Long names and many parameters in the table, on hover cards and in the report, in a real Chromium on a real server."""

import re

import pytest

from tests.studies import study
from tests.viewer.browsing import Visitor, errors_of_ours, served, why_not
from tests.viewer.stores import key_of, publish

pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(why_not()), reason=why_not())]

LONG = "base/" + "magnitude[sparsity=0.75]/calibrated/" * 6 + "int8"
RENAMED, BELOW = "resnet50trained-mag90", "resnet50trained-mag90-calibrated"
SMALL = {"width": 1024, "height": 768}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    trees = study(52)
    entry = {"name": "resnet50", "config": {"depths": [3, 4, 6, 3], "hidden_sizes": [256, 512, 1024, 2048]}}
    for model in trees["models"]:
        if not model["base"]:
            model["operation"]["parameters"] = {"model": entry, "epochs": 2}
        elif model["base"] == RENAMED:
            model["base"] = LONG
        elif model["id"] == RENAMED:
            model["id"] = LONG
    publish(folder / "results.duckdb", trees).close()
    with served(folder / "results.duckdb", folder / "server.log") as url:
        yield url
    assert errors_of_ours(folder / "server.log") == []


@pytest.fixture
def enter(chromium, address):
    visitors = []

    def go(query="", scheme="light", url=None):
        context = chromium.new_context(viewport=SMALL, color_scheme=scheme, accept_downloads=True)
        visitors.append(Visitor(context.new_page()))
        return visitors[-1].open(url or f"{address}?{query}")

    yield go
    for visitor in visitors:
        visitor.page.context.close()
        assert visitor.complaints == []


@pytest.fixture
def report(enter, tmp_path):
    def make(query, made_in="light", read_in="light"):
        page = enter(query, made_in).page
        page.get_by_text("Export").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=re.compile("^Report")).click()
        download.value.save_as(tmp_path / "report.html")
        return enter(scheme=read_in, url=(tmp_path / "report.html").as_uri())

    return make


def edges(visitor, selector):
    return visitor.run(
        f"[...document.querySelectorAll({selector!r})].map((e) => {{ const b = e.getBoundingClientRect(); return [b.left, b.right]; }})"
    )


def test_names_and_figures_are_seen_together(enter):
    visitor = enter("page=table")
    page = visitor.page
    numbers = edges(visitor, ".models thead th.number")
    assert sum(right <= SMALL["width"] for _, right in numbers) >= 3
    name = page.get_by_title(LONG, exact=True)
    assert name.bounding_box()["width"] < 300
    assert name.evaluate("(e) => e.scrollHeight > e.clientHeight")  # more than is shown: the title has it
    before = edges(visitor, ".models td.name")
    visitor.run("document.querySelector('.holder').scrollTo(400, 300)")
    visitor.until("document.querySelector('.holder').scrollLeft > 50")
    assert edges(visitor, ".models td.name") == before
    assert page.locator(".models thead th.name").bounding_box()["y"] < 200  # and so do the headings


def test_a_row_tells_its_operation_briefly_and_its_intervals(enter):
    row = enter("page=table").page.locator(".models tbody tr").first
    assert "{" not in row.inner_text()
    assert "depths [3, 4, 6, 3]" in row.locator("td.made div").get_attribute("title")
    assert re.search(r"\d% to \d+\.\d%", row.inner_text())


def test_a_chosen_row_leaves_the_table_where_it_was_scrolled_to(enter):
    visitor = enter("page=table")
    visitor.run("document.querySelector('.holder').scrollTo(100, 700)")
    visitor.page.locator(".models tbody tr input").nth(25).check()
    visitor.until("document.querySelectorAll('.models tr.chosen').length === 1")
    assert visitor.run("document.querySelector('.holder').scrollTop") == 700
    visitor.page.get_by_role("button", name="Next models").click()
    visitor.page.get_by_text("Models 51 to 52 of 52").wait_for()
    assert visitor.run("document.querySelector('.holder').scrollTop") == 0


@pytest.mark.parametrize("height", [768, 300])
def test_hover_cards_wrap_and_keep_to_the_window(enter, height):
    visitor = enter("arrange=step")
    visitor.page.set_viewport_size({"width": 1024, "height": height})
    visitor.drawn()
    for key in (key_of("resnet50trained"), key_of(LONG), key_of(BELOW)):
        visitor.page.mouse.move(5, 5)
        visitor.run(f"bouillon.hovered('map', bouillon.model('nodes').data.key.indexOf('{key}'))")
        visitor.page.locator("#hover h2").wait_for()
        (left, right), *inside = edges(visitor, "#hover, #hover *")
        assert left >= 0
        assert right <= 1024
        assert max(end for _, end in inside) <= right
        box = visitor.page.locator("#hover").bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= height
        visitor.run("bouillon.hovered('map', -1)")


def test_a_report_names_the_best_and_has_no_control_that_does_nothing(report):
    page = report("filters=~20000~Latency&pane=budgets").page  # whose own controls would do nothing either
    assert page.locator(".best td:first-child").count() > 0
    assert all(page.locator(".best td:first-child").all_inner_texts())
    assert page.get_by_text("Colour", exact=True).count() == 1
    for text in ("Colour", "Size", "By operation", "Only within the budget", "Dim the dominated", "Download CSV"):
        assert not page.get_by_text(text, exact=True).first.is_visible()
    assert page.locator("select:visible, input:visible").count() == 0
    assert page.locator(".models tbody td.name").first.is_visible()


def test_a_report_dims_the_ribbons_outside_the_budget(report):
    visitor = report("filters=~9000~Latency")
    kept = visitor.run("""(() => {
        const {alpha} = bouillon.model('nodes').data, {data: {parent, child}, selected} = bouillon.model('ribbons');
        const full = [...child.keys()].filter((at) => alpha[child[at]] === 1 && alpha[parent[at]] === 1);
        return [JSON.stringify([...selected.indices]) === JSON.stringify(full.length ? full : [-1]), full.length, child.length];
    })()""")
    assert kept[0]
    assert kept[1] < kept[2]


@pytest.mark.parametrize(("made_in", "read_in"), [("light", "dark"), ("dark", "light")])
def test_a_report_keeps_the_colours_it_was_made_in(report, made_in, read_in):
    visitor = report("", made_in, read_in)
    assert visitor.run("document.documentElement.dataset.theme") == made_in


def test_a_report_is_the_same_without_a_budget(report):
    visitor = report("")
    assert visitor.run("bouillon.model('ribbons').selected.indices.length") == 0
    visitor.page.mouse.move(*visitor.point("map", key_of(LONG)))
    visitor.page.locator("#hover h2").wait_for()


def test_filters_are_typed_ranges_are_dragged_and_columns_are_remembered(enter, address):
    visitor = enter("page=table")
    page = visitor.page
    page.get_by_label("Filter magnitude prune amount").press_sequentially("> 0.5", delay=30)
    page.get_by_text("Models 1 to 12 of 12").wait_for()
    assert visitor.run("document.activeElement.dataset.column") == "param:magnitude prune.amount"
    assert visitor.run("document.activeElement.value") == "> 0.5"
    page.locator("#menu-columns > summary").click()
    page.locator("#menu-columns").get_by_label("method").check()
    visitor.until("document.querySelector('.models thead').textContent.includes('method')")
    page.get_by_role("button", name="Lines").click()
    span = page.locator("[data-axis='Top-1 Accuracy']")
    box = span.bounding_box()
    x, bottom = box["x"] + box["width"] / 2, box["y"] + 0.9 * box["height"]
    visitor.drag((x, bottom - 0.45 * box["height"]), (x, box["y"] - 5))
    visitor.until("decodeURIComponent(location.search).includes('~~Top-1 Accuracy')")
    few = page.locator("path.single").count()
    assert 0 < few < 12
    page.locator("path.single").first.focus()
    page.keyboard.press("Enter")
    page.locator("aside.opened h2").wait_for()
    visitor.until("location.search.includes('card=')")
    page.get_by_role("button", name="Close the card").click()
    visitor.until("!location.search.includes('card=')")
    page.go_back()
    page.locator("aside.opened h2").wait_for()
    visitor.open(f"{address}?page=table")
    visitor.until("document.querySelector('.models thead').textContent.includes('method')")
    assert "columns=" in visitor.run("location.search"), "what this browser remembers is in the address, to be shared"
