"""Budgets, details, table, comparison and what can be taken away, in a real Chromium on a real server."""

import csv
import io
import re

import pytest

from tests.studies import study
from tests.viewer.browsing import Visitor, errors_of_ours, served, why_not
from tests.viewer.stores import key_of, publish

pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(why_not()), reason=why_not())]

ROOT, MAG50, MAG75, MAG90 = (key_of(f"resnet50trained{end}") for end in ("", "-mag50", "-mag75", "-mag90"))
PICKED = "selected=" + ",".join(key[:8] for key in (ROOT, MAG50, MAG75, MAG90))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder of the results, and the address that they are served at."""
    folder = tmp_path_factory.mktemp("served")
    publish(folder / "results.duckdb", study(52)).close()
    with served(folder / "results.duckdb", folder / "server.log") as url:
        yield folder, url
    assert errors_of_ours(folder / "server.log") == []


@pytest.fixture
def enter(chromium, place):
    """Open the viewer with a query, as one more person."""
    visitors = []

    def open_one(query=""):
        context = chromium.new_context(
            viewport={"width": 1440, "height": 900},
            accept_downloads=True,
            permissions=["clipboard-read", "clipboard-write"],
        )
        visitors.append(Visitor(context.new_page()))
        return visitors[-1].open(place[1] + ("?" + query if query else ""))

    yield open_one
    complaints = [text for visitor in visitors for text in visitor.complaints]
    for visitor in visitors:
        visitor.page.context.close()
    assert complaints == []


def faint(visitor, plot):
    source = "nodes" if plot == "map" else "models"
    return visitor.run(f"[...bouillon.model('{source}').data.alpha].filter((a) => a < 0.5).length")


def test_a_budget_is_dragged_typed_saved_and_found_again_at_its_address(enter):
    visitor = enter("pane=budgets")
    page = visitor.page
    page.get_by_role("button", name="Add a budget").click()
    page.get_by_label("Metric of budget 1").select_option("Latency")
    page.get_by_label("Highest Latency").wait_for()
    box = page.locator("svg[data-edges]").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] - 2, middle)  # the right end of the range, pulled to the left
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.4, middle, steps=6)
    # while the button is still down both plots show where the hand has come to rest
    outside = "[...bouillon.passing()].filter((passes) => !passes).length"
    for source in ("nodes", "models"):
        visitor.until(f"bouillon.model('{source}').data.alpha.filter((a) => a < 0.5).length === {outside}")
    during = visitor.run(outside)
    followed = page.get_by_label("Highest Latency").input_value()
    assert re.fullmatch(r"\d+(\.\d+)? s", followed)
    assert page.locator("#verdict").inner_text() == f"{52 - during} of 52 models pass."
    assert page.locator("#tab-passing").inner_text() == f"{52 - during} of 52 pass"
    # the map is sent anew, as when a model comes: the next move makes it faint again, though the same models pass
    visitor.run(
        "(({data, change}) => { data.alpha = data.alpha.map(() => 1); change.emit(); })(bouillon.model('nodes'))"
    )
    page.mouse.move(box["x"] + box["width"] * 0.4, middle + 1)
    visitor.until("bouillon.model('nodes').data.alpha.some((a) => a < 0.5)")
    page.mouse.up()
    page.get_by_text("of 52 models pass.").wait_for()
    visitor.until("location.search.includes('filters=')")
    assert faint(visitor, "scatter") == during == faint(visitor, "map") > 10
    released = page.get_by_label("Highest Latency").input_value()
    assert released.endswith(" s")
    assert float(released[:-2]) == pytest.approx(float(followed[:-2]), rel=1e-3)
    for arrangement in ("By step", "By operation"):  # new nodes, of which the same are faint
        page.get_by_role("button", name=arrangement).click()
        page.locator("button[aria-pressed=true]", has_text=arrangement).wait_for()
        visitor.until(f"bouillon.model('nodes').data.alpha.filter((a) => a < 0.5).length === {during}")
    page.get_by_label("Highest Latency").fill("9 s")
    page.keyboard.press("Tab")
    visitor.until("location.search.includes('9000.0')")
    page.get_by_placeholder("Name, e.g. phone").fill("phone & co")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="phone & co", exact=True).wait_for()
    page.get_by_role("button", name="Clear all").click()
    visitor.until("[...bouillon.model('models').data.alpha].every((a) => a > 0.5)")
    page.get_by_role("button", name="phone & co", exact=True).click()
    page.get_by_text("of 52 models pass.").wait_for()
    again = enter(page.url.split("?")[1])
    again.page.get_by_role("button", name="phone & co", exact=True).wait_for()
    assert again.page.get_by_label("Highest Latency").input_value() == "9 s"


def test_a_range_that_ends_as_it_was_leaves_nothing_behind(enter):
    """A click where there is no range, and a drag there and back, twice each: the server's answers are the same."""
    page = (visitor := enter("pane=budgets&filters=~~Latency")).page
    page.locator("svg[data-edges]").wait_for()
    box = page.locator("svg[data-edges]").bounding_box()
    right, middle, y = box["x"] + box["width"] - 2, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    said = page.locator("#verdict").inner_text()
    assert said.startswith("52 of 52 models pass. Best ")
    for way in ([(middle, y)], [(right, y), (middle, y), (right + 20, y)]) * 2:
        page.mouse.move(*way[0])
        page.mouse.down()
        for point in way[1:]:
            page.mouse.move(*point, steps=3)
        visitor.settle(page.mouse.up)
        assert page.locator("#verdict").inner_text() == said
        assert page.get_by_label("Highest Latency").input_value() == ""
        assert page.locator(".brush").get_attribute("width") == "100.0%"
        visitor.until("bouillon.passing().every(Boolean) && bouillon.model('models').data.alpha.every((a) => a > 0.5)")


def test_arrow_keys_change_the_tab(enter):
    visitor = enter("page=overview")
    page = visitor.page
    page.get_by_role("tab", name="Selection").focus()
    for key, name in (
        ("ArrowRight", "Budgets"),
        ("ArrowRight", "Selection"),
        ("ArrowLeft", "Budgets"),
        ("Home", "Selection"),
    ):
        page.keyboard.press(key)
        page.get_by_role("tab", name=name, selected=True).wait_for()
        visitor.until(f"document.activeElement.id === 'tab-{name.lower()}' && document.activeElement.tabIndex === 0")
    assert page.get_by_role("tab", name="Budgets").get_attribute("tabindex") == "-1"


def test_a_budget_is_typed_and_follows_the_hand(enter):
    visitor = enter("pane=budgets")
    page = visitor.page
    field = page.get_by_label("The budget, typed")
    assert field.get_attribute("placeholder").startswith("e.g. Top-1 Accuracy >= ")
    field.fill("top-1 accuracy > 50%; Latncy <= 9 s")
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("There is no metric 'Latncy'. Did you mean 'Latency'?").wait_for()
    assert field.input_value() == "top-1 accuracy > 50%; Latncy <= 9 s"
    field.fill("top-1 accuracy > 50%; latency <= 9 s")
    page.keyboard.press("Enter")
    page.get_by_text("of 52 models pass.").wait_for()
    assert page.get_by_label("Lowest Top-1 Accuracy").input_value() == "> 50%"
    assert page.get_by_label("Highest Latency").input_value() == "9 s"
    assert field.input_value() == "Top-1 Accuracy > 50%; Latency <= 9 s"
    assert page.get_by_role("alert").count() == 0
    visitor.until("location.search.includes('filters=0.5000000000000001~~Top-1')")
    box = page.locator("svg[data-edges]").nth(0).bounding_box()
    middle = box["y"] + box["height"] / 2
    visitor.drag((box["x"] + box["width"] * 0.3, middle), (box["x"] + box["width"] * 0.6, middle))
    visitor.until(
        "/^Top-1 Accuracy >= [\\d.]+%; Top-1 Accuracy <= [\\d.]+%; Latency <= 9 s$/.test(document.getElementById('budget-text').value)"
    )
    field.fill("")
    page.keyboard.press("Enter")
    visitor.until("!location.search.includes('Latency')")
    again = enter("pane=budgets&filters=~9000~Latency")
    assert again.page.get_by_label("The budget, typed").input_value() == "Latency <= 9 s"


def test_what_is_being_typed_survives_a_redraw_of_its_pane(enter):
    visitor = enter("pane=budgets&filters=~9000~Latency")
    field = visitor.page.get_by_label("The budget, typed")
    field.fill("Latency <= 1")
    visitor.run("bouillon.send('filter_add')")
    visitor.page.get_by_label("Metric of budget 2").wait_for()
    assert field.input_value() == "Latency <= 1"
    visitor.page.keyboard.type("0 s")
    assert field.input_value() == "Latency <= 10 s"


def test_a_click_shows_the_details_before_the_server_answers(enter):
    visitor = enter("page=overview")
    visitor.page.mouse.move(*visitor.point("map", MAG50))
    visitor.page.locator("#hover").get_by_text("magnitude prune").wait_for()
    visitor.run("WebSocket.prototype.send = () => {}")
    visitor.click("map", MAG50)
    visitor.page.locator("#pane-side").get_by_text("magnitude prune").first.wait_for()
    visitor.page.locator("#pane-side").get_by_role("button", name="Fold its descendants").wait_for()


def test_the_map_is_coloured_by_kind_of_operation(enter):
    visitor = enter("page=overview")
    visitor.page.get_by_label("Colour", exact=True).select_option("kind of operation")
    visitor.page.get_by_role("list", name="Colours of kinds of operation").wait_for()
    assert visitor.texts(".kinds [role=listitem]") == ["base", "prune", "quantize", "calibrate", "finetune"]
    code = "new Set(bouillon.model('models').data.color).size"
    visitor.until(f"{code} === 5 && location.search.includes('color=:kind')")


def test_what_is_outside_the_budget_cannot_be_selected(enter):
    visitor = enter("filters=~9000~Latency")
    visitor.click("map", ROOT)
    inside = key_of("resnet50trained-int8")
    visitor.click("map", inside)
    visitor.until(f"location.search.includes('selected={inside[:6]}')")
    visitor.page.get_by_role("button", name=re.compile("^Select the models of column 1:")).click()
    visitor.until(
        f"location.search.includes('selected={key_of('mobilenetv2trained')[:6]}&') || location.search.endsWith('selected={key_of('mobilenetv2trained')[:6]}')"
    )


def test_a_budget_that_nothing_meets_names_the_tightest(enter):
    visitor = enter("pane=budgets&filters=0.79~~Top-1 Accuracy&filters=~600~Latency")
    verdict = visitor.page.locator("#verdict")
    assert "No model passes." in verdict.inner_text()
    assert re.search(r"Tightest: .*\. Without it, \d+ would pass\.", verdict.inner_text())
    visitor.page.locator("#tab-passing", has_text="of 52 pass").wait_for()
    assert faint(visitor, "map") == 52


def test_the_curve_shows_what_a_wider_budget_would_buy(enter):
    visitor = enter("pane=budgets&filters=~9000~Latency")
    steps = visitor.page.locator("svg.curve circle")
    assert steps.count() >= 3
    assert "Latency" in steps.first.get_attribute("aria-label")
    steps.last.focus()
    visitor.page.keyboard.press("Enter")
    visitor.until("location.search.includes('selected=')")


def test_what_is_relaxed_is_chosen_and_found_again(enter):
    visitor = enter("pane=budgets&filters=~9000~Latency&filters=0.5~~Top-1 Accuracy")
    goal, relaxed = visitor.page.locator("#set-goal"), visitor.page.locator("#relax")
    goal.select_option("Top-5 Accuracy")
    visitor.until("new URLSearchParams(location.search).get('goal') === 'Top-5 Accuracy'")
    for metric in ("Top-1 Accuracy", "Latency", "Top-1 Accuracy"):
        relaxed.select_option(metric)
        visitor.until(f"new URLSearchParams(location.search).get('relax') === '{metric}'")
        assert relaxed.input_value() == metric
        assert goal.input_value() == "Top-5 Accuracy"
    again = enter(visitor.page.url.split("?")[1])
    assert again.page.locator("#relax").input_value() == "Top-1 Accuracy"


def test_details_say_what_differs_and_chips_narrow_it(enter):
    int8 = ",".join(key_of(f"resnet50trained{end}-int8")[:8] for end in ("", "-mag50", "-mag75"))
    visitor = enter(f"{PICKED},{int8}")
    page = visitor.page
    page.get_by_role("heading", name="7 models selected").wait_for()
    assert "magnitude prune" in page.locator("#pane-side .lead").inner_text()
    assert page.locator("figure").count() == 6
    assert page.locator("figure").first.locator("rect").count() == 7
    page.get_by_text("Refine comparison").click()
    page.locator(".chips button", has_text="0.5").first.click()
    page.get_by_text("2 of 7 models").wait_for()
    visitor.until("document.querySelector('figure svg').querySelectorAll('rect').length === 2")
    page.get_by_role("button", name="Make these the selection").click()
    page.get_by_role("heading", name="2 models selected").wait_for()
    page.locator("figure").first.locator("g[role=button]").first.click()
    visitor.until("new URLSearchParams(location.search).get('selected').split(',').length === 1")


def test_a_sweep_is_folded_into_one_node_and_opened_again(enter):
    visitor = enter("selected=" + ",".join(key_of(f"resnet50trained-gra{amount}")[:8] for amount in (50, 75, 90)))
    before = visitor.run("bouillon.model('nodes').data.key.length")
    visitor.page.get_by_role("button", name="Draw the sweep as one").click()
    visitor.until(f"bouillon.model('nodes').data.key.length < {before}")
    assert visitor.run("bouillon.model('nodes').data.key.filter((k) => k.startsWith('bundle-')).length") >= 1
    bundle = visitor.run("bouillon.model('nodes').data.key.find((k) => k.startsWith('bundle-'))")
    visitor.page.mouse.move(*visitor.point("map", bundle))
    visitor.page.locator("#hover").get_by_text("Click selects all, double-click draws each.").wait_for()
    visitor.page.mouse.dblclick(*visitor.point("map", bundle))
    visitor.until(f"bouillon.model('nodes').data.key.length === {before}")
    visitor.page.mouse.dblclick(*visitor.point("map", MAG50))
    visitor.until(f"!bouillon.model('nodes').data.key.includes('{key_of('resnet50trained-mag50-int8')}')")


def test_the_table_sorts_hides_columns_selects_and_is_taken_away(enter):
    visitor = enter("page=table")
    page = visitor.page
    page.get_by_role("button", name="Latency").click()
    visitor.until("document.querySelector('.sheet tbody tr td.name').textContent.startsWith('mobilenetv2')")
    page.get_by_role("button", name="Next models").click()
    page.get_by_text("Models 51 to 52 of 52").wait_for()
    page.locator(".sheet tbody input").first.check()
    page.get_by_role("button", name="Compare").nth(1).wait_for()
    visitor.until("location.search.includes('selected=')")
    page.locator("summary", has_text="Columns").click()
    page.get_by_role("checkbox", name="Epochs", exact=True).uncheck()
    visitor.until("![...document.querySelectorAll('.sheet th')].some((th) => th.textContent.includes('Epochs'))")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert len(rows) == 52
    assert float(next(row for row in rows if row["name"] == "resnet50trained")["Top-1 Accuracy"]) == 0.803
    page.get_by_role("button", name="Copy the SQL").click()
    page.get_by_text("Copied").wait_for()
    copied = visitor.run("navigator.clipboard.readText()")
    assert "FROM scoreboard" in copied
    assert 'ORDER BY "Latency"' in copied


def test_compare_puts_models_beside_a_base(enter):
    visitor = enter(PICKED)
    page = visitor.page
    page.get_by_role("button", name="Compare 4").click()
    visitor.until("location.search.includes('page=compare')")
    page.locator(".sheet").wait_for()
    assert "5.0 ± 0.4 pp" in page.locator(".sheet").inner_text()
    rail = page.get_by_role("group", name="Compared models")
    rail.locator(f".pill:has([data-points='{MAG50}']) [data-do=rail_base]").click()
    visitor.until(
        "document.querySelector('.sheet thead th:nth-child(2)').textContent.includes('resnet50trained-mag50')"
    )
    rail.locator(f".pill:has([data-points='{MAG90}']) [data-do=rail_drop]").click()
    visitor.until("new URLSearchParams(location.search).get('selected').split(',').length === 3")
    page.go_back()
    visitor.until("new URLSearchParams(location.search).get('selected').split(',').length === 4")
    page.go_back()
    visitor.until("!location.search.includes('base=')")
    page.go_back()
    visitor.until("!document.getElementById('overview').classList.contains('away')")


def test_pictures_and_the_report_open_without_python(enter, chromium, tmp_path):
    visitor = enter(f"{PICKED}&filters=~20000~Latency")
    page = visitor.page
    saved = {}
    for label, name in [
        ("Map (PNG)", "map.png"),
        ("Map (SVG)", "map.svg"),
        ("Scatterplot (SVG)", "scatter.svg"),
        ("Report", "bouillon-report.html"),
    ]:
        page.get_by_text("Export").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=re.compile("^" + re.escape(label))).click()
        assert download.value.suggested_filename == name
        saved[name] = tmp_path / name
        download.value.save_as(saved[name])
    assert saved["map.png"].read_bytes().startswith(b"\x89PNG")
    assert saved["map.png"].stat().st_size > 20_000
    assert "calibrate" in saved["map.svg"].read_text()  # the headers are in the picture
    assert saved["scatter.svg"].read_text().count("<path") > 52
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    reader = Visitor(context.new_page()).open(saved["bouillon-report.html"].as_uri())
    assert reader.run("bouillon.model('nodes').data.key.length") == 52
    assert reader.page.get_by_role("heading", name="4 models selected").is_visible()
    assert "resnet50trained-mag50-int8" in reader.page.locator(".sheet").inner_text()
    reader.page.mouse.move(*reader.point("map", MAG50))
    reader.page.locator("#hover").get_by_text("magnitude prune").wait_for()
    context.close()
    assert reader.complaints == []


def test_visitors_do_not_disturb_each_other(enter):
    one, other = enter("page=overview"), enter("page=overview")
    one.click("map", MAG50)
    one.until("location.search.includes('selected=')")
    other.page.get_by_role("button", name="By step").click()
    other.until("location.search.includes('arrange=step')")
    assert "selected" not in other.page.url
    assert "arrange" not in one.page.url


def test_new_models_appear_and_the_selection_stays(enter, place):
    visitor = enter(f"{PICKED}&x_log=1")
    more = study(52)
    more["models"].append({**more["models"][1], "id": "a new model", "base": "resnet50trained"})
    publish(place[0] / "results.duckdb", more).close()
    visitor.page.get_by_text("53 models").first.wait_for()
    visitor.until(f"bouillon.model('nodes').data.key.includes('{key_of('a new model')}')")
    assert visitor.run("bouillon.model('nodes').selected.indices.length") == 4
    visitor.page.get_by_role("heading", name="4 models selected").wait_for()
