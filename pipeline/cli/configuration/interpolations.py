"""References between values (`${recipe.seed}`): checked, as none may go in a circle or multiply, then resolved by OmegaConf."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.cli.configuration.overrides import first_line_of, shortened
from pipeline.cli.configuration.yaml_reader import strings
from pipeline.core import secret_values
from pipeline.core.errors import BouillonError

MOST_VALUES = 20_000
"""In a configuration with references, which OmegaConf resolves one by one."""
_MOST_RESOLVED = 300_000
_CHARACTERS = 50
"""Characters of a text that count as one value."""
_REFERENCE = re.compile(
    r"\$\{\s*(?:oc\.(?:select|dict\.keys|dict\.values|deprecated)\s*:\s*)?([^${}:,]*?)\s*(?:,[^${}]*)?\}"
)
"""`${a.b}`, and what looks a key up: `${oc.select:a.b,0}`."""
_ROOT = ""


class InterpolationError(BouillonError, ValueError):
    """References cannot be resolved: the message names the key and what to do."""


def check_references(config: Mapping[str, Any]) -> None:
    """Check the references of a configuration that is not resolved yet.

    Raises:
        InterpolationError: if some refer to each other in a circle, or stand for more than can be read.
    """
    values = _flat(config)
    sizes: dict[str, int] = {}
    on_the_way: dict[str, None] = {}
    waiting: list[tuple[str, bool]] = [(_ROOT, False)]
    while waiting:
        path, is_done = waiting.pop()
        if is_done:
            del on_the_way[path]
            sizes[path] = _own_size(values[path]) + sum(sizes[part] for part in _parts(path, values))
            if sizes[path] > _MOST_RESOLVED:
                raise InterpolationError(
                    f"{path or 'config'}: its references (${{...}}) stand for more than {_MOST_RESOLVED:,} values. "
                    "Write out what is needed"
                )
        elif path in on_the_way:
            circle = [*list(on_the_way)[list(on_the_way).index(path) :], path]
            written = next((name for name in reversed(circle) if isinstance(values[name], str)), path)
            raise InterpolationError(
                f"{written}: '{str(values[written])[:60]}' refers to itself, or to what it is a part of. "
                "Write the value out"
            )
        elif path not in sizes:
            on_the_way[path] = None
            waiting.append((path, True))
            waiting.extend((part, False) for part in _parts(path, values))


def refers(value: Any) -> bool:
    """Return whether any text of a value holds a reference."""
    return any("${" in text for text in strings(value))


def resolve(config: dict[str, Any]) -> dict[str, Any]:
    """Put values in the place of references.

    Raises:
        InterpolationError: naming the key of one that cannot be resolved.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    check_references(config)
    secret_values.note(config)
    OmegaConf.register_new_resolver("oc.env", _variable, replace=True)
    try:
        plain = OmegaConf.to_container(OmegaConf.create(config), resolve=True)
    except OmegaConfBaseException as error:
        raise InterpolationError(
            f"{_place(error, config)}: {first_line_of(error)}. Write the value out, or correct ${{...}}"
        ) from None
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _variable(name: str, *default: Any) -> Any:
    """Resolve `${oc.env:NAME,DEFAULT}`. The name may itself come from a reference: here it is known."""
    from omegaconf.resolvers import oc

    secret_values.note_variables([name])
    return oc.env(name, *default)


def _place(error: Any, config: Mapping[str, Any]) -> str:
    """The key of a value that cannot be resolved: where OmegaConf cannot read it, it does not say."""
    if error.full_key:
        return shortened(str(error.full_key))
    waiting: list[tuple[str, Any]] = [("", config)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str) and "${" in value:
            return shortened(path)
        parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        waiting.extend((f"{path}.{name}" if path else str(name), part) for name, part in reversed(list(parts)))
    return "config"


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every value by its path; mappings and lists too."""
    values: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = [(_ROOT, config)]
    while waiting:
        path, value = waiting.pop()
        values[path] = value
        if len(values) > MOST_VALUES:
            raise InterpolationError(
                f"config: there are more than {MOST_VALUES:,} values beside references (${{...}}). Write the values out"
            )
        waiting.extend((_join(path, name), part) for name, part in _children(value))
    return values


def _children(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _join(path: str, name: Any) -> str:
    return f"{path}.{name}" if path else str(name)


def _own_size(value: Any) -> int:
    return 1 + len(value) // _CHARACTERS if isinstance(value, str) else 1


def _parts(path: str, values: Mapping[str, Any]) -> list[str]:
    """Paths of the values that a value consists of or refers to; those that do not exist are told when resolved."""
    value = values[path]
    if not isinstance(value, str):
        return [_join(path, name) for name, _ in _children(value)]
    targets = (_target(path, reference, values) for reference in _REFERENCE.findall(value))
    return [target for target in targets if target is not None]


def _target(path: str, reference: str, values: Mapping[str, Any]) -> str | None:
    """The path that a reference names: from the top, or with dots from the mapping that holds it."""
    name = reference.lstrip(".")
    levels = len(reference) - len(name)
    around = path.split(".")
    base = ".".join(around[: max(len(around) - levels, 0)]) if levels else _ROOT
    keys = [key for key in name.replace("[", ".").replace("]", "").split(".") if key]
    target = base
    for key in keys:
        if isinstance(values.get(target), str):  # a reference itself
            return target
        target = _join(target, key)
    return target if target in values else None
