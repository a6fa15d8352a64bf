"""Words of the command line that set something: read with Hydra's grammar, and applied to a recipe's plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ops.core.registry import nearest
from ops.core.text import cut
from pipeline.core.errors import BouillonError

_LONGEST = 10_000
_QUOTING = "Put a value with spaces or special characters into quotes: 'key=\"...\"'"


class OverrideError(BouillonError, ValueError):
    """A word of the command line is wrong: the message repeats it and says what would be right."""


@dataclass(frozen=True, slots=True)
class Override:
    """One word: what it sets, and to what."""

    word: str
    key: str
    value: Any
    deletes: bool


def read_override(word: str) -> Override:
    """Read `key=value`, `+key=value`, `++key=value` or `~key`.

    Raises:
        OverrideError: if it is none of them.
    """

    parsed = _parsed(word)
    value = parsed.value()
    problem = _problem(parsed, value)
    if problem is not None:
        raise OverrideError(f"'{shortened(word)}': {problem}")
    return Override(word, parsed.key_or_group, value, parsed.is_delete())


def _parsed(word: str) -> Any:
    """Read a word with Hydra's grammar."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    listing = shortened(word)
    if len(word) > _LONGEST:
        raise OverrideError(f"'{listing}': is {len(word):,} characters long. Write it into a recipe file")
    if not all(letter.isprintable() or letter in "\n\t" for letter in word):
        raise OverrideError(f"'{listing}': holds a character that cannot be shown. Write it as key=value")
    try:
        return OverridesParser.create().parse_override(word)
    except RecursionError:
        raise OverrideError(f"'{listing}': is nested too deeply. Write it into a recipe file") from None
    except (HydraException, ValueError, OverflowError):
        raise OverrideError(f"'{listing}': is not key=value. {_advice(word)}") from None


def _problem(parsed: Any, value: Any) -> str | None:
    """Return the reason why a word that the grammar knows sets nothing."""
    from hydra.core.override_parser.types import Glob

    if parsed.is_sweep_override() or isinstance(value, Glob):
        return (
            "gives several values. Give one; a list is written [a,b], and `each: [a, b]` in a recipe makes a branch for "
            "each"
        )
    if not parsed.key_or_group:
        return "is not key=value. The key is missing: write e.g. recipe.seed=1"
    if parsed.is_hydra_override() or parsed.key_or_group.startswith("hydra/"):
        return "settings of Hydra have no effect. A folder of your own is --config-dir DIR"
    if parsed.package is not None:
        return f"names a package (@). Give the group alone: {parsed.key_or_group}=NAME"
    odd = next(_odd_keys(value), None)
    return None if odd is None else f"a key is read as {odd[0]!r}. Put it into quotes to use it as a name"


def _odd_keys(value: Any) -> Iterator[tuple[Any]]:
    """Keys that no name can be made of: null, true, false."""
    if isinstance(value, list):
        for part in value:
            yield from _odd_keys(part)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            if key is None or isinstance(key, bool):
                yield (key,)
            yield from _odd_keys(part)


def _advice(word: str) -> str:
    key, equals, value = word.partition("=")
    for opening, closing, name in (("[", "]", "bracket"), ("{", "}", "brace"), ("(", ")", "parenthesis")):
        if equals and value.count(opening) != value.count(closing):
            return f"A {name} is open: each '{opening}' needs a '{closing}'"
    for quote in "'\"":
        if value.count(quote) % 2:
            return f"A quote is open: each {quote} needs another"
    if not key.strip("+~ "):
        return "The key is missing: write key=value"
    return _QUOTING


def apply_overrides(recipe: Mapping[str, Any], overrides: list[Override]) -> dict[str, Any]:
    """Return a recipe's plain data with what words such as `recipe.seed=1` or `~recipe.tree.base` change.

    Args:
        recipe: Plain data; it is left as it is, also where YAML aliases share parts of it.
        overrides: Words whose keys begin with `recipe.`; a mapping is merged into one that is there.

    Raises:
        OverrideError: if a word names a place that does not exist and cannot be made.
    """
    result = dict(recipe)
    for override in overrides:
        place: Any = result
        *path, last = _path(override)
        for depth, part in enumerate(path):
            place = _descend(place, part, override, depth=depth)
        if override.deletes:
            _delete(place, last, override)
        else:
            _set(place, last, override)
    return result


def _path(override: Override) -> list[str]:
    return override.key.split(".")[1:]


def _descend(place: Any, part: str, override: Override, *, depth: int) -> Any:
    """Return what is at `part`, copied so that it may be changed; a mapping is made where there is nothing."""
    where = ".".join(["recipe", *_path(override)[:depth]])
    if isinstance(place, list):
        number = _number(place, part, where, override)
        place[number] = _copy(place[number])
        return place[number]
    if not isinstance(place, dict):
        raise OverrideError(
            f"'{shortened(override.word)}': {where} is a value, and has no '{part}'. Set {where} itself"
        )
    name = _name(place, part)
    if name not in place and override.deletes:
        raise _absent(override, place, where, part)
    place[name] = _copy(place.get(name))
    return place[name]


def _copy(value: Any) -> Any:
    if isinstance(value, dict | list):
        return value.copy()
    return {} if value is None else value


def _name(place: Mapping[Any, Any], part: str) -> Any:
    """The key that is written like this: keys may be numbers."""
    return next((key for key in place if str(key) == part), part) if part not in place else part


def _number(place: list[Any], part: str, where: str, override: Override) -> int:
    if not (part.isascii() and part.isdigit() and int(part) < len(place)):
        most = f"a number from 0 to {len(place) - 1}" if place else "nothing"
        raise OverrideError(f"'{shortened(override.word)}': {where} is a list; after it comes {most}")
    return int(part)


def _set(place: Any, last: str, override: Override) -> None:
    where = ".".join(["recipe", *_path(override)[:-1]])
    if isinstance(place, list):
        place[_number(place, last, where, override)] = override.value
    elif isinstance(place, dict):
        name = _name(place, last)
        place[name] = merged(place.get(name), override.value)
    else:
        raise OverrideError(
            f"'{shortened(override.word)}': {where} is a value, and has no '{last}'. Set {where} itself"
        )


def _delete(place: Any, last: str, override: Override) -> None:
    where = ".".join(["recipe", *_path(override)[:-1]])
    if isinstance(place, list):
        del place[_number(place, last, where, override)]
        return
    name = _name(place, last) if isinstance(place, dict) else None
    if name is None or name not in place:
        raise _absent(override, place, where, last)
    del place[name]


def _absent(override: Override, place: Any, where: str, part: str) -> OverrideError:
    present = [str(name) for name in place] if isinstance(place, Mapping) else []
    hint = nearest(part, present)
    listing = ", ".join(present[:9]) or "nothing"
    return OverrideError(f"'{shortened(override.word)}': {where} has no '{part}' to remove.{hint} Known: {listing}")


def merged(under: Any, over: Any) -> Any:
    """Lay a mapping over another; whatever else replaces what was there."""
    if not (isinstance(under, Mapping) and isinstance(over, Mapping)):
        return over
    result = dict(under)
    for key, value in over.items():
        result[key] = merged(result[key], value) if key in result else value
    return result


def shortened(text: str) -> str:
    """A word or a name as part of a message: in one line, and not too long."""
    return cut(text, 100)


def first_line_of(error: BaseException) -> str:
    """Return the first line that an error's text has, or its type, short enough for a message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shortened(lines[0].rstrip(".")) if lines else type(error).__name__
