"""The page Table as it is, beside the same columns in Panel's own Tabulator: first paint, bytes, sort, scroll, in a real Chromium.

    python scripts/bench/tables.py [--models 52 500 5000] [--repeats 3]

Both are served by `panel serve` on this machine. Every repeat is a new browser with nothing cached. Times are medians of wall-clock
time: measure on an idle machine, or read them as ratios. Bytes are those of responses and of the websocket's frames, as sent.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.studies import study, synthetic_study
from tests.viewer.browsing import CHROMIUM, FLAGS, free_port, served, why_not
from tests.viewer.stores import publish

TABULATOR = """
import panel as pn
import pandas as pd
from pathlib import Path
from viewer.results.results import load_results
from viewer.session.state import ViewState
from viewer.table.rows import TableRows

pn.extension("tabulator")
table = TableRows(load_results(Path({path!r})), ViewState(), {{}})
columns = table.headings
frame = pd.DataFrame({{c.title: [c.values[row] if c.is_number else c.text(row) for row in table.rows] for c in columns}})
pn.widgets.Tabulator(frame, pagination={pagination!r}, page_size=50, height=800, sizing_mode="stretch_width", frozen_columns=[columns[0].title],
                     header_filters=True, selectable="checkbox", show_index=False, disabled=True).servable()
"""
OURS = {
    "ready": "window.bouillonReady !== undefined && document.querySelectorAll('.models tbody tr').length >= 50",
    "sort": "() => [...document.querySelectorAll('.models thead button')].find((b) => b.textContent.includes('Latency')).click()",
    "first": "document.querySelector('.models tbody td.name').textContent",
    "holder": "document.querySelector('.holder')",
}
DEEP = (
    "const walk = (r) => [...r.querySelectorAll('*')].flatMap((e) => e.shadowRoot ? [e, ...walk(e.shadowRoot)] : [e]);"
)
ALL = f"(() => {{ {DEEP} return walk(document); }})()"
THEIRS = {
    "ready": f"{ALL}.filter((e) => e.matches('.tabulator-row')).length >= 10",
    "sort": f"() => {ALL}.find((e) => e.matches('.tabulator-col[tabulator-field=Latency] .tabulator-col-title')).click()",
    "first": f"({ALL}.find((e) => e.matches('.tabulator-row .tabulator-cell.tabulator-frozen[tabulator-field=Model]'))?.textContent)",
    "holder": f"{ALL}.find((e) => e.matches('.tabulator-tableholder'))",
}
PAINTED = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
SCROLL = """async (holder) => { const step = () => new Promise((done) => requestAnimationFrame(done)); const start = performance.now();
    for (let at = 1; at <= 30; at++) { holder.scrollTop = at * 40; await step(); } return performance.now() - start; }"""


def main() -> int:
    """Measure and print a table."""
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--models", type=int, nargs="+", default=[52, 500, 5000])
    args.add_argument("--repeats", type=int, default=3)
    asked = args.parse_args()
    if why := why_not():
        print(why)
        return 2
    print(f"{'models':>7} {'table':>22} {'first paint':>12} {'kB sent':>9} {'sort':>9} {'30 scrolls':>11}")
    for models in asked.models:
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder) / "results.duckdb"
            publish(results, synthetic_study(models) if models > 52 else study(models)).close()
            for name, address, codes in _tables(results, Path(folder)):
                paint, size, sort, scroll = measure(address, codes, asked.repeats)
                print(
                    f"{models:>7} {name:>22} {paint:>10.2f} s {size:>9.0f} {sort:>6.0f} ms {scroll:>8.0f} ms",
                    flush=True,
                )
    return 0


def _tables(results: Path, folder: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    with served(results, folder / "log") as address:
        yield "ours", f"{address}?page=table", OURS
    for pagination in ("remote", "local"):
        (folder / "table.py").write_text(TABULATOR.format(path=str(results), pagination=pagination))
        with panel_page(folder / "table.py") as address:
            yield f"Tabulator, {pagination}", address, THEIRS


@contextmanager
def panel_page(script: Path) -> Iterator[str]:
    """Serve a script with Panel; yields the page's address."""
    port = free_port()
    command = [sys.executable, "-m", "panel", "serve", str(script), "--port", str(port), "--address", "127.0.0.1"]
    server = subprocess.Popen(command, cwd=ROOT, env=None, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}/{script.stem}"
    try:
        while server.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/static/js/bokeh.min.js").close()
            except OSError:
                time.sleep(0.1)
            else:
                break
        yield address
    finally:
        server.terminate()
        server.wait()


def measure(address: str, codes: dict[str, str], repeats: int) -> tuple[float, float, float, float]:
    """Seconds to the first paint of rows, kB sent, ms from a click on a heading to other rows, ms of thirty scrolls."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        _visit(playwright, address, codes)  # the server has read the results, and Python its modules
        visits = [_visit(playwright, address, codes) for _ in range(repeats)]
    paint, size, sort, scroll = (statistics.median(column) for column in zip(*visits, strict=True))
    return paint, size, sort, scroll


def _visit(playwright: Any, address: str, codes: dict[str, str]) -> tuple[float, float, float, float]:
    from playwright.sync_api import TimeoutError as NothingCameError

    browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
    try:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(120_000)
        sent = _count_bytes(page)
        start = time.perf_counter()
        page.goto(address, wait_until="commit")
        page.wait_for_function(codes["ready"])
        page.evaluate(PAINTED)
        paint = time.perf_counter() - start
        page.wait_for_timeout(500)
        size = sent()
        holder = page.evaluate_handle(codes["holder"])
        scroll = page.evaluate(SCROLL, holder)
        before = page.evaluate(codes["first"])
        start = time.perf_counter()
        for _ in range(2):  # down, then up: one of them changes the first row
            page.evaluate(codes["sort"])
            try:
                page.wait_for_function(f"{codes['first']} !== {before!r}", timeout=3000)
                break
            except NothingCameError:  # the same model is first either way
                start = time.perf_counter()
        page.evaluate(PAINTED)
        return paint, size / 1000, 1000 * (time.perf_counter() - start), float(scroll)
    finally:
        browser.close()


def _count_bytes(page: Any) -> Callable[[], float]:
    """Return a function that gives the bytes that came so far."""
    total = [0.0]
    client = page.context.new_cdp_session(page)
    client.send("Network.enable")
    client.on("Network.loadingFinished", lambda event: total.__setitem__(0, total[0] + event["encodedDataLength"]))
    client.on(
        "Network.webSocketFrameReceived",
        lambda event: total.__setitem__(0, total[0] + len(event["response"]["payloadData"])),
    )
    return lambda: total[0]


if __name__ == "__main__":
    sys.exit(main())
