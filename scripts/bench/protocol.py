"""Whether our measuring can be trusted: against bare loops, over sessions, beside a busy neighbour, against itself.

    python scripts/bench/protocol.py [--parts abcd] [--quick]

a  our single-thread p50 against a bare InferenceSession loop, interleaved in one run: within 3 %
b  throughput of the evaluation loop against a bare loop at the same batch size: at least 95 %
c  int8 against float in ten sessions, five with a busy loop on another core: the speed-up by CPU time varies by less
   than 10 %; contended sessions are flagged, quiet ones are not
d  100 comparisons of a model with itself: the 95 % interval excludes 1 in at most 10

Real nets on real pictures: a residual net on handwritten digits, exported, and quantized by `quantize`. Parts c and d want
an otherwise idle machine; what others used meanwhile is printed with the figures. Exits with 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ops.quantize.quantize import quantize
from pipeline.core.machine.cpu_quota import cores
from pipeline.datasets.api import Dataset
from pipeline.datasets.open import open_dataset
from pipeline.measure.evaluate import predict
from pipeline.measure.timing.inputs import write_inputs
from pipeline.measure.timing.preset import Preset, parse_preset
from pipeline.measure.timing.results import Candidate, SessionResult, SpeedupEstimate, Verdict
from pipeline.measure.timing.session import run_session
from pipeline.measure.timing.worker_client import MeasuringProcess
from pipeline.models.api import Need
from pipeline.models.build import build
from pipeline.models.onnx_export import export_onnx
from pipeline.stages.operation_context import WorkerContext
from pipeline.targets.open import open_target

TARGET = {"target": "onnxruntime"}
NET = {"name": "residual", "builder": "residual_cnn", "depths": [1, 1, 1], "widths": [32, 64, 128]}
DIGITS = {"name": "digits", "dataset": "digits", "size": 32, "channels": 3}
BARE = """
import json, sys, time
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
inputs = np.load(sys.argv[2])["pixel_values"]
at = 0
for line in sys.stdin:
    times = []
    for _ in range(int(line)):
        feed = {"pixel_values": inputs[at % len(inputs)][None]}
        at += 1
        cpu, start = time.thread_time(), time.perf_counter()
        session.run(None, feed)
        times.append((time.perf_counter() - start, time.thread_time() - cpu))
    print(json.dumps(times), flush=True)
"""


@dataclass(frozen=True)
class Material:
    """The models and the data."""

    float32: Path
    int8: Path
    data: Dataset
    inputs: Path
    folder: Path


def main() -> None:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="abcd")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: to see that it works")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        material = make(Path(folder))
        parts = {"a": against_a_bare_loop, "b": evaluation, "c": repeatability, "d": against_itself}
        met = [parts[part](material, arguments.quick) for part in arguments.parts]
    sys.exit(0 if all(met) else 1)


def make(folder: Path) -> Material:
    """Build, export and quantize the net. Its weights are random: they do not change what a run costs."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = open_dataset(DIGITS, folder)
    model = build(NET, Need(data.task, tuple(data.classes), data.inputs, pretrained=False))
    export_onnx(model, folder / "float.onnx")
    context = WorkerContext(seed=0, scratch=folder, dataset=lambda: data, build=lambda *_: model, references={})
    from ops.core.operation import OnnxModel

    made = quantize(OnnxModel(folder / "float.onnx", model.architecture), context)
    inputs = write_inputs(data, folder, samples=32)
    print(f"int8 MACs: {context.notes['integer_mac_share']:.0%}, {cores()} cores\n")
    return Material(folder / "float.onnx", made.path.rename(folder / "int8.onnx"), data, inputs, folder)


def against_a_bare_loop(material: Material, quick: bool) -> bool:
    """a: both in fresh processes, in turn; several pairs, because processes of one model differ a little too."""
    ratios: dict[str, list[float]] = {"wall": [], "cpu": []}
    p50s: list[tuple[float, float]] = []
    for _ in range(2 if quick else 8):
        ours, bare = _one_pair(material, bursts=10 if quick else 30, runs=20)
        for clock, (mine, theirs) in zip(ratios, zip(ours, bare, strict=True), strict=True):
            ratios[clock].append(mine / theirs)
        p50s.append((ours[0], bare[0]))
    mine, theirs = (statistics.median(column) * 1000 for column in zip(*p50s, strict=True))
    wall, cpu = (statistics.geometric_mean(values) for values in ratios.values())
    print(f"a  p50 ours {mine:.3f} ms, bare loop {theirs:.3f} ms: {wall:.3f} by wall clock, {cpu:.3f} by CPU time")
    print(f"   pairs of processes: {', '.join(f'{ratio:.3f}' for ratio in ratios['wall'])}")
    return _verdict(abs(wall - 1) <= 0.03, "within 3 %")


def _one_pair(material: Material, *, bursts: int, runs: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Median wall and CPU seconds of a run, ours and bare."""
    command = [sys.executable, "-c", BARE, str(material.float32), str(material.inputs)]
    ours: list[np.ndarray] = []
    theirs: list[list[float]] = []
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as bare,
        MeasuringProcess(target=TARGET, model=material.float32, inputs=material.inputs, threads=1, batch=1,
                         log=material.folder / "a.log") as process,
    ):  # fmt: skip
        process.open()
        for burst in range(bursts + 1):
            found = process.run(runs=runs, seconds=0, max_seconds=60, prime=0, timeout=60)
            bare.stdin.write(f"{runs}\n")
            bare.stdin.flush()
            loop = json.loads(bare.stdout.readline())
            if burst:  # the first warms both up
                ours.append(np.stack([found.wall_ns, found.cpu_ns], axis=1) / 1e9)
                theirs += loop
        bare.stdin.close()
    mine, others = np.median(np.concatenate(ours), axis=0), np.median(np.array(theirs), axis=0)
    return (float(mine[0]), float(mine[1])), (float(others[0]), float(others[1]))


def evaluation(material: Material, quick: bool) -> bool:
    """b: `predict` against reading the same batches and running them with onnxruntime alone."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    bare = ort.InferenceSession(material.float32, options, providers=["CPUExecutionProvider"])
    met = True
    with open_target(TARGET).open(material.float32, threads=1) as session:
        for batch in (8, 64):
            ratios, speeds = [], []
            for _ in range(3 if quick else 9):
                ours = _cpu_seconds(lambda size=batch: predict(session, material.data, batch_size=size))
                loop = _cpu_seconds(lambda size=batch: _bare_evaluation(bare, material.data, size))
                ratios.append(loop / ours)
                speeds.append(material.data.size("evaluation") / ours)
            share = statistics.median(ratios)
            print(
                f"b  batch {batch}: {statistics.median(speeds):.0f} instances per CPU second, {share:.1%} of a bare loop"
            )
            met &= share >= 0.95
    return _verdict(met, "at least 95 %")


def _bare_evaluation(session: object, data: Dataset, batch_size: int) -> None:
    for batch in data.batches("evaluation", batch_size=batch_size):
        session.run(None, {"pixel_values": batch.inputs["pixel_values"]})  # type: ignore[attr-defined]


def _cpu_seconds(work: object) -> float:
    start = time.process_time()
    work()  # type: ignore[operator]
    return time.process_time() - start


def repeatability(material: Material, quick: bool) -> bool:
    """c: the same pair in sessions of its own, every second one beside a busy loop."""
    found: dict[bool, list[SessionResult]] = {False: [], True: []}
    for number in range(4 if quick else 10):
        busy = number % 2 == 1
        with _neighbour(busy):
            result = _session(material, [("int8", material.int8)], _preset(rounds=8, runs=32), seed=number)
        found[busy].append(result)
        print(
            f"c  session {number + 1:2} {'busy ' if busy else 'quiet'}  {_flag(result):11}  {_figures(result)}",
            flush=True,
        )
    ratios = [_against_base(result, "int8", "cpu").ratio for results in found.values() for result in results]
    spread = (max(ratios) - min(ratios)) / statistics.mean(ratios)
    print(f"   largest less smallest speed-up over their mean: {spread:.1%}")
    met = _verdict(spread < 0.10, "less than 10 %")
    flagged = {busy: sum(map(_contended, results)) for busy, results in found.items()}
    print(
        f"   flagged: {flagged[True]} of {len(found[True])} busy sessions, {flagged[False]} of {len(found[False])} quiet ones"
    )
    others = max(_foreign(result) for result in found[False])
    if flagged[False]:
        print(f"   others used up to {others:.2f} cores in the quiet sessions: was the machine idle?")
    return _verdict(flagged == {True: len(found[True]), False: 0}, "busy sessions flagged, quiet ones not") and met


def _flag(result: SessionResult) -> str:
    return "flagged" if _contended(result) else "not flagged"


def _figures(result: SessionResult) -> str:
    """Both speed-ups, and what the flag was given for: what others used, and how many rounds were set aside."""
    speedup, wall = (_against_base(result, "int8", clock) for clock in ("cpu", "wall"))
    aside = sum(len(np.unique(samples.round[~samples.kept])) for samples in result.samples)
    rounds = sum(len(np.unique(samples.round)) for samples in result.samples)
    return (
        f"speed-up {speedup.ratio:.3f} ({speedup.low:.3f} to {speedup.high:.3f}) by CPU time, {wall.ratio:.3f} by wall "
        f"clock; others {_foreign(result):.2f} cores; contended processes {sum(s.contended for s in result.samples)} of "
        f"{len(result.samples)}; set aside {aside} of {rounds} bursts"
    )


def _foreign(result: SessionResult) -> float:
    return statistics.mean(samples.foreign_cores for samples in result.samples)


def against_itself(material: Material, quick: bool) -> bool:
    """d: copies of the base among the models, in several sessions."""
    copies, sessions = (5, 2) if quick else (10, 10)
    comparisons: list[SpeedupEstimate] = []
    for number in range(sessions):
        models = [(f"copy{index}", material.float32) for index in range(copies)]
        result = _session(material, models, _preset(rounds=12, runs=36), seed=100 + number)
        own = [_against_base(result, key, "cpu") for key, _ in models]
        comparisons += own
        wrong = sum(found.verdict is not Verdict.SAME for found in own)
        width = statistics.mean(found.high - found.low for found in own)
        print(f"d  session {number + 1}: {wrong} of {copies} exclude 1; intervals {width:.1%} wide, noise of processes "
              f"{own[0].noise:.2%}, contended: {_contended(result)}")  # fmt: skip
    wrong = sum(found.verdict is not Verdict.SAME for found in comparisons)
    print(f"   {wrong} of {len(comparisons)} exclude 1")
    return _verdict(wrong <= 0.10 * len(comparisons), "at most 10 %")


def _preset(*, rounds: int, runs: int) -> Preset:
    return parse_preset({
        "name": "protocol", "conditions": [{"scenario": "single_stream", "runs": runs}], "rounds": rounds,
        "max_rounds": rounds + 2, "seconds": 0.4, "max_seconds": 2, "warmup": {"runs": 5, "seconds": 0.1, "cap": 0.5},
        "twins": 3,
    })  # fmt: skip


def _session(material: Material, models: list[tuple[str, Path]], preset: Preset, seed: int) -> SessionResult:
    base = Candidate("base", "base", None, "onnxruntime", material.float32)
    candidates = [base, *(Candidate(key, "base", "base", "onnxruntime", path) for key, path in models)]
    return run_session(
        candidates, targets={"onnxruntime": TARGET}, inputs=material.inputs, preset=preset, folder=material.folder,
        selection={key for key, _ in models}, seed=seed,
    )  # fmt: skip


def _against_base(result: SessionResult, key: str, clock: str) -> SpeedupEstimate:
    return next(
        found for found in result.comparisons
        if (found.case.model_key, found.relation, found.clock) == (key, "base", clock)
    )  # fmt: skip


def _contended(result: SessionResult) -> bool:
    return any(samples.contended for samples in result.samples)


@contextmanager
def _neighbour(busy: bool) -> Iterator[None]:
    """A process that computes for ever on the last core."""
    if not busy:
        yield
        return
    last = max(os.sched_getaffinity(0))
    code = f"import os\nos.sched_setaffinity(0, {{{last}}})\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _verdict(met: bool, target: str) -> bool:
    print(f"   {'met' if met else 'MISSED'}: {target}\n")
    return met


if __name__ == "__main__":
    main()
