"""Confirm a choice: measure the chosen few on instances that nobody had looked at, and write down that they were looked at.

The look is written and published before the instances are opened, so that one that fails, or whose figures nobody liked,
counts too.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.core.registry import nearest
from pipeline.core.artifacts import ArtifactStore
from pipeline.core.environment import device, device_id
from pipeline.core.errors import BouillonError
from pipeline.core.keys import digest
from pipeline.core.machine.cpu_quota import cores
from pipeline.core.metric_kinds import MetricRole
from pipeline.datasets.api import DataError, Dataset
from pipeline.datasets.confirmation_access import WrittenLook, confirmation_size, open_confirmation
from pipeline.delivery.confirmation.figures import BaseAnswers, confirmed_figures
from pipeline.delivery.packaging.deployed import deployed_folder
from pipeline.measure.metrics.api import Predictions
from pipeline.stages.predict import answers_of_model
from pipeline.store.queries.confirmed import EarlierLook, earlier_looks, models_with
from pipeline.store.queries.model_facts import ModelFacts, model_facts
from pipeline.store.queries.model_pair import find_model
from pipeline.store.reader import Connection, open_results
from pipeline.store.records.run_records import ConfirmationFigure, ConfirmationLook, Device
from pipeline.store.writer import Store
from pipeline.sweep.compare_any_two import workspace_of
from pipeline.sweep.known_data import recall
from pipeline.sweep.open_known import open_known
from pipeline.targets.api import Target
from pipeline.targets.open import open_target

__all__ = ["ConfirmError", "Confirmation", "ConfirmedModel", "confirm"]


class ConfirmError(BouillonError, ValueError):
    """Models cannot be confirmed together: the message says why."""


@dataclass(frozen=True, slots=True)
class ConfirmedModel:
    """A model and its figures on the confirmation split."""

    key: str
    name: str
    figures: tuple[ConfirmationFigure, ...]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A look at the confirmation split, with its figures."""

    look: ConfirmationLook
    dataset: str
    models: tuple[ConfirmedModel, ...]
    earlier: tuple[EarlierLook, ...]
    """Looks at the same split before this one, the first first."""


@dataclass(frozen=True, slots=True)
class _Subjects:
    """The models and their bases, with their files."""

    models: tuple[ModelFacts, ...]
    bases: Mapping[str, str]
    """Model -> base of its tree; bases are not in it."""
    folders: Mapping[str, Path]
    """Model or base -> the artifact that was measured."""
    among: int


def confirm(
    results: Path,
    models: Sequence[str],
    targets: Mapping[str, Mapping[str, Any]],
    *,
    workspace: Path | None = None,
    target: str | None = None,
) -> Confirmation:
    """Measure models on the confirmation split of their data set; write down the look, then the figures, and publish.

    Args:
        results: the results file, of the person's own runs.
        models: names, or beginnings of keys.
        targets: conf/target entries by name.
        workspace: where the models are; None: that of the last run.
        target: runtime, where they were evaluated on several.

    Raises:
        StoreError: if there is no such model, or several, or its results are not finished.
        ConfirmError: if the models were not evaluated on the same data and runtime, or have no figure of quality.
        DataError: if the data are not known here, have changed, or have no confirmation split; if the results are others'.
        PackageError: if files of a model are gone.
        TargetError, EvaluationError: if a model cannot be run.
    """
    with open_results(results) as db:
        artifacts = ArtifactStore(workspace_of(db, results, workspace) / "artifacts")
        subjects = _subjects(db, artifacts, models, target)
        first = subjects.models[0]
        earlier = earlier_looks(db, first.dataset.key)
    instances = confirmation_size(open_known(results, first.dataset.key, runs=True))
    runtime = open_target(_entry(first.target, targets))
    runtime.require()
    look = _look(subjects, instances)
    store = Store(results)
    store.write([Device(device_id(), device()), look])
    store.publish()
    note = recall(first.dataset.key)
    if note is None:
        raise DataError(f"what is noted of data set '{first.dataset.name}' has just gone")
    data = open_confirmation(note.entry, note.folder, WrittenLook(first.dataset.key, look.look_id))
    with artifacts.in_use():
        confirmed = _measure(look.look_id, subjects, runtime, data)
    store.write(figure for model in confirmed for figure in model.figures)
    store.publish()
    store.close()
    return Confirmation(look, first.dataset.name, confirmed, earlier)


def _subjects(db: Connection, artifacts: ArtifactStore, texts: Sequence[str], target: str | None) -> _Subjects:
    selection = {model.key: model for model in (find_model(db, text) for text in texts)}
    models = tuple(model_facts(db, key, target=target) for key in selection)
    first = models[0]
    for other in models[1:]:
        if (other.dataset.key, other.target) != (first.dataset.key, first.target):
            raise ConfirmError(
                f"'{first.name}' was evaluated on {first.dataset.name} by {first.target}, '{other.name}' on {other.dataset.name} by "
                f"{other.target}: confirm them apart, or choose the runtime by --target"
            )
    bases = {key: model.root for key, model in selection.items() if model.root != key}
    facts = {each.key: each for each in models}
    facts |= {key: model_facts(db, key, target=first.target) for key in bases.values() if key not in facts}
    folders = {key: deployed_folder(artifacts, each) for key, each in facts.items()}
    among = models_with(db, _metric(first), first.target, first.dataset.key)
    return _Subjects(models, bases, folders, among)


def _metric(facts: ModelFacts) -> str:
    """The metric that models are chosen by first."""
    quality = [each for each in facts.figures if each.role == MetricRole.QUALITY]
    if not quality:
        raise ConfirmError(f"'{facts.name}' has no figure of quality: there is nothing to confirm")
    return max(quality, key=lambda each: each.primary).metric


def _entry(name: str, targets: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    if name not in targets:
        raise ConfirmError(
            f"the runtime '{name}' has no entry here.{nearest(name, targets)} Known: {', '.join(targets)}. Name the folder of your own "
            "entries: --config-dir DIR"
        )
    return targets[name]


def _look(subjects: _Subjects, instances: int) -> ConfirmationLook:
    first = subjects.models[0]
    keys, metric = sorted(each.key for each in subjects.models), _metric(first)
    question = digest({"what": "confirmation", "models": keys, "metric": metric, "target": first.target})
    return ConfirmationLook(
        look_id=uuid.uuid4().hex,
        dataset_key=first.dataset.key,
        looked_at=datetime.now(UTC).replace(tzinfo=None),
        question=question,
        models=keys,
        metric=metric,
        among=subjects.among,
        target=first.target,
        device=device_id(),
        instances=instances,
    )


def _measure(look_id: str, subjects: _Subjects, runtime: Target, data: Dataset) -> tuple[ConfirmedModel, ...]:
    labels = tuple(data.labels("evaluation"))
    answered: dict[str, Predictions] = {}

    def answers(key: str, facts: ModelFacts) -> Predictions:
        if key not in answered:
            size = int(facts.run.config.get("batch_size") or 256)
            answered[key], _ = answers_of_model(runtime, subjects.folders[key], data, threads=cores(), batch_size=size)
        return answered[key]

    confirmed = []
    for facts in subjects.models:
        root = subjects.bases.get(facts.key)
        base = None if root is None else BaseAnswers(root, answers(root, facts))
        figures = confirmed_figures(look_id, facts, answers(facts.key, facts), labels, base)
        confirmed.append(ConfirmedModel(facts.key, facts.name, tuple(figures)))
    return tuple(confirmed)
