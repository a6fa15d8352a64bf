"""Signs of life of a run, beside its results: a run that was killed cannot say so itself.

A file whose time of change is renewed every few seconds, and which goes when the run ends. It holds how far the run is.
It is no lock: a machine that only sees the same folder can read it too.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.core.json_text import parse_json
from pipeline.store.publication import FOLDER

__all__ = ["RunProgress", "heartbeat", "is_alive", "read_progress"]

_PERIOD_S = 5.0
_SILENCE_S = 60.0
"""After so long without a sign a run is taken for dead, however busy the machine is."""


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How far a run is."""

    done: int
    total: int
    seconds_left: float | None = None
    """What is expected from past runs; None where nothing is known."""
    unit: str = "jobs"
    """What is counted."""


@contextmanager
def heartbeat(results: Path, run_id: str, progress: Callable[[], RunProgress | None] = lambda: None) -> Iterator[None]:
    """Give signs of life for the length of the block; signs that dead runs have left behind are cleared away.

    Where none can be written, as on a full disk, the run goes on without.

    Args:
        results: the results file.
        run_id: the run.
        progress: asked every few seconds, from another thread; None where there is nothing to say.
    """
    sign, over = _sign(results, run_id), threading.Event()

    def write() -> None:
        with suppress(OSError):
            _write(sign, progress())

    def beat() -> None:
        while not over.wait(_PERIOD_S):
            write()

    with suppress(OSError):
        sign.parent.mkdir(parents=True, exist_ok=True)
        for left_behind in sign.parent.iterdir():
            if not _is_recent(left_behind):
                left_behind.unlink(missing_ok=True)
    write()
    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(OSError):
            sign.unlink(missing_ok=True)


def read_progress(results: Path, run_id: str) -> RunProgress | None:
    """Return how far a run is by its last sign of life; None where it said nothing that can be understood."""
    try:
        content = parse_json(_sign(results, run_id).read_text())
        progress = RunProgress(
            int(content["done"]), int(content["total"]), content["seconds_left"], str(content["unit"])
        )
        seconds = progress.seconds_left
        is_sound = seconds is None or (isinstance(seconds, int | float) and math.isfinite(seconds) and seconds >= 0)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    return progress if is_sound and 0 <= progress.done <= progress.total else None


def is_alive(results: Path, run_id: str) -> bool:
    """Return whether a run that has not ended gave a sign of life within the last minute."""
    return _is_recent(_sign(results, run_id))


def _sign(results: Path, run_id: str) -> Path:
    whole = results.expanduser().resolve()
    return whole.parent / FOLDER / f"{whole.name}.runs" / run_id


def _write(sign: Path, progress: RunProgress | None) -> None:
    """In one step, so that nobody reads half of it; where there is no room, the sign alone is renewed."""
    if progress is not None:
        beside = sign.with_name(f".{sign.name}")
        try:
            beside.write_text(json.dumps(asdict(progress)))
            beside.replace(sign)
        except OSError:
            beside.unlink(missing_ok=True)
        else:
            return
    sign.touch()


def _is_recent(sign: Path) -> bool:
    try:
        return time.time() - sign.stat().st_mtime < _SILENCE_S
    except OSError:
        return False
