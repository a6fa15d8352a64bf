"""The files that a model comes from, as part of its identity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.hashes import content_digest
from pipeline.keys import digest

_KEYS = ("weights", "path")
"""Arguments of builders that may name a file or a folder."""


def content_of(entry: Mapping[str, Any], folder: Path) -> str | None:
    """Digest of the local files that a conf/model entry names; None if it names none.

    Other weights under the same path are another model. A hub id counts as such: pin its `revision`. What was hashed is
    remembered below the cache folder `folder`.
    """
    found = {}
    for key in _KEYS:
        path = Path(str(entry.get(key) or "")).expanduser()
        if path.is_file():
            found[key] = content_digest(path.parent, [path.name], folder.expanduser() / "hashes")
        elif entry.get(key) and path.is_dir():
            names = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
            found[key] = content_digest(path, names, folder.expanduser() / "hashes")
    return digest({"what": "model files", "files": found}) if found else None
