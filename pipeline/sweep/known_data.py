"""Data sets that runs of this person's have opened: what may be opened again to show an instance, without asking.

A results file names a data set too, but it may come from anybody, and opening data can fetch archives and import plug-ins.
So its word counts for nothing: each run notes what its own configuration opened, in the person's own folder, under the
fingerprint of the content; whoever shows instances looks there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core import secret_values

if TYPE_CHECKING:
    from pipeline.sweep.config import Config

__all__ = ["KnownData", "recall", "remember"]

_FOLDER = Path("~/.cache/bouillon/known_data")


@dataclass(frozen=True, slots=True)
class KnownData:
    """A data set that a run of this person's has opened."""

    entry: Mapping[str, Any]
    """The conf/dataset entry."""
    folder: Path
    """Cache folder of data files."""
    plugins: tuple[str, ...]


def remember(fingerprint: str, config: Config) -> None:
    """Note what a run opened. Nothing is noted where the person's folder cannot be written."""
    note = {
        "entry": secret_values.hidden(config.dataset),
        "folder": str(config.data_folder),
        "plugins": list(config.plugins),
        "variables": secret_values.variables(),
    }
    with contextlib.suppress(OSError, RuntimeError):  # a read-only disk; nobody's home
        file = _file(fingerprint)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = file.with_suffix(f".{os.getpid()}.new")
        scratch.write_text(json.dumps(note))
        scratch.replace(file)


def recall(fingerprint: str) -> KnownData | None:
    """Return how the data set is opened; None if no run of this person's has opened it."""
    try:
        note = json.loads(_file(fingerprint).read_text())
        entry = secret_values.revealed(note["entry"], note["variables"])
        return KnownData(entry, Path(note["folder"]), tuple(note["plugins"]))
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):
        return None


def _file(fingerprint: str) -> Path:
    return _FOLDER.expanduser() / f"{hashlib.sha256(fingerprint.encode()).hexdigest()[:32]}.json"
