"""Time a model roughly, in a process of its own, beside whatever else runs. The session at the end replaces the figure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.operation import Format
from pipeline.core.environment import device_id
from pipeline.engine.jobs import Job, What
from pipeline.measure.timing.inputs import write_inputs
from pipeline.measure.timing.preset import Preset, parse_preset
from pipeline.measure.timing.results import Candidate, save_session
from pipeline.measure.timing.session import run_session
from pipeline.measure.timing.worker_client import MeasureError
from pipeline.models.storage import ONNX_FILE
from pipeline.plan.steps import Plan
from pipeline.stages.schedule import predict_job, timing_key
from pipeline.targets.open import target_class

if TYPE_CHECKING:
    from pipeline.engine.jobs import Job
    from pipeline.engine.worker import Worker


def make(worker: Worker, job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write the session of one model on one target."""
    name = job.details["target"]
    entry = worker.workplace.targets[name]
    source = worker.artifacts.folder(job.details["source"])
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


PRESET = "smoke"
"""The conf/bench entry that says how."""


@dataclass(frozen=True, slots=True)
class Early:
    """Which models are timed early, and how."""

    preset: Preset
    session: Preset
    """That of the session at the end."""
    device: str
    ingested: Collection[str]
    """Keys of the evidence that is in the store: what the session has timed needs no rough figure any more."""

    def jobs(self, plan: Plan, targets: Mapping[str, Mapping[str, Any]]) -> Iterator[Job]:
        """One job per model and target that is opened quickly, after the model's predictions.

        The key is that of a session's figure under the same preset: where the session at the end is a `smoke` one too,
        it finds its work done.
        """
        rough, real = (preset.model_dump(mode="json") for preset in (self.preset, self.session))
        for name, entry in targets.items():
            if not _opens_quickly(entry):
                continue
            for step in plan.steps:
                predict = predict_job(step, name, plan, targets)
                if predict is None:
                    continue
                key = partial(
                    timing_key,
                    step.key,
                    source=predict.details["source"],
                    target=entry,
                    device=self.device,
                    data=plan.facts.data_fingerprint,
                    runtime=plan.facts.runtimes.get(name),
                )
                if not self.ingested or key(preset=real) not in self.ingested:
                    details = {**predict.details, "preset": rough}
                    needs = (predict.key, *predict.needs)
                    yield Job(key(preset=rough), What.LATENCY, step.path, step.key, needs, details)


def _opens_quickly(target: Mapping[str, Any]) -> bool:
    """Importing torch, compiling and starting an accelerator take longer than a rough figure is worth."""
    found = target_class(target)
    return found.accepts is Format.ONNX and found.clock == "cpu"
