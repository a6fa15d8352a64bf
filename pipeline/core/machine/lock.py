"""One lock per machine: while something is timed, none of our other work runs, and timing waits until none does."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import ReadWriteLock, Timeout

from pipeline.core.errors import BouillonError
from pipeline.core.machine.user import private_folder, user_name

_IMPATIENCE = 5.0  # seconds after which a waiting person is told


class BusyError(BouillonError, RuntimeError):
    """The machine did not become free in time."""


def lock_file() -> Path:
    """The lock of this machine and user.

    Raises:
        BusyError: if there is no folder left for the lock.
    """
    name = "bouillon-" + re.sub(r"[^\w.-]", "_", user_name())  # it may come from the environment, and be anything
    folder = private_folder(name)
    if folder is None:
        raise BusyError(
            f"{Path(tempfile.gettempdir()) / name} and all that come after it are somebody else's. Set TMPDIR"
        )
    return folder / "machine.lock"


@contextmanager
def working(file: Path | None = None) -> Iterator[None]:
    """Hold while computing. Any number of processes may; none starts while something is timed."""
    with _lock(file).read_lock():
        yield


@contextmanager
def measuring(
    file: Path | None = None, *, timeout: float = -1, waiting: Callable[[], None] | None = None
) -> Iterator[None]:
    """Hold while timing: alone. `waiting` is called once if others have to finish first.

    Raises:
        BusyError: after `timeout` seconds (-1: never).
    """
    lock = _lock(file)
    first = _IMPATIENCE if timeout < 0 else min(_IMPATIENCE, timeout)
    try:
        lock.acquire_write(first)
    except Timeout:
        if waiting is not None:
            waiting()
        try:
            lock.acquire_write(-1 if timeout < 0 else timeout - first)
        except Timeout:
            raise BusyError(
                f"Other work of this program has kept the machine busy for {timeout:g} s: nothing can be timed beside it"
            ) from None
    try:
        yield
    finally:
        lock.release()


def _lock(file: Path | None) -> ReadWriteLock:
    path = file or lock_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    return ReadWriteLock(path, is_singleton=False)
