"""Every page for everybody: no serious finding of axe-core, all by keyboard, the focus in sight."""

import pytest

from tests.viewer.browsing import Visitor, errors_of_ours, served, why_not
from viewer import app
from viewer.compare.effects.places import step_id

pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]

PICKED = "&selected=base,pruned,int8,other"
PAGES = {name: f"page={name}{PICKED}" for name in app.PAGES} | {
    "decide": "page=decide&selected=base,pruned,int8,other&base=pruned",
    "proposals": "page=decide&aim=best",
    "selection": "page=overview&selected=base",
    "budgets": f"page=overview&pane=budgets&filters=~0.999~accuracy{PICKED}",
    "lines": f"page=table&look=lines&card=pruned{PICKED}",
    "effects": f"page=effects&e_open={step_id('prune', {})}{PICKED}",
    "instances": f"page=behaviours&b_rows=instances&b_text=i000{PICKED}",
}
LOOKS = [[(1440, 900, "light"), (390, 844, "dark")], [(1440, 900, "dark"), (390, 844, "light")]]
"""By turns: every page wide and narrow, light and dark."""

# What can be used, as far as it can be seen; of a row of tabs the chosen one stands for all, of a strip's cells the one that was last at hand
CONTROLS = """(() => [...document.querySelectorAll("a[href],button,input,select,textarea,summary,[tabindex],[data-do],[data-here],[data-commit],[data-set]")].filter((each) =>
    !each.disabled && each.checkVisibility({visibilityProperty: true}) && (each.tabIndex !== -1 || each.matches("[data-do],[data-here]"))
    && !(each.role === "tab" && each.ariaSelected !== "true") && !(each.matches(".heat") && each.tabIndex === -1)
    && !each.matches("svg.bars")))()"""  # of a row's histograms, one button stands for all
WATCH = """(() => {
    window.reached = new Set(); window.unseen = [];
    const name = (each) => each.id || each.ariaLabel || each.outerHTML.slice(0, 120);
    window.nameOf = name;
    const shows = (style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
    document.addEventListener("focusin", ({target}) => {
        window.reached.add(target);
        const style = getComputedStyle(target);
        if (!shows(style) && !(target.ownerSVGElement && style.stroke !== "none" && parseFloat(style.strokeWidth) >= 2)) window.unseen.push(name(target));
    });
})()"""


@pytest.fixture(scope="module")
def address(results, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "server.log"
    with served(results, log) as address:
        yield address
    assert errors_of_ours(log) == []


@pytest.fixture(scope="module", params=PAGES)
def visitor(request, address, chromium):
    """One who has a page open, for all that is asked of it."""
    page = chromium.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
    yield Visitor(page).open(f"{address}?{PAGES[request.param]}")
    page.close()


def test_every_control_is_reached_by_tab_and_the_focus_is_seen(visitor):
    visitor.drawn()
    visitor.run(WATCH)
    count = visitor.run(f"{CONTROLS}.length")
    assert count > 15
    for _ in range(count + 3):
        visitor.page.keyboard.press("Tab")
    assert visitor.run(f"{CONTROLS}.filter((each) => !reached.has(each)).map(nameOf)") == []
    assert visitor.run("[...new Set(unseen)]") == []


def test_axe_has_nothing_serious_to_say(visitor, request):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = {}
    visitor.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    place = list(PAGES).index(request.node.callspec.params["visitor"])
    for width, height, scheme in LOOKS[place % 2]:
        visitor.page.set_viewport_size({"width": width, "height": height})
        visitor.page.emulate_media(color_scheme=scheme)
        visitor.until(f"document.documentElement.dataset.theme === '{scheme}'")
        visitor.drawn()
        results = axe.run(visitor.page).response
        assert results["passes"], "it has looked"
        for finding in results["violations"]:
            if finding["impact"] in ("serious", "critical"):
                found[width, scheme, finding["id"]] = [node["html"] for node in finding["nodes"]]
    assert found == {}
    assert visitor.complaints == []


def told(visitor):
    return visitor.run("document.getElementById('live').textContent")


def test_the_scatterplot_is_walked_selected_from_and_told_by_keys(address, chromium):
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    visitor = Visitor(page).open(f"{address}?page=overview")
    page.locator("#scatter").focus()
    heard = set()
    for arrow in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowUp", "ArrowDown"):
        visitor.run("document.getElementById('live').textContent = ''")
        page.keyboard.press(arrow)
        visitor.until("document.getElementById('live').textContent")
        heard.add(told(visitor))
        assert visitor.run("bouillon.model('spot').data.x.length") == 1, "the point is lit"
    assert len(heard) >= 3
    names = visitor.run("bouillon.model('models').data.key")
    assert all("accuracy" in each for each in heard), heard
    page.keyboard.press("Enter")
    visitor.until("location.search.includes('selected=')")
    assert visitor.run("bouillon.model('models').selected.indices.length") == 1
    assert told(visitor) == "1 model selected"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Escape")
    visitor.until("!location.search.includes('selected=')")
    assert visitor.complaints == []
    assert len(names) == 4
    page.close()


def test_after_a_click_the_arrows_go_on_from_the_model(address, chromium):
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    visitor = Visitor(page).open(f"{address}?page=overview")
    for plot, source in (("map", "nodes"), ("scatter", "models")):
        visitor.click(plot, "base")
        visitor.until("bouillon.model('models').selected.indices.length === 1")
        assert visitor.run("document.activeElement.id") == plot
        page.keyboard.press("ArrowRight")
        light = "pointer" if plot == "map" else "spot"
        visitor.until(f"bouillon.model('{light}').data.x.length === 1")
        base = visitor.run(
            f"(() => {{ const {{key, x}} = bouillon.model('{source}').data; return x[key.indexOf('base')]; }})()"
        )
        assert visitor.run(f"bouillon.model('{light}').data.x[0]") >= base
        page.keyboard.press("Escape")
        visitor.until("!location.search.includes('selected=')")
    assert visitor.complaints == []
    page.close()


def test_an_end_of_a_range_is_moved_by_keys_and_told_when_it_rests(address, chromium):
    page = chromium.new_page(viewport={"width": 1440, "height": 900})
    visitor = Visitor(page).open(f"{address}?pane=budgets&filters=~~accuracy")
    lower = page.get_by_role("slider", name="accuracy, lower end of the range")
    lower.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    text = lower.get_attribute("aria-valuetext")
    assert text == page.get_by_label("Lowest accuracy").input_value() != ""
    visitor.until("!location.search.includes('filters=~~accuracy')")
    visitor.until("document.activeElement.id === 'handle-low-0'")
    assert 0 < int(lower.get_attribute("aria-valuenow")) < 100
    assert visitor.run("[...bouillon.model('models').data.alpha].filter((alpha) => alpha < 0.5).length") > 0
    page.keyboard.press("Home")
    visitor.until("[...bouillon.model('models').data.alpha].every((alpha) => alpha > 0.5)")
    visitor.open(f"{address}?{PAGES['behaviours']}")
    page.locator("#b-high-2").focus()
    page.keyboard.press("ArrowLeft")
    visitor.until("location.search.includes('b_brush=')")
    visitor.until("document.activeElement.id === 'b-high-2'")
    page.keyboard.press("End")
    visitor.until("!location.search.includes('b_brush=')")
    assert visitor.complaints == []
    page.close()
