"""The first page and the frame in a real Chromium: by keyboard, in the history, on a phone."""

import pytest

from tests.studies import study
from tests.viewer.browsing import Visitor, errors_of_ours, served, why_not
from tests.viewer.stores import key_of, publish

pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decide")
    publish(folder / "results.duckdb", study(52)).close()
    log = folder / "server.log"
    with served(folder / "results.duckdb", log) as address:
        yield address
    assert errors_of_ours(log) == []


def test_a_person_decides_by_keyboard_and_gets_the_model(address, chromium):
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    visitor = Visitor(page).open(address)
    visitor.until("document.title.startsWith('Decide')")
    assert visitor.texts("#sentence")[0].startswith("Ship resnet50trained as it is")
    assert visitor.texts("#rail-take") == ["Compare these"]
    page.locator("#aim-best").focus()
    page.keyboard.press("Enter")
    visitor.until("location.search.includes('aim=best')")
    visitor.until("document.getElementById('sentence').textContent.includes('has the best')")
    page.locator("#get [data-do=copy_text]").first.focus()
    page.keyboard.press("Enter")
    page.get_by_text("Copied").wait_for()
    assert visitor.run("navigator.clipboard.readText()").startswith("python -m pipeline package resnet50trained ")
    mark = page.locator(f"#decision [data-key='{key_of('resnet50trained')}']")
    mark.focus()
    page.keyboard.press("Enter")
    visitor.until("new URLSearchParams(location.search).get('selected') !== null")
    assert visitor.texts("#pane-rail .letter") == ["A"]
    page.go_back()
    visitor.until("!location.search.includes('selected')")
    page.go_back()
    visitor.until("document.getElementById('sentence').textContent.startsWith('Ship')")
    page.locator("[data-do=explore]").click()
    visitor.until("!document.getElementById('overview').classList.contains('away')")
    assert "x=Model%20Size" in page.url
    assert not visitor.complaints
    context.close()


def test_on_a_phone_the_bar_has_two_rows_and_no_name_meets_another(address, chromium):
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    visitor = Visitor(page).open(address)
    assert visitor.run("document.querySelector('header.bar').getBoundingClientRect().height") <= 76
    assert visitor.run("document.getElementById('frame').getBoundingClientRect().height") <= 44
    names = """[...document.querySelectorAll("#decision .name")].filter((e) => e.style.display !== "none")
        .map((e) => e.getBoundingClientRect())"""
    meet = f"""(() => {{ const all = {names};
        return all.some((a, i) => all.some((b, j) => i < j && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)); }})()"""
    assert visitor.run(f"{names}.length") > 0
    assert visitor.run(meet) is False
    page.close()
