"""Kill a sweep again and again, and compare what it leaves with an undisturbed one."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil

from tests.pipeline.command import Place

WORDS = ("recipe=small", "bench=none", "recipe.tree.base.with.samples=256", "executor.workers=2", "executor.threads=1")

_TIMES = ("times.jsonl",)
"""What holds measured times, which no two runs share."""


def kill_and_resume(place: Place, kills: int, *, seed: int, calm: int) -> int:
    """Start the sweep and kill -9 its driver or one of its workers at a random moment, `kills` times; then let it finish.

    `calm` is how many files an undisturbed sweep leaves: a kill comes when a random part of those that
    still lack has been written, at most half, however fast the machine is.
    Returns how many of the kills hit a process that was still at work.
    """
    chance = random.Random(seed)
    hits = 0
    process: subprocess.Popen | None = None
    for _ in range(kills):
        before = files(place)
        if process is None or process.poll() is not None:
            if before >= calm:  # it is finished: nothing is left to disturb
                break
            process = place.start(*WORDS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        goal = before + (calm - before) * chance.uniform(0.0, 0.5)
        while process.poll() is None and files(place) <= goal:
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.3))  # not always just after a file
        if process.poll() is None:
            hits += _kill(process, chance)
    if process is not None:
        process.wait()
    code, _, err = place.run(*WORDS)
    assert code == 0, err
    return hits


def files(place: Place) -> int:
    """How many files the artifacts have, finished or not."""
    return sum(len(names) for _, _, names in os.walk(place.artifacts))


def _kill(process: subprocess.Popen, chance: random.Random) -> bool:
    """Kill the driver, or a worker (the driver then reports its job as failed and goes on).

    Returns when the workers of a killed driver have seen that it is gone: what they write until then is not swept.
    """
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        workers = [child for child in psutil.Process(process.pid).children() if _works(child)]
        victim = chance.choice([process.pid, *(worker.pid for worker in workers)])
        os.kill(victim, signal.SIGKILL)
        if victim == process.pid:
            psutil.wait_procs(workers)
        return True
    return False


def _works(child: psutil.Process) -> bool:
    """Whether a child runs jobs; the other that Python starts only keeps count of semaphores."""
    return not any("resource_tracker" in word for word in child.cmdline())


def fingerprint(place: Place) -> dict[str, object]:
    """Everything a sweep leaves that does not depend on when it ran: artifact files and rows of the store."""
    files = {
        str(path.relative_to(place.artifacts)): _lasting(path)
        for path in sorted(place.artifacts.rglob("*"))
        if path.is_file() and path.name not in _TIMES
    }
    rows = {
        "models": place.sql("SELECT model_key, name, parent_key, op, params, notes FROM models ORDER BY ALL"),
        "measurements": place.sql(
            "SELECT model_key, target, metric, value, low, high, count, evidence_key FROM measurements ORDER BY ALL"
        ),
        "predictions": place.sql(
            "SELECT model_key, target, instance_id, predicted, confidence FROM predictions ORDER BY ALL"
        ),
        "layers": place.sql("SELECT model_key, tensor, nonzeros, mean FROM layers ORDER BY ALL"),
    }
    return {"files": files, **rows}


def _lasting(path: Path) -> bytes:
    """A file's content; of a manifest all but the digests of measured times, and its own over them."""
    if path.name != "manifest.json":
        return path.read_bytes()
    manifest = json.loads(path.read_bytes())
    for name in manifest["files"].keys() & set(_TIMES):
        del manifest["files"][name], manifest["sha256"]
    return json.dumps(manifest, sort_keys=True).encode()
