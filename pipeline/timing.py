"""The measuring session at the end of a sweep: which models lack figures, and what the session adds to the store."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.api import Format
from pipeline.artifacts import ArtifactStore
from pipeline.bench.facts import records_of
from pipeline.bench.inputs import write_inputs
from pipeline.bench.preset import Preset
from pipeline.bench.results import Candidate
from pipeline.bench.session import run_session
from pipeline.environment import device_id
from pipeline.formats import ONNX_FILE
from pipeline.keys import Key, evidence_key
from pipeline.plan import Plan, Step, export_key
from pipeline.store.records import Ingested, Record

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset

TIMING_VERSION = 1  # raise when the protocol changes what the figures mean: models are then timed again


@dataclass(frozen=True, slots=True)
class Timing:
    """What a run times, and how."""

    plan: Plan
    targets: Mapping[str, Mapping[str, Any]]
    artifacts: ArtifactStore
    preset: Preset
    plugins: tuple[str, ...] = ()

    def missing(self, ingested: set[str]) -> dict[Key, list[Candidate]]:
        """Model key -> its candidates that have no figures of this preset on this machine yet."""
        found: dict[Key, list[Candidate]] = {}
        for candidate in self.candidates():
            if self._key(candidate) not in ingested:
                found.setdefault(Key(candidate.model_key), []).append(candidate)
        return found

    def candidates(self) -> list[Candidate]:
        """Every model of the plan that is there, on every target that takes it."""
        found = [self._candidate(step, target) for step in self.plan.steps for target in self.targets]
        return [candidate for candidate in found if candidate is not None]

    def run(
        self, ingested: set[str], data: Dataset, *, run_id: str, progress: Callable[[int, int, str], None]
    ) -> list[Record]:
        """Measure what lacks figures; return the records, none if nothing was missing."""
        missing = self.missing(ingested)
        if not missing:
            return []
        with tempfile.TemporaryDirectory(prefix="bouillon-timing-") as name:
            folder = Path(name)
            result = run_session(
                self.candidates(),
                targets=self.targets,
                inputs=write_inputs(data, folder, samples=self.preset.samples),
                preset=self.preset,
                folder=folder,
                wanted=set(missing),
                plugins=self.plugins,
                progress=progress,
            )
        records = records_of(result, device=device_id(), run_id=run_id)
        failed = {(failure.case.model_key, failure.case.target) for failure in result.failures}
        done = [
            Ingested(self._key(candidate))
            for candidates in missing.values()
            for candidate in candidates
            if (candidate.model_key, candidate.target) not in failed
        ]
        return [*records, *done]

    def _candidate(self, step: Step, target: str) -> Candidate | None:
        source = self._source(step, target)
        if source is None:
            return None
        return Candidate(step.key, step.root, step.parent, target, source)

    def _source(self, step: Step, target: str) -> Path | None:
        """The file that a target opens, if it takes the model and the model is there."""
        onnx = self.plan.facts.accepts[target] is Format.ONNX
        if not onnx and step.format is Format.ONNX:
            return None
        key = export_key(step.key, self.plan.facts.export_version) if onnx and step.format is Format.TORCH else step.key
        if key not in self.artifacts:
            return None
        folder = self.artifacts.path(key).resolve()
        return folder / ONNX_FILE if onnx else folder

    def _key(self, candidate: Candidate) -> Key:
        return evidence_key(
            "timing",
            version=TIMING_VERSION,
            model=Key(candidate.model_key),
            target=dict(self.targets[candidate.target]),
            preset=self.preset.model_dump(mode="json"),
            device=device_id(),
        )
