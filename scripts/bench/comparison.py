"""What it costs to look inside models: the pages of behaviours and layers, and comparing weights.

    python scripts/bench/comparison.py [--only behaviours|many|weights|layers] [--workspace DIR]

behaviours  4 models x 50,000 instances x 1,000 classes: first table, then sort and filter, in Chromium
many        52 models x 50,000 instances: the class table, without a browser
weights     two models of 770 M random weights, for a base nobody compared them with: speed and peak memory
layers      500 layers x 5 models with stored statistics: opening the page in Chromium

CPU seconds are the server's: on a shared machine they say more than the clock, which is given too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pipeline.store.records import run_records as facts
from pipeline.store.writer import Store
from tests.viewer import browsing

START = datetime(2026, 1, 1)
INSTANCES = 50_000


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("behaviours", "many", "weights", "layers"))
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        _compare_here(*map(Path, chosen.side))
        return
    folder = chosen.workspace or Path(tempfile.mkdtemp(prefix="bouillon-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[Path], None]] = {
        "behaviours": behaviours, "many": many_models, "weights": weights, "layers": layers,
    }  # fmt: skip
    for name, part in parts.items():
        if chosen.only in (None, name):
            print(f"== {name}", flush=True)
            part(folder)


# ---- behaviours
def behaviours(folder: Path) -> None:
    """Open, sort and filter in a browser."""
    path = folder / "behaviours.duckdb"
    _predictions(path, models=4, classes=1000, probabilities=True)
    query = "page=behaviours&selected=m0,m1,m2,m3"
    with _visitor(path, folder) as (visitor, address, cpu):
        visitor.open(f"{address}?page=overview")  # the server has been started, and somebody has looked at the overview
        before, start = cpu(), time.perf_counter()
        visitor.page.goto(f"{address}?{query}", wait_until="commit")
        visitor.until("document.querySelectorAll('.behaviours tbody tr').length === 50")
        report("first table", time.perf_counter() - start, cpu() - before, "< 1 s")
        sort = _acts(visitor, cpu, ["#b-sort-3", "#b-sort-4"] * 8)
        report("sort, median", *sort, "< 150 ms")
        for field, value in (("#b-only", "changed"), ("#b-only", "all")):
            visitor.page.select_option(field, value)
            time.sleep(0.5)
        report(
            "filter, median",
            *_acts(visitor, cpu, [("#b-only", value) for value in ("changed", "broken", "mended", "all")] * 3),
            "< 150 ms",
        )
        before, start = cpu(), time.perf_counter()
        _act(visitor, ("#b-measure", "js"))
        report("Jensen-Shannon of 200 M probabilities, first time", time.perf_counter() - start, cpu() - before)


def many_models(folder: Path) -> None:
    """The class table of 52 models, from opening the results to the last row."""
    from viewer.behaviours.page import BehaviourPage
    from viewer.behaviours.queries import open_sheet
    from viewer.session.notes import Notes
    from viewer.session.state import ViewState

    path = folder / "many.duckdb"
    _predictions(path, models=52, classes=100, probabilities=False)
    state = ViewState()
    wall, cpu = [], []
    for _ in range(3):
        start, used = time.perf_counter(), time.process_time()
        sheet = open_sheet(path)
        assert sheet is not None
        keys = list(sheet.sets)
        page = BehaviourPage(sheet, state, keys, {key: key for key in keys}, Notes(path))
        rows, total = page.rows()
        assert (len(rows), total, len(page.headers())) == (50, 100, 52)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    report("class table of 52 x 50,000, best of 3", min(wall), min(cpu), "< 1 s")


def _predictions(path: Path, *, models: int, classes: int, probabilities: bool) -> None:
    if path.exists():
        return
    rng = np.random.default_rng(0)
    names = [f"class {number:04d}" for number in range(classes)]
    labels = rng.integers(0, classes, INSTANCES)
    store = Store(path)
    attributes = {
        "sex": rng.choice(["f", "m"], INSTANCES).tolist(),
        "age": rng.choice(["young", "old"], INSTANCES).tolist(),
    }
    store.write([
        facts.Run("r", "bench", {}, {}, {}, None, START), facts.RunEnd("r", START, 0),
        facts.DatasetInfo("d", "photos", "image-classification", names, {"evaluation": INSTANCES}, {}),
        facts.Instances("d", "evaluation", [f"i{at}" for at in range(INSTANCES)], [names[at] for at in labels], attributes),
    ])  # fmt: skip
    for number in range(models):
        logits = rng.standard_normal((INSTANCES, classes), dtype=np.float32)
        logits[np.arange(INSTANCES), labels] += 4 + 0.02 * number
        table = np.exp(logits - logits.max(axis=1, keepdims=True))
        table /= table.sum(axis=1, keepdims=True)
        answered = table.argmax(axis=1)
        correct = answered == labels
        rows = np.arange(INSTANCES)
        store.write([
            facts.Model(f"m{number}", "m0" if number else None, f"m{number}", "", "bench", "prune", 1, "prune", "torch", {}),
            facts.PredictionSet(
                f"m{number}", "ort", "d", [names[at] for at in answered], table[rows, answered], table[rows, labels], correct,
                correct.astype(np.float32), table if probabilities else None,
            ),
        ])  # fmt: skip
    store.publish()
    store.close()


# ---- weights
def weights(folder: Path) -> None:
    """Compare two large models in a process of its own, so that its peak memory is the comparison's."""
    pair = [folder / name for name in ("large-a", "large-b")]
    for seed, place in enumerate(pair):
        _large_model(place, seed)
    bandwidth = _read_bandwidth()
    command = [sys.executable, __file__, "--side", *map(str, pair)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    by_cpu = found["bytes"] / found["cpu"] / 1e9
    print(f"   {found['weights'] / 1e6:.0f} M weights in {found['wall']:.2f} s ({found['cpu']:.2f} s of CPU)")
    print(
        f"   per CPU second {by_cpu:.2f} GB; summing memory: {bandwidth:.2f} GB: {by_cpu / bandwidth:.0%} (target: 25 %)"
    )
    print(f"   peak {found['peak'] / 1e9:.2f} GB (target: < 1.5 GB)")


def _compare_here(first: Path, second: Path) -> None:
    """What the command `compare` does with the statistics of both models at hand."""
    from pipeline.layers.compare.models import Side, changes, summaries
    from pipeline.layers.records_file import load_records, save_records
    from pipeline.layers.stats.describe import statistics as describe
    from pipeline.store.records.run_records import Distribution

    sides = []
    for name, place in (("a", first), ("b", second)):
        stored = place / "distributions.jsonl"
        if not stored.exists():
            save_records(describe(place, name)[1], stored)  # type: ignore[arg-type]
        sides.append(Side(name, place, distributions=summaries(load_records(Distribution, stored))))  # type: ignore[arg-type]
    wall = cpu = float("inf")
    for _ in range(3):  # the fastest, as for the bandwidth
        start, used = time.perf_counter(), time.process_time()
        found = list(changes(*sides))
        wall, cpu = min(wall, time.perf_counter() - start), min(cpu, time.process_time() - used)
    size = sum(change.count for change in found)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"weights": size, "bytes": 8 * size, "wall": wall, "cpu": cpu, "peak": peak}))


def _large_model(place: Path, seed: int) -> None:
    """Shapes of a T5 of 770 M weights, written tensor by tensor."""
    if (place / "model.safetensors").exists():
        return
    place.mkdir(parents=True, exist_ok=True)
    shapes: dict[str, tuple[int, ...]] = {"shared.weight": (32128, 1024)}
    for at in range(48):
        for part in ("q", "k", "v", "o", *(("eq", "ek", "ev", "eo") if at >= 24 else ())):
            shapes[f"block.{at}.{part}.weight"] = (1024, 1024)
        shapes[f"block.{at}.wi.weight"] = (4096, 1024)
        shapes[f"block.{at}.wo.weight"] = (1024, 4096)
        shapes[f"block.{at}.norm.weight"] = (1024,)
    shapes["lm_head.weight"] = (32128, 1024)
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    common, noise = np.random.default_rng(9), np.random.default_rng(seed)
    with (place / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes.values():
            values = common.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
            values += noise.standard_normal(shape, dtype=np.float32) * np.float32(0.0002)
            file.write(values.tobytes())
    structure = {
        "modules": {name.rpartition(".")[0]: "Linear" for name in shapes},
        "parameters": list(shapes),
        "eps": {},
    }
    (place / "structure.json").write_text(json.dumps(structure))


def _read_bandwidth() -> float:
    """GB per CPU second of summing 1 GiB of float32 in memory: the fastest of five passes."""
    values = np.random.default_rng(0).standard_normal(1 << 28, dtype=np.float32)
    cpu = float("inf")
    for _ in range(5):
        used = time.process_time()
        for at in range(0, values.size, 1 << 20):
            values[at : at + (1 << 20)].sum()
        cpu = min(cpu, time.process_time() - used)
    return values.nbytes / cpu / 1e9


# ---- layers
def layers(folder: Path) -> None:
    """Open the page with 500 layers of five models."""
    path = folder / "layers.duckdb"
    _layer_results(path, count=500, models=5)
    with _visitor(path, folder) as (visitor, address, cpu):
        visitor.open(f"{address}?page=overview")
        before, start = cpu(), time.perf_counter()
        visitor.page.goto(f"{address}?page=layers&selected=m0,m1,m2,m3,m4&l_flat=1", wait_until="commit")
        visitor.until("document.querySelectorAll('.layers tbody tr').length === 50")
        report("500 layers x 5 models", time.perf_counter() - start, cpu() - before, "< 1 s")
        report("sort, median", *_acts(visitor, cpu, ["#l-sort-2", "#l-sort-3"] * 6), "")


def _layer_results(path: Path, *, count: int, models: int) -> None:
    from pipeline.layers.compare.difference import compare
    from pipeline.layers.stats.histogram import summarize

    if path.exists():
        return
    rng = np.random.default_rng(0)
    store = Store(path)
    store.write([facts.Run("r", "bench", {}, {}, {}, None, START), facts.RunEnd("r", START, 0)])
    for number in range(models):
        found: list[facts.Record] = [
            facts.Model(
                f"m{number}", "m0" if number else None, f"m{number}", "", "bench", "prune", 1, "prune", "torch", {}
            )
        ]
        for at in range(count):
            site, old = f"block.{at}.conv.weight", rng.standard_normal(4096).astype(np.float32)
            new = (old + number * rng.standard_normal(4096) * 0.05).astype(np.float32)
            s = summarize(new)
            limits = (s.histogram.low, s.histogram.high)
            found.append(facts.Distribution(
                f"m{number}", "parameter", "", site, f"block.{at}.conv", "Conv2d", at, [64, 64], s.count, s.zeros, 0, 0, s.minimum,
                s.maximum, s.mean, s.std, s.abs_sum, s.square_sum, 64, 0, None, *limits, s.histogram.counts,
            ))  # fmt: skip
            if number:
                d = compare(new, old, limits=limits)
                found.append(facts.Change(
                    f"m{number}", "m0", "parameter", "", "", site, f"block.{at}.conv", at, "compared", "", [], d.count, 0,
                    d.zero_both, d.zero_here, d.zero_there, d.mean_abs_change, d.relative_change, d.sqnr_db, d.cosine, *limits,
                    d.counts, d.counted,
                ))  # fmt: skip
        store.write(found)
    store.publish()
    store.close()


# ---- a browser
@contextmanager
def _visitor(path: Path, folder: Path) -> Iterator[tuple[Any, str, Callable[[], float]]]:
    """A page, the server's address, and a function that gives its CPU seconds."""
    import psutil
    from playwright.sync_api import sync_playwright

    with browsing.served(path, folder / "server.log") as address, sync_playwright() as playwright:
        server = next(p for p in psutil.Process().children() if "serve" in p.cmdline())
        browser = playwright.chromium.launch(executable_path=str(browsing.CHROMIUM), args=browsing.FLAGS)
        yield (
            browsing.Visitor(browser.new_page(viewport={"width": 1500, "height": 950})),
            address,
            lambda: sum(server.cpu_times()[:2]),
        )
        browser.close()


def _act(visitor: Any, what: str | tuple[str, str]) -> None:
    """Click, or choose from a list, and wait for the answer."""
    before = visitor.run("window.bouillonUpdates ?? 0")
    if isinstance(what, tuple):
        visitor.page.select_option(*what)
    else:
        visitor.page.click(what)
    visitor.until(f"(window.bouillonUpdates ?? 0) > {before}")


def _acts(visitor: Any, cpu: Callable[[], float], whats: list[Any]) -> tuple[float, float]:
    """Median seconds from the event to the new table in the page, measured in the browser; mean CPU seconds of the server."""
    taken, used = [], cpu()
    for what in whats:
        before = visitor.run("window.bouillonUpdates ?? 0")
        selector, value = what if isinstance(what, tuple) else (what, None)
        code = """([selector, value, before]) => new Promise((done) => {
            const at = document.querySelector(selector), start = performance.now();
            const look = () => (window.bouillonUpdates ?? 0) > before ? done(performance.now() - start) : setTimeout(look, 1);
            if (value === null) at.click();
            else { at.value = value; at.dispatchEvent(new Event("change", {bubbles: true})); }
            look();
        })"""
        taken.append(visitor.page.evaluate(code, [selector, value, before]) / 1000)
    return statistics.median(taken), (cpu() - used) / len(whats)


def report(what: str, wall: float, cpu: float, target: str = "") -> None:
    """One line."""
    print(
        f"   {what}: {wall * 1000:.0f} ms ({cpu * 1000:.0f} ms of CPU){f', target {target}' if target else ''}",
        flush=True,
    )


if __name__ == "__main__":
    main()
