"""Behaviours and layers in a real browser: every control, hostile text, and what is not there."""

import csv

import pytest

from pipeline.store.writer import Store
from pipeline.sweep.config import Config
from pipeline.sweep.known_data import remember
from tests.viewer import browsing
from tests.viewer.inside_stores import HOSTILE, publish
from viewer.behaviours.instance_previews import DataPlace, Pictures

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(browsing.why_not()), reason=browsing.why_not())]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inside")
    publish(folder / "results.duckdb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))  # where pictures are kept
        store = Store(folder / "results.duckdb")
        remember("d1", Config(recipe={}, dataset={"name": "mine", "dataset": "digits"}), store.identity)
        store.close()
        pictures = Pictures(DataPlace(folder / "results.duckdb", "", "d1", "pictures"))
        pictures._keep("i0007", {"image": PIXEL})  # as if the data set had been asked for it
        pictures._keep("i0008", {"question": f"Who {HOSTILE}?", "context": "A long story. " * 60})
        with browsing.served(folder / "results.duckdb", folder / "server.log") as found:
            yield found


@pytest.fixture
def visit(chromium, address):
    pages = []

    def open_page(query):
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        pages.append(page)
        return browsing.Visitor(page).open(f"{address}?{query}")

    yield open_page
    for page in pages:
        page.close()


def add_to_rail(v, name):
    """Put a model on the rail by words of its name."""
    v.page.click("#menu-rail summary")
    v.page.fill("#rail-text", name)
    v.page.locator("#pane-rail_found [data-do=rail_add]").first.wait_for()
    v.settle(lambda: v.page.press("#rail-text", "Enter"))


def first_cells(visitor):
    return visitor.texts(".behaviours tbody tr:first-child th .plain:not(.inner), .behaviours tbody tr:first-child td")


def test_behaviours_by_hand(visit):
    v = visit("page=behaviours&selected=base,pruned,int8")
    page = v.page
    assert first_cells(v)[0] == HOSTILE
    assert "+100.0 pp" in first_cells(v)[2]
    v.settle(lambda: page.click("#b-rel"))
    assert "from 0" in first_cells(v)[2]
    v.settle(lambda: page.click("#b-sort-3"))
    v.settle(lambda: page.click("#b-sort-name"))
    assert first_cells(v)[0] == HOSTILE, "by name"
    v.settle(lambda: page.select_option("#b-measure", "kl"))
    assert "KL" in page.locator("#b-measure option:checked").inner_text()
    v.settle(lambda: page.select_option("#b-only", "broken"))
    v.settle(lambda: page.select_option("#b-of", "pruned"))
    assert page.locator("#b-count").inner_text().startswith("60 of 240 instances")
    v.settle(lambda: page.fill("#b-text", "i0005") or page.press("#b-text", "Enter"))
    assert page.locator("#b-count").inner_text().startswith("1 of 240")
    v.settle(lambda: page.click(".chip"))
    assert page.locator("#b-count").inner_text().startswith("60 of 240")
    assert "b_of=" in page.url
    assert "b_only=broken" in page.url
    assert not v.complaints
    assert v.run("window.hurt") is None


def test_a_class_opens_its_instances_and_the_link_brings_them_back(visit):
    v = visit("page=behaviours&selected=base,pruned,int8")
    v.settle(lambda: v.page.click("#b-row-1"))
    assert v.texts("#b-page")[0] == "Instances 1 to 50 of 60"
    assert len(v.texts(".behaviours tbody tr")) == 50
    v.settle(lambda: v.page.click("#b-next"))
    assert v.texts("#b-page")[0] == "Instances 51 to 60 of 60"
    v.until("document.querySelector('#pane-page p.bad') !== null")
    assert "instances cannot be shown" in v.texts("#pane-page p.bad")[0].lower()
    again = visit(v.page.url.partition("?")[2])
    assert again.texts("#b-page")[0] == "Instances 51 to 60 of 60"
    assert again.run("window.hurt") is None


def test_dragging_over_a_histogram(visit):
    v = visit("page=behaviours&selected=base,pruned,int8")
    box = v.page.locator("svg.histogram[data-model=pruned]").bounding_box()
    y = box["y"] + box["height"] / 2
    v.settle(lambda: v.drag((box["x"] + box["width"] * 0.8, y), (box["x"] + box["width"] - 1, y)))
    assert v.texts("#b-count")[0].startswith("60 of 240")
    v.settle(lambda: v.page.click(".chip"))
    assert v.texts("#b-count")[0].startswith("240 of 240")


def test_groups_models_and_the_flip_matrix(visit):
    v = visit("page=behaviours&selected=base,pruned")
    v.settle(lambda: v.page.select_option("#b-group-0", "sex"))
    v.settle(lambda: v.page.select_option("#b-group-1", "age"))
    assert len(v.texts("#b-groups tbody tr, #b-groups table > tr, #b-groups tr")) >= 4
    assert "p " in v.texts("#b-groups td")[2]
    add_to_rail(v, "other")
    assert len(v.texts(".behaviours th.model")) == 3
    v.settle(lambda: v.page.click("#rail [data-do=rail_base][data-key=pruned]"))
    assert "pruned" in v.texts(".behaviours th.base .who")[0]
    v.settle(lambda: v.page.click("#rail [data-do=rail_drop][data-key=other]"))
    assert len(v.texts(".behaviours th.model")) == 2
    assert "Bars: change against the base, harm to the left" in v.texts("#b-scale")[0]
    assert "p is below 0.05: exact McNemar tests" in v.texts("#b-scale")[0]
    v.settle(lambda: v.page.select_option("#b-only", "broken"))
    assert v.texts("#b-untested") == ["Instances were chosen by what the models say of them: no test applies."]
    assert "no test applies" in v.texts("#b-groups p")[0]
    assert "p " not in " ".join(v.texts("#b-groups td"))
    assert "p is below" not in v.texts("#b-scale")[0]
    assert "instances chosen" in v.texts(".behaviours th.model:last-child")[0]
    v.settle(lambda: v.page.select_option("#b-only", "all"))
    assert v.texts("#b-untested") == []
    assert HOSTILE in " ".join(v.texts("#b-matrix th"))
    assert v.run("window.hurt") is None


def test_a_flip_shows_its_instances_and_asks_for_the_layers_behind_them(visit):
    v = visit("page=behaviours&selected=base,pruned,int8")
    page = v.page
    v.settle(page.locator("th.model", has_text="int8").locator("[data-do=b_flip]").first.click)
    assert v.texts("#b-count")[0].startswith("12 of 240"), "60 of each class, of which a fifth changed"
    assert len(v.texts(".behaviours td.changed")) >= 12
    v.settle(lambda: page.click(".chip"))
    page.locator("th.model", has_text="int8").locator("[data-row=flip]").first.focus()
    v.settle(lambda: page.keyboard.press("Enter"))
    v.until("document.activeElement.id === 'b-joint'")
    assert v.texts("#b-joint h2")[0].startswith("Layers that differ on these: 12 answers that changed from")
    v.until("document.querySelector('#b-joint .bad')?.textContent.includes('is not what it was')")
    assert "b_joint=int8" in page.url
    v.settle(lambda: page.click("#b-joint button[data-row='']"))
    assert v.texts("#b-joint") == []
    page.go_back()
    v.until("document.getElementById('b-joint') !== null")
    assert v.run("window.hurt") is None
    assert not v.complaints


def test_the_strip_is_walked_by_arrows_and_opens_a_layer(visit):
    v = visit("page=layers&selected=base,pruned,int8")
    page = v.page
    page.focus("#l-cell-0-0")
    for key, at in (("ArrowRight", "0-1"), ("ArrowDown", "1-1"), ("ArrowRight", "1-2")):
        page.keyboard.press(key)
        assert v.run("document.activeElement.id") == f"l-cell-{at}"
    v.settle(lambda: page.keyboard.press("Enter"))
    assert HOSTILE in v.texts("#l-site h2")[0]
    assert len(v.texts("#l-site figure")) == 3
    page.locator(".finding-mark").first.focus()
    assert "was flattened" in v.texts("#about")[0]
    v.settle(page.go_back)
    v.until("document.getElementById('l-site') === null")
    assert v.run("window.hurt") is None
    assert not v.complaints


def test_a_note_is_kept_and_taken_away(visit):
    v = visit("page=behaviours&selected=base,pruned")
    v.page.locator("tbody .flag summary").first.click()
    v.page.locator("tbody .flag textarea").first.fill(HOSTILE)
    v.settle(v.page.locator("tbody .flag button[type=submit]").first.click)
    assert "⚑" in v.texts("tbody .flag summary")
    again = visit("page=behaviours&selected=base,pruned")
    assert "⚑" in again.texts("tbody .flag summary")
    again.settle(lambda: again.run("document.querySelector('[data-do=b_unflag]').click()"))
    assert "⚑" not in again.texts("tbody .flag summary")
    assert again.run("window.hurt") is None


def test_the_rest_of_the_controls_of_behaviours(visit):
    v = visit("page=behaviours&selected=base,pruned,int8")
    page = v.page
    v.settle(lambda: page.select_option("#b-by", "value"))
    assert "b_by=value" in page.url
    v.settle(lambda: page.click("#b-rows-instances"))
    assert v.texts("#b-page")[0] == "Instances 1 to 50 of 240"
    v.settle(lambda: page.select_option("#b-only", "exemplars"))
    assert v.texts("#b-count")[0].startswith("12 of 240")
    v.settle(lambda: page.fill("#b-least", "1") or page.press("#b-least", "Enter"))
    assert v.texts("#b-count")[0].startswith("96 of 240")
    v.settle(lambda: page.click("#b-rows-classes"))
    add_to_rail(v, "other")
    v.settle(lambda: page.click("#rail [data-do=rail_base][data-key=other]"))
    assert v.texts(".behaviours th.base .who")[0].startswith("Dother"), "any model may be the base, with its own letter"
    v.settle(lambda: page.select_option("#b-matrix-of", "int8"))
    again = visit(page.url.partition("?")[2])
    assert again.run("document.getElementById('b-matrix-of').value") == "int8", "it is part of the address"
    with page.expect_download() as download:
        page.click("[data-do=b_export]")
    rows = download.value.path().read_text().splitlines()
    assert rows[0].startswith("row,model_key,model,measure,instances,value,low,high,change")
    assert len(rows) > 4 * 4
    values = [row for row in csv.DictReader(rows) if row["measure"]]
    assert {(row["low"], row["high"]) for row in values} == {("", "")}, "of instances chosen by their outcome"
    assert all(row["value"] and row["change"] for row in values)
    assert not v.complaints


def test_a_picture_grows_when_it_is_clicked(visit, address):
    v = visit("page=behaviours&selected=base&b_rows=instances&b_text=i0007")
    v.until("document.querySelector('.picture img') !== null")
    low = v.page.locator(".picture img").bounding_box()["height"]
    v.page.locator(".picture img").click()
    assert v.page.locator(".picture img").bounding_box()["height"] > 3 * low
    assert v.run("document.querySelector('.picture img').src").startswith("data:image/png;base64,")


def test_a_text_is_told_below_its_label_and_stays_text(visit):
    v = visit("page=behaviours&selected=base,pruned&b_rows=instances&b_text=i0008")
    v.until("document.querySelector('.picture p') !== null")
    assert v.texts(".picture p")[0].startswith(f"question Who {HOSTILE}")
    row, text, cell = (v.page.locator(place).first.bounding_box() for place in ("tbody th", ".picture", "tbody td"))
    assert text["x"] + text["width"] <= row["x"] + row["width"] <= cell["x"] + 1
    assert text["height"] <= 77, "a long text is scrolled"
    assert not v.complaints


def test_the_rest_of_the_controls_of_layers(visit):
    v = visit("page=layers&selected=base,pruned")
    page = v.page
    add_to_rail(v, "int8")
    assert len(v.texts(".layers thead tr:first-child th")) == 4
    v.settle(lambda: page.click("#rail [data-do=rail_drop][data-key=pruned]"))
    assert len(v.texts(".layers thead tr:first-child th")) == 3
    v.settle(lambda: page.select_option("#l-by", "cosine"))
    assert "l_by=cosine" in page.url
    page.click("#l-types summary")
    v.settle(lambda: page.locator("#l-types label", has_text="BatchNorm2d").locator("input").click())
    assert v.texts(".layers tbody tr .site")[0].startswith("stem.norm.weight")
    v.settle(lambda: page.click("#l-show-numbers"))
    assert "time 250 µs" in " ".join(v.texts(".layers td")).replace("\n", " ")
    assert "The time of each layer is not known of int8" in v.texts("#pane-page p.soft")[0]
    v.settle(lambda: page.click("#l-show-activations"))
    v.settle(lambda: page.click("#l-stage-onnx"))
    assert "l_stage=onnx" in page.url
    assert v.texts("#l-chart") == [], "int8 has no such layer"
    page.click("#l-types summary")
    v.settle(lambda: page.locator("#l-types label", has_text="BatchNorm2d").locator("input").click())
    assert len(v.texts("#l-chart")) == 1
    page.locator("[data-do=copy_text]").first.click()
    v.until("document.getElementById('live').textContent !== ''")
    with page.expect_download() as download:
        page.click("[data-do=l_export]")
    assert download.value.path().read_text().startswith("model_key,model,place,stage,site,status,relative_change")
    v.settle(lambda: page.click("#rail [data-do=rail_base][data-key=int8]"))
    assert "int8" in v.texts(".layers thead th")[1]


def test_a_note_on_a_layer(visit):
    v = visit("page=layers&selected=base,pruned")
    v.page.locator("tbody .flag summary").first.click()
    v.page.locator("tbody .flag textarea").first.fill(HOSTILE)
    v.settle(v.page.locator("tbody .flag button[type=submit]").first.click)
    rows = len(v.texts(".layers tbody tr"))
    v.settle(lambda: v.page.click("#l-flagged"))
    assert v.texts(".layers tbody tr .site")[0].startswith("▾stem")
    assert 0 < len(v.texts(".layers tbody tr")) < rows
    again = visit(v.page.url.partition("?")[2])
    assert "⚑" in again.texts("tbody .flag summary")[0]
    again.settle(lambda: again.run("document.querySelector('tbody [data-do=l_unflag]').click()"))
    assert again.texts(".layers tbody tr") == ["No layer matches."]
    assert again.run("window.hurt") is None


def test_layers_by_hand(visit):
    v = visit("page=layers&selected=base,pruned,int8")
    page = v.page
    assert v.texts(".layers tbody tr .site")[0].startswith("▾stem"), "a small network is open"
    rows = len(v.texts(".layers tbody tr"))
    v.settle(lambda: page.click("#l-open-1"))
    assert v.texts(".layers tbody tr .site")[0].startswith("▸stem")
    assert len(v.texts(".layers tbody tr")) < rows
    v.settle(lambda: page.click("#l-open-1"))
    assert len(v.texts(".layers tbody tr")) >= 5
    v.settle(lambda: page.click("#l-list"))
    assert len(v.texts(".layers tbody tr")) == 5
    v.settle(lambda: page.click("#l-sort-2"))
    assert v.texts(".layers tbody tr:first-child .site")[0].startswith("head.bias")
    low = page.locator("svg.bars").first.bounding_box()["height"]
    page.locator("svg.bars").first.click()
    assert page.locator("svg.bars").first.bounding_box()["height"] > 2 * low, "a row grows when it is clicked"
    v.settle(lambda: page.fill("#l-filter", "(((") or page.press("#l-filter", "Enter"))
    assert "No valid expression: missing )" in v.texts("#l-filter-problem")[0]
    assert page.locator("#l-filter").get_attribute("aria-invalid") == "true"
    v.settle(lambda: page.fill("#l-filter", "^stem") or page.press("#l-filter", "Enter"))
    assert v.texts("#l-filter-problem") == []
    assert len(v.texts(".layers tbody tr")) == 2
    assert "not in this model: folded into 'stem.conv'" in " ".join(v.texts(".layers td"))
    for kind in ("sparsity", "activations", "numbers"):
        v.settle(lambda kind=kind: page.click(f"#l-show-{kind}"))
        assert len(v.texts(".layers tbody tr")) == 2
    assert HOSTILE in " ".join(v.run("[...document.querySelectorAll('.finding')].map((each) => each.textContent)"))
    assert "l_filter=%5Estem" in page.url
    assert v.run("window.hurt") is None
    assert not v.complaints


def test_models_whose_files_are_gone_give_a_sentence_and_the_rest_of_the_page_works(visit):
    v = visit("page=layers&selected=base,pruned,other&base=pruned")
    v.until("document.querySelector('#pane-page [role=status]')?.textContent.includes('files are gone')")
    said = v.texts("#pane-page [role=status]")
    assert len(said) == 2
    assert len(v.texts(".layers tbody tr")) > 3
    v.settle(lambda: v.page.click("#l-list"))
    assert len(v.texts(".layers tbody tr")) == 5


BEYOND = """[...document.querySelectorAll("body *")].filter((e) => {
    if (!e.checkVisibility() || e.closest(".unseen, .skip, .holder, .wide, #frame, #pane-pages, svg, #map-headers, .canvas")) return false;
    const {left, right, width, height} = e.getBoundingClientRect();
    return width && height && (right > innerWidth + 1 || left < -1);
}).map((e) => e.outerHTML.slice(0, 80))"""
NARROW = {
    "decide": ("page=decide", "#sentence", ["#menu-rail summary"]),
    "overview": ("page=overview", "#map", []),
    "table": ("page=table", ".models tbody tr", ["#menu-columns summary"]),
    "compare": ("page=compare&selected=base,int8", ".holder tbody tr", ["#menu-export summary"]),
    "behaviours": ("page=behaviours&selected=base,int8", ".behaviours tbody tr", ["#menu-theme summary"]),
    "instances": ("page=behaviours&b_rows=instances", ".behaviours tbody tr", []),
    "layers": ("page=layers&l_show=weights", ".layers tbody tr", ["#l-types summary"]),
    "numbers of layers": ("page=layers&l_show=numbers", ".layers tbody tr", []),
    "budgets": ("pane=budgets&filters=0.5~~accuracy", "#budget-text", []),
}


@pytest.mark.matrix
@pytest.mark.parametrize("width", [1024, 860, 720, 390])
def test_every_page_can_be_read_in_a_narrow_window(visit, width):
    v = visit("")
    v.page.set_viewport_size({"width": width, "height": 800})
    for name, (query, content, menus) in NARROW.items():
        v.open(v.page.url.partition("?")[0] + "?" + query)
        shown = v.page.locator(content).first
        shown.scroll_into_view_if_needed()
        box = shown.bounding_box()
        seen = "([x, y, of]) => document.elementFromPoint(x, y)?.closest(of) != null"
        assert v.page.evaluate(seen, [box["x"] + 5, box["y"] + 5, content]), f"{name} is where nobody sees it"
        for menu in menus:
            v.page.click(menu)
        v.page.fill("#search", "e")
        v.page.locator("#pane-found button").first.wait_for()
        assert v.run("document.documentElement.scrollWidth <= innerWidth"), name
        assert v.run(BEYOND) == [], name
    assert not v.complaints
