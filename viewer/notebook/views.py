"""The views by name: `import viewer; viewer.scatterplot("results.duckdb")` in a notebook, or in a Panel page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from viewer.notebook.pages import BehavioursViewer, CompareViewer, LayersViewer, TableViewer
from viewer.notebook.plots import MapViewer, ScatterplotViewer
from viewer.notebook.state import HasPath, Source, notebook_session

__all__ = ["behaviours_view", "comparison_view", "layers_view", "map_view", "scatterplot_view", "table_view"]

_RESULTS = "results.duckdb"


def scatterplot_view(results: Source = _RESULTS, **values: Any) -> ScatterplotViewer:
    """Return a scatterplot of models: any metric against any other.

    Args:
        results: a results file, or `bouillon.Results`.
        values: parameters of `ScatterplotViewer`: `x`, `y`, `color`, `size`, `budget`, `selected`, ...
    """
    return ScatterplotViewer(notebook_session(results), **values)


def map_view(results: Source = _RESULTS, **values: Any) -> MapViewer:
    """Return the map of models: each joined to the one that it was made from.

    Args:
        results: a results file, or `bouillon.Results`.
        values: parameters of `MapViewer`: `color`, `size`, `arrange`, `budget`, `selected`.
    """
    return MapViewer(notebook_session(results), **values)


def table_view(results: Source = _RESULTS, **values: Any) -> TableViewer:
    """Return a table of models with their parameters and metrics.

    Args:
        results: a results file, or `bouillon.Results`.
        values: parameters of `TableViewer`: `columns`, `where`, `order`, `group`, `budget`, ...
    """
    return TableViewer(notebook_session(results), **values)


def comparison_view(*models: Source, results: Source | None = None, **values: Any) -> CompareViewer:
    """Return models beside a base, metric by metric, with the noise of each change.

    `compare("base", "base/int8")` is of `results.duckdb`; other results come first, or by their name.

    Args:
        models: by name or key, the base first; before them, other results may stand.
        results: a results file, or `bouillon.Results`.
        values: parameters of `CompareViewer`: `base`, `theme`.
    """
    source, names = _split(models, results)
    return CompareViewer(notebook_session(source), **{"models": names, "base": names[0] if names else "", **values})


def behaviours_view(*models: Source, results: Source | None = None, **values: Any) -> BehavioursViewer:
    """Return the classes, groups or instances that models treat differently than a base, the most harmed first.

    Args:
        models: by name or key, the base first; before them, other results may stand. None: the viewer's choice.
        results: a results file, or `bouillon.Results`.
        values: parameters of `BehavioursViewer`: `rows`, `measure`, `base`, `theme`.
    """
    source, names = _split(models, results)
    return BehavioursViewer(notebook_session(source), **{"models": names, "base": names[0] if names else "", **values})


def layers_view(*models: Source, results: Source | None = None, **values: Any) -> LayersViewer:
    """Return what models' layers hold, against a base.

    Args:
        models: by name or key, the base first; before them, other results may stand. None: the viewer's choice.
        results: a results file, or `bouillon.Results`.
        values: parameters of `LayersViewer`: `show`, `flat`, `base`, `theme`.
    """
    source, names = _split(models, results)
    return LayersViewer(notebook_session(source), **{"models": names, "base": names[0] if names else "", **values})


def _split(models: tuple[Source, ...], results: Source | None) -> tuple[Source, list[str]]:
    """Return the results and the names of the models."""
    if results is None and models and _is_results(models[0]):
        return models[0], [str(name) for name in models[1:]]
    return _RESULTS if results is None else results, [str(name) for name in models]


def _is_results(source: Source) -> bool:
    return isinstance(source, HasPath | Path) or source.endswith((".duckdb", ".db")) or Path(source).is_file()
