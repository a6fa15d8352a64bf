"""Comparisons that were asked for on a page: a process of the pipeline's makes them, the page shows how far it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread

from pipeline.layers.compare.contrast import InstanceSets

__all__ = ["ComparisonJob", "comparison_of"]

_jobs: dict[tuple[Path, str, str, str], ComparisonJob] = {}
_starting = Lock()


@dataclass
class ComparisonJob:
    """One model against one base."""

    results: Path
    model: str
    base: str
    sets: InstanceSets | None = None
    """Instances that both are run on; None: all layers are compared, on what a run has recorded of them."""
    done: int = 0
    total: int = 0
    finished: bool = False
    problem: str = ""
    """Why it failed: one sentence."""
    listeners: set[Callable[[], None]] = field(default_factory=set)
    """All who have asked for it: called when something is new."""

    @property
    def text(self) -> str:
        """The progress of the job in a sentence."""
        if self.problem:
            return self.problem
        unit = "tensors" if self.sets is None else "batches of instances"
        return f"{self.done:,} of {self.total:,} {unit}" if self.total else "starting"

    def run(self, notify: Callable[[], None]) -> None:
        """Compare the two; `notify` is called now and then, and at the end."""
        command = [sys.executable, "-m", "pipeline", "compare", self.model, self.base, "--results", str(self.results)]
        command += [] if self.sets is None else ["--instances", "-"]
        pipe = subprocess.PIPE
        try:
            process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        except OSError as error:
            self.problem = f"The comparison could not be started: {error.strerror}"
            notify()
            return
        self._follow(process, notify)
        _, errors = process.communicate()
        if process.returncode:
            messages = [line for line in errors.splitlines() if line.strip()]
            self.problem = messages[-1].removeprefix("error: ") if messages else "The comparison failed without a word"
        self.finished = True
        notify()

    def _follow(self, process: subprocess.Popen[str], notify: Callable[[], None]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write("" if self.sets is None else self.sets.text())
            process.stdin.close()
        except OSError:  # it has ended already: what it said is read afterwards
            pass
        process.stdin = None
        for line in process.stdout:
            if line.startswith("progress "):
                self.done, self.total = (int(part) for part in line.split()[1:3])
                if self.done % max(1, self.total // 8) == 0:
                    notify()


def comparison_of(
    results: Path, model: str, base: str, notify: Callable[[], None], sets: InstanceSets | None = None
) -> ComparisonJob:
    """Return the comparison of two models, started if nobody has asked for it yet.

    Args:
        results: the results file.
        model: key of the model.
        base: key of the one that it is compared with.
        notify: called, in another thread, when something is new, once of those that are equal.
        sets: instances that both are run on.
    """
    with _starting:
        where = (results.absolute(), model, base, sets.key(model, base) if sets else "")
        if where not in _jobs:
            _jobs[where] = ComparisonJob(results.absolute(), model, base, sets)
            Thread(target=_one_at_a_time, args=(_jobs[where],), daemon=True, name="compare").start()
        job = _jobs[where]
        if not job.finished:
            job.listeners.add(notify)
        return job


_turn = Lock()


def _one_at_a_time(job: ComparisonJob) -> None:
    """Two would hold four models' pages, and slow each other down."""

    def notify() -> None:
        for listener in tuple(job.listeners):
            listener()

    with _turn:
        job.run(notify)
    job.listeners.clear()
