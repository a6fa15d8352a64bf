"""A models.json, checked: every problem is found and named before anything is done with it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.core.registry import nearest
from pipeline.core.keys import digest
from pipeline.store.interchange.errors import refuse
from pipeline.store.interchange.json_document import read_document
from pipeline.store.interchange.parents import cycles

Item = Mapping[str, Any]
PARTS = ("operations", "metrics", "models")
_LARGEST = int(sys.float_info.max)


@dataclass(frozen=True, slots=True)
class Document:
    """A models.json without mistakes."""

    raw: Mapping[str, Any]

    @property
    def operations(self) -> list[Item]:
        """Declared operations, verbatim."""
        return list(self.raw["operations"])

    @property
    def metrics(self) -> list[Item]:
        """Declared metrics, verbatim."""
        return list(self.raw["metrics"])

    @property
    def models(self) -> list[Item]:
        """Models, verbatim, in the file's order."""
        return list(self.raw["models"])

    @property
    def fingerprint(self) -> str:
        """Digest of the content, whatever its spacing."""
        return digest({"content": json.dumps(self.raw, sort_keys=True)})

    def frame(self) -> dict[str, Any]:
        """The file without the content of its three parts: keeps their order and whatever else there is."""
        return {name: None if name in PARTS else value for name, value in self.raw.items()}

    def metric_names(self) -> list[str]:
        """Declared metrics, then undeclared ones, in the order of their appearance."""
        used = (name for model in self.models for name in model["metrics"])
        return list(dict.fromkeys([*(metric["name"] for metric in self.metrics), *used]))

    def largest(self, metric: str) -> float:
        """The largest absolute value of a metric; 0 if nothing has it."""
        values = (number(model["metrics"].get(metric)) for model in self.models)
        return max((abs(value) for value in values if value is not None), default=0.0)


def number(value: Any) -> float | None:
    """A metric's value; None where nothing was measured: null, NaN or infinite."""
    return float(value) if value is not None and math.isfinite(value) else None


def parse_models(path: Path) -> Document:
    """Read and check a file.

    Raises:
        InterchangeError: with everything that is wrong.
    """
    raw = read_document(path)
    problems = list(_problems(raw))
    if problems:
        raise refuse(path, problems)
    return Document(raw)


def _problems(raw: Any) -> Iterator[str]:
    if not isinstance(raw, Mapping):
        yield f"the file is {_kind(raw)}; a models.json is an object with operations, metrics and models"
        return
    missing = [part for part in PARTS if not isinstance(raw.get(part), list)]
    for part in missing:
        has = f"'{part}' is {_kind(raw[part])}" if part in raw else f"there is no '{part}'{nearest(part, raw)}"
        yield f"{has}: it must be a list"
    if missing:
        return
    checks: dict[str, Callable[[Item], Iterator[str]]] = {
        "operations": _operation,
        "metrics": _metric,
        "models": _model,
    }
    frame = {name: value for name, value in raw.items() if name not in PARTS}
    problems = [*_items(raw, checks), *_repeated(raw), *(f"the file: {problem}" for problem in _unusable(frame))]
    yield from problems
    if not problems:
        yield from _tree(raw["models"])


def _items(raw: Item, checks: Mapping[str, Callable[[Item], Iterator[str]]]) -> Iterator[str]:
    for part, check in checks.items():
        for position, item in enumerate(raw[part]):
            if isinstance(item, Mapping):
                problems = dict.fromkeys([*check(item), *_unusable(item)])
                yield from (f"{_place(part, position, item)}: {problem}" for problem in problems)
            else:
                yield f"{part}[{position}]: is {_kind(item)}; it must be an object"


def _operation(item: Item) -> Iterator[str]:
    yield from _name(item, "name")
    parameters = item.get("parameters")
    if isinstance(parameters, list):
        yield from ("a parameter's name must be text" for name in parameters if not isinstance(name, str))
    elif not isinstance(parameters, Mapping | None):
        yield f"'parameters' is {_kind(parameters)}; it must be an object or a list of names"


def _unusable(item: Item) -> Iterator[str]:
    """Find JSON that can be kept nowhere. With a stack of its own: a file may be nested more deeply than Python calls."""
    stack: list[Any] = [item]
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            stack.extend(part for pair in value.items() for part in pair)
        elif isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, str) and not _encodable(value):
            yield f"the text {json.dumps(value)} has half of a surrogate pair, which no file or database can hold"
        elif isinstance(value, int) and abs(value) > _LARGEST:
            yield "a whole number is larger than 1.8e308, the largest that can be kept"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _metric(item: Item) -> Iterator[str]:
    yield from _name(item, "name")
    if item.get("name"):
        yield from _metric_name(item["name"])
    for bound in ("min", "max"):
        if not _is_number(item.get(bound)):
            yield f"'{bound}' is {_kind(item[bound])}; it must be a number or null"
    for text in ("unit", "format"):
        if not isinstance(item.get(text), str | None):
            yield f"'{text}' is {_kind(item[text])}; it must be text"


def _model(item: Item) -> Iterator[str]:
    yield from _name(item, "id")
    if not isinstance(item.get("base"), str | None):
        many = isinstance(item["base"], list)
        yield f"'base' is {_kind(item['base'])}; " + ("a model has one parent" if many else "it must be an id or null")
    if not isinstance(item.get("tag"), str | None):
        yield f"'tag' is {_kind(item['tag'])}; it must be text"
    yield from _made_by(item.get("operation"))
    metrics = item.get("metrics")
    if not isinstance(metrics, Mapping):
        yield f"'metrics' is {_kind(metrics)}; it must be an object" if "metrics" in item else "there are no 'metrics'"
        return
    for name, value in metrics.items():
        yield from _metric_name(name)
        if not _is_number(value):
            yield f"metric '{name}' is {json.dumps(value)}; it must be a number or null"


def _metric_name(name: Any) -> Iterator[str]:
    """A metric becomes a column of a view, so its name must be one that a query can spell."""
    if isinstance(name, str) and (not name or "\0" in name):
        yield f"a metric is called {json.dumps(name)}; its name must be text without NUL"


def _made_by(operation: Any) -> Iterator[str]:
    if operation is None:
        return
    if not isinstance(operation, Mapping):
        yield f"'operation' is {_kind(operation)}; it must be an object"
        return
    yield from (f"its operation: {problem}" for problem in _name(operation, "name"))
    if not isinstance(operation.get("parameters"), Mapping | None):
        yield f"its operation's 'parameters' is {_kind(operation['parameters'])}; it must be an object"


def _name(item: Item, key: str) -> Iterator[str]:
    value = item.get(key)
    if not isinstance(value, str) or not value:
        yield f"'{key}' is {_kind(value)}; it must be text" if key in item else f"there is no '{key}'"


def _repeated(raw: Item) -> Iterator[str]:
    for part in PARTS:
        key = "id" if part == "models" else "name"
        counts: dict[str, int] = {}
        for position, item in enumerate(raw[part]):
            name = item.get(key) if isinstance(item, Mapping) else None
            if isinstance(name, str) and counts.setdefault(name, position) != position:
                yield f"{_place(part, position, item)}: {part}[{counts[name]}] has the same {key}"


def _tree(models: list[Item]) -> Iterator[str]:
    bases = {model["id"]: model.get("base") for model in models}
    for position, model in enumerate(models):
        base = model.get("base")
        if base is not None and base not in bases:
            yield f"{_place('models', position, model)}: base '{base}' is not in the file.{nearest(base, bases)}"
    yield from cycles(bases)


def _place(part: str, position: int, item: Item) -> str:
    name = item.get("id" if part == "models" else "name")
    return f"{part}[{position}]{f' ({name!r})' if isinstance(name, str) else ''}"


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return f"the text {json.dumps(value)}"
    words = {Mapping: "an object", list: "a list", bool: "true or false", type(None): "null"}
    return next((word for kind, word in words.items() if isinstance(value, kind)), f"the number {value}")
