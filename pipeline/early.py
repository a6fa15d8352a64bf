"""A first, rough latency of every model while the sweep still runs: so that the viewer has something to show.

It is taken beside whatever else runs, and not compared with anything. The session at the end replaces it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ops.api import Format
from pipeline.bench.preset import Preset
from pipeline.jobs import Job, What
from pipeline.plan import Plan
from pipeline.schedule import predict_job, timing_key
from pipeline.targets.open import target_class

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
                keys = [
                    timing_key(step.key, target=entry, preset=preset, device=self.device) for preset in (rough, real)
                ]
                predict = predict_job(step, name, plan, targets)
                if predict is not None and keys[1] not in self.ingested:
                    details = {**predict.details, "preset": rough}
                    yield Job(keys[0], What.LATENCY, step.path, step.key, (predict.key, *predict.needs), details)


def _opens_quickly(target: Mapping[str, Any]) -> bool:
    """Importing torch, compiling and starting an accelerator take longer than a rough figure is worth."""
    found = target_class(target)
    return found.accepts is Format.ONNX and found.clock == "cpu"
