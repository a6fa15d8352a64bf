"""Architectures of other people under every operation, each result checked against a computation by hand.

    python scripts/bench/strangers.py [--only ARCHITECTURE ...] [--operation NAME ...] [--slice K/N] [--results FILE] [--write]

Networks have their smallest configuration and random weights. A cell is right, or refused with a reason in one line; anything
else (a traceback, another output than the one by hand, no end within the limit) is a fault, and the exit status is 1. Those of
timm need the extra of that name. `--write` puts the table into the guide of operations.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil

from scripts.bench.matrix.architectures import SUBJECTS, Subject
from scripts.bench.matrix.table import Outcome, table

_POLL = 0.2
_PATIENCE = 30
"""How many times longer a cell may take where others use the processor."""


def outcomes(subject: Subject, columns: Sequence[str], seconds: float) -> Iterator[Outcome]:
    """Run the cells of one architecture in a process of its own, which is replaced when a cell does not end."""
    waiting = list(columns)
    while waiting:
        mine, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=_work, args=(theirs, subject, list(waiting)))
        process.start()
        theirs.close()
        try:
            for outcome in _received(mine, psutil.Process(process.pid), seconds):
                waiting.remove(outcome.column)
                yield outcome
            fault = f"the process ended with {process.exitcode}"
        except TimeoutError as error:
            fault = str(error)
        process.kill()
        process.join()
        mine.close()
        if waiting:
            yield Outcome(subject.name, waiting.pop(0), "FAULT", fault, seconds)


def _received(pipe: Any, process: psutil.Process, seconds: float) -> Iterator[Outcome]:
    """Yield what the process sends until it ends.

    Raises:
        TimeoutError: a cell took too much of the processor's time, or the process waits for something that never comes.
    """
    began, used = time.monotonic(), 0.0
    while True:
        if pipe.poll(_POLL):
            try:
                yield pipe.recv()
            except EOFError:
                return
            began, used = time.monotonic(), _processor_seconds(process)
        elif _processor_seconds(process) - used > seconds or time.monotonic() - began > _PATIENCE * seconds:
            raise TimeoutError(f"no end after {seconds:.0f} s")


def _processor_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _work(pipe: Any, subject: Subject, columns: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for outcome in cells(subject, columns, Path(folder)):
            pipe.send(outcome)
    pipe.close()


def cells(subject: Subject, columns: Sequence[str], folder: Path) -> Iterator[Outcome]:
    """Run cells of one architecture in this process."""
    import torch

    from ops.core.errors import OperationError
    from pipeline.core.errors import BouillonError
    from pipeline.models.factories import name_factories
    from scripts.bench.matrix.cells import COLUMNS
    from scripts.bench.matrix.subjects import Stranger, run

    torch.set_num_threads(1)
    name_factories([subject.entry])
    stranger = Stranger(subject, folder)
    by_title = {column.title: column for column in COLUMNS}
    for title in columns:
        began = time.process_time()
        state, text = "right", ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reason = run(by_title[title], stranger)
            if reason is not None:
                state, text = "refused", reason
        except (OperationError, BouillonError) as error:
            state, text = "refused", str(error)
        except Exception as error:  # noqa: BLE001 - whatever else happens is what this looks for
            place = traceback.extract_tb(error.__traceback__)[-1]
            state, text = "FAULT", f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
        if state == "refused" and ("\n" in text.strip() or not text.strip()):
            state, text = "FAULT", f"the reason is not one line: {text!r}"
        yield Outcome(subject.name, title, state, text, time.process_time() - began)


def warm_up() -> None:
    """Load in this process what each of its children would load anew: most of the time of a small network's cells."""
    import transformers.modeling_utils  # noqa: F401

    smallest = next(subject for subject in SUBJECTS if subject.name == "Conv1d")
    with tempfile.TemporaryDirectory() as folder:
        for _ in cells(smallest, ("load_onnx", "channel_prune", "quantize static"), Path(folder)):
            pass


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="ARCHITECTURE", help="these architectures alone")
    parser.add_argument(
        "--operation", nargs="+", metavar="NAME", help="these operations alone, or columns of the table"
    )
    parser.add_argument("--slice", metavar="K/N", help="every Nth architecture, beginning with the Kth")
    parser.add_argument("--seconds", type=float, default=60.0, help="limit of a cell, in seconds of the processor")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="architectures at a time")
    parser.add_argument("--verbose", action="store_true", help="print every cell")
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help="keep cells here (JSON), beside those of other slices"
    )
    parser.add_argument("--write", action="store_true", help="put the table into the guide of operations")
    return parser.parse_args()


def _chosen(given: argparse.Namespace) -> tuple[list[Subject], list[str]]:
    """Return the architectures and the columns to run.

    Raises:
        SystemExit: a name is unknown.
    """
    from scripts.bench.matrix.cells import COLUMNS

    names = [subject.name for subject in SUBJECTS]
    for name in given.only or ():
        if name not in names:
            raise SystemExit(f"--only: there is no '{name}'; there are {', '.join(names)}")
    subjects = [subject for subject in SUBJECTS if not given.only or subject.name in given.only]
    if given.slice:
        first, _, every = given.slice.partition("/")
        if not (first.isdigit() and every.isdigit() and 1 <= int(first) <= int(every)):
            raise SystemExit(f"--slice: give K/N with K from 1 to N, not '{given.slice}'")
        subjects = subjects[int(first) - 1 :: int(every)]
    titles = [c.title for c in COLUMNS if not given.operation or {c.op, c.title} & set(given.operation)]
    if not titles:
        raise SystemExit(f"--operation: there are {', '.join(dict.fromkeys(c.op for c in COLUMNS))}")
    return subjects, titles


def merged(file: Path, results: Sequence[Outcome]) -> list[Outcome]:
    """Put cells into a file in the place of older ones, and return all that it has then, by architecture and operation."""
    from scripts.bench.matrix.cells import COLUMNS

    older = [Outcome(**cell) for cell in json.loads(file.read_text())] if file.exists() else []
    cells = {(outcome.architecture, outcome.column): outcome for outcome in (*older, *results)}
    places = [(subject.name, column.title) for subject in SUBJECTS for column in COLUMNS]
    ordered = [cells[place] for place in places if place in cells]
    file.write_text(json.dumps([asdict(outcome) for outcome in ordered], indent=0))
    return ordered


def main() -> int:
    """Run the matrix and print what became of it."""
    given = _arguments()
    subjects, titles = _chosen(given)
    if importlib.util.find_spec("timm") is None:
        absent = [subject.name for subject in subjects if subject.library == "timm"]
        subjects = [subject for subject in subjects if subject.library != "timm"]
        print(f"timm is not installed: {len(absent)} architectures are left out")
    began = time.monotonic()
    warm_up()
    results: list[Outcome] = []
    every: list[Outcome] = []

    def run(subject: Subject) -> list[Outcome]:
        return list(outcomes(subject, titles, given.seconds))

    with ThreadPoolExecutor(given.jobs) as pool:
        for subject, own in zip(subjects, pool.map(run, subjects), strict=True):
            results += own
            every = merged(given.results, own) if given.results else results
            counts = Counter(outcome.state for outcome in own)
            figures = ", ".join(f"{counts[state]} {state}" for state in ("right", "refused", "FAULT") if counts[state])
            print(f"{subject.name:20} {figures} ({sum(outcome.seconds for outcome in own):.0f} s)", flush=True)
            for outcome in own:
                if outcome.state == "FAULT" or given.verbose:
                    print(f"    {outcome.column}: {outcome.state} {outcome.text} ({outcome.seconds:.1f} s)", flush=True)
    faults = [outcome for outcome in results if outcome.state == "FAULT"]
    print(f"{len(results)} cells, {len(faults)} faults, {time.monotonic() - began:.0f} s")
    if given.write:
        from scripts.docs.guides import OPERATIONS_GUIDE, with_part

        columns = list(dict.fromkeys(outcome.column for outcome in every))
        text = table(every, columns, {subject.name: subject.library for subject in SUBJECTS})
        OPERATIONS_GUIDE.write_text(with_part(OPERATIONS_GUIDE.read_text(), "strangers", text))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
