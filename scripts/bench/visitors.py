"""What many visitors cost the server: its memory and its answers while they work, and what is left when they have gone.

Every visitor is a session of its own over a websocket, as a browser's, that sends what the page sends: pages, selections,
budgets that are dragged, searches, cards. Nothing is drawn here: browsers of twenty people do not fit on one machine.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
from bokeh.client import ClientSession, pull_session

from viewer.session.messages import Bridge  # its definition is what a session's document is read with

__all__ = ["Load", "load"]

_LIMIT_MB = 200.0
_GONE_S = 45
"""Bokeh forgets a session some 30 s after its visitor has left."""


@dataclass
class Load:
    """What was measured; memory is resident, in MB."""

    before: float
    most: float
    after: float = 0.0
    answers: list[float] = field(default_factory=list)
    """Milliseconds from a message to the answer that follows it."""

    @property
    def is_within(self) -> bool:
        """Whether the visitors cost no more than they may."""
        return self.most - self.before <= _LIMIT_MB

    def __str__(self) -> str:
        return (
            f"memory {self.before:.0f} MB, with visitors at most {self.most:.0f} MB (+{self.most - self.before:.0f}, "
            f"limit +{_LIMIT_MB:.0f}), after they left {self.after:.0f} MB (+{self.after - self.before:.0f}); "
            f"{len(self.answers)} messages, answered in {statistics.median(self.answers):.0f} ms (median), "
            f"{statistics.quantiles(self.answers, n=20)[-1]:.0f} ms (95th percentile)"
        )


def load(address: str, server: psutil.Process, *, visitors: int, seconds: float) -> Load:
    """Let visitors work on a served viewer and watch the server's memory.

    Args:
        address: of the viewer.
        server: the process that serves it.
        visitors: how many there are at once; each sends about one message a second.
        seconds: how long they stay.
    """
    pull_session(url=address).close()
    time.sleep(3)  # one has been there: modules are loaded, spare plots made
    with _watched(server) as seen:
        sessions = [_Visit(address, number) for number in range(visitors)]
        threads = [threading.Thread(target=each.work, args=(time.monotonic() + seconds,)) for each in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    failed = [each.failure for each in sessions if each.failure]
    if failed:
        raise RuntimeError(f"{len(failed)} visitors failed, the first with: {failed[0]}")
    time.sleep(_GONE_S)
    seen.after = _memory(server)
    seen.answers = [answer for each in sessions for answer in each.answers]
    return seen


def _memory(server: psutil.Process) -> float:
    return float(server.memory_info().rss) / 1e6


@contextmanager
def _watched(server: psutil.Process) -> Iterator[Load]:
    seen = Load(_memory(server), _memory(server))
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.2):
            seen.most = max(seen.most, _memory(server))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        is_over.set()
        watching.join()


class _Visit:
    """One person with the page open."""

    def __init__(self, address: str, number: int) -> None:
        self.address = address
        self.draw = random.Random(number)
        self.answers: list[float] = []
        self.failure = ""
        self._count = 0

    def work(self, until: float) -> None:
        """Do what people do until it is time to leave."""
        try:
            time.sleep(2 * self.draw.random())
            session = pull_session(url=self.address)
            keys = list(session.document.get_model_by_name("models").data["key"])
            steps = self._steps(keys)
            while time.monotonic() < until:
                self._say(session, next(steps))
                time.sleep(2 * self.draw.random())
            session.pull()  # while it waits for a round trip, Bokeh's client leaves unread what is sent to it
            if self._count and session.document.select_one({"type": Bridge}).update is None:
                raise RuntimeError("The server has answered nothing")
            session.close()
        except Exception as failure:  # noqa: BLE001 - told by who waits for this thread
            self.failure = repr(failure)

    def _say(self, session: ClientSession, message: dict[str, Any]) -> None:
        bridge = session.document.select_one({"type": Bridge})
        self._count += 1
        start = time.perf_counter()
        bridge.message = {"number": self._count, **message}
        session.force_roundtrip()
        self.answers.append(1000 * (time.perf_counter() - start))

    def _steps(self, keys: list[str]) -> Iterator[dict[str, Any]]:
        draw = self.draw
        while True:
            for key in draw.sample(keys, min(6, len(keys))):
                yield {"kind": "hover", "key": key}
                yield {"kind": "node", "key": key, "add": draw.random() < 0.6}
            for page in draw.sample(["table", "compare", "behaviours", "layers", "help"], 3):
                yield {"kind": "set", "field": "page", "value": page}
            yield {"kind": "set", "field": "page", "value": "overview"}
            yield {"kind": "set", "field": "pane", "value": "budgets"}
            yield {"kind": "filter_add"}
            yield {"kind": "budget_type", "text": f"size <= {draw.randint(1, 40)} MB", "submitted": True}
            yield {"kind": "set", "field": "arrange", "value": draw.choice(["operation", "step", "time"])}
            yield {"kind": "search", "text": draw.choice(["sparsity", "int8", "failed", "seed=7"])}
            yield {"kind": "filter_clear"}
            yield {"kind": "set", "field": "pane", "value": "selection"}
            yield {"kind": "clear"}
