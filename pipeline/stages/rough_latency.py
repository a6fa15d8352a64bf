"""Time a model roughly, in a process of its own, beside whatever else runs. The session at the end replaces the figure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.operation import Format
from pipeline.core.environment import device_id
from pipeline.core.keys import Key
from pipeline.engine.jobs import Job
from pipeline.engine.stage import Planning, Recording, Stage, register
from pipeline.measure.metrics.compute import failure_message
from pipeline.measure.timing.inputs import write_inputs
from pipeline.measure.timing.preset import parse_preset
from pipeline.measure.timing.records import FailedMetrics, measures_of, records_of
from pipeline.measure.timing.results import Candidate, load_session, save_session
from pipeline.measure.timing.session import run_session
from pipeline.measure.timing.worker_client import MeasureError
from pipeline.models.storage import ONNX_FILE
from pipeline.stages.predict import PREDICT
from pipeline.stages.timing import TIMING_VERSION, timing_key
from pipeline.store.records.run_records import Record
from pipeline.targets.open import target_class

if TYPE_CHECKING:
    from pipeline.engine.worker import Worker

PRESET = "smoke"
"""The conf/bench entry that says how."""


@dataclass(frozen=True, slots=True)
class LatencyParams:
    """A model's file and the conditions that it is timed under."""

    source: Key
    """What the target opens: the model, or its export."""
    preset: Mapping[str, Any]
    """The conf/bench entry in full."""


class LatencyStage(Stage[LatencyParams]):
    """A first figure of every model's latency, while others work."""

    name, version, params = "latency", TIMING_VERSION, LatencyParams
    on_device = True
    evidence = "timing"
    needs = ("operation", "export", "predict")

    def jobs(self, planning: Planning) -> Iterator[Job[LatencyParams]]:
        """One job per model and target that is opened quickly, after the model's predictions.

        The key is that of a session's figure under the same preset: where the session at the end is a rough one too,
        it finds its work done. Whatever the session has timed needs no rough figure any more.
        """
        rough, session = planning.rough_preset, planning.session_preset
        if rough is None or session is None:
            return
        quick = [name for name, entry in planning.targets.items() if _opens_quickly(entry)]
        for run in planning.jobs_of(PREDICT):
            if run.target not in quick:
                continue
            keys = [
                timing_key(
                    run.model,
                    source=run.params.source,
                    target=planning.targets[run.target],
                    preset=preset,
                    device=planning.device,
                    data=planning.plan.facts.data_fingerprint,
                    runtime=planning.plan.facts.runtimes.get(run.target),
                )
                for preset in (rough, session)
            ]
            if keys[1] not in planning.ingested:
                params = LatencyParams(run.params.source, rough)
                yield Job(keys[0], self.name, run.path, run.model, (run.key, *run.needs), params, run.target)

    def make(self, worker: Worker, job: Job[LatencyParams], folder: Path, scratch: Path) -> dict[str, Any]:
        """Write the session of one model on one target."""
        entry = worker.workplace.targets[job.target]
        source = worker.artifacts.folder(job.params.source)
        file = source / ONNX_FILE if target_class(entry).accepts is Format.ONNX else source
        preset = parse_preset(job.params.preset)
        result = run_session(
            [Candidate(job.model, job.model, None, job.target, file)],
            targets={job.target: entry},
            inputs=write_inputs(worker.dataset, scratch, samples=preset.samples),
            preset=preset,
            folder=scratch,
            plugins=worker.workplace.plugins,
        )
        if result.failures:
            raise MeasureError(result.failures[0].error)
        save_session(result, folder)
        return {"device": device_id()}

    def records(self, job: Job[LatencyParams], recording: Recording) -> list[Record]:
        """The samples, and the metrics of them; `failure` tells which of the metrics raise."""
        device = recording.artifacts.manifest(job.key)["device"]
        session = load_session(recording.artifacts.folder(job.key))
        return records_of(session, device=device, run_id=recording.run_id, failed={})

    def failure(self, job: Job[LatencyParams], recording: Recording) -> str | None:
        """Metrics that failed, and why: the model is timed again next time."""
        failed: FailedMetrics = {}
        measures_of(load_session(recording.artifacts.folder(job.key)), failed)
        problems = failed.get((job.model, job.target))
        return failure_message(problems) if problems else None


LATENCY = register(LatencyStage())


def _opens_quickly(target: Mapping[str, Any]) -> bool:
    """Importing torch, compiling and starting an accelerator take longer than a rough figure is worth."""
    runtime = target_class(target)
    return runtime.accepts is Format.ONNX and runtime.clock == "cpu"
