"""What a metric means and what can be done, for those who ask: by pointer, by keyboard and on a page of its own."""

import pytest

from tests.studies import study
from tests.viewer.browsing import Visitor, served, why_not
from tests.viewer.stores import key_of, publish
from viewer.results.results import load_results

pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]
STUDY = study(20)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("help") / "results.duckdb"
    publish(path, STUDY).close()
    return path


@pytest.fixture
def visitor(path, chromium, tmp_path):
    with served(path, tmp_path / "server.log") as address:
        page = chromium.new_page(viewport={"width": 1024, "height": 700})
        yield Visitor(page).open(f"{address}?page=overview")
        page.close()


def test_a_metrics_name_tells_what_it_is_to_pointer_and_keyboard(visitor):
    page, note = visitor.page, visitor.page.locator("#about")
    visitor.click("map", key_of(STUDY["models"][0]["id"]))
    page.locator(
        "#pane-side h2", has_text=STUDY["models"][0]["id"]
    ).wait_for()  # what stood there before has such names too
    term = page.locator("#pane-side .term", has_text="Latency").first
    assert not note.is_visible()
    term.hover()
    assert note.inner_text() == "About Latency. Lower is better."
    assert term.get_attribute("aria-describedby") == "about"
    page.mouse.move(5, 5)
    assert not note.is_visible()
    term.focus()
    assert note.is_visible()
    page.keyboard.press("Escape")
    assert not note.is_visible()
    page.locator("#page-table").click()
    page.get_by_role("button", name="Top-1 Accuracy").focus()
    note.wait_for()
    assert note.inner_text() == "About Top-1 Accuracy. Higher is better."
    box = note.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 1024
    assert visitor.complaints == []


def test_the_page_of_help_describes_every_metric_and_leads_to_the_pages(visitor, path):
    page = visitor.page
    page.locator("#page-help").click()
    visitor.until("document.title.startsWith('Help')")
    results = load_results(path)
    rows = [row.split("\t")[:2] for row in visitor.texts(".glossary tbody tr")]
    assert rows == [[spec.label, spec.description] for spec in results.metrics]
    for name in ("Table", "Compare", "Behaviours", "Layers", "Notes"):
        page.locator(".guide").get_by_role("button", name=name).click()
        visitor.until(f"document.title.startsWith('{name}')")
        page.go_back()
        visitor.until("document.title.startsWith('Help')")
    page.locator(".guide").get_by_role("button", name="Budgets").click()
    visitor.until("document.title.startsWith('Overview')")
    page.locator("#budget-text").wait_for()
    assert visitor.complaints == []
