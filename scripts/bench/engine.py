"""What the engine itself costs: planning, steps, reruns, parallelism, start-up.

    python scripts/bench/engine.py [--workspace DIR]
    python scripts/bench/engine.py --shared [--url s3://BUCKET/PREFIX]

Operations here do nothing (or spin for a known CPU time), so that what is measured is ours. CPU seconds are those of this
process and its children; ratios are taken within one run. The rerun needs a finished sweep: it runs `quickstart` first.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("PYTHONPATH", str(ROOT))

from ops.core.operation import OPERATIONS, Format
from pipeline.core.sharing.shared_artifacts import SharedPlace, open_artifacts
from pipeline.datasets.interface import Interface
from pipeline.datasets.open import open_dataset
from pipeline.engine.executors.local import LocalPool
from pipeline.engine.executors.open import open_executor
from pipeline.engine.jobs import Done, Workplace
from pipeline.engine.runner import run
from pipeline.engine.schedule import jobs_of
from pipeline.engine.stage import Planning
from pipeline.plan.planner import make_plan
from pipeline.plan.recipe import parse
from pipeline.plan.steps import Facts, Plan
from pipeline.store.records.run_records import Run
from pipeline.store.writer import Store
from pipeline.sweep.preflight import code_of_operations, with_content
from pipeline.sweep.recorder import Recorder

PLUGIN = "tests.pipeline.toy"
DIGITS = {"name": "digits", "dataset": "digits"}
SMALL, LARGE = 20, 520


def cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def plan_of(tree: dict) -> Plan:
    from tests.pipeline import toy

    facts = Facts(
        task="image-classification", data_fingerprint="d", models={"toy": with_content(toy.ENTRY, Path())},
        default_model="toy", accepts={"onnxruntime": Format.ONNX}, known_targets=("onnxruntime",), export_version=1,
        channel_multiple=8, interface=Interface.of(open_dataset(DIGITS, Path())).plain(),
        code=code_of_operations(OPERATIONS[name] for name in OPERATIONS if name.startswith("toy_")),
    )  # fmt: skip
    return make_plan(parse({"name": "bench", "tree": {"base": {"op": "toy_base", "then": tree}}}), facts)


def adds(count: int) -> dict:
    return {"add": {"op": "toy_add", "with": {"amount": {"each": [float(i) for i in range(count)]}}}}


def workplace_in(folder: Path) -> Workplace:
    (folder / "scratch").mkdir(parents=True)
    return Workplace(folder / "artifacts", folder / "scratch", folder / "data", DIGITS, {}, (PLUGIN,))


def run_all(
    plan: Plan, folder: Path, *, workers: int = 1, url: str | None = None, cluster: str | None = None
) -> tuple[float, float]:
    """Run and record every operation of a plan; return (CPU seconds, wall seconds) without the start of a cluster."""
    place = None if url is None else SharedPlace(url, leads=cluster is not None)
    workplace = replace(workplace_in(folder), shared=place)
    artifacts = open_artifacts(workplace.artifacts, place)
    executor = LocalPool(workplace, workers=workers)
    if cluster is not None:
        executor = open_executor("ray", workplace, workers, {"address": cluster, "folder": str(folder / "node")})
    jobs = [job for job in jobs_of(Planning(plan, {"onnxruntime": {}})) if job.makes_model]
    start, cpu = time.perf_counter(), cpu_seconds()
    recorder = Recorder(Store(folder / "results.duckdb"), plan, artifacts, run_id="bench")
    recorder.add([Run("bench", "bench", {}, {}, {}, None, datetime.now(UTC))])
    with executor as pool:
        for job, outcome in run(jobs, pool, artifacts):
            if outcome is not None:
                assert isinstance(outcome, Done), outcome
                recorder.record(job, outcome)
    recorder.flush(publish=True)
    return cpu_seconds() - cpu, time.perf_counter() - start


def bench_plan() -> None:
    plan_of(adds(10))  # imports and registries are not planning
    start = time.process_time()
    plan = plan_of(adds(5000))
    print(f"plan of {len(plan.steps):,} steps: {time.process_time() - start:.2f} s CPU (limit 2 s)")


def bench_overhead(folder: Path) -> None:
    small, _ = run_all(plan_of(adds(SMALL)), folder / "small")
    large, _ = run_all(plan_of(adds(LARGE)), folder / "large")
    print(
        f"overhead per step: {1000 * (large - small) / (LARGE - SMALL):.1f} ms CPU (limit 50 ms), over {LARGE - SMALL} steps"
    )


def bench_shared(folder: Path, url: str | None) -> None:
    """Wall-clock time per job: the store's part over a folder alone, and Ray's over both."""
    with_ray = importlib.util.find_spec("ray") is not None
    ways = {"a folder": (None, None), "an object store": (url, None), "Ray and an object store": (url, "local")}
    for way, (base, cluster) in ways.items():
        if cluster is not None and not with_ray:
            print("Ray is not installed: not measured")
            continue
        walls = []
        for size in (SMALL, LARGE):
            name = f"{way.replace(' ', '_')}{size}"
            place = (base or (folder / "objects").as_uri()) + f"/{name}" if way != "a folder" else None
            walls.append(run_all(plan_of(adds(size)), folder / name, url=place, cluster=cluster)[1])
        print(f"wall-clock per job through {way}: {1000 * (walls[1] - walls[0]) / (LARGE - SMALL):.1f} ms")


def bench_parallel(folder: Path) -> None:
    spins = {"spin": {"op": "toy_spin", "with": {"seconds": 0.75, "label": {"each": list(range(48))}}}}
    plan = plan_of(spins)
    walls = {workers: run_all(plan, folder / f"workers{workers}", workers=workers)[1] for workers in (1, 2)}
    print(
        f"local pool, 2 workers against 1: {walls[1] / walls[2]:.2f}x (limit 1.7x on 2 idle cores; "
        f"2 bare processes against 1 at the same time: {bare_gain():.2f}x)"
    )


def bare_gain(seconds: float = 3.0) -> float:
    """What the machine allows at this moment: how much more two processes get done than one."""
    spin = f"import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass"
    walls = []
    for count in (1, 2):
        start = time.perf_counter()
        for process in [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(count)]:
            process.wait()
        walls.append(time.perf_counter() - start)
    return 2 * walls[0] / walls[1]


def bench_commands(folder: Path) -> None:
    help_seconds = timed(["--help"], folder)
    print(f"--help: {help_seconds:.2f} s CPU (limit 1 s)")
    first = timed(["recipe=quickstart"], folder)
    again = timed(["recipe=quickstart"], folder)
    print(
        f"quickstart: {first:.1f} s CPU, again: {again:.2f} s CPU with imports (limit 3 s), {first / again:.0f}x less"
    )


def timed(arguments: list[str], folder: Path) -> float:
    """CPU seconds of one command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    settings = [] if arguments == ["--help"] else [f"workspace={folder}/work", f"results={folder}/results.duckdb"]
    subprocess.run([sys.executable, "-m", "pipeline", *arguments, *settings], check=True, capture_output=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, help="where to run (default: a temporary folder)")
    parser.add_argument("--url", help="an object store for the shared artifacts (default: a folder)")
    parser.add_argument("--shared", action="store_true", help="measure only what an object store and a cluster cost")
    options = parser.parse_args()
    chosen = options.workspace
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen or Path(temporary)
        if options.shared:
            bench_shared(folder / "shared", options.url)
            return
        bench_plan()
        bench_overhead(folder / "overhead")
        bench_parallel(folder / "parallel")
        bench_commands(folder)


if __name__ == "__main__":
    main()
