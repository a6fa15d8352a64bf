"""Everything a person can change, and nothing else. Views read and write this; never each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import param

from viewer.session.inside_state import InsideState

__all__ = ["AUTO", "KIND", "NOTHING", "PAGES_AT_START", "ViewState"]

AUTO = ""
"""A metric that nobody chose: the viewer picks one."""
NOTHING = "-"
"""Deliberately no metric."""
KIND = ":kind"
"""In place of a metric for the colour: what kind of operation made the model."""
PAGES_AT_START = ("overview", "table", "compare")


class ViewState(InsideState):
    """One per visitor. Every field is in the URL (`viewer.session.url`), so that a link reproduces what is seen."""

    page = param.String("overview", doc="which page is open")
    selected = param.List([], item_type=str, doc="model keys, in the order they were picked")
    base = param.String("", doc="key of the model that others are compared with; empty: the one nearest a root")
    color = param.String(AUTO, doc="metric, or the kind of operation, shown as colour")
    size = param.String(AUTO, doc="metric shown as size")
    arrange = param.Selector(default="operation", objects=["operation", "step", "time"], doc="columns of the map")
    opened = param.List([], item_type=str, doc="models and bundles whose content is drawn, however many rows it takes")
    closed = param.List([], item_type=str, doc="models and bundles that are folded away")
    x = param.String(AUTO, doc="metric on the scatterplot's x axis")
    y = param.String(AUTO, doc="metric on the scatterplot's y axis")
    x_log = param.Boolean(False)
    y_log = param.Boolean(False)
    dim_dominated = param.Boolean(False, doc="draw models faintly that another beats on both axes")
    filters = param.List([], item_type=tuple, doc="(metric, low, high): what a model must satisfy")
    budgets = param.Dict({}, doc="name -> list of (metric, low, high): filters that were saved")
    goal = param.String(AUTO, doc="metric that the best model under a budget is best in")
    relax = param.String(AUTO, doc="metric whose budget is relaxed in the curve of the budgets")
    pane = param.Selector(default="selection", objects=["selection", "budgets"], doc="the pane beside the map")
    refine = param.Dict({}, doc="variable -> values: narrows what the selection details compare")
    columns = param.List([], item_type=str, doc="metrics in the table; empty: the viewer's choice")
    order = param.String("", doc="column that the table is sorted by; empty: as in the map")
    descending = param.Boolean(False)
    rows_from = param.Integer(0, bounds=(0, None), doc="first row on the table's page")
    within = param.Boolean(False, doc="whether the table leaves out what is outside the budget")
    setting = param.String(AUTO, doc="runtime, machine and data set whose measurements are shown")
    theme = param.Selector(default="auto", objects=["auto", "light", "dark"])

    def pick(self, keys: list[str]) -> None:
        """Select models; an unchanged selection is ignored, so that views cannot echo each other."""
        unique = list(dict.fromkeys(keys))
        if unique != self.selected:
            self.param.update(selected=unique, refine={})

    def change(self, values: Mapping[str, Any]) -> None:
        """Set fields that differ, as one event."""
        self.param.update(**{name: value for name, value in values.items() if getattr(self, name) != value})

    @contextmanager
    def together(self) -> Iterator[None]:
        """Hold back events until the block ends."""
        with param.parameterized.batch_call_watchers(self):
            yield

    def fields(self) -> list[str]:
        """Names of everything that can change."""
        return [name for name in self.param if name != "name"]
