"""Nothing is too small to read, cut off, overlapping or lost at any size of the window, on any page, light and dark."""

import pytest

from tests.viewer.browsing import Visitor, errors_of_ours, served, why_not
from viewer.session.notes import Notes
from viewer.session.saved_views import SavedViews

pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]

PAGES = ("decide", "overview", "table", "compare", "effects", "behaviours", "layers", "notes", "help")
SIZES = [(1440, 900, "light"), (1024, 768, "dark"), (860, 900, "light"), (390, 844, "dark")]
LEAST = 12
MORE = {
    "overview": ("", "&pane=budgets&filters=~0.999~accuracy"),
    "table": ("", "&look=lines&card=pruned"),
    "behaviours": ("&b_joint=pruned&b_joint=class&b_joint=cat",),
    "layers": ("&l_site=stem.conv.weight",),
}
"""Of pages that have more than they show at first, what is opened on them."""

# What a person can see of every text: its boxes, cut by all that scroll or hide around it
TEXTS = """(() => {
    const texts = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = document.createRange();
    const ways = ({a, b, c, d}) => Math.min(Math.hypot(a, b), Math.hypot(c, d));  // upright text is no smaller
    const scale = (element) => element.ownerSVGElement ? ways(element.getScreenCTM()) : 1;
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
        const element = node.parentElement, style = getComputedStyle(element);
        if (!node.data.trim() || element.closest("script,style,option,title,[hidden],.unseen,.skip") || style.visibility === "hidden") continue;
        if (!element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
        range.selectNodeContents(node);
        let layer = "page", clip = [0, 0, innerWidth, innerHeight];
        for (let each = element; each && each !== document.body; each = each.parentElement) {
            const {position, overflowX, overflowY, zIndex} = getComputedStyle(each), box = each.getBoundingClientRect();
            if (layer === "page" && (position === "fixed" || position === "sticky" || (position === "absolute" && zIndex !== "auto"))) layer = each.id || each.tagName;
            if (overflowX !== "visible") { clip[0] = Math.max(clip[0], box.left); clip[2] = Math.min(clip[2], box.right); }
            if (overflowY !== "visible") { clip[1] = Math.max(clip[1], box.top); clip[3] = Math.min(clip[3], box.bottom); }
        }
        for (const box of range.getClientRects()) {
            const seen = [Math.max(box.left, clip[0]), Math.max(box.top, clip[1]), Math.min(box.right, clip[2]), Math.min(box.bottom, clip[3])];
            if (seen[2] - seen[0] > 1 && seen[3] - seen[1] > 1)
                texts.push({text: node.data.trim().slice(0, 40), size: parseFloat(style.fontSize) * scale(element), layer, seen, element});
        }
    }
    return texts;
})()"""
SMALL = f"[...new Set({TEXTS}.filter(({{size}}) => size < {LEAST - 0.05}).map(({{text, size}}) => `${{text}}: ${{size.toFixed(1)}}`))]"
COLLISIONS = f"""(() => {{
    const texts = {TEXTS}, found = new Set();
    for (let i = 0; i < texts.length; i++) for (let j = 0; j < i; j++) {{
        const [a, b] = [texts[i], texts[j]];
        if (a.layer !== b.layer || a.element === b.element) continue;
        const wide = Math.min(a.seen[2], b.seen[2]) - Math.max(a.seen[0], b.seen[0]), high = Math.min(a.seen[3], b.seen[3]) - Math.max(a.seen[1], b.seen[1]);
        if (wide > 2 && high > 3) found.add(`${{b.text}} / ${{a.text}}`);
    }}
    return [...found];
}})()"""
CUT = """[...document.querySelectorAll("button, label, h1, h2, h3, summary, p, .tag, .field, figcaption, legend")].filter((e) => {
    const style = getComputedStyle(e);
    return e.checkVisibility() && e.textContent.trim() && style.overflowX !== "visible" && style.textOverflow !== "ellipsis"
        && style.webkitLineClamp === "none" && e.scrollWidth > e.clientWidth + 1 && !e.closest(".unseen,.skip");
}).map((e) => e.textContent.trim().slice(0, 40))"""
WIDE = "document.documentElement.scrollWidth > innerWidth"
DRAWN_SMALL = """["map", "scatter"].flatMap((name) => [...bouillon.model(name).references()]).flatMap((model) =>
    Object.entries(model.attributes ?? {}).filter(([key]) => key.endsWith("text_font_size"))
    .map(([key, value]) => [model.type, key, parseFloat(value?.value ?? value)])
    .filter(([type, , size]) => size < 12 && ["LinearAxis", "LogAxis", "Text"].includes(type)))"""


@pytest.fixture(scope="module")
def address(results, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "server.log"
    Notes(results).add(
        "model", "int8", "Slower than its base on all phones that we have: " * 4, tags=("slow", "ask QA"), who="rosa"
    )
    Notes(results).add("layer", "stem.0", "odd")
    SavedViews(results).save("Small and good enough", "page=table", "rosa")
    with served(results, log) as address:
        yield address
    assert errors_of_ours(log) == []


@pytest.mark.matrix
@pytest.mark.parametrize(("width", "height", "theme"), SIZES)
def test_text_can_be_read_and_nothing_collides_or_is_cut(width, height, theme, address, chromium):
    page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
    faults = {}
    for name in PAGES:
        for more in MORE.get(name, ("",)):
            visitor = Visitor(page).open(f"{address}?page={name}{more}&selected=base,pruned,int8,tuned")
            visitor.until(f"document.title.toLowerCase().startsWith('{name}')")
            visitor.drawn()
            assert visitor.run(f"{TEXTS}.length") > 20, "they are measured"
            for what, code in (
                ("small", SMALL),
                ("collides", COLLISIONS),
                ("cut", CUT),
                ("wide", WIDE),
                ("drawn", DRAWN_SMALL),
            ):
                if found := visitor.run(code):
                    faults[name + more, what] = found
    page.close()
    assert faults == {}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, size) for name in PAGES[2:-1] for size in ((1440, 900), (390, 844))),
        ("layers", (1150, 800)),
        ("layers", (720, 450)),  # 1440 at 200 % zoom
    ],
)
def test_the_head_and_the_first_column_of_every_table_stay(name, size, address, chromium):
    page = chromium.new_page(viewport={"width": size[0], "height": min(size[1], 560)})
    visitor = Visitor(page).open(f"{address}?page={name}&selected=base,pruned,int8,tuned&l_flat=1")
    holder = page.locator("#pane-page > .holder").first
    holder.wait_for()
    visitor.run("document.querySelector('#pane-page > .holder').scrollIntoView({block: 'end'})")
    places = """(() => {
        const holder = document.querySelector("#pane-page > .holder"), box = holder.getBoundingClientRect(), table = holder.querySelector(".sheet");
        const head = table.tHead.getBoundingClientRect(), first = table.tBodies[0].rows[0].cells[0].getBoundingClientRect();
        return {top: Math.round(head.top - box.top), left: Math.round(first.left - box.left), seen: box.bottom <= innerHeight + 1 && box.height >= Math.min(250, table.offsetHeight),
                down: holder.scrollHeight - holder.clientHeight, right: holder.scrollWidth - holder.clientWidth};
    })()"""
    before = visitor.run(places)
    assert before["seen"]
    visitor.run("document.querySelector('#pane-page > .holder').scrollTo(150, 150)")
    after = visitor.run(places)
    assert after["top"] == before["top"], "the head scrolled away"
    assert after["left"] == before["left"], "the first column scrolled away"
    if size[0] == 390:
        assert before["right"] > 0, "there is something to scroll"
    page.close()


def test_a_printed_page_is_whole_and_without_controls(address, chromium):
    page = chromium.new_page(viewport={"width": 1024, "height": 700})
    visitor = Visitor(page).open(f"{address}?page=layers&selected=base,pruned&l_flat=1")
    page.emulate_media(media="print")
    assert visitor.run("document.querySelector('.bar nav').checkVisibility()") is False
    whole = "(() => { const h = document.querySelector('.holder'); return h.scrollHeight - h.clientHeight <= 1; })()"
    assert visitor.run(whole), "rows are left out"
    assert visitor.run(
        "document.documentElement.scrollHeight >= document.querySelector('.sheet').getBoundingClientRect().bottom - 1"
    )
    page.close()
