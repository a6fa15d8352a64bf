"""From a plan to jobs: the operations, and the evidence that every model in the tree gets, as the stages say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.core.keys import Key
from pipeline.engine.jobs import Job
from pipeline.engine.stage import Planning, stages_in_order


def jobs_of(planning: Planning) -> list[Job[Any]]:
    """Return every job that the stages have for a plan; a job comes after all that it needs.

    They are in the order of the plan's steps, and those of a step in the order of the targets: whatever a model needs to
    be complete comes before the next model.

    Raises:
        StageError: if a stage gives a job that cannot be run, or stages need one another.
    """
    jobs: dict[Key, Job[Any]] = {}
    device = planning.plan.facts.device
    for stage in stages_in_order():
        for job in planning.jobs_of(stage):
            jobs.setdefault(job.key, _placed(job, device) if stage.on_device else job)
    step_places = {step.key: place for place, step in enumerate(planning.plan.steps)}
    target_places = {name: place for place, name in enumerate(("", *planning.targets))}
    return sorted(jobs.values(), key=lambda job: (step_places[job.model], target_places[job.target]))


def _placed(job: Job[Any], device: str) -> Job[Any]:
    """A job that must run on the machine, or one of its kind, whose figures it takes."""
    return replace(job, resources=replace(job.resources, device=device))
