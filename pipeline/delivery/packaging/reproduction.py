"""Make a model anew from its recipe, and say what agrees with what was written down of it, and what differs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ops.core.operation import Format
from pipeline.core import environment
from pipeline.core.artifacts import ArtifactStore
from pipeline.core.keys import CONTENT, Key
from pipeline.core.metric_kinds import Pairing
from pipeline.core.user_code import code_of
from pipeline.delivery.packaging.branch import branch_text
from pipeline.delivery.packaging.deployed import deployed_folder
from pipeline.delivery.packaging.package import RECIPE
from pipeline.delivery.packaging.package_error import PackageError
from pipeline.delivery.packaging.provenance import local_files, provenance_of, read_provenance
from pipeline.engine.jobs import Failed
from pipeline.models.storage import ONNX_FILE
from pipeline.plan.steps import Step
from pipeline.stages.export import EXPORT
from pipeline.store.queries.model_facts import MeasuredFigure, model_facts
from pipeline.store.reader import open_results
from pipeline.sweep.compare_any_two import evidence_in, workspace_of
from pipeline.sweep.prepare import Prepared, step_at
from pipeline.sweep.reporter import Reporter
from pipeline.sweep.run import run

__all__ = [
    "FigureComparison",
    "ModelOrigin",
    "Reproduction",
    "ReproductionOutcome",
    "StepComparison",
    "WeightChange",
    "origin_of",
    "reproduce",
]

_CLOCKS = (Pairing.WALL_TIME, Pairing.CPU_TIME)


class ReproductionOutcome(IntEnum):
    """What came of it; the number is the exit status."""

    AGREES = 0
    DIFFERS = 1


@dataclass(frozen=True, slots=True)
class ModelOrigin:
    """What was written down of a model."""

    provenance: Mapping[str, Any]
    recipe: str
    """Text of the branch's recipe."""
    folder: Path | None
    """With the model's file, where it is still there."""
    batch_size: int | None = None
    data_folder: str | None = None


@dataclass(frozen=True, slots=True)
class StepComparison:
    """A model of the lineage, made anew."""

    path: str
    files: dict[str, bool]
    """File -> whether it is the same, byte for byte; empty where no digests were written down, or it was not made."""


class WeightChange(NamedTuple):
    """By how much the weights of two files differ."""

    tensors: int
    """How many differ, in shape or value, or are in one file alone."""
    total: int
    largest: float
    """Largest difference of two numbers at one place; NaN where no tensor is in both."""


@dataclass(frozen=True, slots=True)
class FigureComparison:
    """A figure as it was and as it is."""

    figure: MeasuredFigure
    value: float | None
    """Anew; None if it was not measured."""
    beyond_noise: bool | None
    """Whether the two differ by more than chance; None where that is not known, or one is not there."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """All that agrees and differs."""

    name: str
    changes: tuple[str, ...]
    """What is other than it was: data, code, libraries, parameters, the machine."""
    failures: tuple[str, ...]
    steps: tuple[StepComparison, ...]
    weights: WeightChange | None
    """Of the deployed file; None where the two files are the same, or one is not there."""
    figures: tuple[FigureComparison, ...]
    outcome: ReproductionOutcome


def origin_of(results: Path, text: str, workspace: Path | None = None) -> ModelOrigin:
    """Read what was written down of a package or of a model of some results.

    Args:
        results: the results file, where `text` is no folder.
        text: a package's folder, or a model's name or the beginning of its key.
        workspace: where the models are; None: that of the last run.

    Raises:
        PackageError: if the folder is no package, or a file of it was changed.
        StoreError: if there is no such model, or several, or its results are not finished.
    """
    folder = Path(text).expanduser()
    if folder.is_dir():
        provenance = read_provenance(folder)
        return ModelOrigin(provenance, (folder / RECIPE).read_text(encoding="utf-8"), folder)
    with open_results(results) as db:
        facts = model_facts(db, text)
        artifacts = ArtifactStore(workspace_of(db, results, workspace) / "artifacts")
    keys = [Key(each.key) for each in facts.lineage]
    weights = {key: artifacts.digests(key) for key in keys if key in artifacts}
    config = facts.run.config
    file: Path | None = None  # it may have been removed: digests and figures can still be compared
    with contextlib.suppress(PackageError):
        file = deployed_folder(artifacts, facts)
    return ModelOrigin(
        provenance_of(facts, weights), branch_text(facts), file, config.get("batch_size"), config.get("data_folder")
    )


def reproduce(origin: ModelOrigin, prepared: Prepared, reporter: Reporter | None = None) -> Reproduction:
    """Run a prepared branch in its empty workspace, and compare.

    Args:
        origin: what was written down.
        prepared: the branch's recipe, planned, with a workspace and results of its own.
        reporter: is told of progress.

    Raises:
        ConfigError, StoreError: as `pipeline.sweep.run.run`.
    """
    provenance = origin.provenance
    planned = {each["path"]: step_at(prepared.plan, each["path"]) for each in provenance["lineage"]}
    changes = _changes(provenance, prepared, planned)
    result = run(prepared, reporter)
    failures = tuple(
        f"{job.stage} of '{job.path}': {outcome.error}"
        for job, outcome in result.outcomes
        if isinstance(outcome, Failed)
    )
    steps = tuple(
        StepComparison(each["path"], _same_files(each["files"], prepared.artifacts, planned[each["path"]].key))
        for each in provenance["lineage"]
    )
    figures = tuple(_figures(provenance, prepared, planned[provenance["model"]["path"]]))
    differs = (
        bool(failures)
        or any(each.beyond_noise for each in figures)
        or prepared.data.fingerprint != provenance["data"]["fingerprint"]
    )
    outcome = ReproductionOutcome.DIFFERS if differs else ReproductionOutcome.AGREES
    weights = _weight_change(origin.folder, prepared.artifacts, planned[provenance["model"]["path"]])
    return Reproduction(provenance["model"]["name"], tuple(changes), failures, steps, weights, figures, outcome)


# ---- what is other than it was
def _changes(provenance: Mapping[str, Any], prepared: Prepared, planned: Mapping[str, Step]) -> list[str]:
    data, run_facts = provenance["data"], provenance["run"]
    changes = _data_changes(data, prepared)
    changes += [
        f"code of plug-in '{name}': has changed"
        for name, code in provenance["code"].items()
        if code is not None and code_of(name) != code
    ]
    for each in provenance["lineage"]:
        changes += _step_changes(each, planned[each["path"]])
    now = environment.versions()
    changes += [
        f"{name}: {version} then, {now.get(name, 'not installed')} now"
        for name, version in run_facts["versions"].items()
        if now.get(name) != version
    ]
    commit = environment.git_commit(Path(__file__).parent)
    if run_facts["git_commit"] and commit and commit != run_facts["git_commit"]:
        changes.append(f"this program: commit {run_facts['git_commit'][:12]} then, {commit[:12]} now")
    if provenance["device"] != environment.device_id():
        changes.append(f"machine: {provenance['device']} then, {environment.device_id()} now")
    return changes


def _data_changes(data: Mapping[str, Any], prepared: Prepared) -> list[str]:
    if data["fingerprint"] == prepared.data.fingerprint:
        return []
    now = local_files(prepared.config.dataset or {})
    files = [
        f"data file {name}: {'is missing' if name not in now else 'has changed'}"
        for name, digest in data["files"].items()
        if now.get(name) != digest
    ]
    fingerprints = f"{data['fingerprint'][:12]} then, {prepared.data.fingerprint[:12]} now"
    return [*files, f"data set '{data['name']}': is not what it was ({fingerprints})"]


def _step_changes(recorded: Mapping[str, Any], step: Step) -> list[str]:
    """What of a step's identity differs: its operation's version, its parameters, the files and code behind a model."""
    if step.key == recorded["key"]:
        return []
    place = f"step '{step.path}'"
    changes = []
    if step.version != recorded["version"]:
        changes.append(f"{place}: operation '{step.op}' is of version {step.version}, and was of {recorded['version']}")
    then, now = dict(recorded["params"]), step.written
    for name in sorted({*then, *now}):
        before, after = then.get(name), now.get(name)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping) and _plain(before) == _plain(after):
            changes.append(f"{place}: the files or the code behind {name} '{after.get('name', '')}' have changed")
        else:
            changes.append(f"{place}: {name} was {before!r} and is {after!r}")
    return changes


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != CONTENT}


# ---- what came out
def _same_files(recorded: Mapping[str, str], artifacts: ArtifactStore, key: Key) -> dict[str, bool]:
    if key not in artifacts:
        return {}
    digests = artifacts.digests(key)
    return {name: digests.get(name) == digest for name, digest in recorded.items()}


def _weight_change(recorded: Path | None, artifacts: ArtifactStore, step: Step) -> WeightChange | None:
    """Compare the ONNX files, tensor by tensor."""
    key = step.key if step.format is Format.ONNX else evidence_in(artifacts).get((EXPORT.name, step.key))
    if recorded is None or key is None or key not in artifacts or not (recorded / ONNX_FILE).is_file():
        return None
    before, after = _tensors(recorded / ONNX_FILE), _tensors(artifacts.folder(key) / ONNX_FILE)
    differing, largest = 0, math.nan
    for name in before.keys() | after.keys():
        one, other = before.get(name), after.get(name)
        if one is None or other is None or one.shape != other.shape:
            differing += 1
        elif not np.array_equal(one, other):
            differing += 1
            distance = float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())
            largest = distance if math.isnan(largest) else max(largest, distance)
    return WeightChange(differing, len(before.keys() | after.keys()), largest) if differing else None


def _tensors(file: Path) -> dict[str, np.ndarray]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(file).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _figures(provenance: Mapping[str, Any], prepared: Prepared, step: Step) -> list[FigureComparison]:
    recorded = [MeasuredFigure(**each) for each in provenance["figures"]]
    anew: dict[str, tuple[float, float | None, float | None]] = {}
    with open_results(prepared.config.results) as db:
        rows = db.execute(
            "SELECT metric, value, low, high FROM measurements WHERE model_key = $1 AND coalesce(target, $2) = $2",
            [step.key, provenance["target"]],
        ).fetchall()
        anew = {metric: (value, low, high) for metric, value, low, high in rows if value is not None}
    return [_compared(figure, anew.get(figure.metric)) for figure in recorded if figure.pairing not in _CLOCKS]


def _compared(figure: MeasuredFigure, anew: tuple[float, float | None, float | None] | None) -> FigureComparison:
    """Compare two figures by their intervals (MOVER: Donner and Zou, 2012)."""
    if anew is None:
        return FigureComparison(figure, None, None)
    value, low, high = anew
    if value == figure.value or (math.isnan(value) and math.isnan(figure.value)):
        return FigureComparison(figure, value, False)
    if low is None or high is None or figure.low is None or figure.high is None:
        return FigureComparison(figure, value, None)
    difference = value - figure.value
    facing = (value - low, figure.high - figure.value) if difference > 0 else (high - value, figure.value - figure.low)
    return FigureComparison(figure, value, abs(difference) > math.hypot(*facing))
