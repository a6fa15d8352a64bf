"""Previews of instances: fetched from the data set by id through a process of the pipeline's, and kept in a cache.

The viewer knows results only, so it asks `python -m pipeline show`, which opens the data set once and then answers id
after id. Pictures are cached in the user's own folder, as files named by a digest of data set and id: no path ever comes
from outside, and what several results were measured on is fetched once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Queue
from threading import Lock, Thread
from typing import Any

__all__ = ["Pictures", "pictures_of"]

_CACHE = Path("~/.cache/bouillon/pictures")
_sources: dict[tuple[Path, str], Pictures] = {}
_opening = Lock()


def pictures_of(results: Path, dataset_key: str) -> Pictures:
    """The shared source of one data set's instances."""
    where = (results.absolute(), dataset_key)
    with _opening:
        if where not in _sources:
            _sources[where] = Pictures(*where)
        return _sources[where]


class Pictures:
    """Answers at once with what is cached, and fetches the rest in a thread."""

    def __init__(self, results: Path, dataset_key: str) -> None:
        self._results, self._dataset_key = results, dataset_key
        self._folder = _CACHE.expanduser() / _digest(dataset_key)
        self._have: dict[str, dict[str, Any]] = {}
        self._requests: set[str] = set()
        self._queue: Queue[tuple[list[str], Callable[[], None]]] = Queue()
        self._process: subprocess.Popen[str] | None = None
        self._thread: Thread | None = None
        self.problem = ""
        """Why nothing can be shown: one sentence."""

    def get(self, ids: Sequence[str], arrived: Callable[[], None]) -> dict[str, dict[str, Any]]:
        """Return id -> {"image": data URI} or {"text": str, ...} as far as known; `arrived` is called when more is."""
        for name in ids:
            if name not in self._have and (cached := self._cached(name)) is not None:
                self._have[name] = cached
        missing = [name for name in ids if name not in self._have and name not in self._requests]
        if missing and not self.problem:
            self._requests.update(missing)
            self._queue.put((missing, arrived))
            if self._thread is None:
                self._thread = Thread(target=self._work, daemon=True, name="pictures")
                self._thread.start()
        return {name: self._have[name] for name in ids if name in self._have}

    def _work(self) -> None:
        while True:
            ids, arrived = self._queue.get()
            self._fetch(ids)
            arrived()

    def _fetch(self, ids: Sequence[str]) -> None:
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
                    self.problem = self._error_of(process)
                    return
                self._have[name] = _with_uri(answer)
                with suppress(OSError):  # a full or read-only disk: it is fetched again next time
                    self._keep(name, answer)
        except (OSError, ValueError) as error:
            self.problem = f"The data set cannot be shown: {error}"

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-m", "pipeline", "show", self._dataset_key, "--results", str(self._results)]
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
        return _with_uri(answer) if isinstance(answer, dict) else None

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
