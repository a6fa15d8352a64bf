"""A measuring session: every model that needs figures, under every condition, with nothing else of ours running."""

from __future__ import annotations

import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from pipeline.core.errors import BouillonError
from pipeline.core.machine.lock import measuring
from pipeline.measure.timing.interleave import Group, Place, measure_group
from pipeline.measure.timing.preset import Preset
from pipeline.measure.timing.results import Candidate, Role, SessionResult, SpeedupEstimate
from pipeline.measure.timing.speedup import compare_all
from pipeline.targets.open import target_class

_LARGEST = 16
"""Models in a group: a round must pass before the machine has changed much."""
_PROCESS_BYTES = 200_000_000
_MEMORY_PER_FILE = 4
_MEMORY_SHARE = 0.5

Progress = Callable[[int, int, str], None]
"""Called with groups done, groups in all, and what is being measured."""


class SessionError(BouillonError, ValueError):
    """A session cannot be held: the message says what is missing."""


def run_session(
    candidates: Sequence[Candidate],
    *,
    targets: Mapping[str, Mapping[str, Any]],
    inputs: Path,
    preset: Preset,
    folder: Path,
    selection: Collection[str] | None = None,
    plugins: Sequence[str] = (),
    progress: Progress | None = None,
    lock: Path | None = None,
    seed: int = 0,
) -> SessionResult:
    """Measure models and compare them with their parents and bases.

    Args:
        candidates: all models of the trees, at most one per model and target; parents and bases are among them.
        targets: conf/target entries by the names that the candidates give.
        inputs: file of `write_inputs`.
        preset: how thoroughly.
        folder: where the measuring processes' logs go.
        selection: model keys that need figures; default: all.
        plugins: modules to import in each process.
        progress: told before each group.
        lock: the machine's lock file; default: this machine's.
        seed: of the random order.

    Raises:
        SessionError: if a model is wanted twice or its target has no entry.
        BusyError: never by default; the session waits for the machine.
    """
    _check(candidates, targets)
    started = datetime.now(UTC)
    keys = {candidate.model_key for candidate in candidates} if selection is None else set(selection)
    plans = {name: list(_groups(candidates, name, keys, preset)) for name in targets}
    for number, group in enumerate(group for groups in plans.values() for group in groups):
        group.number = number
    total = sum(map(len, plans.values()))
    tell = progress or _silent
    generator = np.random.default_rng(seed)
    with _alone(preset, lock, lambda: tell(0, total, "waiting for other work on this machine")):
        for name, groups in plans.items():
            place = Place(targets[name], target_class(targets[name]).clock, inputs, folder, tuple(plugins))
            _measure(groups, place, preset, generator, partial(_tell, tell, name, total))
    groups = [group for groups in plans.values() for group in groups]
    return SessionResult(
        session=f"{started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}",
        preset=preset.model_dump(mode="json"),
        started_at=started,
        finished_at=datetime.now(UTC),
        samples=tuple(entry for group in groups for entry in group.samples),
        failures=tuple(failure for group in groups for failure in group.failures),
        comparisons=tuple(_comparisons(plans, targets, candidates)) if preset.compare else (),
    )


def _alone(preset: Preset, lock: Path | None, waiting: Callable[[], None]) -> AbstractContextManager[None]:
    return measuring(lock, waiting=waiting) if preset.alone else nullcontext()


def _tell(tell: Progress, target: str, total: int, group: Group) -> None:
    tell(group.number, total, _describe(target, group))


def _silent(done: int, total: int, text: str) -> None:
    """Nobody wants to know."""


def _measure(
    groups: Sequence[Group], place: Place, preset: Preset, generator: np.random.Generator, tell: Callable[[Group], None]
) -> None:
    budget = _Budget(groups, preset)
    for group in groups:
        tell(group)
        for launch in range(preset.launches):
            measure_group(group, place, preset, launch=launch, generator=generator, seconds=budget.share(group))


def _comparisons(
    plans: Mapping[str, Sequence[Group]], targets: Mapping[str, Mapping[str, Any]], candidates: Sequence[Candidate]
) -> Iterator[SpeedupEstimate]:
    """Of each target apart: by CPU time, which neighbours hardly disturb, and by what a user waits."""
    for name, groups in plans.items():
        samples = [entry for group in groups for entry in group.samples]
        own = [candidate for candidate in candidates if candidate.target == name]
        for clock in ("cpu", "wall") if target_class(targets[name]).clock == "cpu" else ("wall",):
            yield from compare_all(samples, own, clock)


def _check(candidates: Sequence[Candidate], targets: Mapping[str, Mapping[str, Any]]) -> None:
    visited: set[tuple[str, str]] = set()
    for candidate in candidates:
        if candidate.target not in targets:
            raise SessionError(f"Model {candidate.model_key[:12]}: target '{candidate.target}' has no entry")
        if (candidate.model_key, candidate.target) in visited:
            raise SessionError(f"Model {candidate.model_key[:12]} is given twice for target '{candidate.target}'")
        visited.add((candidate.model_key, candidate.target))


class _Budget:
    """Shares the session's time among the launches that are left, by the number of their processes."""

    def __init__(self, groups: Sequence[Group], preset: Preset) -> None:
        self._remaining = preset.launches * sum(len(group.members) for group in groups)
        models = {candidate.model_key for group in groups for candidate, role in group.members if role is Role.MODEL}
        seconds = preset.seconds_per_model
        self._end = None if seconds is None else time.monotonic() + seconds * len(models)

    def share(self, group: Group) -> float | None:
        """Seconds for one launch of the group; None: no limit."""
        if self._end is None:
            return None
        share = max(0.0, self._end - time.monotonic()) * len(group.members) / self._remaining
        self._remaining -= len(group.members)
        return share


def _groups(candidates: Sequence[Candidate], target: str, keys: Collection[str], preset: Preset) -> Iterator[Group]:
    own = {candidate.model_key: candidate for candidate in candidates if candidate.target == target}
    trees: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in _in_tree_order(own):
        if candidate.model_key in keys:
            trees[candidate.base_key].append(candidate)
    for condition in preset.distinct_conditions():
        for base, models in trees.items():
            for chunk in _chunks(models):
                members = _members(chunk, own, own.get(base), preset)
                yield Group(0, condition, members)


def _members(
    models: Sequence[Candidate], by_key: Mapping[str, Candidate], base: Candidate | None, preset: Preset
) -> list[tuple[Candidate, Role]]:
    members = [(model, Role.MODEL) for model in models]
    if not preset.compare:
        return members
    inside = {model.model_key for model in models}
    parents = dict.fromkeys(model.parent_key for model in models if model.parent_key)
    references = [by_key[key] for key in parents if key not in inside and key in by_key]
    if base is not None and base.model_key not in {*inside, *parents}:
        references.append(base)
    members += [(reference, Role.REFERENCE) for reference in references]
    if base is not None:
        members += [(base, Role.TWIN)] * preset.twins
    return members


def _in_tree_order(by_key: Mapping[str, Candidate]) -> list[Candidate]:
    """Depth first, so that models and their parents fall into one group."""
    children: dict[str | None, list[Candidate]] = defaultdict(list)
    for candidate in by_key.values():
        children[candidate.parent_key if candidate.parent_key in by_key else None].append(candidate)
    ordered: list[Candidate] = []
    stack = list(reversed(children[None]))
    while stack:
        candidate = stack.pop()
        ordered.append(candidate)
        stack.extend(reversed(children[candidate.model_key]))
    return ordered


def _chunks(models: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """As many as fit into memory together, equal in number as far as possible."""
    largest = max((_size(model.path) for model in models), default=0)
    fit = int(psutil.virtual_memory().available * _MEMORY_SHARE / (_PROCESS_BYTES + _MEMORY_PER_FILE * largest))
    most = max(1, min(_LARGEST, fit))
    count = -(-len(models) // most)
    for index in range(count):
        yield list(models[index * len(models) // count : (index + 1) * len(models) // count])


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _describe(target: str, group: Group) -> str:
    condition = group.condition
    threads = "1 thread" if condition.cores == 1 else f"{condition.cores} threads"
    return f"{len(group.members)} processes on {target}, batch {condition.batch}, {threads}"
