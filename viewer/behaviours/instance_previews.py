"""Previews of instances: fetched from the data set by id through a process of the pipeline's, and kept in a cache.

The viewer knows results only, so it asks `python -m pipeline show`, which opens the data set once and then answers id
after id. Pictures are cached in the user's own folder, as files named by a digest of data set and id: no path ever comes
from outside, and what several results were measured on is fetched once. Whether instances may be shown beside some results
is looked up each time, of what is cached too: the person may allow it while the viewer runs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Lock, Thread
from typing import Any

from pipeline.sweep.known_data import refusal

__all__ = ["DataPlace", "Pictures", "pictures_of"]

_CACHE = Path("~/.cache/bouillon/pictures")
_PAUSE = 5.0
"""Seconds until a data set that could not be shown is opened anew when a page is drawn."""
_sources: dict[DataPlace, Pictures] = {}
_opening = Lock()


@dataclass(frozen=True, slots=True)
class DataPlace:
    """A data set as some results name it."""

    results: Path
    """Absolute."""
    store: str
    """The identity of the results' store."""
    dataset_key: str
    name: str


def pictures_of(place: DataPlace) -> Pictures:
    """The shared source of one data set's instances."""
    with _opening:
        if place not in _sources:
            _sources[place] = Pictures(place)
        return _sources[place]


class Pictures:
    """Answers at once with what is cached, and fetches the rest in a thread."""

    def __init__(self, place: DataPlace) -> None:
        self._place = place
        self._folder = _CACHE.expanduser() / _digest(place.dataset_key)
        self._have: dict[str, dict[str, Any]] = {}
        self._requests: set[str] = set()
        self._queue: Queue[tuple[list[str], Callable[[], None]]] = Queue()
        self._process: subprocess.Popen[str] | None = None
        self._thread: Thread | None = None
        self._failure, self._failed_at = "", -math.inf

    @property
    def problem(self) -> str:
        """Why nothing can be shown: one sentence; empty if something can."""
        return self.refusal() or self._failure

    def refusal(self, *, runs: bool = False) -> str:
        """Say why instances may not be shown beside these results, or models be run on them; empty if they may."""
        place = self._place
        because = refusal(place.dataset_key, name=place.name, results=place.results, store=place.store, runs=runs)
        return f"The instances cannot be {'run' if runs else 'shown'}: {because}" if because else ""

    def get(self, ids: Sequence[str], arrived: Callable[[], None]) -> dict[str, dict[str, Any]]:
        """Return id -> {"image": data URI} or {"text": str, ...} as far as known; `arrived` is called when more is.

        Nothing is returned or fetched where the person has not allowed it.
        """
        if self.refusal():
            return {}
        for name in ids:
            if name not in self._have and (cached := self._cached(name)) is not None:
                self._have[name] = cached
        missing = [name for name in ids if name not in self._have and name not in self._requests]
        if missing and time.monotonic() - self._failed_at > _PAUSE:
            self._requests.update(missing)
            self._queue.put((missing, arrived))
            if self._thread is None:
                self._thread = Thread(target=self._work, daemon=True, name="pictures")
                self._thread.start()
        return {name: self._have[name] for name in ids if name in self._have}

    def _work(self) -> None:
        while True:
            ids, arrived = self._queue.get()
            self._failure = self._fetch(ids)
            if self._failure:
                self._failed_at = time.monotonic()
            self._requests.difference_update(ids)
            arrived()

    def _fetch(self, ids: Sequence[str]) -> str:
        """Fetch instances; return why that did not work, or nothing."""
        try:
            process = self._running()
            for name in ids:
                assert process.stdin is not None
                assert process.stdout is not None
                with suppress(BrokenPipeError):  # it has ended already: what it said is read below
                    process.stdin.write(json.dumps(name) + "\n")
                    process.stdin.flush()
                line = process.stdout.readline()
                answer = json.loads(line) if line else {"problem": "the data set could not be opened"}
                if "problem" in answer and not line:
                    return self._error_of(process)
                self._have[name] = _with_uri(answer)
                if "problem" in answer:  # may be mended: asked again by the next viewer
                    continue
                with suppress(OSError):  # a full or read-only disk: it is fetched again next time
                    self._keep(name, answer)
        except (OSError, ValueError) as error:
            return f"The data set cannot be shown: {error}"
        return ""

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-m", "pipeline", "show", self._place.dataset_key]
            command += ["--results", str(self._place.results)]
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        return self._process

    def _error_of(self, process: subprocess.Popen[str]) -> str:
        with suppress(BrokenPipeError), process:  # closes all its pipes
            text = (process.stderr.read() if process.stderr else "").strip().splitlines()
        return f"The instances cannot be shown: {text[-1].removeprefix('error: ') if text else 'the data set could not be opened'}"

    def _file(self, name: str) -> Path:
        return self._folder / f"{_digest(name)}.json"

    def _cached(self, name: str) -> dict[str, Any] | None:
        try:
            answer = json.loads(self._file(name).read_text())
        except (OSError, ValueError):
            return None
        return _with_uri(answer) if isinstance(answer, dict) and "problem" not in answer else None

    def _keep(self, name: str, answer: dict[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = self._file(name).with_suffix(".new")
        scratch.write_text(json.dumps(answer))
        scratch.replace(self._file(name))


def _with_uri(answer: dict[str, Any]) -> dict[str, Any]:
    """The process gives PNG as base64; it is checked to be that, because it goes into the page."""
    image = answer.get("image")
    if not isinstance(image, str):
        return {name: value for name, value in answer.items() if name != "image"}
    base64.b64decode(image, validate=True)
    return {**answer, "image": f"data:image/png;base64,{image}"}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
