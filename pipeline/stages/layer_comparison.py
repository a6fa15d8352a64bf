"""Compare a model's layers with those of its parent and of its root, and put what is conspicuous into words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.layers.compare.findings import find
from pipeline.layers.compare.models import changes, divergence
from pipeline.layers.records_file import CHANGES, FINDINGS, save_records
from pipeline.stages.layer_sources import Sources, open_side

if TYPE_CHECKING:
    from pipeline.engine.jobs import Job
    from pipeline.engine.worker import Worker
    from pipeline.store.records.run_records import Change, Finding


def make(worker: Worker, job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write changes against every reference, and findings."""
    model = open_side(worker.artifacts, Sources(**job.details["sources"]))
    records: list[Change] = list(divergence(model, model))
    here = list(model.known.values())
    conspicuous: list[Finding] = find(model.key, here, records, folds=model.folds)
    for raw in job.details["references"]:
        reference = open_side(worker.artifacts, Sources(**raw))
        op = job.details["op"] if reference.key == job.details["parent"] else ""
        changed = list(changes(model, reference))
        there = list(reference.known.values())
        conspicuous += find(reference.key, here, changed, there, op=op, folds=model.folds)
        records += changed
    save_records(records, folder / CHANGES)
    save_records(conspicuous, folder / FINDINGS)
    return {}
