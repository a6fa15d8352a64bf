"""Signs of life of a run, beside its results: a run that was killed cannot say so itself.

A file whose time of change is renewed every few seconds, and which goes when the run ends. It is no lock: a machine that
only sees the same folder can read it too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.store.publication import FOLDER

__all__ = ["heartbeat", "is_alive"]

_PERIOD_S = 5.0
_SILENCE_S = 60.0
"""After so long without a sign a run is taken for dead, however busy the machine is."""


@contextmanager
def heartbeat(results: Path, run_id: str) -> Iterator[None]:
    """Give signs of life for the length of the block; signs that dead runs have left behind are cleared away.

    Where none can be written, as on a full disk, the run goes on without.
    """
    sign, over = _sign(results, run_id), threading.Event()

    def beat() -> None:
        while not over.wait(_PERIOD_S):
            with suppress(OSError):
                sign.touch()

    with suppress(OSError):
        sign.parent.mkdir(parents=True, exist_ok=True)
        for left_behind in sign.parent.iterdir():
            if not _is_recent(left_behind):
                left_behind.unlink(missing_ok=True)
        sign.touch()
    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with suppress(OSError):
            sign.unlink(missing_ok=True)


def is_alive(results: Path, run_id: str) -> bool:
    """Return whether a run that has not ended gave a sign of life within the last minute."""
    return _is_recent(_sign(results, run_id))


def _sign(results: Path, run_id: str) -> Path:
    whole = results.expanduser().resolve()
    return whole.parent / FOLDER / f"{whole.name}.runs" / run_id


def _is_recent(sign: Path) -> bool:
    try:
        return time.time() - sign.stat().st_mtime < _SILENCE_S
    except OSError:
        return False
