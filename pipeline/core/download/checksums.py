"""sha256 of files, remembered by size and times, so that a second look at a large folder reads no file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipeline.core.keys import canonical_json

_THREADS = 4
_REMEMBERED = 16  # different sets of files asked for under one root


def content_digest(root: Path, names: Sequence[str], cache: Path) -> str:
    """Digest of the names and contents of files below `root`; where `root` lies does not matter.

    `cache` is a folder for what is remembered. It may be missing or not writable: files are then read again. A file
    counts as unchanged while its size, modification time and change time are; the last is what a copy that preserves
    modification times cannot fake.

    Raises:
        OSError: if a file cannot be read.
    """
    states = {name: _state(root / name) for name in sorted(names)}
    listing = hashlib.sha256(canonical_json([[name, *state] for name, state in states.items()])).hexdigest()
    memory = _memory(root, cache).with_suffix(".listings.json")
    records = _read(memory)
    if listing not in records:
        digests = _remembered(root, states, cache)
        records[listing] = hashlib.sha256(canonical_json(list(digests.items()))).hexdigest()
        _write(memory, dict(list(records.items())[-_REMEMBERED:]))
    return str(records[listing])


def file_digests(root: Path, names: Sequence[str], cache: Path) -> dict[str, str]:
    """sha256 of each file below `root`, by its name; otherwise as `content_digest`.

    Args:
        root: the folder that the names begin at.
        names: relative paths of files.
        cache: a folder for what is remembered; a file whose size and time are as before is not read again.
    """
    return _remembered(root, {name: _state(root / name) for name in names}, cache)


def _memory(root: Path, cache: Path) -> Path:
    return cache / hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:24]


def _state(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _remembered(root: Path, states: Mapping[str, tuple[int, int, int]], cache: Path) -> dict[str, str]:
    memory = _memory(root, cache).with_suffix(".files.json")
    records = _read(memory)
    stale = [name for name, state in states.items() if records.get(name, [None])[:3] != list(state)]
    if stale:
        with ThreadPoolExecutor(_THREADS) as pool:  # hashing releases the interpreter lock
            fresh = list(pool.map(lambda name: _digest(root / name), stale))
        records |= {name: [*states[name], digest] for name, digest in zip(stale, fresh, strict=True)}
        _write(memory, records)
    return {name: records[name][3] for name in states}


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(memory: Path) -> dict[str, Any]:
    """Read the remembered digests; none if they were never written or are damaged."""
    try:
        content = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(memory: Path, content: Mapping[str, Any]) -> None:
    # remembering only saves time: with a full disk or a read-only folder the work goes on without it
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=memory.parent, prefix=".tmp-", delete=False) as beside:
            json.dump(content, beside)
        Path(beside.name).replace(memory)
