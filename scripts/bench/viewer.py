"""How fast the viewer is, in a real Chromium: first map, main-thread blocks, click to details, ten brush moves.

    python scripts/bench/viewer.py [--models 52 500 5000] [--repeats 5]
    python scripts/bench/viewer.py --visitors 20 [--seconds 120] [--models 500] [--results FILE]

Every repeat is a new browser with nothing cached. Times are medians of wall-clock time: measure on an idle machine. The
prototype's figures, measured on two cores of such a machine, stand beside ours. Selection details are also timed on the
server alone, for 16 random models of each study. With `--visitors`, so many people work at once without a browser, and what
they cost the server is measured.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import psutil

from scripts.bench.visitors import load
from tests.studies import study, synthetic_study
from tests.viewer.browsing import CHROMIUM, FLAGS, Visitor, errors_of_ours, served, why_not
from tests.viewer.stores import publish
from viewer.compare.comparison import compare_selection
from viewer.results.results import load_results

PROTOTYPE = {52: (1.1, 0.14, 111, 0.23), 500: (1.2, 0.25, 35, 0.56), 5000: (4.6, 3.3, 423, 2.5)}
_TARGETS = (0, 2, 3)
"""Of the columns. The longest block is Bokeh's own start, whatever the number of models: it is part of the first map."""
BLOCKS = """window.blocks = []; new PerformanceObserver((list) => list.getEntries().forEach((e) => window.blocks.push(e.duration)))
    .observe({type: "longtask", buffered: true});"""
CLICK = """() => new Promise((done) => {
    (function look() { if (window.painted) done(window.painted - window.pressed); else setTimeout(look, 5); })();
})"""
WATCH = """() => {
    addEventListener("pointerdown", () => { window.pressed = performance.now(); window.detailed = window.painted = null; }, true);
    new MutationObserver(() => {
        if (window.detailed) return;
        window.detailed = true;
        requestAnimationFrame(() => setTimeout(() => { window.painted = performance.now(); }));
    }).observe(document.getElementById("pane-side"), {childList: true});
}"""
SEEN = """(() => {
    const {key, model, x, y} = bouillon.model("nodes").data, frame = bouillon.view("map").frame, box = frame.bbox;
    return key.filter((_, i) => {
        const px = frame.x_scale.compute(x[i]), py = frame.y_scale.compute(y[i]);
        return model[i] >= 0 && px > box.left + 20 && px < box.right - 20 && py > box.top + 100 && py < box.bottom - 60;
    }).slice(0, 5);
})()"""
PAINTED = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
DRAWN = """() => {
    addEventListener("pointermove", () => { window.begun ??= performance.now(); }, true);
    for (const name of ["map", "scatter"])
        bouillon.view(name).repainted.connect(() => setTimeout(() => { window.drawn = performance.now(); }));
}"""
FOLLOWED = """() => new Promise((done) => {
    let at = window.drawn, since = performance.now();
    (function look() {
        const now = performance.now(), wanted = bouillon.passing();
        if (window.drawn !== at) { at = window.drawn; since = now; }
        const shown = [...bouillon.model("models").data.alpha].every((alpha, i) => (alpha > 0.5) === Boolean(wanted[i]));
        if (shown && now - since > 250) done(window.drawn - window.begun); else setTimeout(look, 5);
    })();
})"""


def main() -> int:
    """Measure, print a table, and say which targets are missed."""
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--models", type=int, nargs="+", default=[52, 500, 5000])
    args.add_argument("--repeats", type=int, default=5)
    args.add_argument("--visitors", type=int, default=0)
    args.add_argument("--seconds", type=float, default=120)
    args.add_argument("--results", type=Path, help="of visitors: look at this file instead of a made one")
    asked = args.parse_args()
    if asked.visitors:
        return _crowd(asked)
    if why := why_not():
        print(why)
        return 2
    print(
        f"{'models':>7} {'first map':>16} {'longest block':>18} {'click to details':>20} {'10 brush moves':>18} {'16 random models':>18}"
    )
    missed = 0
    for models in asked.models:
        ours = measure(models, asked.repeats)
        theirs = PROTOTYPE.get(models)
        cells = [f"{ours[0]:.2f} s", f"{ours[1]:.2f} s", f"{ours[2]:.0f} ms", f"{ours[3]:.2f} s"]
        if theirs is not None:
            cells = [f"{cell} / {goal}" for cell, goal in zip(cells, theirs, strict=True)]
            missed += sum(ours[at] > theirs[at] for at in _TARGETS)
        print(
            f"{models:>7} {cells[0]:>16} {cells[1]:>18} {cells[2]:>20} {cells[3]:>18} {ours[4]:>15.0f} ms", flush=True
        )
    print("ours / the prototype's; the last column: the slowest of 100 draws of 16 models, time of the variable finder")
    return 1 if missed else 0


def _crowd(asked: argparse.Namespace) -> int:
    """Measure what visitors cost the server on results of the first of the sizes, or on a file."""
    with tempfile.TemporaryDirectory() as folder:
        results = asked.results or Path(folder) / "results.duckdb"
        if asked.results is None:
            publish(results, synthetic_study(asked.models[0]) if asked.models[0] > 52 else study(52)).close()
        with served(results, Path(folder) / "log") as address:
            server = next(
                each for each in psutil.Process().children() if any("serve" in word for word in each.cmdline())
            )
            found = load(address, server, visitors=asked.visitors, seconds=asked.seconds)
            faults = errors_of_ours(Path(folder) / "log")
    print(f"{asked.visitors} visitors for {asked.seconds:.0f} s: {found}")
    print("\n".join(faults[:5]))
    return 0 if found.is_within and not faults else 1


def measure(models: int, repeats: int) -> tuple[float, float, float, float, float]:
    """First map [s], longest block [s], click to details [ms], ten brush moves [s], slowest comparison [ms]."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.duckdb"
        publish(results, synthetic_study(models) if models > 52 else study(models)).close()
        with served(results, Path(folder) / "log") as address, sync_playwright() as playwright:
            _visit(playwright, address)  # the server has read the results, and Python its modules
            visits = [_visit(playwright, address) for _ in range(repeats)]
        medians = [statistics.median(column) for column in zip(*visits, strict=True)]
        return (*medians, _comparison(results))


def _visit(playwright: Any, address: str) -> tuple[float, float, float, float]:
    browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
    try:
        page = browser.new_page(viewport={"width": 1600, "height": 950})
        page.add_init_script(BLOCKS)
        visitor = Visitor(page)
        start = time.perf_counter()
        visitor.open(f"{address}?page=overview")
        page.evaluate(PAINTED)
        first = time.perf_counter() - start
        page.wait_for_timeout(500)
        blocks = visitor.run("window.blocks")
        click = _click(visitor)
        brush = _brush(visitor)
        return first, max(blocks, default=0) / 1000, click, brush
    finally:
        browser.close()


def _click(visitor: Visitor) -> float:
    """Milliseconds from the press of the button to the painted details; the median of several models."""
    visitor.run(f"({WATCH})()")
    keys = visitor.run(SEEN)
    times = []
    for key in keys:
        x, y = visitor.point("map", key)
        visitor.page.mouse.move(x, y)
        visitor.page.wait_for_timeout(400)
        visitor.page.mouse.down()
        visitor.page.mouse.up()
        times.append(visitor.run(f"({CLICK})()"))
        visitor.page.wait_for_timeout(400)
    return statistics.median(times)


def _brush(visitor: Visitor) -> float:
    """Seconds from the first of ten moves over a histogram until both plots are drawn with the last one.

    Frames between may be skipped. The clock is the page's; its last drawing counts, after which it was quiet for a while.
    """
    page = visitor.page
    page.get_by_role("tab", name="Budgets").click()
    page.get_by_role("button", name="Add a budget").click()
    page.locator("svg[data-edges]").wait_for()
    box = page.locator("svg[data-edges]").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] - 2, y)
    page.mouse.down()
    visitor.run(f"({DRAWN})()")
    for step in range(1, 11):
        page.mouse.move(box["x"] + box["width"] * (1 - 0.05 * step), y)
    taken: float = page.evaluate(FOLLOWED) / 1000
    page.mouse.up()
    passing = visitor.run("[...bouillon.model('models').data.alpha].filter((a) => a > 0.5).length")
    if passing == visitor.run("bouillon.model('models').data.key.length"):
        raise RuntimeError("The brush changed nothing: " + json.dumps(visitor.complaints))
    return taken


def _comparison(results: Path) -> float:
    """Milliseconds of CPU that the slowest of 100 random selections of 16 models takes."""
    seen = load_results(results)
    draw = random.Random(0)
    times = []
    for _ in range(100):
        keys = draw.sample(seen.keys, min(16, len(seen.keys)))
        start = time.process_time()
        compare_selection(seen.forest, keys)
        times.append(1000 * (time.process_time() - start))
    return max(times)


if __name__ == "__main__":
    sys.exit(main())
