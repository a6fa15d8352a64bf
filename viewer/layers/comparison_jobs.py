"""Comparisons that were asked for on the page: a process of the pipeline's makes them, the page shows how far it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread

__all__ = ["ComparisonJob", "comparison_of"]

_jobs: dict[tuple[Path, str, str], ComparisonJob] = {}
_starting = Lock()


@dataclass
class ComparisonJob:
    """One model against one base."""

    results: Path
    model: str
    base: str
    done: int = 0
    total: int = 0
    finished: bool = False
    problem: str = ""
    """Why it failed: one sentence."""

    @property
    def text(self) -> str:
        """The progress of the job in a sentence."""
        if self.problem:
            return self.problem
        return f"{self.done:,} of {self.total:,} tensors" if self.total else "starting"

    def run(self, notify: Callable[[], None]) -> None:
        """Compare the two; `notify` is called now and then, and at the end."""
        command = [sys.executable, "-m", "pipeline", "compare", self.model, self.base, "--results", str(self.results)]
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        except OSError as error:
            self.problem = f"The comparison could not be started: {error.strerror}"
            notify()
            return
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("progress "):
                self.done, self.total = (int(part) for part in line.split()[1:3])
                if self.done % max(1, self.total // 8) == 0:
                    notify()
        _, errors = process.communicate()
        if process.returncode:
            messages = [line for line in errors.splitlines() if line.strip()]
            self.problem = messages[-1].removeprefix("error: ") if messages else "The comparison failed without a word"
        self.finished = True
        notify()


def comparison_of(results: Path, model: str, base: str, notify: Callable[[], None]) -> ComparisonJob:
    """Return the comparison of two models, started if nobody has asked for it yet.

    Args:
        results: the results file.
        model: key of the model.
        base: key of the one that it is compared with.
        notify: called, in another thread, when something is new; only that of the first call for the pair is.
    """
    with _starting:
        where = (results.absolute(), model, base)
        if where not in _jobs:
            _jobs[where] = ComparisonJob(*where)
            Thread(target=_one_at_a_time, args=(_jobs[where], notify), daemon=True, name="compare").start()
        return _jobs[where]


_turn = Lock()


def _one_at_a_time(job: ComparisonJob, notify: Callable[[], None]) -> None:
    """Two would hold four models' pages, and slow each other down."""
    with _turn:
        job.run(notify)
