"""The worker of a queue of branches: takes one request after the other, and has each run by a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

from ops.core.text import cut
from pipeline.core.json_text import parse_json
from pipeline.delivery.branches.offer import SIGN, announce
from pipeline.delivery.branches.queue import BranchQueue, BranchRequest, RequestState, RequestStatus
from pipeline.store.heartbeat import heartbeat

__all__ = ["BranchWorker"]

_LOOK_S = 1.0
"""Between two looks into an empty queue."""
_WRITE_S = 1.0
"""Between two notes of progress."""
_LONGEST_REASON = 1_000
_CODES = {0: RequestState.DONE, 1: RequestState.FAILED}


class BranchWorker:
    """Serves the queue of one results file."""

    def __init__(self, results: Path, token: str, options: Sequence[str], tell: Callable[[str], None]) -> None:
        """Take what it works with.

        Args:
            results: the results file.
            token: who has it may ask.
            options: words for each run, as `python -m pipeline branch` takes them.
            tell: takes a line for each start and end of a request.
        """
        self._results, self._token, self._options, self._tell = results, token, list(options), tell
        self._queue = BranchQueue(results)
        self._over = Event()
        self._process: subprocess.Popen[str] | None = None

    def serve(self, *, once: bool = False) -> None:
        """Work until `stop`, or until the queue is empty.

        Raises:
            TokenError: if a worker with another token serves the same results.
            OSError: if the queue cannot be written; what was begun is taken up again by the next worker.
        """
        offer = announce(self._results, self._token)
        key = offer.key(self._token)
        assert key is not None, "an offer holds the token that it was made for"
        with heartbeat(self._results, SIGN):
            while not self._over.is_set():
                with self._queue.next_request() as turn:
                    if turn is not None:
                        self._work(*turn, key)
                if turn is None:
                    if once:
                        break
                    self._over.wait(_LOOK_S)

    def stop(self) -> None:
        """End after what is running was told to end; it is taken up again by the next worker. Safe in a signal handler."""
        self._over.set()
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)

    def _work(self, request: BranchRequest, lock: int, key: bytes) -> None:
        what = f"{request.name} (below {request.origin_name}, asked for by {request.who})"
        if not request.is_signed(key):
            status = RequestStatus(RequestState.REFUSED, "it was asked for without the worker's token")
        else:
            self._tell(f"running {what}")
            self._queue.write(request, RequestStatus(RequestState.RUNNING))
            with tempfile.TemporaryDirectory(prefix="bouillon-branch-") as scratch:
                status = self._run(request, lock, Path(scratch))
        self._queue.write(request, status)
        self._tell(f"{status.state} {what}{': ' if status.reason else ''}{status.reason}")

    def _run(self, request: BranchRequest, lock: int, scratch: Path) -> RequestStatus:
        change, recipe = scratch / "change.yaml", scratch / "recipe.yaml"
        change.write_text(request.change, encoding="utf-8")
        recipe.write_text(request.recipe, encoding="utf-8")
        command = [sys.executable, "-m", "pipeline", "branch", "--results", str(self._results)]
        command += [
            "--change",
            str(change),
            "--expect",
            str(recipe),
            "--run",
            *self._options,
            "--json",
            "--",
            request.origin,
        ]
        # a session of its own: Ctrl-C reaches it once, through `stop`. It inherits the lock: should this worker be killed, no
        # other takes the request up while that process still works on it
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
            pass_fds=(lock,),
        )
        if self._over.is_set():  # the signal came before there was a process
            self.stop()
        assert self._process.stdout is not None
        events = _Events(request.origin)
        last = time.monotonic()
        for line in self._process.stdout:
            events.take(line)
            if events.total and time.monotonic() - last > _WRITE_S:
                last = time.monotonic()
                with suppress(OSError):  # a full disk: how far it is, is told later; how it ended must be written
                    self._queue.write(request, events.status(RequestState.RUNNING, events.stage))
        code = self._process.wait()
        self._process = None
        if self._over.is_set() and code not in _CODES:
            return RequestStatus(RequestState.QUEUED, "the worker was ended; the next goes on")
        return events.end(code)


@dataclass(slots=True)
class _Events:
    """The events of a run, as its process has told them."""

    origin: str
    total: int = 0
    done: int = 0
    stage: str = ""
    models: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)
    is_planned: bool = False

    def take(self, line: str) -> None:
        """Take one event (`pipeline.cli.json_output`)."""
        try:
            event = parse_json(line)
        except ValueError:
            return
        kind = event.get("event") if isinstance(event, Mapping) else None
        if kind == "plan":
            self._plan(event)
        elif kind == "job" and event["state"] in ("done", "failed", "skipped"):
            self.done = min(self.done + 1, self.total)
            if event["state"] == "failed":
                self.problems.append(f"{event['stage']} of '{event['path']}': {event['error']}")
        elif kind == "timing":
            self.stage = f"timing: {event['done']} of {event['total']} groups"
        elif kind == "error":
            self.problems += [str(each["message"]) for each in event["problems"]]

    def status(self, state: RequestState, reason: str) -> RequestStatus:
        """The state so far."""
        return RequestStatus(state, cut(reason, _LONGEST_REASON), done=self.done, total=self.total, models=self.models)

    def end(self, code: int) -> RequestStatus:
        """The state when the process has ended."""
        if code in _CODES:
            status = self.status(_CODES[code], "; ".join(self.problems))
            return replace(status, done=self.total) if code == 0 else status
        state = RequestState.FAILED if self.is_planned or not self.problems else RequestState.REFUSED
        killed = f"its process was ended by signal {-code}" if code < 0 else "its process ended without a reason"
        return self.status(state, "; ".join(self.problems) or f"{killed}; the output of the worker may say more")

    def _plan(self, event: Mapping[str, Any]) -> None:
        self.is_planned, self.total = True, int(event["missing"])
        path = next((each["path"] for each in event["steps"] if each["key"] == self.origin), None)
        self.models = tuple(str(each["key"]) for each in _below(event["steps"], path))


def _below(steps: Sequence[Mapping[str, Any]], path: str | None) -> Iterator[Mapping[str, Any]]:
    return (each for each in steps if path is not None and str(each["path"]).startswith(f"{path}/"))
