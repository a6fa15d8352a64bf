"""Agreement of classes between a pretrained model and the data: by name, where the model has names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.datasets.class_order import ClassOrder, name_list, plain
from pipeline.sweep.config import Config, ConfigError
from pipeline.sweep.preflight import open_data

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset

_PAIRS = 3


def agree_on_classes(config: Config, data: Dataset) -> tuple[Config, Dataset, tuple[str, ...]]:
    """Give the data the class order of the model's own names, if it has names and the entry says no order.

    Returns:
        The configuration whose data set's entry says the order, the data opened by it, and what to tell people: the
        names that go together by place alone, or an order that was guessed.

    Raises:
        ConfigError: if the model knows some of the data's classes and not others, or a name fits two of its classes.
    """
    order = _order_of(data)
    if order is None or config.model is None or config.dataset is None:
        return config, data, ()
    names = _names_of(config.model, config)
    if names is None:
        is_guess = order.rule in ("text", "numbers") and not config.model.get("new_head")
        return config, data, (order.note,) if is_guess else ()
    places = _places(names, order.classes)
    if not places:
        return config, data, _by_place(names, order.classes)
    if order.rule == "setting":
        _check_setting(order.classes, places)
        return config, data, ()
    missing = [name for name in order.classes if name not in places]
    if missing:
        raise ConfigError(
            f"dataset: the model has no class '{missing[0]}' (it has {name_list(names)}), though it has "
            f"'{next(iter(places))}'. Rename the data's classes, set `classes` of the data set to one name for each output of "
            "the model, in its order, or `model.new_head=true` to train a new head"
        )
    own = {place: name for name, place in places.items()}
    classes = tuple(own.get(place, name) for place, name in enumerate(names))
    if classes == order.classes:
        return config, data, ()
    entry: Mapping[str, Any] = {**config.dataset, "classes": list(classes)}
    updated_config = config.model_copy(update={"dataset": entry})
    return (
        updated_config,
        open_data(updated_config),
        (f"{len(classes)} classes in the order of the model's own names: {name_list(classes)}",),
    )


def _check_setting(classes: Sequence[str], places: Mapping[str, int]) -> None:
    for place, name in enumerate(classes):
        if places.get(name, place) != place:
            raise ConfigError(
                f"dataset: `classes` says that '{name}' is class {place}, but the model calls its class {places[name]} so. Leave "
                "`classes` of the data set out to have the model's own order"
            )


def _order_of(data: Dataset) -> ClassOrder | None:
    from pipeline.datasets.api import DataError

    try:
        order: ClassOrder | None = getattr(data, "class_order", None)  # data sets of people's own code may have none
    except DataError as error:
        raise ConfigError(f"dataset: {error}") from None
    return order


def _names_of(model: Mapping[str, Any], config: Config) -> tuple[str, ...] | None:
    from pipeline.models.api import ModelError
    from pipeline.models.class_names import class_names

    try:
        return class_names(model, config.data_folder.expanduser())
    except ModelError as error:
        raise ConfigError(str(error)) from None


def _places(names: Sequence[str], classes: Sequence[str]) -> dict[str, int]:
    """Class of the data -> number of the model's output of that name, whatever the spelling."""
    exact = {name: place for place, name in enumerate(names)}
    alike: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        for spelling in dict.fromkeys([plain(name), plain(name.partition(",")[0])]):  # `tench, Tinca tinca`
            alike.setdefault(spelling, []).append(place)
    places: dict[str, int] = {}
    for name in classes:
        candidates = [exact[name]] if name in exact else alike.get(plain(name), [])
        if len(candidates) > 1:
            raise ConfigError(
                f"dataset: the class '{name}' may be '{names[candidates[0]]}' or '{names[candidates[1]]}' of the model; set "
                "`classes` of the data set to one name for each output of the model, in its order"
            )
        if candidates:
            places[name] = candidates[0]
    ambiguous = [name for name, place in places.items() if list(places.values()).count(place) > 1]
    if ambiguous:
        raise ConfigError(
            f"dataset: the classes {' and '.join(map(repr, ambiguous[:2]))} are one class of the model; rename one of them"
        )
    return places


def _by_place(names: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    if len(names) != len(classes):
        return ()  # who builds the model refuses it
    pairs = ", ".join(f"{one} = {other}" for one, other in list(zip(names, classes, strict=True))[:_PAIRS])
    return (
        f"none of the data's class names is the model's: they go together by place ({pairs}, ...). Set `classes` of the "
        "data set if another order is meant",
    )
