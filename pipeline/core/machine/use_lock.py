"""A folder that is in use: whoever works with it holds it together with others; whoever clears it up holds it alone."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.machine.lock import BusyError

_NAME = "in_use.lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Hold while working with a folder. The kernel lets go when this process ends, however it does.

    Waits while somebody clears it up. Where the file system has no locks, or nothing can be written, nothing is held.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context(_descriptor(folder)), fcntl.LOCK_SH)
        except OSError as error:
            if error.errno not in (*_NO_LOCKS, *_READ_ONLY):
                raise
        yield


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold while clearing up a folder.

    Raises:
        BusyError: if somebody works with it, or the file system has no locks to tell.
    """
    with _descriptor(folder) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"{folder}: a run is going on here. Wait until it has ended, or stop it") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise BusyError(
                f"{folder}: its file system has no locks, so that nobody knows whether a run uses it"
            ) from None
        yield


@contextmanager
def _descriptor(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield descriptor
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)
