"""Compare a model's layers with those of its parent and of its root, and put what is conspicuous into words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.operation import Kind
from pipeline.core.keys import Key
from pipeline.engine.jobs import Job
from pipeline.engine.stage import Planning, Recording, Stage, register
from pipeline.layers.compare.findings import find
from pipeline.layers.compare.models import changes, layer_divergence
from pipeline.layers.records_file import CHANGES, FINDINGS, load_records, save_records
from pipeline.stages.activation_stats import ACTIVATIONS
from pipeline.stages.layer_sources import Sources, open_side
from pipeline.store.records.run_records import Change, Finding

if TYPE_CHECKING:
    from pipeline.engine.worker import Worker

_LOSSY = (Kind.PRUNE, Kind.QUANTIZE, Kind.FACTORIZE, Kind.CLUSTER)
"""Operations that take something away, so that leaving a layer out is a remedy."""


@dataclass(frozen=True, slots=True)
class ComparisonParams:
    """The models whose layers are compared."""

    op: str
    """The model's own operation if it takes something away, else empty."""
    parent: Key | None
    sources: Sources
    references: tuple[Sources, ...]
    """The parent and the root, as far as there are any."""


class ComparisonStage(Stage[ComparisonParams]):
    """Differences between the layers of every model and those of its parent and of its root."""

    name, version, params = "compare", 6, ComparisonParams
    needs = ("operation", "export", "layers", "activations")

    def jobs(self, planning: Planning) -> Iterator[Job[ComparisonParams]]:
        """One job per model."""
        sources = {job.model: job.params.sources for job in planning.jobs_of(ACTIVATIONS)}
        for step in planning.plan.steps:
            own = sources[step.key]
            relatives = dict.fromkeys(key for key in (step.parent, step.root) if key is not None and key != step.key)
            references = tuple(sources[key] for key in relatives)
            evidence = [key for each in (own, *references) for key in each.evidence()]
            op = step.op if step.kind in _LOSSY else ""
            yield Job(
                self.key(step.key, evidence=evidence),
                self.name,
                step.path,
                step.key,
                tuple(dict.fromkeys([*own.files(), *evidence])),
                ComparisonParams(op, step.parent, own, references),
            )

    def make(self, worker: Worker, job: Job[ComparisonParams], folder: Path, scratch: Path) -> dict[str, Any]:
        """Write changes against every reference, and findings."""
        params = job.params
        model = open_side(worker.artifacts, params.sources)
        records: list[Change] = list(layer_divergence(model, model))
        here = list(model.distributions.values())
        conspicuous: list[Finding] = find(model.key, here, records, folds=model.folds)
        for sources in params.references:
            reference = open_side(worker.artifacts, sources)
            op = params.op if reference.key == params.parent else ""
            differences = list(changes(model, reference))
            there = list(reference.distributions.values())
            conspicuous += find(reference.key, here, differences, there, op=op, folds=model.folds)
            records += differences
        save_records(records, folder / CHANGES)
        save_records(conspicuous, folder / FINDINGS)
        return {}

    def records(self, job: Job[ComparisonParams], recording: Recording) -> Iterator[Change | Finding]:
        """All changes, and what is conspicuous."""
        folder = recording.artifacts.folder(job.key)
        yield from load_records(Change, folder / CHANGES)
        yield from load_records(Finding, folder / FINDINGS)


COMPARISON = register(ComparisonStage())
