"""Data sets that runs of this person's have opened, and the stores beside which their instances may be shown.

A results file names a data set too, but it may come from anybody, and opening data can fetch archives and import plug-ins.
So its word counts for nothing: each run notes what its own configuration opened, in the person's own folder, under the
fingerprint of the content; whoever shows instances looks there. Beside the store of a run of theirs they are shown without
asking; for any other store the person is asked once, and the answer is noted too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core import secret_values

if TYPE_CHECKING:
    from pipeline.sweep.config import Config

__all__ = ["KnownData", "allow", "is_own", "pass_on", "recall", "refusal", "remember"]

_FOLDER = Path("~/.cache/bouillon/known_data")


@dataclass(frozen=True, slots=True)
class KnownData:
    """A data set that a run of this person's has opened."""

    entry: Mapping[str, Any]
    """The conf/dataset entry."""
    folder: Path
    """Cache folder of data files."""
    plugins: tuple[str, ...]
    written: Mapping[str, Any]
    """The entry as it may be written down: with references to the environment in the place of their values."""
    stores: frozenset[str]
    """Identities of the stores beside which its instances may be shown (`pipeline.store.writer.Store.identity`)."""
    own: frozenset[str] = frozenset()
    """Those of them that hold what runs of this person's have written, and nothing else: their models may be run too."""


def remember(fingerprint: str, config: Config, store: str, *, own: bool = True) -> None:
    """Note what a run opened, and the store that it names.

    Nothing is noted where the person's folder cannot be written.

    Args:
        fingerprint: of the data set's content.
        config: of the run.
        store: identity of the run's store.
        own: whether all that the store holds, or will hold, is of this person's runs: not so when it is only planned with.
    """
    earlier = recall(fingerprint)
    note = {
        "entry": secret_values.hidden(config.dataset),
        "folder": str(config.data_folder),
        "plugins": list(config.plugins),
        "variables": secret_values.variables(),
        "stores": sorted({*(earlier.stores if earlier else ()), store}),
        "own": sorted({*(earlier.own if earlier else ()), *([store] if own else [])}),
    }
    with contextlib.suppress(OSError, RuntimeError):  # a read-only disk; nobody's home
        _write(fingerprint, note)


def is_own(store: str) -> bool:
    """Whether runs of this person's have written all of a store, with whatever data."""
    try:
        notes = [json.loads(file.read_text()) for file in _FOLDER.expanduser().glob("*.json")]
    except (OSError, RuntimeError, ValueError):
        return False
    return any(isinstance(note, dict) and store in note.get("own", ()) for note in notes)


def pass_on(source: str, target: str, *, own: bool) -> None:
    """Note that a store has received what another holds: it is the person's own only if all of that is.

    Args:
        source: identity of the store whose content was merged.
        target: identity of the store that received it.
        own: whether both were the person's own.
    """
    with contextlib.suppress(OSError, RuntimeError):
        for file in sorted(_FOLDER.expanduser().glob("*.json")):
            with contextlib.suppress(ValueError, AttributeError):
                note = json.loads(file.read_text())
                stores, owned = set(note.get("stores", ())), set(note.get("own", ()))
                if own and source in owned:
                    stores, owned = stores | {target}, owned | {target}
                elif not own:
                    owned -= {target}
                changed = {**note, "stores": sorted(stores), "own": sorted(owned)}
                if changed != note:
                    _replace(file, changed)


def allow(fingerprint: str, store: str) -> None:
    """Note that the person lets instances of a data set of theirs be shown beside a store of somebody else's.

    Raises:
        OSError: if it cannot be noted.
        KeyError: if no run of this person's has opened the data set.
    """
    note = _read(fingerprint)
    if note is None:
        raise KeyError(fingerprint)
    _write(fingerprint, {**note, "stores": sorted({*note.get("stores", ()), store})})


def refusal(fingerprint: str, *, name: str, results: Path, store: str, runs: bool = False) -> str | None:
    """Say why instances may not be shown beside some results, and how they may be; None if they may.

    Models are run beside results of the person's own alone: code of others comes with models of others, so that leave to
    show instances is none to run models on them.

    Args:
        fingerprint: of the data set's content.
        name: what the results call the data set.
        results: the results file, for the command that allows it.
        store: the identity of the results' store.
        runs: whether models are to be run on the instances.
    """
    data = recall(fingerprint)
    if data is None:
        return (
            f"no run of yours has opened the data set '{name}', and results alone never have data opened. If you have "
            "it, plan a recipe with it once: python -m pipeline recipe=NAME dataset=NAME plan_only=true"
        )
    if store in (data.own if runs else data.stores):
        return None
    if runs:
        return (
            "models are run only beside results that runs of yours have written whole. If these are, and are of an earlier "
            "version, move the file away and run the recipe again: what is in the workspace is not made again"
        )
    return (
        f"these results come from no run of yours. To have instances of your own data set '{data.entry.get('name', name)}' "
        f"shown beside them, allow it once: python -m pipeline show {fingerprint} --results {shlex.quote(str(results))} "
        "--allow"
    )


def recall(fingerprint: str) -> KnownData | None:
    """Return how the data set is opened; None if no run of this person's has opened it."""
    try:
        note = _read(fingerprint)
        if note is None:
            return None
        entry = secret_values.revealed(note["entry"], note["variables"])
        stores, own = (frozenset(note.get(part, ())) for part in ("stores", "own"))  # older versions noted none
        return KnownData(entry, Path(note["folder"]), tuple(note["plugins"]), note["entry"], stores, own)
    except (KeyError, TypeError):
        return None


def _read(fingerprint: str) -> dict[str, Any] | None:
    try:
        note = json.loads(_file(fingerprint).read_text())
    except (OSError, RuntimeError, ValueError):
        return None
    return note if isinstance(note, dict) else None


def _write(fingerprint: str, note: Mapping[str, Any]) -> None:
    file = _file(fingerprint)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _replace(file, note)


def _replace(file: Path, note: Mapping[str, Any]) -> None:
    scratch = file.with_suffix(f".{os.getpid()}.new")
    scratch.write_text(json.dumps(note))
    scratch.replace(file)


def _file(fingerprint: str) -> Path:
    return _FOLDER.expanduser() / f"{hashlib.sha256(fingerprint.encode()).hexdigest()[:32]}.json"
