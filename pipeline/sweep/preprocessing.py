"""Let a data set prepare its inputs as the pretrained model of the recipe was made for, where its entry leaves that open.

What an entry says wins, and where it differs from the model's own, that is said. The result is an entry that says all:
it is recorded, and decides the data's fingerprint.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.core.tasks.task import TASKS, Task
from pipeline.core.download.hub import HubError
from pipeline.models.api import ModelError
from pipeline.models.preprocessing.beside import origin
from pipeline.models.preprocessing.picture_settings import PictureSettings, picture_settings
from pipeline.models.preprocessing.text_settings import TextSettings, text_settings
from pipeline.plan.recipe import Recipe
from pipeline.sweep.config import Config, ConfigError

Entries = Mapping[str, Mapping[str, Mapping[str, Any]]]
_LONGEST, _WINDOW = 512, 128
"""The most tokens of a text, and of a window of a long context, unless the entry says otherwise."""
_ENOUGH = ("size", "mean", "std")
"""Settings of pictures without which nothing has to be known of the model."""
_PICTURES, _TEXTS = "picture", "text"
_LOAD = "load"


@dataclass(slots=True)
class SettledPreprocessing:
    """A run's configuration in which preprocessing is settled."""

    config: Config
    entries: Entries
    notes: list[str] = field(default_factory=list)
    """What was taken from the model, and what the entry says otherwise: sentences for people."""


def settle_preprocessing(config: Config, recipe: Recipe, entries: Entries) -> SettledPreprocessing:
    """Fill in what the data set's entry leaves open from the pretrained models that the recipe begins with.

    Raises:
        ConfigError: if a model's preprocessing cannot be followed, or two models want different ones.
    """
    settled = SettledPreprocessing(config, entries)
    part = _part(config.dataset)
    pretrained = _pretrained(config, recipe, entries)
    settled.notes += [
        f"Model '{name}' has `new_head: true`: a head that does not fit the data's classes starts from random weights, and "
        "`load` does not train it"
        for name, entry in pretrained.items()
        if entry.get("new_head") and any(node.op == _LOAD for node in recipe.nodes)
    ]
    if not part:
        _note_untaken(settled, pretrained)
    models = pretrained if part else {}
    by_model: dict[str, dict[str, Any]] = {}
    for name, entry in models.items():
        by_model[name] = _pictures(settled, name, entry) if part == _PICTURES else _texts(settled, name, entry)
    decisions = [(name, settings) for name, settings in by_model.items() if settings]
    for (one, first), (other, second) in itertools.pairwise(decisions):
        if first != second:
            keys = [key for key in first if first[key] != second.get(key)]
            raise ConfigError(
                f"dataset: models '{one}' and '{other}' were made for different inputs ({_listed(first, keys)}; "
                f"{_listed(second, keys)}): set {', '.join(keys)} in the data set's entry, or run them apart"
            )
    if decisions:
        assert config.dataset is not None
        dataset = _with_part(config.dataset, part, decisions[0][1])
        settled.config = settled.config.model_copy(update={"dataset": dataset})
    return settled


def _part(dataset: Mapping[str, Any] | None) -> str:
    """Return the part of a data set's settings that a model can decide: of pictures, of texts, or none (empty)."""
    from pipeline.datasets.api import DATASETS

    if dataset is None or dataset.get("dataset") not in DATASETS:
        return ""
    parameters = inspect.signature(DATASETS[dataset["dataset"]]).parameters
    if "fit" in parameters:
        return _PICTURES
    task = _task(dataset)
    part = "" if task is None else _PICTURES if task.reads_pictures else _TEXTS if task.reads_texts else ""
    return part if part in parameters else ""


def _task(dataset: Mapping[str, Any]) -> Task | None:
    """The task that an entry names; opening the data set refuses one that there is not."""
    name = str(dataset.get("task"))
    if name not in TASKS:
        return None
    return TASKS[name]


def _pretrained(config: Config, recipe: Recipe, entries: Entries) -> dict[str, Mapping[str, Any]]:
    """Name -> entry of every model with weights that the recipe begins with."""
    models = dict(entries.get("model", {}))
    default = config.model
    if default is not None:
        models[str(default.get("name"))] = default
    used: dict[str, Mapping[str, Any]] = {}
    for node in recipe.nodes:
        if node.parent is not None:
            continue
        model = node.params.get("model")
        entry = model if isinstance(model, Mapping) else models.get(str(model)) if model else default
        if entry is not None and origin(entry) is not None:
            used[str(entry.get("name"))] = entry
    return used


def _own_settings(dataset: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return an entry's settings of pictures or texts; an entry without such a group has them at its top."""
    group = dataset.get(part) if dataset.get("task") else dataset
    return {key: value for key, value in (group or {}).items() if value is not None}


def _with_part(dataset: Mapping[str, Any], part: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    if not dataset.get("task"):
        return {**dataset, **settings}
    return {**dataset, part: {**(dataset.get(part) or {}), **settings}}


def _note_untaken(settled: SettledPreprocessing, models: Mapping[str, Mapping[str, Any]]) -> None:
    """Say what models were made for where the data set prepares its pictures in its own way."""
    from pipeline.datasets.api import DATASETS

    dataset = settled.config.dataset
    if dataset is None or dataset.get("dataset") not in DATASETS:
        return
    if "mean" not in inspect.signature(DATASETS[dataset["dataset"]]).parameters:
        return
    for name, entry in models.items():
        with contextlib.suppress(ModelError, HubError):
            own = picture_settings(entry)
            if own is not None:
                settled.notes.append(
                    f"Data set '{dataset.get('name')}' prepares pictures in its own way: what model '{name}' was made for "
                    f"({described(own.values)}) is not taken"
                )


# ---- pictures
def _pictures(settled: SettledPreprocessing, name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    assert settled.config.dataset is not None
    written = _own_settings(settled.config.dataset, _PICTURES)
    try:
        own = picture_settings(entry)
    except HubError as error:
        settled.notes.append(f"Whether model '{name}' has preprocessing of its own is not known: {error}")
        return {}
    except ModelError as error:
        if all(key in written for key in _ENOUGH):
            settled.notes.append(f"The preprocessing of model '{name}' is not followed: {error}")
            return {}
        raise ConfigError(
            f"model '{name}': {error}. Set `size`, `resize`, `fit`, `mean` and `std` in the data set's entry"
        ) from None
    if own is None:
        return {}
    settings, differing = merged_pictures(written, own)
    settled.notes.append(f"Pictures are prepared as {own.source} says: {described(settings)}")
    settled.notes += differing
    return settings


def merged_pictures(written: Mapping[str, Any], own: PictureSettings) -> tuple[dict[str, Any], list[str]]:
    """Complete what an entry says of pictures by what a model was made for.

    Args:
        written: settings of the entry that are not null.
        own: the model's.

    Returns:
        All settings, and a sentence for each of the entry's that differs from the model's.
    """
    values = dict(own.values)
    size = written.get("size", values["size"])
    if size != values["size"]:
        values["resize"] = round(values["resize"] * size / values["size"])
    if "resize" in written and "fit" not in written:
        values["fit"] = "crop"  # that is what `resize` means
    settings = {**values, **{key: written[key] for key in values if key in written}}
    differing = [
        f"The entry's {key} {_short(written[key])} is taken, not the model's {_short(own.values[key])}"
        for key in values
        if key in written and not _same(written[key], own.values[key])
    ]
    return settings, differing


def _same(one: Any, other: Any) -> bool:
    """One number stands for all channels."""
    if isinstance(one, list) or isinstance(other, list):
        longest = max(len(value) for value in (one, other) if isinstance(value, list))
        one, other = ([value] * longest if not isinstance(value, list) else value for value in (one, other))
    return bool(one == other)


def described(settings: Mapping[str, Any]) -> str:
    """Settings of pictures in words."""
    size, resize = settings["size"], settings["resize"]
    steps = {
        "squash": f"resized to {resize} x {resize}",
        "crop": f"the shorter side resized to {resize}",
        "none": "not resized",
    }[settings["fit"]]
    filtering = "" if settings["fit"] == "none" else f" ({settings['interpolation']})"
    cut = "" if settings["fit"] == "squash" and size == resize else f", the middle {size} x {size} cut out"
    order = ", channels in the order BGR" if settings["channel_order"] == "bgr" else ""
    return f"{steps}{filtering}{cut}{order}; mean {_short(settings['mean'])}, deviation {_short(settings['std'])}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        same = len(set(value)) == 1
        return _short(value[0]) if same else f"[{', '.join(map(_short, value))}]"
    return str(value)


# ---- texts
def _texts(settled: SettledPreprocessing, name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    dataset = settled.config.dataset
    assert dataset is not None
    written = _own_settings(dataset, _TEXTS)
    try:
        own = text_settings(entry)
    except HubError as error:
        settled.notes.append(f"What texts model '{name}' was made for is not known: {error}")
        return {}
    except ModelError as error:
        raise ConfigError(f"model '{name}': {error}") from None
    if own is None:
        return {}
    settings = _lengths(settled, dataset, written, own)
    if "tokenizer" not in written and own.folder is not None:
        place = str(own.folder) if entry.get("builder") == "onnx" else str(entry["weights"])
        settings["tokenizer"] = place
        settled.notes.append(f"Texts are cut into tokens by the tokenizer of {place}")
    tokenizer = written.get("tokenizer", settings.get("tokenizer"))
    if tokenizer is not None:
        _check_tokenizer(settled, name, entry, own, str(tokenizer))
    return settings


def _lengths(
    settled: SettledPreprocessing, dataset: Mapping[str, Any], written: Mapping[str, Any], own: TextSettings
) -> dict[str, Any]:
    """`max_length`, and whether texts are padded to it."""
    most = written.get("max_length")
    if most is not None:
        if own.longest is not None and most < own.longest:
            settled.notes.append(
                f"Texts are cut off after {most} tokens, as the entry says; the model takes {own.longest}"
            )
        return {}
    if own.longest is None:
        return {}
    task = _task(dataset)
    if task is None or task.has_contexts:
        return {"max_length": min(own.longest, _WINDOW)}
    longest = min(own.longest, _LONGEST)
    settled.notes.append(
        f"Texts are cut off after {longest} tokens (the model takes {own.longest}), and padded to the longest of the data"
    )
    return {"max_length": longest, **({} if "padding" in written else {"padding": "longest"})}


def _check_tokenizer(
    settled: SettledPreprocessing, name: str, entry: Mapping[str, Any], own: TextSettings, tokenizer: str
) -> None:
    """Compare the data's tokenizer with the model's own, and settle which token is padding.

    Raises:
        ConfigError: if the two take different tokens for padding.
    """
    from pipeline.datasets.api import DataError
    from pipeline.datasets.readers.tokenizers import pad_token_id, tokenizer_digest, tokenizer_folder

    cache = settled.config.data_folder.expanduser()
    try:
        folder = tokenizer_folder(tokenizer, cache)
        pad = pad_token_id(folder)
        differs = own.folder is not None and tokenizer_digest(folder, cache) != tokenizer_digest(own.folder, cache)
    except DataError:
        return  # opening the data set says it
    if differs:
        settled.notes.append(f"The entry's tokenizer {tokenizer} is taken, not the one of model '{name}'; they differ")
    if pad is None or pad == own.pad:
        return
    if own.pad is not None:
        raise ConfigError(
            f"model '{name}': it takes token {own.pad} for padding, and the tokenizer {tokenizer} pads with {pad}. Set "
            "text.tokenizer to the model's own, or model.config.pad_token_id"
        )
    if own.decoder and entry.get("builder") != "onnx":
        settled.notes.append(f"Model '{name}' does not say which token is padding: it is {pad}, as the tokenizer says")
        _set_padding(settled, name, entry, pad)


def _set_padding(settled: SettledPreprocessing, name: str, entry: Mapping[str, Any], pad: int) -> None:
    """Let a model's configuration say which token is padding: it becomes part of the model's identity."""
    padded = {**entry, "config": {**(entry.get("config") or {}), "pad_token_id": pad}}
    if settled.config.model is not None and str(settled.config.model.get("name")) == name:
        settled.config = settled.config.model_copy(update={"model": padded})
    models = {**settled.entries.get("model", {}), name: padded}
    settled.entries = {**settled.entries, "model": models}


def _listed(settings: Mapping[str, Any], keys: list[str]) -> str:
    return ", ".join(f"{key} {_short(settings.get(key))}" for key in keys)
