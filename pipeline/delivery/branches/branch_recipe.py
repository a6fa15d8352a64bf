"""A recipe that adds steps below one model of some results: all above it as it was, so that it is found by its key.

Results may come from anybody, and who asks for a branch is not the person who runs it. So only what the person's own runs
have opened is opened again: the data set as their notes have it, the plug-ins of these notes, and models of conf/ or of
their own folder. The steps that are added hold operations and parameters, and nothing that names a file or a function.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.core.params import params_model
from ops.core.text import cut
from pipeline.core.errors import BouillonError
from pipeline.delivery.packaging.branch import branch
from pipeline.models.api import BUILDERS, LocalFile
from pipeline.plan.entries import model_entries
from pipeline.plan.recipe import RecipeError, parse
from pipeline.store.queries.model_facts import Descent
from pipeline.sweep.known_data import KnownData, recall

__all__ = ["BranchError", "BranchSource", "branch_recipe", "branch_settings", "branch_source", "check_models"]

_FACTORY = "factory"
"""The parameter of a model's entry that names a function."""
_ARGUMENTS = "arguments"
_MOST_STEPS = 200
_SETTINGS = ("executor", "bench", "limits", "batch_size")
"""Words of a run's configuration that a branch is run with, too."""


class BranchError(BouillonError, ValueError):
    """A branch is refused: the message says what is wrong, or what would be right, one line for each mistake."""


@dataclass(frozen=True, slots=True)
class BranchSource:
    """A model that a branch may begin at."""

    descent: Descent
    data: KnownData
    """As a run of the person's own has opened them."""


def branch_source(descent: Descent, store: str) -> BranchSource:
    """Return where a branch begins, if the data and plug-ins are the person's own.

    Raises:
        BranchError: if the results are of no run of the person's, or a plug-in or data set is not theirs.
    """
    config = descent.run.config
    data = recall(str(config.get("dataset_key", "")))
    if data is None or store not in data.own:
        raise BranchError(
            "these results are not of runs of yours on this machine alone, and branches of others' are not run. Run the recipe "
            f"into a results file of its own: python -m pipeline recipe={cut(descent.run.recipe, 100)} results=NEW.duckdb"
        )
    foreign = [name for name in config.get("plugins") or () if name not in data.plugins]
    if foreign:
        raise BranchError(
            f"plugins: {cut(', '.join(map(str, foreign)))}: no run of yours has loaded them with these data"
        )
    return BranchSource(descent, data)


def check_models(source: BranchSource, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """See that the models above a branch are the person's own. Nothing that they name is opened.

    Args:
        source: where the branch begins.
        entries: name -> the person's entries of conf/model.

    Raises:
        BranchError: if one names a function or a file that none of the person's entries does.
    """
    for each in source.descent.lineage:
        for value in each.params.values():
            if isinstance(value, Mapping) and "builder" in value:
                _check_model(value, entries)


def branch_recipe(source: BranchSource, change: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe that leads to a model, with steps added below it.

    Args:
        source: the model.
        change: name -> step, as under `then` of a recipe; empty: the recipe that leads to the model alone.

    Raises:
        BranchError: if a step names a file or a function, or refers to the environment.
    """
    descent = source.descent
    _check_change(change)
    params = {each.path: each.params for each in descent.lineage}
    recipe = branch(descent.run.config["recipe"], params, params, source.data.written)
    step: dict[str, Any] = {"then": recipe["tree"]}
    for part in descent.path.split("/"):
        step = step["then"][part.partition("[")[0]]
    doubles = [name for name in change if name in step.get("then", {})]
    if doubles:
        raise BranchError(
            f"Step '{descent.path}/{doubles[0]}': a step above refers to one of this name; write another name"
        )
    if change:
        step["then"] = {**step.get("then", {}), **change}
    return recipe


def branch_settings(source: BranchSource, results: Path, workspace: Path) -> dict[str, Any]:
    """Return the settings that a branch runs with: those of the run that made the model.

    Args:
        source: the model.
        results: the results file.
        workspace: where the models are.
    """
    config = source.descent.run.config
    return {
        **{name: config[name] for name in _SETTINGS if name in config},
        "plugins": config.get("plugins") or (),
        "data_folder": source.data.folder,
        "results": results,
        "workspace": workspace,
    }


def _check_change(change: Mapping[str, Any]) -> None:
    reference = next((text for text in _texts(change) if "${" in text), None)
    if reference is not None:
        raise BranchError(f"'{cut(reference)}': a branch refers to nothing outside of it; write the value out")
    for place, word, _ in model_entries(change):
        raise BranchError(f"{place}: {word}: a branch has the model that is above it; leave the entry out")
    count = _count(change)
    if count > _MOST_STEPS:
        raise BranchError(f"the branch has {count} steps; at most {_MOST_STEPS} can be asked for at once")


def _check_model(entry: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse what names a function or a file, unless an entry of the person's does so too."""
    names = {name: entry[name] for name in _naming(str(entry["builder"])) if isinstance(entry.get(name), str)}
    own = [each for each in entries.values() if each.get("builder") == entry["builder"]]
    if _FACTORY in names:  # a function of the person's may do anything with other arguments
        names[_ARGUMENTS] = entry.get(_ARGUMENTS)
    if names and not any(all(each.get(name) == value for name, value in names.items()) for each in own):
        where = ", ".join(f"{name}: {cut(str(value), 100)}" for name, value in names.items() if value is not None)
        label = cut(str(entry.get("name", entry["builder"])), 100)
        raise BranchError(
            f"model '{label}' ({where}): no entry of conf/model names that. Keep the model's entry in a folder of your own, "
            "and name the folder: --config-dir DIR"
        )


def _naming(builder: str) -> Iterator[str]:
    """Parameters of a model's entry that name a function or a file."""
    if builder not in BUILDERS:
        raise BranchError(f"No model builder is called '{cut(builder)}' here")
    yield _FACTORY
    for name, field in params_model(BUILDERS[builder], skip=1).model_fields.items():
        if any(isinstance(mark, LocalFile) for mark in field.metadata):
            yield name


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            waiting += one


def _count(change: Mapping[str, Any]) -> int:
    """How many steps a change has with the values of `each`; none where it cannot be read, which planning says."""
    try:
        return len(parse({"name": "branch", "tree": change}).nodes)
    except RecipeError:
        return 0
