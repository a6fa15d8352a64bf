"""Identity: what makes two results the same result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NewType

from ops.core.params import not_finite
from pipeline.core.errors import BouillonError

Key = NewType("Key", str)
CONTENT = "content"
"""The key of a conf/model entry that holds the digest of its files and code."""
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
_FORMAT = 1  # bump to invalidate every key at once
_ADDED = ("libraries", "runtime", "device")
"""Parts of the identity of evidence that are left out where there are none."""


class IdentityError(BouillonError, ValueError):
    """A result cannot be named: the message says which setting is in the way."""


def step_key(
    *,
    op: str,
    version: int,
    params: Mapping[str, Any],
    parent: Key | None,
    references: Mapping[str, Key],
    data: str | None,
    seed: int | None,
    **more: Any,
) -> Key:
    """Key of the model that an operation makes: everything that can change the result, and nothing else.

    Args:
        op: name of the operation.
        version: of its results.
        params: in full, each model entry with the digest of its files and code.
        parent: key of the model that it takes, or of its export.
        references: keys of the other models that parameters name (a teacher, a model to restore from).
        data: fingerprint of the data set; None if its instances are not used.
        seed: None if no random numbers are drawn.
        more: what only some operations read: `interface`, `code`, `libraries`. Left out where it is None or empty, so that
            the keys of all others stay what they are.
    """
    return digest(
        {
            "what": "model",
            "op": op,
            "version": version,
            "params": dict(params),
            "parent": parent,
            "references": dict(references),
            "data": data,
            "seed": seed,
            **{name: value for name, value in more.items() if value},
        }
    )


def evidence_key(what: str, *, version: int, model: Key, **identity: Any) -> Key:
    """Key of something observed of a model: an export, its predictions, its layers, its timings.

    What is observed with the help of a library, a runtime or a machine has them in `identity`; None and empty values are
    left out.

    Args:
        what: the kind of observation: `export`, `predictions` and so on.
        version: that of the code which observes; raise it when results change.
        model: key of the model that is observed.
        identity: everything else that the result depends on, JSON-ready.
    """
    present = {name: value for name, value in identity.items() if value or name not in _ADDED}
    return digest({"what": what, "version": version, "model": model, **present})


def digest(identity: Mapping[str, Any]) -> Key:
    """sha256 (64 hex digits) of the canonical JSON.

    Raises:
        IdentityError: if a number is infinite or none.
    """
    try:
        text = canonical_json({"format": _FORMAT, **identity})
    except ValueError:
        odd = not_finite(identity)
        if odd is None:
            raise
        raise IdentityError(f"{odd[0]}: must be a finite number (got {odd[1]})") from None
    return Key(hashlib.sha256(text).hexdigest())


def canonical_json(value: Any) -> bytes:
    """One spelling per value: sorted keys, no spaces, no NaN."""
    return _CANONICAL.encode(value).encode()


def unit_hash(text: str) -> float:
    """Return a number from 0 to 1 that a text alone decides, in every process: half of all texts lie below 0.5."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()) / 2.0**64
