"""Gather what planning must know of the world: the data's fingerprint, the models' files, the targets' formats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.operation import OPERATIONS, OpSpec, Uses
from ops.core.tasks.task import TASKS
from ops.core.text import show
from ops.quantize.quantize import processor
from pipeline.core.environment import device_id
from pipeline.core.keys import CONTENT
from pipeline.core.machine.libraries import EXPORTER, installed
from pipeline.core.user_code import code_of_definition, edited
from pipeline.models.identity import content_of
from pipeline.plan.candidates import DEFAULT_CANDIDATES
from pipeline.plan.planner import entry_id
from pipeline.plan.recipe import MOST_PROBLEMS, Recipe
from pipeline.plan.steps import Facts
from pipeline.stages.export import EXPORT
from pipeline.store.records.run_records import EvaluationSetContent
from pipeline.sweep.config import Config, ConfigError

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset
    from pipeline.store.writer import Store


def register_ours() -> None:
    """Ours come first, so that a name that a plug-in takes again is an error in the plug-in, at its line."""
    from ops.core.operation import OPERATIONS
    from pipeline.datasets.api import DATASETS
    from pipeline.measure.lints.api import LINTS
    from pipeline.measure.metrics.api import METRICS
    from pipeline.models.api import BUILDERS
    from pipeline.targets.api import TARGETS

    registries: tuple[Iterable[str], ...] = (OPERATIONS, DATASETS, LINTS, METRICS, BUILDERS, TARGETS, TASKS)
    for registry in registries:
        list(registry)


def check_folders(config: Config) -> None:
    """Look where a run writes besides its results.

    Raises:
        ConfigError: if a file lies in the place of a folder.
    """
    for name, folder in (("workspace", config.workspace), ("data_folder", config.data_folder)):
        place = folder.expanduser().absolute()
        nearest = next(path for path in (place, *place.parents) if path.exists())
        if not nearest.is_dir():
            raise ConfigError(f"{name}: {folder}: {nearest} is a file, not a folder; name another folder: {name}=PATH")


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
        return (*getattr(data, "notes", ()), *_withheld(data), *more)  # data sets of people's own may have none
    except DataError as error:
        raise ConfigError(f"dataset: {error}") from None


def _withheld(data: Dataset) -> tuple[str, ...]:
    """Say how many instances nothing reads."""
    count = getattr(data, "withheld", 0)
    if not count:
        return ()
    whole = count + data.size("evaluation")
    return (
        f"{count:,} of {whole:,} evaluation instances of '{data.name}' are set aside: nothing reads them but `confirm`, which says how "
        "good a choice is that was made by the others (dataset.confirmation=0 evaluates on all)",
    )


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
    from pipeline.targets.open import runtime_of, target_class

    models = dict(entries["model"])
    try:
        if config.model is not None:
            check_entry(config.model)
            models[config.model.get("name", recipe.model or "model")] = config.model
        default = config.model.get("name") if config.model else None
        names, written = _entries_of(recipe, default)
        _check_written(written)
        classes = {name: target_class(entry) for name, entry in entries["target"].items() if name in recipe.targets}
        for name in sorted(names & models.keys()):
            check_entry(models[name])
        models |= {name: with_content(models[name], config.data_folder) for name in names if name in models}
        contents = _contents(written, config.data_folder)
    except (ModelError, TargetError) as error:
        raise ConfigError(str(error)) from None
    specs = [*operations_of(recipe), *_candidates_of(config)]
    return Facts(
        task=data.task,
        data_fingerprint=data.fingerprint,
        models=models,
        default_model=default,
        accepts={name: target.accepts for name, target in classes.items()},
        profilers=frozenset(name for name, target in classes.items() if hasattr(target, "node_times")),
        known_targets=tuple(entries["target"]),
        export_version=EXPORT.version,
        channel_multiple=math.lcm(*(target.channel_multiple for target in classes.values())),
        interface=_interface(data) if any(Uses.INTERFACE in spec.uses for spec in specs) else {},
        contents=contents,
        code=code_of_operations(specs),
        libraries=installed({*EXPORTER, "onnxruntime", *(name for spec in specs for name in spec.libraries)}),
        processor=processor(),
        runtimes={name: runtime_of(target) for name, target in classes.items()},
        device=device_id(),
        has_labels=bool(TASKS[data.task].targets),
        has_instances=not getattr(data, "is_random", False),
        evaluation_sets=_evaluation_sets(data, recipe, config.data_folder.expanduser()),
    )


def operations_of(recipe: Recipe) -> list[OpSpec]:
    """Return the operations that a recipe uses, as far as they exist."""
    return [OPERATIONS[name] for name in sorted(recipe.operations) if name in OPERATIONS]


def _candidates_of(config: Config) -> list[OpSpec]:
    """Return the operations whose effect on layers is to be measured."""
    if config.sensitivity is None:
        return []
    names = config.sensitivity.candidates or DEFAULT_CANDIDATES
    return [OPERATIONS[name] for name in sorted(map(str, names)) if name in OPERATIONS]


def code_of_operations(specs: Iterable[OpSpec]) -> dict[str, str]:
    """Return the digest of the code of each operation that is a person's own.

    Raises:
        ConfigError: if one was edited after this process had imported it.
    """
    digests = {}
    for spec in specs:
        code = code_of_definition(spec.apply)
        if code is None:
            continue
        if edited(spec.apply.__module__):
            raise ConfigError(f"operation '{spec.name}': its code was edited while the run was planned; run again")
        digests[spec.name] = code
    return digests


def with_content(entry: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Add the digest of the entry's local files and code.

    Raises:
        ModelError: if a file that it names is not there.
    """
    plain = {key: value for key, value in entry.items() if key != CONTENT}
    content = _content(plain, folder)
    return plain if content is None else {**plain, CONTENT: content}


def _interface(data: Dataset) -> dict[str, Any]:
    from pipeline.datasets.api import DataError
    from pipeline.datasets.interface import Interface

    try:
        return Interface.of(data).plain()
    except DataError as error:
        raise ConfigError(f"dataset: {error}") from None


def _evaluation_sets(data: Dataset, recipe: Recipe, folder: Path) -> dict[str, str]:
    """Name -> identity of the content of every evaluation set beside the data set's own.

    Raises:
        ConfigError: naming the set that cannot be opened, or does not fit.
    """
    if not recipe.evaluate:
        return {}
    from pipeline.datasets.api import DataError
    from pipeline.datasets.evaluation_sets.opening import set_identity

    identities = {}
    for spec in recipe.evaluate:
        try:
            identities[spec.name] = set_identity(data, spec.plain(), folder)
        except DataError as error:
            raise ConfigError(f"recipe.evaluate.{spec.name}: {error}") from None
    return identities


def set_records(facts: Facts, recipe: Recipe) -> list[EvaluationSetContent]:
    """Return which content the name of each evaluation set of a recipe stands for."""
    return [
        EvaluationSetContent(facts.data_fingerprint, spec.name, facts.evaluation_sets[spec.name], spec.plain())
        for spec in recipe.evaluate
    ]


def check_sets(facts: Facts, recipe: Recipe, store: Store) -> None:
    """Look that every evaluation set is what the results know by its name: else figures of two sets would stand in one column.

    Raises:
        ConfigError: naming the set, with what the results know by its name.
    """
    known = store.set_contents(facts.data_fingerprint) if recipe.evaluate else []
    for own in set_records(facts, recipe):
        for other in known:
            if other.name == own.name and other.identity != own.identity:
                words = {word: value for word, value in other.definition.items() if value and word != "name"}
                raise ConfigError(
                    f"recipe.evaluate.{own.name}: {store.results} has figures of another set by this name, {show(words)}, and the two "
                    "would stand in one column. Give it another name, or other results: results=FILE"
                )


def _check_written(entries: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Check the model entries that steps write out.

    Raises:
        ConfigError: with a line for each step whose entry cannot be built.
    """
    from pipeline.models.api import ModelError
    from pipeline.models.build import check_entry

    problems = list[str]()
    for path, entry in entries:
        try:
            check_entry(entry)
        except ModelError as error:
            problems.append(f"Step '{path}': {error}")
    if problems:
        raise ConfigError("\n".join(problems[:MOST_PROBLEMS]))


def _content(entry: Mapping[str, Any], folder: Path) -> str | None:
    from pipeline.models.named_files import check_files

    check_files(entry)
    return content_of(entry, folder)


def _contents(entries: Iterable[tuple[str, Mapping[str, Any]]], folder: Path) -> dict[str, str]:
    """Digest of the files and code of each model entry that a step writes out, for those that have any.

    Raises:
        ConfigError: with a line for each step whose files are not there.
    """
    from pipeline.models.api import ModelError

    contents, problems = dict[str, str](), list[str]()
    for path, entry in entries:
        try:
            content = _content(entry, folder)
        except ModelError as error:
            problems.append(f"Step '{path}': {error}")
        else:
            contents |= {} if content is None else {entry_id(entry): content}
    if problems:
        raise ConfigError("\n".join(problems[:MOST_PROBLEMS]))
    return contents


def _entries_of(recipe: Recipe, default: str | None) -> tuple[set[str], list[tuple[str, dict[str, Any]]]]:
    """Names of the model entries that a recipe's steps use, and the entries that they write out, with the steps' paths."""
    names, written = {default} if default else set(), []
    for node in recipe.nodes:
        for parameter in OPERATIONS[node.op].marked("model entry") if node.op in OPERATIONS else ():
            value = node.params.get(parameter)
            if isinstance(value, Mapping):
                written.append((node.path, {key: part for key, part in value.items() if key != CONTENT}))
            elif isinstance(value, str):
                names.add(value)
    return names, written
