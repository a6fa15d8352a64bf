"""An object store by its URL: `s3://`, `gs://`, `az://`, `file://`, whatever obstore opens.

Requests that fail because the store is out of reach are repeated until they succeed, or for `patience` seconds. Everything
else that can go wrong becomes one line that says what to do. Credentials come from the environment, as obstore reads them
(`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_KEY`, ...).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pipeline.core.errors import BouillonError, reason
from pipeline.core.extras import install_command
from pipeline.core.secret_values import hidden

__all__ = ["ObjectInfo", "ObjectStore", "ObjectStoreError", "UnreachableError"]

T = TypeVar("T")
PATIENCE = 600.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
_ATTEMPT = timedelta(seconds=30)
_CHUNK = 8_000_000
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_FOR_A_WHILE = frozenset({"408", "429", "500", "502", "503", "504"})
_EXPIRED = ("ExpiredToken", "TokenExpired", "RequestExpired", "token has expired", "token is expired")
_SCHEMES = "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER"


class ObjectStoreError(BouillonError, RuntimeError):
    """The object store refuses, or is not there: the message names its URL, the problem and what to do."""


class UnreachableError(ObjectStoreError):
    """The object store could not be reached for so long that waiting was given up."""


class ObjectInfo(NamedTuple):
    """An entry of a listing."""

    path: str
    size: int
    """Bytes."""
    modified: datetime


class ObjectStore:
    """Objects below a URL, by paths relative to it."""

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        """Open the store and look whether it answers.

        Args:
            url: what obstore opens; a folder of a `file://` URL is made.
            patience: seconds for which requests are repeated while the store is out of reach.

        Raises:
            ObjectStoreError: if the URL is none, obstore is not installed, or the store refuses.
            UnreachableError: if it did not answer in time.
        """
        self.url = url
        self._patience = patience
        self._store = self._open()
        next(self.list(""), None)

    def read(self, path: str) -> bytes | None:
        """Return the content of an object; None if there is none."""
        import obstore

        return self._ask(lambda: bytes(obstore.get(self._store, path).bytes()), missing=None)

    def fetch(self, path: str, file: Path) -> str | None:
        """Write an object to a file. Returns the sha256 of what came; None if there is no such object."""
        import obstore

        def transfer() -> str:
            seen = hashlib.sha256()
            with file.open("wb") as stream:
                for chunk in obstore.get(self._store, path).stream(min_chunk_size=_CHUNK):
                    seen.update(chunk)
                    stream.write(chunk)
            return seen.hexdigest()

        return self._ask(transfer, missing=None)

    def write(self, path: str, content: bytes | Path) -> None:
        """Put an object, in the place of one that is there."""
        import obstore

        self._ask(lambda: obstore.put(self._store, path, content))

    def create(self, path: str, content: bytes) -> bool:
        """Put an object unless there is one. Returns whether it was put: of several at once, one is."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        def put() -> bool:
            try:
                obstore.put(self._store, path, content, mode="create")
            except (AlreadyExistsError, PreconditionError):
                return False
            return True

        return self._ask(put)

    def delete(self, paths: Iterable[str]) -> None:
        """Remove objects; what is not there is removed already."""
        import obstore

        for path in paths:
            self._ask(partial(obstore.delete, self._store, path), missing=None)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose path begins with the folder `prefix`."""
        import obstore

        for page in self._pages(lambda: iter(obstore.list(self._store, prefix or None))):
            for item in page:
                yield ObjectInfo(item["path"], item["size"], item["last_modified"])

    def _pages(self, begin: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """Pages of a listing. One that breaks off begins anew, and leaves out what has been read."""
        pages, count = self._ask(begin), 0

        def following() -> Any:
            nonlocal pages
            try:
                return next(pages, None)
            except Exception:
                pages = begin()
                for _ in range(count):
                    next(pages, None)
                raise

        while (page := self._ask(following, missing=None)) is not None:
            count += 1
            yield page

    def _open(self) -> Any:
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ImportError:
            raise ObjectStoreError(
                f"{self._name}: needs obstore, which is not installed: {install_command('objectstore')}"
            ) from None
        # of a folder: on first use it is made; waiting between attempts is done here, where it can be told and bounded
        options: dict[str, Any] = {"mkdir": True} if self.url.startswith("file:") else {}
        if not self.url.startswith(("file:", "memory:")):
            options["retry_config"] = {"max_retries": 0, "retry_timeout": _ATTEMPT}
        try:
            return from_url(self.url, **options)
        except (BaseError, OSError, ValueError) as error:
            raise ObjectStoreError(
                f"{self._name}: cannot be opened: {reason(error).removeprefix('Generic URL error: ')}. Write {_SCHEMES}"
            ) from None

    @property
    def _name(self) -> str:
        """The URL for people: without a password in it."""
        return str(hidden(re.sub(r"//[^/@]*@", "//***@", self.url)))

    def _ask(self, request: Callable[[], T], **default: Any) -> T:
        """Make a request, again and again while the store is out of reach.

        Args:
            request: makes it.
            default: `missing`: the answer where there is no such object.

        Raises:
            ObjectStoreError: if the store refuses.
            UnreachableError: if it was out of reach for longer than the patience.
        """
        from obstore.exceptions import BaseError

        start, pause = time.monotonic(), _FIRST_PAUSE
        while True:
            try:
                return request()
            except FileNotFoundError as error:
                if "missing" in default:
                    return default["missing"]  # type: ignore[no-any-return]
                raise ObjectStoreError(f"{self._name}: there is no such place: {reason(error)}") from None
            except (BaseError, OSError) as error:
                if not _may_pass(error):
                    raise ObjectStoreError(self._refusal(error)) from None
                waited = time.monotonic() - start
                if waited + pause > self._patience:
                    raise UnreachableError(
                        f"{self._name}: out of reach for {waited:.0f} s: {_short(error)}. What is finished is kept: run again "
                        "when it answers"
                    ) from None
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _refusal(self, error: Exception) -> str:
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        text = str(error)
        if any(sign in text for sign in _EXPIRED):
            return f"{self._name}: the credentials have expired: renew them, and run again; what is finished is kept"
        status = _STATUS.search(text)
        code = status[1] if status else ""
        if isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError) or code in ("401", "403"):
            return f"{self._name}: no rights to do this ({_short(error)}): check the credentials in the environment"
        if code == "404":
            return f"{self._name}: there is no such bucket or container ({_short(error)}): make it, or name another"
        return f"{self._name}: {_short(error)}"


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed a moment later: the network failed, or the server is overloaded."""
    from obstore.exceptions import GenericError

    text = str(error)
    if any(sign in text for sign in _EXPIRED):
        return False
    status = _STATUS.search(text)
    if status:
        return status[1] in _FOR_A_WHILE
    return isinstance(error, GenericError | ConnectionError | TimeoutError) and (
        "HTTP error" in text or "error sending request" in text or "timed out" in text
    )


def _short(error: Exception) -> str:
    """The first line of an error, without what obstore puts around it."""
    return re.sub(r"^Generic \w+ error: ", "", reason(error)).partition(": <?xml")[0].rstrip(". :")
