"""Every interaction of the overview, in a real Chromium on a real server."""

import json
import re
from urllib.parse import parse_qs, unquote, urlparse

import pytest

from tests.studies import study
from tests.viewer.browsing import Visitor, errors_of_ours, served, why_not
from tests.viewer.stores import key_of, publish
from tests.viewer.test_browser_layout import COLLISIONS, CUT, SMALL, WIDE
from tests.viewer.visits import visit

pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(why_not()), reason=why_not())]

ROOT, MAG50, MAG75 = (key_of(f"resnet50trained{end}") for end in ("", "-mag50", "-mag75"))
MAGNITUDE = [key_of(f"resnet50trained-mag{amount}") for amount in (50, 75, 90)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "results.duckdb"
    publish(path, study(52), failures=1).close()
    return path


@pytest.fixture(scope="module")
def address(path):
    with served(path, path.parent / "server.log") as url:
        yield url
    assert errors_of_ours(path.parent / "server.log") == []


@pytest.fixture
def visitor(chromium, address):
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light", accept_downloads=True)
    person = Visitor(context.new_page())
    person.open(f"{address}?page=overview")
    yield person
    context.close()
    assert person.complaints == []


def selected(visitor):
    """Keys in the address, as prefixes."""
    found = parse_qs(urlparse(visitor.page.url).query).get("selected", [""])[0]
    return {part for part in found.split(",") if part}


def shorts(visitor, *keys):
    length = 6
    return {key[:length] for key in keys}


def expect_selected(visitor, *keys):
    wanted = sorted(key[:6] for key in keys)
    code = f"""JSON.stringify((new URLSearchParams(location.search).get("selected") ?? "").split(",").filter(Boolean).map((k) => k.slice(0, 6)).sort()) === '{json.dumps(wanted, separators=(",", ":"))}'"""
    try:
        visitor.until(code)
    except Exception as error:
        raise AssertionError(f"selected {selected(visitor)}, expected {wanted}") from error


def test_click_selects_shift_click_adds_and_the_address_says_so(visitor):
    visitor.click("map", MAG50)
    expect_selected(visitor, MAG50)
    visitor.page.get_by_text("magnitude prune").first.wait_for()
    visitor.click("map", MAG75, modifiers=["Shift"])
    expect_selected(visitor, MAG50, MAG75)
    visitor.page.get_by_role("heading", name="2 models selected").wait_for()


def test_a_click_in_the_scatterplot_selects_in_the_map_too(visitor):
    alone = key_of("resnet50trained-gra90")
    visitor.click("scatter", alone)
    expect_selected(visitor, alone)
    visitor.until(
        f"bouillon.model('nodes').selected.indices.map((i) => bouillon.model('nodes').data.key[i])[0] === '{alone}'"
    )
    visitor.page.mouse.click(*[sum(pair) for pair in zip(visitor.point("map", ROOT), (0, 24), strict=True)])
    expect_selected(visitor)


def test_rectangle_and_lasso(visitor):
    visitor.page.locator("[data-plot=map][data-tool=box]").click()
    x, y = visitor.point("map", MAG50)
    visitor.drag((x - 15, y - 12), (x + 15, y + 12))
    expect_selected(visitor, MAG50)
    visitor.page.locator("[data-plot=map][data-tool=lasso]").click()
    x, y = visitor.point("map", MAG75)
    visitor.page.mouse.move(x - 14, y - 12)
    visitor.page.mouse.down()
    for dx, dy in [(14, -12), (14, 12), (-14, 12), (-14, -10)]:
        visitor.page.mouse.move(x + dx, y + dy, steps=3)
    visitor.page.mouse.up()
    expect_selected(visitor, MAG75)


def test_column_headers_and_relatives(visitor):
    visitor.click("map", MAG50)
    expect_selected(visitor, MAG50)
    visitor.page.get_by_role("button", name="+ Parents").click()
    expect_selected(visitor, MAG50, ROOT)
    visitor.page.get_by_role("button", name="Clear").click()
    expect_selected(visitor)
    visitor.click("map", MAG50)
    visitor.page.get_by_role("button", name="+ Children").click()
    children = [key_of(f"resnet50trained-mag50{end}") for end in ("-calibrated", "-retrained", "-int8")]
    expect_selected(visitor, MAG50, *children)
    visitor.page.get_by_role("button", name=re.compile("^Select the models of column 1:")).click()
    expect_selected(visitor, ROOT, key_of("mobilenetv2trained"))
    visitor.page.get_by_role("button", name="+ Descendants").click()
    visitor.page.get_by_role("heading", name="52 models selected").wait_for()


def test_the_hover_card_tells_metrics_and_the_change_with_its_noise(visitor):
    visitor.page.mouse.move(*visitor.point("map", MAG50))
    card = visitor.page.locator("#hover")
    card.get_by_text("magnitude prune").wait_for()
    text = card.inner_text()
    assert "75.3%" in text
    assert "75.0% to" not in text, "one figure has one interval, that of its change"
    assert "5.0 ± 0.4 pp" in text
    assert "within noise" in text  # latency: within its noise
    visitor.until("bouillon.model('spot').data.x.length === 1 && bouillon.model('kin').data.x0.length === 4")
    box = card.bounding_box()
    assert min(box["x"], box["y"]) >= 0
    assert box["x"] + box["width"] <= 1440
    assert box["y"] + box["height"] <= 900
    visitor.page.mouse.move(700, 20)
    card.wait_for(state="hidden")


def test_a_failed_and_a_skipped_step_are_drawn_with_their_reason(visitor):
    visitor.page.mouse.move(*visitor.point("map", key_of("failed-0")))
    visitor.page.locator("#hover").get_by_text("Failed: RuntimeError: shapes do not match in layer conv1").wait_for()
    visitor.page.mouse.move(*visitor.point("map", key_of("below-0")))
    visitor.page.locator("#hover").get_by_text(re.compile("Skipped: .* failed")).wait_for()


def test_search_finds_and_selects(visitor):
    box = visitor.page.get_by_role("searchbox", name="Find a model by name")
    box.fill("mag75-int8")
    visitor.page.locator("#pane-found button", has_text="resnet50trained-mag75-int8").first.click()
    expect_selected(visitor, key_of("resnet50trained-mag75-int8"))
    box.fill("no such model")
    visitor.page.get_by_text("No model is called that.").wait_for()


def test_arrangement_colour_and_size_are_redrawn_and_in_the_address(visitor):
    before = visitor.run("JSON.stringify([...bouillon.model('nodes').data.x])")
    visitor.page.get_by_role("button", name="By step").click()
    visitor.until(f"JSON.stringify([...bouillon.model('nodes').data.x]) !== '{before}'")
    colors = visitor.run("bouillon.model('nodes').data.color.join()")
    visitor.page.get_by_label("Colour", exact=True).select_option("Latency")
    visitor.until(f"bouillon.model('nodes').data.color.join() !== '{colors}'")
    visitor.page.locator("#pane-legend").get_by_text("lower is better").first.wait_for()
    visitor.page.get_by_label("Size", exact=True).select_option("none")
    visitor.until("new Set(bouillon.model('models').data.size).size === 1")
    visitor.until(
        "location.search.includes('arrange=step') && location.search.includes('color=Latency') && location.search.includes('size=-')"
    )


def test_zoom_pan_and_fit(visitor):
    rows = "Math.abs(bouillon.model('map').y_range.end - bouillon.model('map').y_range.start)"
    whole = visitor.run(rows)
    visitor.page.get_by_role("button", name="Zoom in").click()
    visitor.until(f"{rows} < {whole} * 0.9")
    start = visitor.run("bouillon.model('map').y_range.start")
    visitor.page.mouse.move(400, 400)
    visitor.page.mouse.wheel(0, 120)
    visitor.until(f"bouillon.model('map').y_range.start !== {start}")
    visitor.page.locator("#pane-map_tools").get_by_role("button", name="Fit").click()
    visitor.until(f"Math.abs({rows} - {whole}) < 0.01")


SEEN = """[...bouillon.model('nodes').data.x.keys()].filter((at) => {
    const {x, y} = bouillon.model('nodes').data, {x_scale, y_scale, bbox} = bouillon.view('map').frame;
    const left = x_scale.compute(x[at]), top = y_scale.compute(y[at]);
    return left > 0 && left < bbox.width && top > 0 && top < bbox.height;
}).length"""


def test_the_map_stays_in_sight_and_says_which_part_is_seen(visitor):
    page, note = visitor.page, visitor.page.locator("#map-more")
    page.locator("#pane-map_tools").get_by_role("button", name="Fit").click()
    view = "JSON.stringify(['x_range', 'y_range'].map((name) => [bouillon.model('map')[name].start, bouillon.model('map')[name].end].map((end) => end.toFixed(6))))"
    whole = visitor.run(view)
    for _ in range(25):
        page.get_by_role("button", name="Zoom out").click()
    assert visitor.run(view) == whole  # nothing is smaller than what fits everything
    for dx, dy in [(400, 0), (-400, 0), (0, 300), (0, -300), (400, 300), (-400, -300)]:
        for _ in range(4):
            visitor.drag((450, 450), (450 + dx, 450 + dy))
        visitor.until(f"{SEEN} > 0")
    for _ in range(20):
        page.get_by_role("button", name="Zoom in").click()
    for dx, dy in [(9000, 0), (-9000, 0), (0, 9000), (0, -9000)]:
        visitor.run(f"bouillon.pan({dx}, {dy})")
        visitor.drawn()
        parts = re.findall(r"(?:row|column)s? (\d+)(?: to (\d+))? of (\d+)", note.inner_text().lower())
        assert len(parts) == 2, note.inner_text()
        for first, last, count in parts:
            assert 1 <= int(first) <= int(last or first) <= int(count)


def test_nothing_stays_on_the_maps_edge_when_it_is_moved_away(visitor):
    """Bokeh leaves the first half pixel of its canvas uncleared."""
    ink = """[...bouillon.view('map').canvas_view.shadow_el.querySelectorAll('canvas')].map((layer) => {
        const {data} = layer.getContext('2d').getImageData(0, 0, 1, layer.height);
        return data.some((value) => value);
    }).some(Boolean)"""
    for _ in range(8):
        visitor.page.get_by_role("button", name="Zoom in").click()
        visitor.drawn()
    visitor.page.locator("#pane-map_tools").get_by_role("button", name="Fit").click()
    visitor.until(f"!({ink})")


def test_fit_brings_the_scatterplot_back(visitor):
    page = visitor.page
    ranges = "JSON.stringify(['x_range', 'y_range'].map((name) => [bouillon.model('scatter')[name].start, bouillon.model('scatter')[name].end]))"
    fit = page.locator("#pane-scatter_tools").get_by_role("button", name="Fit")

    def lose_and_fit(meanwhile=lambda: None):
        whole, box = visitor.run(ranges), page.locator("#scatter").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        for _ in range(8):
            page.mouse.wheel(0, -400)
        visitor.until(f"{ranges} !== '{whole}'")
        visitor.drawn()  # the wheel's last turns too: one that came after the click would move the plot again
        meanwhile()
        fit.click()
        visitor.until(f"{ranges} === '{whole}'")

    lose_and_fit()
    before = visitor.run(ranges)
    page.get_by_label("X", exact=True).select_option("Model Size")
    # the axis is named before its range comes, and what shows all is told last
    visitor.until(
        f"{ranges} !== '{before}' && JSON.parse({ranges}).flat().join() === bouillon.views.scatter.whole().join()"
    )
    lose_and_fit()

    def set_a_budget():
        page.get_by_role("tab", name="Budgets").click()
        page.locator("#budget-text").fill("Latency <= 9000")
        page.locator("#budget-set").click()
        visitor.until("location.search.includes('filters')")

    lose_and_fit(set_a_budget)
    page.set_viewport_size({"width": 1024, "height": 768})
    box, card = fit.bounding_box(), page.locator(".card.scatter").bounding_box()
    assert box["x"] + box["width"] <= card["x"] + card["width"]


def test_the_last_tick_is_not_cut(visitor):
    """Half of a label's width, or height, lies beyond the axis."""
    right, top = visitor.run("""(() => {
        const {bbox} = bouillon.view('scatter').frame, {width} = document.getElementById('scatter').getBoundingClientRect();
        return [width - bbox.right, bbox.top];
    })()""")
    assert right >= 20
    assert top >= 7


def test_axes_logarithms_and_the_front(visitor):
    visitor.page.get_by_text("Pareto front:").wait_for()
    visitor.page.get_by_label("X", exact=True).select_option("Model Size")
    visitor.until("bouillon.model('scatter').below[0].axis_label.startsWith('Model Size')")
    visitor.page.locator("#set-x-log").check()
    visitor.until("bouillon.model('scatter').x_scale.type === 'LogScale' && location.search.includes('x_log=1')")
    visitor.page.get_by_text("Pareto front:").click()
    visitor.page.get_by_role("button", name="Select them all").click()
    visitor.until("bouillon.model('models').selected.indices.length === bouillon.model('front').data.x.length")
    visitor.page.get_by_label("Dim the dominated").check()
    visitor.until("bouillon.model('models').data.alpha.filter((a) => a < 0.5).length > 20")


def test_keyboard_alone_selects_models(visitor):
    visitor.page.locator("#map").focus()
    visitor.page.keyboard.press("ArrowDown")
    visitor.page.keyboard.press("ArrowRight")
    visitor.until("bouillon.model('pointer').data.x.length === 1")
    visitor.page.keyboard.press("Enter")
    visitor.until("new URLSearchParams(location.search).get('selected')")
    visitor.page.keyboard.press("ArrowDown")
    visitor.page.keyboard.press("Shift+Enter")
    visitor.page.get_by_role("heading", name="2 models selected").wait_for()
    assert visitor.run("document.getElementById('live').textContent") != ""


def test_the_address_restores_the_view(visitor, address):
    visitor.open(f"{address}?selected={MAG50[:8]},{MAG75[:8]}&arrange=step&filters=~9000~Latency&pane=budgets")
    assert visitor.run("bouillon.model('nodes').selected.indices.length") == 2
    assert visitor.page.locator("#set-arrange-step").get_attribute("aria-pressed") == "true"
    assert visitor.page.get_by_label("Highest Latency").input_value() == "9 s"
    visitor.page.go_back()


def test_a_nonsense_address_shows_the_default_view_and_a_notice(visitor, address):
    visitor.open(f"{address}?selected=zzz&color=gone&filters=x~y~z&page=nowhere&theme=pink&colour=1&budgets=%7B")
    notice = visitor.page.locator("#pane-notice").inner_text()
    for part in (
        "no metric 'gone'",
        "no page 'nowhere'",
        "theme=pink",
        "unknown part 'colour'",
        "1 of the 1 models",
        "filters=",
    ):
        assert part in notice
    assert visitor.run("bouillon.model('nodes').data.x.length") == 54
    visitor.page.get_by_role("button", name="Close").click()
    visitor.until("document.querySelector('#pane-notice').childElementCount === 0")


def test_themes(visitor):
    background = "getComputedStyle(document.querySelector('.card')).backgroundColor"
    assert visitor.run(background) == "rgb(255, 255, 255)"
    visitor.page.get_by_label("Colours of the page").click()
    visitor.page.get_by_role("button", name="Dark").click()
    visitor.until(f"{background} !== 'rgb(255, 255, 255)'")
    visitor.until("location.search.includes('theme=dark')")
    assert (
        unquote(
            visitor.run(
                "bouillon.model('map-labels').glyph.text_color.value ?? bouillon.model('map-labels').glyph.text_color"
            )
        )
        != "#1c2733"
    )


def test_a_label_takes_free_room_before_it_is_cut(visitor):
    """The edge to an int8 model passes columns in which nothing else stands."""
    visitor.page.set_viewport_size({"width": 1024, "height": 768})
    at = f"bouillon.model('nodes').data.key.indexOf('{key_of('resnet50trained-int8')}')"
    visitor.run(
        f"(() => {{ const {{label, brief}} = bouillon.model('nodes').data; label[{at}] = brief[{at}] = 'a value as wide as three columns'; bouillon.zoom(1.0001); }})()"
    )
    visitor.until("bouillon.model('labels').data.text.includes('a value as wide as three columns')")


def test_the_map_stands_at_the_top_and_panes_are_resized_by_hand_and_by_keyboard(visitor, address):
    first = "(() => { const {y} = bouillon.frame(), foot = document.getElementById('map-headers').offsetHeight; return y.compute(Math.min(...bouillon.model('nodes').data.y)) - foot; })()"
    assert 0 < visitor.run(first) < 50
    bar, card = visitor.page.locator("#split-across"), visitor.page.locator(".card.map")
    before, box = card.bounding_box()["width"], bar.bounding_box()
    visitor.drag((box["x"] + 4, 300), (box["x"] - 196, 300))
    assert card.bounding_box()["width"] == pytest.approx(before - 200, abs=8)
    visitor.until("bouillon.view('map').frame.bbox.width < 760")
    dragged = int(bar.get_attribute("aria-valuenow"))
    bar.focus()
    visitor.page.keyboard.press("ArrowLeft")
    assert int(bar.get_attribute("aria-valuenow")) == pytest.approx(dragged - 2, abs=1)
    down = visitor.page.locator("#split-down")
    down.focus()
    visitor.page.keyboard.press("End")
    assert down.get_attribute("aria-valuenow") == "80"
    kept = card.bounding_box()["width"]
    visitor.open(f"{address}?page=overview")
    assert card.bounding_box()["width"] == pytest.approx(kept, abs=1)
    assert down.get_attribute("aria-valuenow") == "80"
    visitor.page.locator("#split-across").dblclick()
    assert card.bounding_box()["width"] == pytest.approx(before, abs=2)


def test_the_page_dims_the_map_as_the_server_does(visitor, address, path):
    """What a hand drags is dimmed by the page, and what is drawn anew by the server: models, their lineages, failed steps."""
    query = {"filters": "0.77~~Top-1 Accuracy", "arrange": "step"}
    visitor.open(f"{address}?filters=0.77~~Top-1%20Accuracy&arrange=step")
    shown = visitor.run("[...bouillon.model('nodes').data.alpha].map((alpha) => Math.round(100 * alpha))")
    drawn = visit(path, query).map.nodes.data["alpha"]
    assert shown == [round(100 * float(alpha)) for alpha in drawn]
    assert set(shown) == {12, 45, 100}


def test_effects_unfold_select_and_draw_curves_by_keyboard(visitor, address):
    page = visitor.page
    visitor.open(f"{address}?page=effects")
    page.locator("[id^=e-open]").last.focus()
    page.keyboard.press("Enter")
    visitor.until("location.search.includes('e_open') && document.querySelectorAll('.effects tr.place').length === 8")
    page.locator("[id^=e-place]").first.click()
    visitor.until("document.querySelectorAll('tr.place.chosen').length === 1 && location.search.includes('selected')")
    page.go_back()
    visitor.until("!location.search.includes('selected') && !document.querySelector('tr.place.chosen')")
    for width in (1024, 390):
        page.set_viewport_size({"width": width, "height": 844})
        for show in ("operations", "sweeps"):
            page.locator(f"#e-show-{show}").click()
            visitor.until(f"document.querySelector('#e-show-{show}').getAttribute('aria-pressed') === 'true'")
            assert {name: found for name, code in (("small", SMALL), ("collides", COLLISIONS), ("cut", CUT), ("wide", WIDE)) if (found := visitor.run(code))} == {}  # fmt: skip
    page.locator(".sweep-curves svg [data-do]").nth(1).focus()
    page.keyboard.press("Enter")
    expect_selected(visitor, key_of("resnet50trained-gra50"))
