"""Panel application over published results, and its views for notebooks: `viewer.scatterplot("results.duckdb")`.

`panel serve viewer` runs `main.py`. The views are imported when they are asked for.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_VIEWS = {
    "behaviours": "behaviours_view",
    "compare": "comparison_view",
    "layers": "layers_view",
    "model_map": "map_view",
    "scatterplot": "scatterplot_view",
    "table": "table_view",
}
"""Name for people -> the function of `viewer.notebook.views`."""
_ROOMS = ("behaviours", "compare", "layers", "table")
"""Views whose names are packages of ours too, which hold their parts."""


def _view(name: str) -> Any:
    return getattr(import_module("viewer.notebook.views"), _VIEWS[name])


class _Room(ModuleType):
    """A package that is also the view of its name."""

    def __call__(self, *arguments: Any, **values: Any) -> Any:
        return _view(self.__name__.rpartition(".")[2])(*arguments, **values)


class _Viewer(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name in _ROOMS:
            return import_module(f"{self.__name__}.{name}")
        if name in _VIEWS:
            return _view(name)
        raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ROOMS and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_VIEWS})


sys.modules[__name__].__class__ = _Viewer
