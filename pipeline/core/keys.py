"""Identity: what makes two results the same result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NewType

from ops.core.params import not_finite
from pipeline.core.errors import BouillonError

Key = NewType("Key", str)
_FORMAT = 1  # bump to invalidate every key at once


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
) -> Key:
    """Key of the model that an operation makes: everything that can change the result, and nothing else.

    `data` (a fingerprint) and `seed` are None for operations that do not use them; `references` are the keys of the
    other models that parameters name (a teacher, a model to restore from).
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
        }
    )


def evidence_key(what: str, *, version: int, model: Key, **identity: Any) -> Key:
    """Key of something observed of a model: an export, its predictions, its layers, its timings."""
    return digest({"what": what, "version": version, "model": model, **identity})


def digest(identity: Mapping[str, Any]) -> Key:
    """sha256 (64 hex digits) of the canonical JSON.

    Raises:
        IdentityError: if a number is infinite or none.
    """
    odd = not_finite(identity)
    if odd is not None:
        raise IdentityError(f"{odd[0]}: must be a finite number (got {odd[1]})")
    return Key(hashlib.sha256(canonical_json({"format": _FORMAT, **identity})).hexdigest())


def canonical_json(value: Any) -> bytes:
    """One spelling per value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()
