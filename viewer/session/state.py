"""Everything a person can change, and nothing else. Views read and write this; never each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any

import param

__all__ = [
    "AUTO",
    "FACET",
    "FACET_COLUMN",
    "KIND",
    "NAME",
    "NOTHING",
    "OPERATION",
    "OWN_FIELDS",
    "PARAMETER",
    "REPLICATES",
    "TAGS",
    "BehavioursState",
    "BranchState",
    "EffectsState",
    "LayersState",
    "ViewState",
    "page_fields",
]

OWN_FIELDS = frozenset({"theme"})
"""Fields that are a visitor's own, and no part of what they show others under a name."""
AUTO = ""
"""A metric that nobody chose: the viewer picks one."""
NOTHING = "-"
"""Deliberately no metric."""
KIND = ":kind"
"""In place of a metric for the colour: what kind of operation made the model."""
FACET = ":"
"""Begins what stands in place of a metric for the colour: a facet of experiments, `:recipe`."""
NAME, OPERATION, TAGS = " name", " op", " tags"
"""Columns that every table has. A blank begins them, as it does no metric's name."""
PARAMETER = "param:"
"""Begins the id of a column of parameters: `param:quantize.method`."""
FACET_COLUMN = "facet:"
"""Begins the id of a column of experiments: `facet:seed`."""
REPLICATES = "replicates"
"""In place of a facet to group by: models that differ in their seeds alone are one row."""


class BehavioursState(param.Parameterized):
    """Everything that a person can change on the Behaviours page. Its models are `ViewState.selected`."""

    rows = param.Selector(default="classes", objects=["classes", "groups", "instances"])
    groups = param.List([], item_type=str, doc="one or two attributes whose values, or crossings, are the rows")
    measure = param.String("error", doc="what is compared")
    relative = param.Boolean(False, doc="changes as ratios of means")
    order = param.String("", doc="key of the model whose column the rows are sorted by; empty: the first; `name`")
    by = param.Selector(default="change", objects=["change", "size", "value"], doc="signed change, its size, or value")
    descending = param.Boolean(True)
    class_name = param.String("", doc="only instances of this class")
    group = param.String("", doc="only instances of this group")
    text = param.String("", doc="only instances with this text in id, label, attribute or answer")
    only = param.Selector(default="all", objects=["all", "changed", "broken", "mended", "exemplars", "flagged"])
    of = param.String("", doc="key of the model that `only` is about; empty: any")
    least = param.Integer(2, bounds=(1, None), doc="exemplars: changed in at least so many of the models")
    brush = param.List([], item_type=str, doc="ranges on the models' histograms: key~low~high")
    flip = param.List([], item_type=str, doc="only instances whose answer changed so: before, after")
    matrix = param.String("", doc="key of the model whose flip matrix is shown; empty: that of the sorted column")
    joint = param.List([], item_type=str, doc="whose layers differ where: model key, kind of row, and its names")
    positive = param.String("", doc="class that thresholds are about; empty: the second")
    keep = param.Selector(default="recall", objects=["recall", "precision"], doc="what thresholds keep of the base")
    start = param.Integer(0, bounds=(0, None), doc="first row on the page")


class LayersState(param.Parameterized):
    """Everything that a person can change on the Layers page. Its models are `ViewState.selected`."""

    show = param.Selector(default="weights", objects=["sparsity", "weights", "activations", "numbers"])
    stage = param.Selector(default="torch", objects=["torch", "onnx"], doc="of activations: the network, or its file")
    flat = param.Boolean(False, doc="a flat list instead of the tree")
    open = param.List([], item_type=str, doc="modules of the tree that are opened")
    order = param.String("", doc="`name`, `size` or the key of a model")
    by = param.String("relative_change", doc="the number that a model's column is sorted by")
    descending = param.Boolean(True)
    filter = param.String("", doc="regular expression that names must match")
    types = param.List([], item_type=str, doc="types of module shown; empty: all")
    flagged = param.Boolean(False, doc="only what is flagged, or lies in a flagged module")
    site = param.String("", doc="the layer whose histograms are open; empty: none")
    damage = param.String("", doc="model, candidate and layer whose damage is open; empty: none")
    start = param.Integer(0, bounds=(0, None), doc="first row on the page")


class BranchState(param.Parameterized):
    """The branch at hand on the Branch page."""

    origin = param.String("", doc="key of the model that steps are added below")
    change = param.String("", doc="YAML of the steps")


class EffectsState(param.Parameterized):
    """Everything that a person can change on the Effects page. What is selected is `ViewState.selected`."""

    show = param.Selector(default="operations", objects=["operations", "sweeps", "chains"])
    columns = param.List([], item_type=str, doc="metrics; empty: the viewer's choice")
    flat = param.Boolean(False, doc="rows of one operation need not stand together")
    order = param.String("", doc="metric that the rows are sorted by, or ` places`; empty: by operation and parameters")
    gain = param.Boolean(False, doc="the most gain first, instead of the most harm")
    open = param.List([], item_type=str, doc="ids of the operations whose places are shown")
    start = param.Integer(0, bounds=(0, None), doc="first row on the page")


_PARTS = {"b_": "behaviours", "l_": "layers", "e_": "effects", "t_": "branch"}
"""Beginning of a field's name in addresses and messages -> the part of the state that holds it."""
_KEYWORDS = {"class": "class_name", "from": "start"}
"""Names in addresses that Python keeps for itself -> the field."""


class ViewState(param.Parameterized):
    """One per visitor. Every field is in the URL (`viewer.session.url`), so that a link reproduces what is seen."""

    page = param.String("decide", doc="which page is open")
    aim = param.Selector(
        default="smallest", objects=["smallest", "fastest", "best"], doc="what the model to ship is to be"
    )
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
    columns = param.List([], item_type=str, doc="columns of the table; empty: the viewer's choice")
    where = param.Dict({}, doc="column of the table -> filter as it was typed")
    card = param.String("", doc="key of the model whose card is open beside the table; empty: none")
    look = param.Selector(
        default="rows", objects=["rows", "lines"], doc="the table as rows, or as parallel coordinates"
    )
    dragging = param.Selector(
        default="narrow", objects=["narrow", "select"], doc="what a range dragged on an axis does"
    )
    order = param.String("", doc="column that the table is sorted by; empty: as in the map")
    descending = param.Boolean(False)
    rows_from = param.Integer(0, bounds=(0, None), doc="first row on the table's page")
    within = param.Boolean(False, doc="whether the table leaves out what is outside the budget")
    only = param.Dict({}, doc="facet of experiments -> values: the models in scope")
    group = param.String(
        "", doc="facet of experiments that the table's rows are grouped by, or `replicates`; empty: none"
    )
    unchanged = param.Boolean(False, doc="whether Compare shows figures that are the same in all models")
    tag = param.String("", doc="tag that the page of notes is narrowed to; empty: all")
    notes_text = param.String("", doc="words that the page of notes is narrowed to")
    setting = param.String(AUTO, doc="runtime, machine and data set whose measurements are shown")
    theme = param.Selector(default="auto", objects=["auto", "light", "dark"])

    def __init__(self) -> None:
        super().__init__()
        self.behaviours, self.layers = BehavioursState(), LayersState()
        self.effects, self.branch = EffectsState(), BranchState()
        self._depth, self._changed = 0, dict[str, None]()
        self._report: Callable[[Set[str]], None] = lambda fields: None
        self._watch(self, "")
        for beginning, part in _PARTS.items():
            self._watch(getattr(self, part), beginning)

    def watch(self, report: Callable[[Set[str]], None]) -> None:
        """Call `report` with the names of the fields that changed: once per change, or per block of `together`."""
        self._report = report

    def _watch(self, part: param.Parameterized, beginning: str) -> None:
        def note(*events: Any) -> None:
            self._changed |= dict.fromkeys(_address_name(beginning, event.name) for event in events)
            self._flush()

        part.param.watch(note, _own_fields(part))

    def _flush(self) -> None:
        if not self._depth and self._changed:
            changed, self._changed = self._changed, {}
            self._report(changed.keys())

    def pick(self, keys: list[str]) -> None:
        """Select models; an unchanged selection is ignored, so that views cannot echo each other."""
        unique = list(dict.fromkeys(keys))
        if unique != self.selected:
            self.param.update(selected=unique, refine={})

    def change(self, values: Mapping[str, Any]) -> None:
        """Set fields that differ, as one event. Fields of a page are called as in addresses: `b_rows`, `l_show`."""
        with self.together():
            for name, value in values.items():
                if self.value(name) != value:
                    part, own = self._place(name)
                    setattr(part, own, value)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Hold back events until the block ends."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            self._flush()

    def fields(self) -> list[str]:
        """Names, as in addresses, of everything that can change."""
        pages = [(beginning, name) for beginning, part in _PARTS.items() for name in _own_fields(getattr(self, part))]
        return [*(_address_name(beginning, name) for beginning, name in pages), *_own_fields(self)]

    def value(self, name: str) -> Any:
        """Return a field's value."""
        part, own = self._place(name)
        return getattr(part, own)

    def values(self) -> dict[str, Any]:
        """Return every field's value."""
        return {name: self.value(name) for name in self.fields()}

    def parameter(self, name: str) -> param.Parameter:
        """Return a field's declaration."""
        part, own = self._place(name)
        return part.param[own]

    def _place(self, name: str) -> tuple[param.Parameterized, str]:
        part = _PARTS.get(name[:2])
        return (self, name) if part is None else (getattr(self, part), _KEYWORDS.get(name[2:], name[2:]))


def page_fields(page: str) -> frozenset[str]:
    """Return the names, as in addresses, of the fields that belong to a page alone."""
    state = ViewState()
    return frozenset(name for name in state.fields() if _PARTS.get(name[:2]) == page)


def _address_name(beginning: str, field: str) -> str:
    words = {own: word for word, own in _KEYWORDS.items()} if beginning else {}
    return beginning + words.get(field, field)


def _own_fields(part: param.Parameterized) -> list[str]:
    return [name for name in part.param if name != "name"]
