"""What the viewer makes of hostile names, of files that cannot be shown, and of studies of any size."""

import re

import duckdb
import pytest

from pipeline.store.records import run_records
from tests.studies import study, synthetic_study
from tests.viewer.browsing import Visitor, errors_of_ours, served, why_not
from tests.viewer.stores import START, key_of, publish

pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(why_not()), reason=why_not())]

EVIL = "<img src=x onerror=\"window.pwned='{}'\"><script>window.pwned='{}'</script>'\",&#;`</script>${{1}}"


def hostile():
    """A small study in which everything that has a name has a hostile one."""
    small = study(4)
    evil = {metric["name"]: EVIL.format("metric", "metric") + metric["name"] for metric in small["metrics"]}
    small["metrics"] = [metric | {"name": evil[metric["name"]], "format": ".1%"} for metric in small["metrics"]]
    names = {model["id"]: EVIL.format("name", "name") + model["id"] for model in small["models"]}
    for model in small["models"]:
        model["id"], model["base"] = names[model["id"]], names.get(model["base"])
        model["operation"] = {
            "name": EVIL.format("op", "op"),
            "parameters": {EVIL.format("param", "param"): EVIL.format("value", "value") + model["id"][-5:]},
        }
        model["title"] = EVIL.format("title", "title") + model["id"][-8:]
        model["metrics"] = {evil[name]: value for name, value in model["metrics"].items()}
    return small


def test_hostile_names_are_shown_as_text_in_every_place(chromium, tmp_path):
    small = hostile()
    store = publish(tmp_path / "results.duckdb", small)
    parent = key_of(small["models"][0]["id"])
    run = EVIL.format("recipe", "recipe")
    store.write([
        run_records.Run(run, run, {}, {}, {}, None, START),
        run_records.Step(run, EVIL.format("path", "path"), "operation", key_of("lost"), parent, "prune", "prune", {}, "failed", error=EVIL.format("error", "error"), finished_at=START),
    ])  # fmt: skip
    store.publish()
    store.close()
    keys = [key_of(model["id"]) for model in small["models"]]
    picked = ",".join(key[:8] for key in keys)
    with served(tmp_path / "results.duckdb", tmp_path / "server.log") as address:
        page = chromium.new_page(viewport={"width": 1440, "height": 900})
        visitor = Visitor(page).open(f"{address}?selected={picked}&pane=selection")
        unharmed = "window.pwned === undefined"
        page.get_by_role("heading", name="4 models selected").wait_for()
        assert "<img src=x" in page.locator("#pane-side").inner_text()
        for key in [*keys[:2], key_of("lost")]:
            page.mouse.move(*visitor.point("map", key))
            page.locator("#hover").get_by_text("<script>").first.wait_for()
            page.mouse.move(720, 20)
            page.locator("#hover").wait_for(state="hidden")
        page.get_by_role("searchbox").fill("script")
        page.locator("#pane-found button").first.wait_for()
        page.keyboard.press("Escape")
        page.get_by_role("tab", name=re.compile("^Budgets")).click()
        page.get_by_role("button", name="Add a budget").click()
        page.locator("svg[data-edges]").wait_for()
        page.get_by_placeholder("Name, e.g. phone").fill(EVIL.format("budget", "budget")[:60])
        page.get_by_role("button", name="Save").click()
        page.locator(".chips button").first.wait_for()
        for name in ("Table", "Compare"):
            page.locator("nav").get_by_role("button", name=name).click()
            page.locator(".sheet").get_by_text("<img src=x").first.wait_for()
        page.get_by_text("Export").click()
        with page.expect_download() as download:
            page.get_by_role("button", name="Report").click()
        download.value.save_as(tmp_path / "report.html")
        assert visitor.run(unharmed)
        visitor.open(
            f"{address}?color={EVIL.format('link', 'link').replace('&', '%26').replace('#', '%23')}&{EVIL[:20]}=1"
        )
        page.locator("#pane-notice").get_by_text("<img").first.wait_for()
        assert visitor.run(unharmed)
        report = Visitor(chromium.new_page()).open((tmp_path / "report.html").as_uri())
        report.page.locator(".sheet").get_by_text("<img src=x").first.wait_for()
        assert report.run(unharmed)
        assert visitor.complaints + report.complaints == []


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(None, "No results yet", id="no file"),
        pytest.param(b"", "The results file is empty", id="empty file"),
        pytest.param(b"not a database at all" * 400, "cannot be read", id="corrupt file"),
        pytest.param("newer", "newer version", id="newer schema"),
        pytest.param("foreign", "not a results file", id="another database"),
    ],
)
def test_a_file_that_cannot_be_shown_gets_a_page_that_says_what_to_do(content, says, chromium, tmp_path):
    path = tmp_path / "results.duckdb"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "newer":
        publish(path, study(1)).close()
        with duckdb.connect(str(path)) as db:
            db.execute("UPDATE meta SET value = '999' WHERE key = 'schema_version'")
    elif content == "foreign":
        with duckdb.connect(str(path)) as db:
            db.execute("CREATE TABLE mine (x INTEGER)")
    with served(path, tmp_path / "server.log") as address:
        page = chromium.new_page(viewport={"width": 1024, "height": 768})
        visitor = Visitor(page)
        page.goto(address)
        text = page.locator("main").inner_text()
        assert says in text
        assert "results.duckdb" in text
        assert "Traceback" not in text
        if content is None:  # and it goes on by itself as soon as there is something to show
            publish(path, study(1)).close()
            visitor.until("window.bouillonReady !== undefined")
            assert visitor.run("bouillon.model('nodes').data.key.length") == 1
        assert visitor.complaints == []
    assert errors_of_ours(tmp_path / "server.log") == []


SPILLS = """(() => {
    const wide = document.documentElement.scrollWidth > innerWidth || document.documentElement.scrollHeight > innerHeight;
    const boxes = [...document.querySelectorAll("#overview > .card, header.bar")].map((e) => e.getBoundingClientRect());
    const apart = boxes.every((a, i) => boxes.every((b, j) => i >= j || a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1));
    const inside = boxes.every((b) => b.right <= innerWidth + 1 && b.bottom <= innerHeight + 1 && b.width > 100 && b.height > 30);
    const plots = ["map", "scatter"].every((name) => bouillon.view(name).frame.bbox.height > 90);
    return {wide, apart, inside, plots};
})()"""
CUT = """[...document.querySelectorAll(".tools button, .bar button, .tools label, .tabs button")]
    .filter((e) => e.offsetParent && e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent.trim())"""
CLASHES = """(() => {
    const {data} = bouillon.model("labels"), {x_scale, y_scale} = bouillon.view("map").frame, pen = document.createElement("canvas").getContext("2d");
    pen.font = getComputedStyle(document.body).getPropertyValue("--label-font");
    const boxes = data.text.map((text, i) => {
        const wide = pen.measureText(text).width, px = x_scale.compute(data.x[i]) + data.dx[i], py = y_scale.compute(data.y[i]) + data.dy[i];
        const left = data.align[i] === "left" ? px : data.align[i] === "right" ? px - wide : px - wide / 2;
        return [left, py - 4.5, left + wide, py + 4.5];   // as high as its capitals
    });
    const map = document.getElementById("map").getBoundingClientRect();
    for (const name of ["map-headers", "map-more"]) {     // what lies over the map
        const {left, right, top, bottom, width} = document.getElementById(name).getBoundingClientRect();
        if (width) boxes.push([left - map.left, top - map.top, right - map.left, bottom - map.top]);
    }
    return boxes.flatMap((a, i) => boxes.filter((b, j) => i < j && a[0] < b[2] && a[2] > b[0] && a[1] < b[3] && a[3] > b[1])).length;
})()"""


@pytest.mark.matrix
@pytest.mark.parametrize("models", [0, 1, 20, 500, 5000])
def test_nothing_overlaps_or_is_cut_off_at_any_size(models, chromium, tmp_path):
    publish(tmp_path / "results.duckdb", synthetic_study(models) if models > 52 else study(models)).close()
    with served(tmp_path / "results.duckdb", tmp_path / "server.log") as address:
        for width, height, theme in [(1440, 900, "light"), (1024, 768, "dark")]:
            page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
            visitor = Visitor(page).open(f"{address}?page=overview")
            visitor.until(
                "!document.getElementById('map-headers').childElementCount === !bouillon.model('nodes').data.key.length"
            )
            assert visitor.run(SPILLS) == {"wide": False, "apart": True, "inside": True, "plots": True}
            assert visitor.run(CUT) == []
            assert visitor.run(CLASHES) == 0
            rows = visitor.run("new Set(bouillon.model('nodes').data.y).size")
            assert rows <= 60
            if models == 0:
                page.get_by_role("heading", name="No models yet").wait_for()
            else:
                assert visitor.run("bouillon.model('labels').data.text.length") > 0
            page.close()
            assert visitor.complaints == []
    assert errors_of_ours(tmp_path / "server.log") == []
