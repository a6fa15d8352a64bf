"""The queue of branches: each request is a recipe file, and its state a file beside it that only workers write.

A request that waits can be withdrawn, and those that are finished be cleared away: their files go, and no model with them.

    .bouillon/results.duckdb.queue/20260131T120000-1a2b3c4d.yaml        the recipe, with what was asked for in its head
    .bouillon/results.duckdb.queue/20260131T120000-1a2b3c4d.state.json  written by the worker; missing: it is queued
    .bouillon/results.duckdb.queue/20260131T120000-1a2b3c4d.lock        locked by whoever works on it

A lock goes with its process, however that ends: a request whose worker died is taken up by the next.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pipeline.core.json_text import parse_json
from pipeline.delivery.branches.offer import Offer, queue_folder, write_atomically

__all__ = ["BranchQueue", "BranchRequest", "QueueError", "RequestState", "RequestStatus"]

_HEAD = "#: "
"""Begins the line of a request's file that holds what was asked for."""
_MOST_WAITING = 100
_LONGEST_RECIPE = 300_000
"""Characters of a recipe and of its change, in whose place a request's file may have up to six each."""
_LONGEST_FILE = 2_000_000
_LONGEST_NAME = 80


class QueueError(ValueError):
    """A request cannot be queued: the message says why, and what to do."""


class RequestState(StrEnum):
    """The state of a request."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"

    @property
    def is_final(self) -> bool:
        """Whether no worker takes such a request up again."""
        return self in (RequestState.DONE, RequestState.FAILED, RequestState.REFUSED)


@dataclass(frozen=True, slots=True)
class RequestStatus:
    """The state of a request, as its worker has written it down."""

    state: RequestState = RequestState.QUEUED
    reason: str = ""
    since: str = ""
    """UTC, ISO 8601."""
    done: int = 0
    """Jobs that are finished, of `total`."""
    total: int = 0
    models: tuple[str, ...] = ()
    """Keys of the models that it adds."""


@dataclass(frozen=True, slots=True)
class BranchRequest:
    """A branch that somebody asked for."""

    name: str
    """Of its file, without ending; begins with the time."""
    origin: str
    """Key of the model that it begins at."""
    origin_name: str
    change: str
    """YAML: name -> step, as under `then` of a recipe."""
    recipe: str
    """YAML: the whole recipe."""
    who: str
    when: str
    """UTC, ISO 8601."""
    user: str = ""
    """Whom the server of the page knew as the one who asked; `who` is what they typed."""
    signature: str = ""
    status: RequestStatus = field(default=RequestStatus(), compare=False)

    @property
    def text(self) -> str:
        """The content of its file: a recipe that can be run."""
        head = {name: value for name, value in asdict(self).items() if name not in ("recipe", "status", "name")}
        return (
            "# A branch that was asked for on the page. To run it by hand: python -m pipeline recipe=THIS_FILE\n"
            f"{_HEAD}{json.dumps(head)}\n{self.recipe}"
        )

    def signed(self, key: bytes) -> BranchRequest:
        """Return the request with the signature of somebody who has the token."""
        return replace(self, signature=self._signature(key))

    def is_signed(self, key: bytes) -> bool:
        """Whether the signature is of the token, and over all that is asked for."""
        return hmac.compare_digest(self._signature(key).encode(), self.signature.encode("utf-8", "replace"))

    def _signature(self, key: bytes) -> str:
        parts = [self.name, self.origin, self.origin_name, self.change, self.recipe, self.who, self.when]
        parts += [self.user] if self.user else []  # requests of earlier versions have none
        return hmac.new(key, json.dumps(parts).encode(), hashlib.sha256).hexdigest()


class BranchQueue:
    """The requests beside one results file. Any number of pages and workers may use it at once."""

    def __init__(self, results: Path) -> None:
        self.folder = queue_folder(results)

    # ---- those who ask
    def add(
        self,
        offer: Offer,
        token: str,
        *,
        origin: str,
        origin_name: str,
        change: str,
        recipe: str,
        who: str,
        user: str = "",
    ) -> BranchRequest:
        """Queue a branch.

        Args:
            offer: of the worker.
            token: as the visitor gave it.
            origin: key of the model that the branch begins at.
            origin_name: what the page calls it.
            change: YAML of the steps that are added.
            recipe: YAML of the whole recipe.
            who: the visitor's name, as they give it.
            user: their name as the server knows it.

        Raises:
            QueueError: for a wrong token, a full queue or disk.
        """
        key = offer.key(token)
        if key is None:
            raise QueueError("the token is not that of the worker, which it printed when it was started")
        if sum(each.status.state is RequestState.QUEUED for each in self.requests()) >= _MOST_WAITING:
            raise QueueError(f"{_MOST_WAITING} requests are waiting; ask again when some are done")
        if len(recipe) + len(change) > _LONGEST_RECIPE:
            raise QueueError(f"the recipe has more than {_LONGEST_RECIPE:,} characters; ask for fewer steps at once")
        now = datetime.now(UTC)
        request = BranchRequest(
            name=f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}",
            origin=origin,
            origin_name=origin_name,
            change=change,
            recipe=recipe,
            who="".join(letter for letter in who if letter.isprintable()).strip()[:_LONGEST_NAME] or "someone",
            when=now.isoformat(timespec="seconds"),
            user=user,
        ).signed(key)
        try:
            write_atomically(self._file(request), request.text)
        except UnicodeEncodeError:
            raise QueueError("the recipe holds half a character (a lone surrogate), which is no text") from None
        except OSError as error:
            raise QueueError(f"{self.folder}: {os.strerror(error.errno or errno.EIO)}. Nothing was queued") from None
        return request

    def requests(self, most: int | None = None) -> list[BranchRequest]:
        """The newest requests with their states (default: all), oldest first; files that are none are passed over."""
        try:
            files = sorted(self.folder.glob("*.yaml"))[-most if most else None :]
        except OSError:
            return []
        return [request for file in files if (request := _read(file)) is not None]

    def withdraw(self, name: str) -> None:
        """Take a request away that nobody works on, and that is not finished.

        Args:
            name: the request's.

        Raises:
            QueueError: if there is none, it is being worked on, or it is finished.
        """
        request = next((each for each in self.requests() if each.name == name), None)
        if request is not None and self._take_away(request, lambda state: not state.is_final):
            return
        again = None if request is None else _read(self._file(request))
        if again is None:
            raise QueueError(
                f"no request is called {name[:_LONGEST_NAME]!r}; it may have been withdrawn or cleared away"
            )
        state = again.status.state
        why = f"it is {state} already" if state.is_final else "a worker runs it; wait for its end, or end the worker"
        raise QueueError(f"request '{name}' cannot be withdrawn: {why}")

    def clear(self) -> int:
        """Take all finished requests away; return how many. What they have made stays.

        Raises:
            QueueError: if a file cannot be deleted.
        """
        requests = [each for each in self.requests() if each.status.state.is_final]
        return sum(self._take_away(each, lambda state: state.is_final) for each in requests)

    def _take_away(self, request: BranchRequest, fits: Callable[[RequestState], bool]) -> bool:
        """Delete the files of a request unless somebody works on it or its state is another; return whether they are gone."""
        file = self._file(request)
        try:
            with self._turn(request) as lock:
                again = _read(file) if lock is not None else None
                if again is None or not fits(again.status.state):
                    return False
                for each in (file, _state_file(file)):  # the lock goes at the end of the turn
                    each.unlink(missing_ok=True)
        except OSError as error:
            raise QueueError(f"{self.folder}: {os.strerror(error.errno or errno.EIO)}. The request stays") from None
        return True

    # ---- workers
    @contextmanager
    def next_request(self) -> Iterator[tuple[BranchRequest, int] | None]:
        """Have the oldest request that is not finished and that nobody works on, for the length of the block.

        Yields the request and the descriptor of its lock, which a process that works on it may inherit; None: there is none.
        """
        for request in self.requests():
            if request.status.state.is_final:
                continue
            with self._turn(request) as lock:
                again = _read(self._file(request)) if lock is not None else None
                if again is None or again.status.state.is_final:
                    continue
                assert lock is not None, "what is read again is locked"
                yield again, lock
                return
        yield None

    def write(self, request: BranchRequest, status: RequestStatus) -> None:
        """Write down the state of a request.

        Raises:
            OSError: if it cannot be written.
        """
        status = replace(status, since=datetime.now(UTC).isoformat(timespec="seconds"))
        write_atomically(_state_file(self._file(request)), json.dumps(asdict(status)))

    def _file(self, request: BranchRequest) -> Path:
        return self.folder / f"{request.name}.yaml"

    @contextmanager
    def _turn(self, request: BranchRequest) -> Iterator[int | None]:
        """Have the lock of a request, or None; that of a request which is gone goes with it."""
        lock = self.folder / f"{request.name}.lock"
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            is_locked = _is_locked(descriptor)
            yield descriptor if is_locked else None
            if is_locked and not self._file(request).exists():
                lock.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    """Whether the lock could be had."""
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _state_file(file: Path) -> Path:
    return file.with_suffix(".state.json")


def _read(file: Path) -> BranchRequest | None:
    try:
        with file.open(encoding="utf-8", newline="") as stream:  # a signature is over every character
            text = stream.read(_LONGEST_FILE + 1)
        _, head, recipe = text.split("\n", 2)
        content = parse_json(head.removeprefix(_HEAD))
        if len(text) > _LONGEST_FILE or not all(isinstance(value, str) for value in content.values()):
            return None
        request = BranchRequest(name=file.stem, recipe=recipe, **content)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return replace(request, status=_status(_state_file(file)))


def _status(file: Path) -> RequestStatus:
    """The state that stands beside a request; one that cannot be read is as good as none."""
    try:
        raw = parse_json(file.read_text(encoding="utf-8"))
        return RequestStatus(
            RequestState(raw["state"]), str(raw["reason"]), str(raw["since"]), int(raw["done"]), int(raw["total"]),
            tuple(map(str, raw["models"])),
        )  # fmt: skip
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return RequestStatus()
