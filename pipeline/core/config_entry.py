"""An entry of conf/ (a model, a data set, a target): which registered function or class it names, with what parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from ops.core.params import explain_errors, params_model
from ops.core.registry import Registry, UnknownNameError
from ops.core.text import cut, show
from pipeline.core.errors import blame

T = TypeVar("T")
_MISSING = "???"


@dataclass(frozen=True, slots=True)
class EntryKind(Generic[T]):
    """A kind of entry: the rules that all entries of one folder of conf/ share."""

    noun: str
    """What messages call an entry: `Model`."""
    folder: str
    """The folder of conf/, and the word on the command line: `model`."""
    names: str
    """The key that names the registered thing: `builder`."""
    registry: Registry[T]
    reserved: tuple[str, ...]
    """Keys that are not parameters of that thing."""
    error: type[Exception]
    """What to raise; its message names the entry, the problem and the nearest fix."""

    def check(self, entry: Mapping[str, Any], signature: Callable[[T], Callable[..., Any]]) -> tuple[T, BaseModel]:
        """Return what an entry names, and its checked parameters: those of `signature` after the first."""
        name = f"{self.noun} '{cut(str(entry.get('name', '?')))}'"
        if self.names not in entry:
            raise self.error(f"{name}: no `{self.names}` is given. Known: {', '.join(self.registry)}")
        if not isinstance(entry[self.names], str):
            raise self.error(
                f"{name}: {self.names}: expected a name, got {show(entry[self.names])}. Known: {', '.join(self.registry)}"
            )
        if not isinstance(entry.get("name", ""), str):
            raise self.error(f"{self.noun}: name: expected a text, got {show(entry['name'])}")
        try:
            definition = self.registry[entry[self.names]]
        except UnknownNameError as error:
            raise self.error(f"{name}: {error}") from None
        parameters = {key: value for key, value in entry.items() if key not in self.reserved}
        unset = next((key for key, value in parameters.items() if value == _MISSING), None)
        if unset:
            raise self.error(f"{name}: '{unset}' must be set, e.g. {self.folder}.{unset}=... on the command line")
        try:
            params = params_model(signature(definition), skip=1)
        except (TypeError, NameError, SyntaxError) as error:  # the signature of a plug-in's
            raise self.error(f"{name}: {self.names} '{entry[self.names]}': {blame(error)}") from None
        try:
            return definition, params.model_validate(parameters)
        except ValidationError as error:
            raise self.error(f"{name}: {explain_errors(error, params)}") from None
