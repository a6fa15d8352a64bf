"""Time a model roughly, in a process of its own, beside whatever else runs. The session at the end replaces the figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.api import Format
from pipeline.bench.inputs import write_inputs
from pipeline.bench.preset import parse_preset
from pipeline.bench.process import MeasureError
from pipeline.bench.results import Candidate, save_session
from pipeline.bench.session import run_session
from pipeline.environment import device_id
from pipeline.formats import ONNX_FILE
from pipeline.targets.open import target_class

if TYPE_CHECKING:
    from pipeline.jobs import Job
    from pipeline.worker import Worker


def make(worker: Worker, job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write the session of one model on one target."""
    name = job.details["target"]
    entry = worker.workplace.targets[name]
    source = worker.artifacts.path(job.details["source"])
    file = source / ONNX_FILE if target_class(entry).accepts is Format.ONNX else source
    preset = parse_preset(job.details["preset"])
    result = run_session(
        [Candidate(job.model, job.model, None, name, file)],
        targets={name: entry},
        inputs=write_inputs(worker.dataset, scratch, samples=preset.samples),
        preset=preset,
        folder=scratch,
        plugins=worker.workplace.plugins,
    )
    if result.failures:
        raise MeasureError(result.failures[0].error)
    save_session(result, folder)
    return {"device": device_id()}
