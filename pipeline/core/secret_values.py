"""Values that a configuration takes from the environment (`${oc.env:TOKEN}`): used, but written down as the reference.

The configuration is composed with the values in it, since whoever opens the data or builds the model needs them. Whatever
leaves the process (the store, artifacts, messages) goes through `hidden`, which puts the reference back in the place of the
value. The names of the variables travel to the processes of a run in their environment, where the values are anyway.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from typing import Any, TextIO
from urllib.parse import quote

__all__ = ["forget", "hidden", "hidden_output", "note", "note_variables", "revealed", "variables"]

_NAMES = "BOUILLON_SECRET_VARIABLES"
_REFERENCE = re.compile(r"\$\{\s*oc\.env\s*:\s*([^,}\s]+)")
_SHORTEST = 4
"""Characters of a value that is looked for inside of other texts; a shorter one is replaced where it is all of a text."""
_UNMISTAKABLE = 8
"""Characters of a value that is replaced even in the middle of a word."""


def forget() -> None:
    """Begin anew: with another configuration."""
    os.environ.pop(_NAMES, None)


def note(unresolved: Any) -> None:
    """Remember which variables a configuration refers to; `unresolved` is the configuration as it was written."""
    note_variables(name for text in _texts(unresolved) for name in _REFERENCE.findall(text))


def note_variables(names: Iterable[str]) -> None:
    """Remember names of variables that a configuration refers to."""
    all_names = sorted({*variables(), *names})
    if all_names:
        os.environ[_NAMES] = json.dumps(all_names)


def variables() -> list[str]:
    """Names of the variables that the configuration refers to."""
    return list(json.loads(os.environ.get(_NAMES, "[]")))


def hidden(value: Any) -> Any:
    """Return JSON-like data, or a text, with references in the place of the values."""
    names = os.environ.get(_NAMES)
    if not names:
        return value
    return _replaced(value, tuple((name, os.environ.get(name, "")) for name in variables()))


def revealed(value: Any, names: Iterable[str] | None = None) -> Any:
    """Return JSON-like data with the values of the variables `names` in the place of the references to them.

    Default: the variables that the configuration at hand refers to. Others are left alone, whatever a file says.
    """
    present = {_reference(name): os.environ.get(name) for name in (variables() if names is None else names)}
    return _put_back(value, {reference: text for reference, text in present.items() if text is not None})


@contextmanager
def hidden_output() -> Iterator[None]:
    """Let what is written to standard output and standard error go through `hidden`."""
    with redirect_stdout(_Writer(sys.stdout)), redirect_stderr(_Writer(sys.stderr)):
        yield


class _Writer:
    """A text stream in front of another."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, with references in the place of the values."""
        self._stream.write(hidden(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(name)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _reference(name: str) -> str:
    return f"${{oc.env:{name}}}"


def _replaced(value: Any, secrets: tuple[tuple[str, str], ...]) -> Any:
    if isinstance(value, str):
        return _hidden_text(value, secrets)
    if isinstance(value, Mapping):
        return {name: _replaced(item, secrets) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(item, secrets) for item in value]
    return value


def _hidden_text(text: str, secrets: tuple[tuple[str, str], ...]) -> str:
    for name, secret in secrets:
        if text == secret and secret:
            return _reference(name)
    pattern, names = _pattern(secrets)
    return pattern.sub(lambda match: _reference(names[match[0]]), text) if pattern else text


@cache
def _pattern(secrets: tuple[tuple[str, str], ...]) -> tuple[re.Pattern[str] | None, dict[str, str]]:
    """Return a pattern of all forms of the values, longest first, and the variable behind each form."""
    names: dict[str, str] = {}
    for name, secret in secrets:
        if len(secret) >= _SHORTEST:
            forms = secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe="")
            names |= dict.fromkeys(forms, name)
    forms_by_length = sorted(names, key=len, reverse=True)
    words = (
        re.escape(form) if len(form) >= _UNMISTAKABLE else rf"(?<!\w){re.escape(form)}(?!\w)"
        for form in forms_by_length
    )
    return (re.compile("|".join(words)), names) if names else (None, names)


def _put_back(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for reference, secret in values.items():
            value = value.replace(reference, secret)
        return value
    if isinstance(value, Mapping):
        return {name: _put_back(item, values) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_put_back(item, values) for item in value]
    return value
