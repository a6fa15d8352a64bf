"""Runs one job and publishes its artifact: the only place that calls operations, and the boundary of their errors."""

from __future__ import annotations

import contextlib
import platform
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from pipeline.core.environment import device, device_id, versions
from pipeline.core.machine.lock import working
from pipeline.core.plugins import load_plugins
from pipeline.core.sharing.object_store import ObjectStoreError
from pipeline.core.sharing.shared_artifacts import open_artifacts
from pipeline.engine.jobs import Done, Failed, Job, Workplace
from pipeline.engine.stage import STAGES

if TYPE_CHECKING:
    from pipeline.core.artifacts import ArtifactStore
    from pipeline.datasets.api import Dataset

_TRACEBACK_LINES = 60


class Worker:
    """Keeps what jobs share (the open data set, imported libraries) from one job to the next."""

    def __init__(self, workplace: Workplace) -> None:
        self.workplace = workplace
        self._prepared = False

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """The results of this and other runs, opened when first used.

        Raises:
            ObjectStoreError: if the object store behind them refuses, or is out of reach for too long.
        """
        return open_artifacts(self.workplace.artifacts, self.workplace.shared)

    @cached_property
    def dataset(self) -> Dataset:
        """The recipe's data set, opened when first used.

        Raises:
            DataError: if it cannot be read, or is not what the run was planned with.
        """
        from pipeline.datasets.api import DataError
        from pipeline.datasets.open import open_dataset

        data, fingerprint = (
            open_dataset(self.workplace.dataset, self.workplace.data_folder),
            self.workplace.data_fingerprint,
        )
        if fingerprint is not None and data.fingerprint != fingerprint:
            raise DataError(
                f"Data set '{data.name}': its content has changed since the run was planned "
                f"({fingerprint[:12]} -> {data.fingerprint[:12]}); run again"
            )
        return data

    def prepare(self) -> None:
        """Register the user's own operations, models, metrics and stages, once per process.

        Raises:
            PluginError: if a module of theirs cannot be imported.
        """
        if not self._prepared:
            load_plugins(self.workplace.plugins)
            self._prepared = True

    def run(self, job: Job[Any], on_start: Callable[[], None] = lambda: None) -> Done | Failed:
        """Make the job's artifact unless it is there. Never raises.

        `on_start` is called when the waiting is over, for other runs and for measurements: what follows is the job itself.
        """
        start, cpu = time.perf_counter(), time.process_time()
        try:
            if self._is_there(job):
                return Done(job.key, cached=True)
            self.prepare()
            with working(), self._scratch(job) as scratch:
                if self._is_there(job):  # another run has made it meanwhile
                    return Done(job.key, cached=True)
                on_start()
                _reset_peak()
                start, cpu = time.perf_counter(), time.process_time()
                manifest: dict[str, Any] = {
                    "what": job.stage,
                    "path": job.path,
                    "model": job.model,
                    "machines": {device_id(): device()},
                    "environment": {"host": platform.node(), "versions": versions()},
                }
                with self.artifacts.publish(job.key, manifest, replace=job.force) as folder:
                    manifest |= STAGES[job.stage].make(self, job, folder, scratch)
        except Exception as error:  # noqa: BLE001 - boundary: an operation may raise anything; the failure becomes a record
            text = traceback.format_exc().splitlines()[-_TRACEBACK_LINES:]
            why, halts = _storable(_explain(error)), isinstance(error, ObjectStoreError)
            return Failed(job.key, time.perf_counter() - start, why, _storable("\n".join(text)), halts=halts)
        finally:
            self._release()
        return Done(job.key, time.perf_counter() - start, time.process_time() - cpu, _peak_bytes())

    def _is_there(self, job: Job[Any]) -> bool:
        """Whether the artifact is there and is not to be made again; one that is here alone is sent to where others look."""
        if job.force:
            return False
        self.artifacts.share((job.key,))
        return job.key in self.artifacts

    def _release(self) -> None:
        if "artifacts" in self.__dict__:  # it was opened
            self.artifacts.release()

    @contextlib.contextmanager
    def _scratch(self, job: Job[Any]) -> Iterator[Path]:
        """A folder for the job's checkpoints: kept while the job fails or is killed, removed when it is done.

        Locked, so that of two runs that want the same result one makes it and the other waits.
        """
        folder = self.workplace.scratch / job.key
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.workplace.scratch / f"{job.key}.lock")
        with lock:
            with self.artifacts.checkpoints(job.key, folder):
                yield folder
            shutil.rmtree(folder, ignore_errors=True)
            Path(lock.lock_file).unlink(missing_ok=True)


def _explain(error: BaseException) -> str:
    """One line that says what happened, with the type where the message alone would not."""
    import errno

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"The disk is full: {error}. Free some space and run again; what is finished is kept"
    if isinstance(error, MemoryError):
        return "Out of memory"
    if isinstance(error, ObjectStoreError):
        return str(error)
    name = type(error).__name__
    return f"{name}: {error}" if str(error) else name


def _storable(text: str) -> str:
    """A text with what is not UTF-8 escaped, such as the bytes of a file's name."""
    return text.encode("utf-8", "backslashreplace").decode()


def _reset_peak() -> None:
    """Let the kernel's peak-memory counter start again (Linux; elsewhere the peak is that of the process so far)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None
