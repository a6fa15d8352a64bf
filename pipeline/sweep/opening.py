"""The opening of a run: what this machine can run, where jobs work, and the records that hold for the whole run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core import environment
from pipeline.engine.jobs import Limits, Workplace
from pipeline.measure.metrics.definitions import metric_records
from pipeline.store.records.run_records import Device, Record, Run
from pipeline.sweep.config import ConfigError
from pipeline.sweep.known_data import is_own, remember
from pipeline.sweep.preflight import set_records
from pipeline.sweep.prepare import Prepared
from pipeline.sweep.recorder import dataset_records

_GIGA = 1_000_000_000


def note_own_results(prepared: Prepared) -> None:
    """Note that the run's store is the person's own, unless it holds what somebody else has made."""
    store = prepared.store
    if not store.has_models() or is_own(store.identity):
        remember(prepared.data.fingerprint, prepared.config, store.identity)


def absent_targets(prepared: Prepared) -> dict[str, str]:
    """Return the targets that jobs need and this machine cannot run, with the reason, and what to install.

    Imports the runtimes of those in use alone.

    Raises:
        ConfigError: if it can run none of the targets.
    """
    from pipeline.targets.api import MissingRuntimeError
    from pipeline.targets.open import open_target

    needed = {job.target for job in prepared.missing()}
    absent = {}
    for name, entry in prepared.targets.items():
        if name not in needed:
            continue
        try:
            open_target(entry).require()
        except MissingRuntimeError as error:
            absent[name] = str(error)
    if len(absent) == len(prepared.targets):
        raise ConfigError("\n".join(f"target '{name}': {why}" for name, why in absent.items()))
    return absent


def open_workplace(prepared: Prepared, targets: Mapping[str, Mapping[str, Any]]) -> Workplace:
    """Return what all jobs of a run share; its folders are made, and rid of what killed processes have left there.

    `targets` are the conf/target entries that this machine can run.
    """
    config, artifacts = prepared.config, prepared.artifacts
    limits = config.limits
    scratch = config.workspace.resolve() / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    artifacts.sweep()
    return Workplace(
        artifacts=artifacts.root.resolve(),
        scratch=scratch,
        data_folder=config.data_folder.expanduser(),
        dataset=config.dataset or {},
        targets=targets,
        plugins=config.plugins,
        threads=config.executor.inner_threads(),
        threads_alone=config.executor.threads_alone(),
        batch_size=config.batch_size,
        limits=Limits(limits.seconds, int(limits.memory_gb * _GIGA) if limits.memory_gb else None),
        shared=config.shared_place(),
        data_fingerprint=prepared.plan.facts.data_fingerprint,
    )


def opening_records(prepared: Prepared, run_id: str) -> list[Record]:
    """Return the facts that hold for the whole run: the run itself, this machine, the metrics, and new data."""
    config = {
        **prepared.config.model_dump(mode="json"),
        "dataset_key": prepared.plan.facts.data_fingerprint,
        "dataset_notes": list(prepared.notes),
        **({"preprocessing": list(prepared.preprocessing)} if prepared.preprocessing else {}),
    }
    news = prepared.data.fingerprint not in prepared.store.ingested()
    return [
        Run(
            run_id=run_id,
            recipe=prepared.plan.recipe.name,
            config=config,
            versions=environment.versions(),
            host=environment.host(),
            git_commit=environment.git_commit(Path(__file__).parent),
            started_at=datetime.now(UTC),
        ),
        Device(environment.device_id(), environment.device()),
        *metric_records(),
        *(dataset_records(prepared.data, prepared.config.dataset or {}) if news else ()),
        *set_records(prepared.plan.facts, prepared.plan.recipe),
    ]
