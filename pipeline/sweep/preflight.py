"""Gather what planning must know of the world: the data's fingerprint, the models' files, the targets' formats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.versions import EXPORT_VERSION
from pipeline.plan.recipe import Recipe
from pipeline.plan.steps import Facts
from pipeline.sweep.config import Config, ConfigError

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset


def register_ours() -> None:
    """Ours come first, so that a name that a plug-in takes again is an error in the plug-in, at its line."""
    from ops.core.operation import OPERATIONS
    from pipeline.datasets.api import DATASETS
    from pipeline.measure.lints.api import LINTS
    from pipeline.measure.metrics.api import METRICS
    from pipeline.models.api import BUILDERS
    from pipeline.targets.api import TARGETS

    registries: tuple[Iterable[str], ...] = (OPERATIONS, DATASETS, LINTS, METRICS, BUILDERS, TARGETS)
    for registry in registries:
        list(registry)


def read_data(data: Dataset) -> None:
    """Read the instances, so that mistakes in them are told before anything runs.

    Raises:
        ConfigError: naming the data set, the file and the row.
    """
    from pipeline.datasets.api import SPLITS, DataError

    try:
        for split in SPLITS:
            data.size(split)
    except DataError as error:
        raise ConfigError(f"dataset: {error}") from None


def data_notes(data: Dataset, more: Sequence[str] = ()) -> tuple[str, ...]:
    """Say how the data are read, where other programs may read them in another way, and `more`.

    Raises:
        ConfigError: naming a file that cannot be read.
    """
    from pipeline.datasets.api import DataError

    try:
        return (*getattr(data, "notes", ()), *more)  # data sets of people's own may have none
    except DataError as error:
        raise ConfigError(f"dataset: {error}") from None


def open_data(config: Config) -> Dataset:
    """Open the run's data set.

    Raises:
        ConfigError: if none is chosen, or it cannot be read.
    """
    from pipeline.datasets.api import DataError
    from pipeline.datasets.open import open_dataset

    if config.dataset is None:
        raise ConfigError("dataset: none is chosen. Give `dataset:` in the recipe or dataset=NAME on the command line")
    try:
        return open_dataset(config.dataset, config.data_folder.expanduser())
    except DataError as error:
        raise ConfigError(f"dataset: {error}") from None


def gather(
    config: Config, recipe: Recipe, data: Dataset, entries: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> Facts:
    """Collect the facts of a run.

    Raises:
        ConfigError: if a model entry or a target cannot be used.
    """
    from pipeline.models.api import ModelError
    from pipeline.models.build import check_entry
    from pipeline.targets.api import TargetError
    from pipeline.targets.open import target_class

    models = dict(entries["model"])
    if config.model is not None:
        models[config.model.get("name", recipe.model or "model")] = config.model
    try:
        if config.model is not None:
            check_entry(config.model)
        classes = {name: target_class(entry) for name, entry in entries["target"].items() if name in recipe.targets}
    except (ModelError, TargetError) as error:
        raise ConfigError(str(error)) from None
    return Facts(
        task=data.task,
        data_fingerprint=data.fingerprint,
        models={name: _with_content(entry, config.data_folder) for name, entry in models.items()},
        default_model=config.model.get("name") if config.model else None,
        accepts={name: target.accepts for name, target in classes.items()},
        profilers=frozenset(name for name, target in classes.items() if hasattr(target, "node_times")),
        known_targets=tuple(entries["target"]),
        export_version=EXPORT_VERSION,
        channel_multiple=math.lcm(*(target.channel_multiple for target in classes.values())),
    )


def _with_content(entry: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Add the digest of the entry's local files."""
    from pipeline.models.identity import content_of

    content = content_of(entry, folder)
    return entry if content is None else {**entry, "content": content}
