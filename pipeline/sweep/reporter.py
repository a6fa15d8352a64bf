"""Reports of a run while it goes on. The command line prints them; another program may show or ignore them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pipeline.engine.jobs import Job, Outcome
    from pipeline.sweep.prepare import Prepared

JobReport = Callable[["Job[Any]", "Outcome | None"], None]
"""Takes every start (outcome None) and every end of a job."""
TimingReport = Callable[[int, int, str], None]
"""Takes the number of groups that are timed, how many there are, and the model at hand."""


class Reporter(Protocol):
    """Receives what happens during a run."""

    def notice(self, text: str) -> None:
        """Take one line about something that the person should know."""
        ...

    def jobs(self, prepared: Prepared, scratch: Path) -> AbstractContextManager[JobReport]:
        """Open the report of all jobs; running jobs write their progress to `scratch`/KEY."""
        ...

    def timing(self) -> AbstractContextManager[TimingReport]:
        """Open the report of the timing session."""
        ...


class SilentReporter:
    """Reports nothing."""

    def notice(self, text: str) -> None:
        """Ignore the line."""

    @contextmanager
    def jobs(self, prepared: Prepared, scratch: Path) -> Iterator[JobReport]:
        """Ignore every job."""
        yield lambda job, outcome: None

    @contextmanager
    def timing(self) -> Iterator[TimingReport]:
        """Ignore the session."""
        yield lambda done, total, text: None
