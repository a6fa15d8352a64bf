"""From a checked configuration to a run that can start: everything is checked and planned, nothing is run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ops.core.operation import OPERATIONS
from ops.core.registry import nearest
from ops.core.text import cut
from pipeline.core import environment
from pipeline.core.artifacts import ArtifactStore
from pipeline.core.keys import Key
from pipeline.core.plugins import load_plugins
from pipeline.core.sharing.shared_artifacts import open_artifacts
from pipeline.engine.jobs import Job
from pipeline.engine.schedule import jobs_of
from pipeline.engine.stage import STAGES, Planning
from pipeline.measure.timing.preset import Preset, PresetError, parse_preset
from pipeline.models.factories import name_factories
from pipeline.plan.recipe import parse
from pipeline.plan.steps import Plan, Step
from pipeline.stages.rough_latency import PRESET
from pipeline.store.writer import Store
from pipeline.sweep.allocation.requested import requested_sensitivity
from pipeline.sweep.allocation.settle import settle_allocations
from pipeline.sweep.class_agreement import agree_on_classes
from pipeline.sweep.config import Config, ConfigError
from pipeline.sweep.known_data import remember
from pipeline.sweep.preflight import check_folders, check_sets, data_notes, gather, open_data, read_data, register_ours
from pipeline.sweep.preprocessing import settle_preprocessing

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset

Entries = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Group (`model`, `target`, `bench`) -> name -> entry: what a run may use besides what its own keys name."""

_LOAD = "load"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that can start."""

    config: Config
    plan: Plan
    jobs: tuple[Job[Any], ...]
    """Every job of the plan, each after those that it needs."""
    targets: Mapping[str, Mapping[str, Any]]
    """conf/target entries of the recipe's targets."""
    artifacts: ArtifactStore
    store: Store
    data: Dataset
    preset: Preset | None
    """How models are timed; None: not at all."""
    force: Set[Key]
    """Steps that run again although their artifacts exist."""
    notes: tuple[str, ...] = ()
    """What the person should know of how the data are read."""
    preprocessing: tuple[str, ...] = ()
    """What was taken from pretrained models to prepare the data, and where the entry says otherwise."""
    waiting: tuple[str, ...] = ()
    """Paths of steps with `allocate` that are planned when this run has measured what they need."""
    resume: Callable[[], Prepared] | None = None
    """Prepares the rest, where steps wait."""

    def missing(self) -> list[Job[Any]]:
        """Jobs whose artifacts have to be made."""
        present = self.artifacts.present(job.key for job in self.jobs) - self.force
        return [job for job in self.jobs if job.key not in present]


def prepare(config: Config, entries: Entries) -> Prepared:
    """Check and plan a run.

    Args:
        config: the checked configuration.
        entries: the entries of conf/ and of the person's own folder that recipes can name.

    Raises:
        BouillonError: for every mistake that needs no computing, one line each.
    """
    if config.plugins:
        register_ours()
        load_plugins(config.plugins)
    check_folders(config)
    preset = _preset(config.bench)
    recipe, original = parse(config.recipe), config
    original_entries = entries
    settled = settle_preprocessing(config, recipe, entries)
    config, entries = settled.config, settled.entries
    config, data, agreement = agree_on_classes(config, open_data(config))
    facts = gather(config, recipe, data, entries)
    targets = {name: entries["target"][name] for name in recipe.targets if name in entries["target"]}
    artifacts = open_artifacts(config.workspace / "artifacts", config.shared_place())
    allocated = settle_allocations(config.recipe, facts, targets, artifacts)
    plan, requests, allocations = allocated.plan, allocated.requests, allocated.allocations
    if config.sensitivity is not None:  # of one model, in the place of all that the recipe comes to
        plan, requests = requested_sensitivity(config.sensitivity, plan)
        allocations = ()
    if allocated.allocations or allocated.waiting:
        config = config.model_copy(update={"recipe": dict(allocated.raw)})
    name_factories(value for step in plan.steps for value in step.params.values())
    store = Store(config.results)
    check_sets(facts, recipe, store)
    remember(data.fingerprint, config, store.identity, own=False)
    if data.fingerprint not in store.ingested():  # else it has been read before
        read_data(data)
    planning = Planning(
        plan,
        targets,
        metrics=_metrics(),
        device=environment.device_id(),
        ingested=store.ingested(),
        session_preset=_in_full(preset),
        rough_preset=_in_full(_preset(entries["bench"].get(PRESET))),
        sensitivity=requests,
        allocations=allocations,
    )
    if config.explain is not None:
        step_at(plan, config.explain, allocated.waiting)
    return Prepared(
        config=config,
        plan=plan,
        jobs=_with_resources(jobs_of(planning), plan, config),
        targets=targets,
        artifacts=artifacts,
        store=store,
        data=data,
        preset=preset,
        force={step_at(plan, path, allocated.waiting).key for path in config.forced()},
        preprocessing=(*settled.notes, *_omissions(plan)),
        waiting=allocated.waiting,
        resume=partial(prepare, original, original_entries) if allocated.waiting else None,
        notes=data_notes(data, agreement if any(step.op == _LOAD for step in plan.steps) else ()),
    )


def _with_resources(jobs: Iterable[Job[Any]], plan: Plan, config: Config) -> tuple[Job[Any], ...]:
    """Give every job what the configuration says of its operation or its kind.

    Raises:
        ConfigError: if it names neither.
    """
    operations = {step.key: step.op for step in plan.steps}
    known = {*STAGES, *OPERATIONS}
    for name in config.executor.resources:
        if name not in known:
            raise ConfigError(
                f"executor.resources: '{cut(name, 200)}' is neither a kind of job nor an operation.{nearest(name, known)} "
                f"Kinds of jobs: {', '.join(sorted(STAGES))}"
            )
    settle = config.executor.resources_of
    return tuple(
        replace(job, resources=settle(job.stage, operations[job.model] if job.makes_model else None, job.resources))
        for job in jobs
    )


def step_at(plan: Plan, path: str, waiting: Sequence[str] = ()) -> Step:
    """Find a step by its path.

    Args:
        plan: of the run.
        path: of the step, or another name of it.
        waiting: paths of steps that are not planned yet.

    Raises:
        ConfigError: with the nearest path.
    """
    by_path = {step.path: step for step in plan.steps}
    by_key = plan.by_key()
    by_path |= {alias: by_key[key] for alias, key in plan.aliases.items()}
    if any(path == one or path.startswith(f"{one}/") for one in waiting):
        raise ConfigError(
            f"Step '{cut(path, 200)}' is planned when the layers of the model above it have been measured, which they are "
            "not yet; run without it first"
        )
    if path not in by_path:
        raise ConfigError(
            f"No step has the path '{cut(path, 200)}'.{nearest(path, by_path)} Paths are shown by plan_only=true"
        )
    return by_path[path]


def _omissions(plan: Plan) -> Iterator[str]:
    """Say which branches of `ablate` and `permute` cannot be run, and why."""
    for path, reason in plan.omissions.items():
        yield f"'{path}' and what follows it are left out: {reason}"


def _preset(entry: Mapping[str, Any] | None) -> Preset | None:
    """The timing preset of an entry; None for `bench=none`."""
    if entry is None or entry == {"name": "none"}:
        return None
    try:
        return parse_preset(entry)
    except PresetError as error:
        raise ConfigError(str(error)) from None


def _in_full(preset: Preset | None) -> dict[str, Any] | None:
    return None if preset is None else preset.model_dump(mode="json")


def _metrics() -> tuple[str, ...]:
    from pipeline.measure.metrics.compute import identities

    return identities()
