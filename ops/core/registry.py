"""Names for things a recipe can mention: operations, metrics, targets, datasets."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from ops.core.errors import BouillonError
from ops.core.text import cut

FAMILIES = ("ops.train", "ops.prune", "ops.quantize", "ops.factorize", "ops.recover")
"""The packages whose modules are operations; what these work with is one level down, or in a package beside them."""
T = TypeVar("T")


class UnknownNameError(BouillonError, LookupError):
    """A recipe mentions a name that nothing registered."""


class DuplicateNameError(RuntimeError):
    """Two definitions claim one name."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return " Did you mean '...'?" for the known name closest to `name`, or nothing."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def _module(item: object) -> str:
    """Return the place of a definition: it is a function or a class, or says which function it is about."""
    about = next((getattr(item, name) for name in ("apply", "compute") if hasattr(item, name)), item)
    return str(getattr(about, "__module__", about))


class Registry(Generic[T]):
    """A mapping from name to definition that fails loudly and suggests."""

    def __init__(self, noun: str, *packages: str) -> None:
        self._noun, self._packages = noun, packages
        self._items: dict[str, T] = {}
        self._broken: dict[str, ImportError] = {}
        self._loaded = False

    def add(self, name: str, item: T) -> None:
        """Register `item`; a second, different definition of a name is an error."""
        present = self._items.get(name)
        if present is not None and present != item:
            both = " and ".join(map(_module, (present, item)))
            raise DuplicateNameError(f"{self._noun} '{name}' is defined twice: in {both}; give one another name")
        self._items[name] = item

    def __contains__(self, name: object) -> bool:
        self._load()
        return isinstance(name, str) and name in self._items  # a name that a person wrote may be any value

    def __getitem__(self, name: str) -> T:
        self._load()
        if name in self._items:
            return self._items[name]
        if name in self._broken:
            raise UnknownNameError(f"{self._noun} '{name}' exists but cannot be imported: {self._broken[name]}")
        hint = nearest(name, self._items)
        raise UnknownNameError(
            f"No {self._noun} is called '{cut(name)}'.{hint} Known: {', '.join(sorted(self._items))}"
        )

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._items))

    def _load(self) -> None:
        """Import every public module of the packages, once; a module registers itself."""
        if self._loaded:
            return
        self._loaded = True
        for package in map(importlib.import_module, self._packages):
            for module in pkgutil.iter_modules(package.__path__, prefix=f"{package.__name__}."):
                name = module.name.rpartition(".")[2]
                if module.ispkg or name.startswith("_"):
                    continue
                try:
                    importlib.import_module(module.name)
                except ImportError as error:  # an optional dependency is absent: say so when asked for by name
                    self._broken[name] = error
