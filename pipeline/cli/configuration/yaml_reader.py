"""Reads a person's YAML file as plain data, within bounds: no recursion, nothing multiplied by aliases, no code, one message.

Values are read as OmegaConf reads them, so that a file means the same wherever it is composed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.core.text import cut
from pipeline.cli.configuration.yaml_errors import explain_yaml
from pipeline.core.errors import BouillonError

MOST_BYTES = 8_000_000
MOST_VALUES = 300_000
"""Counted with what aliases repeat. A recipe of 10,000 steps has some 70,000."""
MOST_LEVELS = 1_200
"""A step below another is two levels deeper."""
_MOST_DIGITS = 300
_EXACT = 200_000
"""Characters up to which a file that is no YAML is read again by the parser that explains better, and is slow."""
_CORE = "tag:yaml.org,2002:"
_CONTAINERS = (None, "!", f"{_CORE}map", f"{_CORE}seq")
_SCALARS = (f"{_CORE}str", f"{_CORE}int", f"{_CORE}float", f"{_CORE}bool", f"{_CORE}null")


class YamlFileError(BouillonError, ValueError):
    """A file cannot be used: the message names the file, the line, the problem and what to do."""


@dataclass(frozen=True, slots=True)
class YamlFile:
    """The content of a file."""

    data: dict[str, Any]
    values: int
    """How many values it holds, each occurrence of an alias counted."""
    levels: int
    """How deeply they are nested."""


def read_yaml(file: Path, *, most_values: int = MOST_VALUES, most_levels: int = MOST_LEVELS) -> YamlFile:
    """Read a mapping from a file; an empty file is an empty mapping.

    Args:
        file: A YAML file with one document.
        most_values: How many values it may hold, with what its aliases repeat.
        most_levels: How deeply they may be nested.

    Raises:
        YamlFileError: in one line; also where a value, a key or a tag is none that a recipe can hold.
    """
    text = _text(file)
    reader = _Reader(file, most_values, most_levels)
    try:
        data = reader.read(text)
    except Exception as error:
        message = _explained(file, text, error)
        if message is None:
            raise
        raise YamlFileError(message) from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise YamlFileError(
            f"{file}: holds {_kind(data)}, not a mapping. Write `key: value` lines, e.g. `name: {file.stem}`"
        )
    return YamlFile(data, reader.count, reader.deepest)


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
    except IsADirectoryError:
        raise YamlFileError(f"{file}: is a folder, not a file. Name a file in it") from None
    except OSError as error:
        raise YamlFileError(f"{file}: cannot be read ({error.strerror or error})") from None
    if len(raw) > MOST_BYTES:
        raise YamlFileError(
            f"{file}: is larger than {MOST_BYTES // 1_000_000} MB, the most that is read. Split it into several"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlFileError(f"{file}: not a text in UTF-8 ({error.reason}); save it as UTF-8") from None


def _explained(file: Path, text: str, error: BaseException) -> str | None:
    """Say what is wrong with a text that is no YAML; None for an error of another kind."""
    import yaml  # type: ignore[import-untyped]

    if isinstance(error, YamlFileError) or not isinstance(error, yaml.YAMLError):
        return None
    if len(text) <= _EXACT:
        try:
            for _ in yaml.parse(text, Loader=yaml.SafeLoader):
                pass
        except (yaml.YAMLError, RecursionError, ValueError) as exact:
            error = exact if isinstance(exact, yaml.YAMLError) else error
    message = explain_yaml(error, ())
    marks = (getattr(error, "problem_mark", None), getattr(error, "context_mark", None))
    name = next((mark.name for mark in marks if mark is not None), getattr(error, "name", ""))
    return message.replace(name, str(file), 1) if message and name else message


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return "a text"
    return "true or false" if isinstance(value, bool) else "a number"


@dataclass(slots=True)
class _Frame:
    """A mapping or a sequence that is being read."""

    line: int
    anchor: str | None
    is_mapping: bool
    items: list[Any] = field(default_factory=list)
    """Values of a sequence; keys and values in turn of a mapping."""
    merged: dict[str, Any] = field(default_factory=dict)
    keys: dict[Any, None] = field(default_factory=dict)
    start: int = 0
    """How many values had been read before."""
    height: int = 1

    @property
    def awaits_key(self) -> bool:
        return self.is_mapping and len(self.items) % 2 == 0

    def value(self) -> Any:
        if not self.is_mapping:
            return self.items
        return {**self.merged, **dict(zip(self.items[::2], self.items[1::2], strict=True))}


_MERGE = object()


class _Reader:
    """Builds plain data from a parser's events."""

    def __init__(self, file: Path, most_values: int, most_levels: int) -> None:
        self._file, self._most_values, self._most_levels = file, most_values, most_levels
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        """Anchor -> value, how many values it holds, how many levels."""
        self._scalar = _Scalars()
        self._root: Any = None
        self.count = 0
        self.deepest = 0

    def read(self, text: str) -> Any:
        """Return the text's only document."""
        import yaml

        documents = 0
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._add(*self._read_scalar(event), event)
            elif kind in (yaml.MappingStartEvent, yaml.SequenceStartEvent):
                self._open(event, is_mapping=kind is yaml.MappingStartEvent)
            elif kind in (yaml.MappingEndEvent, yaml.SequenceEndEvent):
                self._close(event)
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    raise self._error(event, "a second document begins (---). Put it into a file of its own")
        return self._root

    def _error(self, event: Any, problem: str) -> YamlFileError:
        return YamlFileError(f"{self._file} line {event.start_mark.line + 1}: {problem}")

    def _read_scalar(self, event: Any) -> tuple[Any, bool]:
        """Return a scalar's value and whether it is a plain `<<`."""
        if event.value == "<<" and event.implicit[0] and event.tag in (None, "!"):
            return _MERGE if self._stack and self._stack[-1].awaits_key else "<<", False
        try:
            return self._scalar(event.value, event.tag, event.implicit), event.anchor is not None
        except ValueError as error:
            raise self._error(event, str(error)) from None

    def _open(self, event: Any, *, is_mapping: bool) -> None:
        if event.tag not in _CONTAINERS:
            raise self._error(event, _bad_tag(event.tag))
        if self._stack and self._stack[-1].awaits_key:
            raise self._error(event, "a key is a list or a mapping. Write a word, e.g. `name: value`")
        if len(self._stack) >= self._most_levels:
            raise self._error(
                event,
                f"values are nested more than {self._most_levels} levels deep. A chain may have some "
                f"{self._most_levels // 2 - 4} steps",
            )
        self._stack.append(_Frame(event.start_mark.line + 1, event.anchor, is_mapping, start=self.count))

    def _close(self, event: Any) -> None:
        frame = self._stack.pop()
        value = frame.value()
        if frame.anchor is not None:
            self._anchors[frame.anchor] = value, self.count - frame.start + 1, frame.height
        self._deliver(value, event, 1, frame.height)

    def _add(self, value: Any, anchored: bool, event: Any) -> None:
        if anchored:
            self._anchors[event.anchor] = value, 1, 0
        self._deliver(value, event, 1, 0)

    def _alias(self, event: Any) -> None:
        if any(frame.anchor == event.anchor for frame in self._stack):
            raise self._error(event, f"'*{event.anchor}' stands inside what it repeats. Write the value out")
        if event.anchor not in self._anchors:
            raise self._error(event, f"'*{event.anchor}' repeats nothing: no `&{event.anchor}` stands before it")
        value, count, height = self._anchors[event.anchor]
        self._deliver(value, event, count, height)

    def _deliver(self, value: Any, event: Any, count: int, height: int) -> None:
        self.count += count
        if self.count > self._most_values:
            raise self._error(
                event,
                f"there are more than {self._most_values:,} values here, with what aliases (*) repeat. Split the file",
            )
        if not self._stack:
            self._root = value
            self.deepest = height
            return
        frame = self._stack[-1]
        frame.height = max(frame.height, height + 1)
        if len(self._stack) + height > self._most_levels:
            raise self._error(event, f"values are nested more than {self._most_levels} levels deep")
        if frame.awaits_key:
            frame.items.append(self._key(frame, value, event))
        elif frame.items and frame.items[-1] is _MERGE and frame.is_mapping:
            frame.items.pop()
            self._merge(frame, value, event)
        else:
            frame.items.append(value)

    def _key(self, frame: _Frame, value: Any, event: Any) -> Any:
        """Check a key: it must be what is written, once."""
        if value is _MERGE:
            return value
        written = getattr(event, "value", None)
        if not isinstance(value, str) and str(value) != written:
            listing = _excerpt(written) if written else "an empty key"
            raise self._error(event, f"{listing} is read as {value!r}. Put it into quotes to use it as a name")
        if value in frame.keys or str(value) in frame.keys:
            raise self._error(event, f"found duplicate key {cut(str(value))}. Give each another name, or remove one")
        frame.keys[str(value)] = None
        return value

    def _merge(self, frame: _Frame, value: Any, event: Any) -> None:
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, dict) for part in parts):
            raise self._error(event, "`<<` takes a mapping (`<<: *name`). Write its values out, or name a mapping")
        for part in parts:
            frame.merged = {**part, **frame.merged}


class _Scalars:
    """Values of scalars: as OmegaConf reads them, each text once."""

    def __init__(self) -> None:
        from omegaconf._utils import get_yaml_loader

        self._loader = get_yaml_loader()("")
        self._plain: dict[str, Any] = {}

    def __call__(self, text: str, tag: str | None, implicit: tuple[bool, bool]) -> Any:
        """Return the value.

        Raises:
            ValueError: saying why it is none.
        """
        if implicit[0] and tag is None:
            if text not in self._plain:
                self._plain[text] = self._read(text, None, implicit)
            return self._plain[text]
        return self._read(text, tag, implicit)

    def _read(self, text: str, tag: str | None, implicit: tuple[bool, bool]) -> Any:
        import yaml

        _check_text(text)
        if tag is None or tag == "!":
            tag = str(self._loader.resolve(yaml.ScalarNode, text, implicit))
        if tag in (f"{_CORE}str", f"{_CORE}value", f"{_CORE}merge"):
            return text
        if tag not in _SCALARS:
            raise ValueError(_bad_tag(tag))
        if len(text) > _MOST_DIGITS:
            raise ValueError(f"a number has {len(text):,} characters. Write one of at most {_MOST_DIGITS}")
        try:
            return self._loader.yaml_constructors[tag](self._loader, yaml.ScalarNode(tag, text))
        except (ValueError, KeyError, OverflowError, yaml.YAMLError):
            raise ValueError(
                f"{_excerpt(text)} is no {tag.removeprefix(_CORE)}. Put it into quotes if it is a text"
            ) from None


def _check_text(text: str) -> None:
    """Refuse characters that no file, name or database can hold."""
    if "\0" in text:
        raise ValueError(f"the text {_excerpt(text)} holds a null character (\\0). Remove it")
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(
            f"the text {_excerpt(text)} holds half a character (\\uD800 to \\uDFFF). Write the whole character"
        )


def _bad_tag(tag: str) -> str:
    short = tag.replace(_CORE, "!!")
    return f"the tag {_excerpt(short)} is not read: a file holds plain values. Remove it"


def _excerpt(text: str) -> str:
    return f"'{cut(text, 40)}'"


def strings(value: Any) -> Iterator[str]:
    """Every text among the values of plain data, each occurrence."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
