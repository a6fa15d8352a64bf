"""Clear up a workspace: what no model that is kept needs goes; the results keep every figure, and runs make again what they need."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ops.core.registry import nearest
from pipeline.core.artifacts import ArtifactStore
from pipeline.core.errors import BouillonError
from pipeline.core.keys import Key
from pipeline.core.machine.use_lock import alone
from pipeline.delivery.choice import best_models
from pipeline.stages.export import EXPORT
from pipeline.stages.operation import OPERATION
from pipeline.store.reader import open_results
from pipeline.sweep.compare_any_two import workspace_of

__all__ = ["CleaningError", "Holding", "WorkspaceCleaning", "clean"]

_DEFAULT = Path(".bouillon")
_AGE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([hdw])[a-z]*\s*", re.IGNORECASE)
_SECONDS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_BEST = re.compile(r"\s*best\s*=\s*([1-9]\d*)\s*", re.IGNORECASE)
_MAKING = (OPERATION.name, EXPORT.name)
"""Kinds of artifacts that other models are made of."""
_SEVERAL = 4
DAMAGED, UNKNOWN = "damaged", "unknown"


class CleaningError(BouillonError, ValueError):
    """A workspace cannot be cleared up as asked: the message says what is wrong, and what would be right."""


class Holding(NamedTuple):
    """One artifact of a workspace."""

    key: Key
    kind: str
    """Name of its stage; `damaged` of what was set aside."""
    model: str
    """Key of its model."""
    path: str
    """Of the model's step."""
    sources: tuple[Key, ...]
    """Artifacts that the model was made of; none of other kinds."""
    size: int
    """Bytes."""
    age: float
    """Seconds since it was made."""
    folder: Path


@dataclass(frozen=True, slots=True)
class WorkspaceCleaning:
    """What a workspace holds, and what goes."""

    workspace: Path
    holdings: tuple[Holding, ...]
    removable: frozenset[Path]
    """Folders of what goes."""
    removed: bool
    """Whether it is gone; else it would go."""


def clean(
    results: Path,
    *,
    workspace: Path | None = None,
    models: Sequence[str] = (),
    keep: Sequence[str] = (),
    older: str | None = None,
    remove: bool = False,
) -> WorkspaceCleaning:
    """Look at a workspace, and remove what no kept model needs.

    Kept are the models that `models` and `keep` name and, with `older`, those that are younger; all of them, if nothing is
    said. A kept model needs its files and all that is known of it, and the models and exports that it was made of.

    Args:
        results: the results file, by which models are ranked.
        workspace: the folder; None: that of the last run.
        models: names, or beginnings of keys.
        keep: `best=N`.
        older: an age, such as `30d`: nothing younger is removed.
        remove: whether to remove at all.

    Raises:
        CleaningError: if there is no such workspace, model or age.
        ChoiceError: if models cannot be ranked.
        BusyError: if a run uses the workspace, and something is to be removed.
    """
    folder = _workspace(results, workspace)
    store = ArtifactStore(folder / "artifacts")
    holdings = tuple(_holdings(store))
    at_least = _seconds(older) if older is not None else 0.0
    if models or keep or older is not None:
        selection = {_find_model(holdings, text) for text in models} | _ranked(results, keep)
        selection |= {each.model for each in holdings if older is not None and each.age < at_least}
        needed = _needed(holdings, selection)
    else:
        needed = {each.folder for each in holdings}
    removable = frozenset(
        each.folder for each in holdings if each.folder not in needed and each.age >= at_least and each.kind != UNKNOWN
    )
    if remove and removable:
        with alone(folder):
            for each in holdings:
                if each.folder in removable:
                    _remove(store, each)
    return WorkspaceCleaning(folder, holdings, removable, remove)


def _workspace(results: Path, own: Path | None) -> Path:
    if own is None and results.exists():
        with open_results(results) as db:
            own = workspace_of(db, results, None)
    folder = own or _DEFAULT
    if not (folder / "artifacts").is_dir():
        raise CleaningError(f"--workspace {folder}: no workspace of a run, which has a folder `artifacts` in it")
    return folder


def _seconds(text: str) -> float:
    match = _AGE.fullmatch(text)
    if match is None:
        raise CleaningError(f"--older {text}: is no age. Write 30d, 12h or 2w")
    return float(match[1]) * _SECONDS[match[2].casefold()]


def _ranked(results: Path, keep: Iterable[str]) -> set[str]:
    selection: set[str] = set()
    for text in keep:
        match = _BEST.fullmatch(text)
        if match is None:
            raise CleaningError(f"--keep {text}: write best=N, such as best=3; models to keep are named without --keep")
        selection |= {each.key for each in best_models(results, int(match[1]))}
    return selection


def _find_model(holdings: Sequence[Holding], text: str) -> str:
    """Key of the model that is called `text`, or whose key begins so."""
    models = {each.model: each.path for each in holdings if each.kind == OPERATION.name}
    exact = [key for key, path in models.items() if text in (key, path)]
    matches = exact or [key for key in models if text and key.startswith(text)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        listed = ", ".join(f"{key[:12]} ({models[key]})" for key in matches[:_SEVERAL])
        raise CleaningError(f"Several models of the workspace are called '{text}'. Name one by its key: {listed}")
    raise CleaningError(f"No model of the workspace is called '{text}'.{nearest(text, models.values())}")


def _needed(holdings: Sequence[Holding], selection: set[str]) -> set[Path]:
    """Folders of all that some models need: what is known of them, and what they were made of."""
    by_key = {each.key: each for each in holdings if each.kind in _MAKING}
    made_of: set[Key] = set()
    waiting = [each for each in by_key.values() if each.model in selection]
    while waiting:
        each = waiting.pop()
        if each.key in made_of:
            continue
        made_of.add(each.key)
        sources = [by_key[key] for key in each.sources if key in by_key]
        waiting += sources
        # an export is made of its model
        waiting += [by_key[Key(each.model)]] if each.kind == EXPORT.name and each.model in by_key else []
    return {
        each.folder
        for each in holdings
        if (each.model in selection and each.kind != DAMAGED) or (each.key in made_of and each.kind in _MAKING)
    }


def _holdings(store: ArtifactStore) -> Iterable[Holding]:
    now = time.time()
    for key in store.keys():  # noqa: SIM118 - a store is no mapping
        folder = store.path(key)
        yield _holding(store, key, folder, now)
    for folder in sorted(store.set_aside_folders()):
        yield Holding(Key(folder.name), DAMAGED, "", "set aside", (), _size(folder), _age(folder, now), folder)


def _holding(store: ArtifactStore, key: Key, folder: Path, now: float) -> Holding:
    size, age = _size(folder), _age(folder, now)
    try:
        manifest: Mapping[str, object] = store.manifest(key)
    except (OSError, ValueError):
        return Holding(key, UNKNOWN, "", "?", (), size, age, folder)
    references = manifest.get("references")
    others = references.values() if isinstance(references, Mapping) else ()
    sources = [manifest.get("source"), *others]
    return Holding(
        key=key,
        kind=str(manifest.get("what", UNKNOWN)),
        model=str(manifest.get("model", "")),
        path=str(manifest.get("path", "?")),
        sources=tuple(Key(source) for source in sources if isinstance(source, str)),
        size=size,
        age=age,
        folder=folder,
    )


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _age(folder: Path, now: float) -> float:
    return now - folder.stat().st_mtime


def _remove(store: ArtifactStore, holding: Holding) -> None:
    if holding.kind == DAMAGED:
        shutil.rmtree(holding.folder, ignore_errors=True)
    else:
        store.remove(holding.key)
