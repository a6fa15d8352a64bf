"""The offer of a worker to run branches: that it lives, and how it tells those who have its token.

The token itself is in no file that others read: the offer holds a salted check of it, so that the page can say at once
whether a token is the worker's, and a request holds a signature over all that it asks for.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.core.json_text import parse_json
from pipeline.store.heartbeat import is_alive
from pipeline.store.publication import FOLDER

__all__ = [
    "SIGN",
    "Offer",
    "TokenError",
    "announce",
    "key_of",
    "offer_of",
    "own_token",
    "queue_folder",
    "write_atomically",
]

SIGN = "serve"
"""The worker's sign of life, among those of runs (`pipeline.store.heartbeat`)."""
_SHORTEST = 12
_LONGEST = 200
_OFFER, _TOKEN = "offer.json", "token"
_PURPOSE = b"the token of the worker"


class TokenError(ValueError):
    """A token cannot be used: the message says which can."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a worker tells those who may ask."""

    salt: str
    check: str
    """HMAC of a fixed text under the token's key."""
    since: str
    """UTC, ISO 8601."""

    def key(self, token: str) -> bytes | None:
        """Return the key that requests are signed with; None if the token is not the worker's."""
        key = key_of(token, self.salt)
        return key if hmac.compare_digest(_check(key).encode(), self.check.encode("utf-8", "replace")) else None


def queue_folder(results: Path) -> Path:
    """Return the folder of the requests beside some results."""
    whole = results.expanduser().resolve()
    return whole.parent / FOLDER / f"{whole.name}.queue"


def announce(results: Path, token: str) -> Offer:
    """Write the offer of a worker; one that holds this token already stays, and with it the requests that are signed for it.

    Raises:
        TokenError: if a worker with another token serves the same results.
        OSError: if it cannot be written.
    """
    earlier = _read(results)
    if earlier is not None and earlier.key(token) is not None:
        return earlier
    if earlier is not None and is_alive(results, SIGN):
        raise TokenError(
            f"{results}: a worker with another token serves these results, or did so within the last minute. Give its token, "
            "or end it first"
        )
    salt = secrets.token_hex(16)
    offer = Offer(salt, _check(key_of(token, salt)), datetime.now(UTC).isoformat(timespec="seconds"))
    folder = queue_folder(results)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / _OFFER, json.dumps(asdict(offer)))
    return offer


def offer_of(results: Path) -> Offer | None:
    """Return the offer of a worker that gives signs of life; None if there is none."""
    return _read(results) if is_alive(results, SIGN) else None


def _read(results: Path) -> Offer | None:
    try:
        content = parse_json((queue_folder(results) / _OFFER).read_text(encoding="utf-8"))
        offer = Offer(**content)
    except (OSError, ValueError, TypeError):
        return None
    return offer if all(isinstance(value, str) for value in (offer.salt, offer.check, offer.since)) else None


def own_token(results: Path, words: str | None) -> str:
    """Return the token of a worker: the one that is given, else the one that it had before, else a new one.

    Args:
        results: the results file.
        words: as given by the person; None: they gave none.

    Raises:
        TokenError: if it is too short to be a secret.
        OSError: if a new one cannot be kept.
    """
    if words is not None:
        if not _SHORTEST <= len(words) <= _LONGEST or not words.isprintable():
            raise TokenError(
                f"the token has {_SHORTEST} to {_LONGEST} characters that can be shown; leave it out for a random one"
            )
        return words
    file = queue_folder(results) / _TOKEN
    with suppress(OSError, UnicodeDecodeError):
        earlier = file.read_text(encoding="ascii").strip()
        if len(earlier) >= _SHORTEST:
            return earlier
    token = secrets.token_urlsafe(24)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(token)
    return token


def key_of(token: str, salt: str) -> bytes:
    """Return the key that a token stands for: slow to compute, so that a short token is not found by trying."""
    return hashlib.scrypt(token.encode("utf-8", "replace"), salt=salt.encode(), n=2**14, r=8, p=1, dklen=32)


def write_atomically(file: Path, text: str) -> None:
    """Write a file so that nobody ever reads a part of it.

    Raises:
        OSError: if it cannot be written; nothing is left behind then.
    """
    scratch = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with scratch.open("w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(file)
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def _check(key: bytes) -> str:
    return hmac.new(key, _PURPOSE, hashlib.sha256).hexdigest()
