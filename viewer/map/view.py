"""The forest of models: ribbons from parent to child, columns by operation, step or time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, ClassVar

from viewer.format.palette import kind_color, scale
from viewer.format.templates import render
from viewer.map.appearance import appearance
from viewer.map.drawing import Looks, Words, draw
from viewer.map.figures import map_plot
from viewer.map.layout import Layout
from viewer.results.experiments import FACETS
from viewer.results.lineage import StepOutcome
from viewer.session.choices import choices
from viewer.session.messages import SELECTION_FAILED, whole_number
from viewer.session.session import VisitorSession
from viewer.session.state import FACET, KIND
from viewer.session.view import RESULTS, Action, View

__all__ = ["ModelMap"]

_STOPS = 4
"""Colours between two ticks of the legend."""
_CROWN = 0.09
"""Rows between a mark and the ring that says that it is on the front."""
_MOST_LOST = 100
_MEANINGS = {
    "bundle": "several models, drawn as one",
    "folded": "models folded below",
    "front": "on the Pareto front, or holds models on it",
    "selected": "selected",
    "lost": "failed or skipped",
}
"""Kind of mark -> what it means."""
_MOST_NAMED = 12
_ARRANGED = frozenset({"arrange", "opened", "closed", RESULTS})
_GROUND = {False: "#ffffff", True: "#1b222b"}
"""Of the card that the map lies on, as in the style sheet; by whether it is dark."""
_LEFT, _RIGHT = 84, 34
"""Pixels that labels need beside the outermost columns."""


class ModelMap(View):
    """Owns the sources `nodes` (what is drawn: models, bundles, failed steps) and `ribbons`."""

    panes: ClassVar[Mapping[str, frozenset[str]]] = {
        "map_tools": frozenset({"color", "size", "arrange"}),
        "legend": frozenset({"color", "size", "theme", "arrange", "opened", "closed"}),
        "failures": frozenset(),
        "kin": frozenset({"selected"}),
        "map_message": frozenset(),
    }

    def __init__(self, session: VisitorSession) -> None:
        super().__init__(session)
        plot = map_plot()
        self.figure, self.nodes, self.ribbons = plot.figure, plot.sources["nodes"], plot.sources["ribbons"]
        self._front_marks = plot.sources["front_marks"]
        self._index: dict[str, int] = {}
        self._echo = False
        self._draw()
        self._mark_front()
        self._show_selection()
        self.nodes.selected.on_change("indices", self._on_selection)

    def begin(self) -> None:
        self._send_frame(fresh=True)

    def actions(self) -> dict[str, Action]:
        return {
            "column": self._column,
            "kin": self._kin,
            "node": self._node,
            "fold": self._fold,
            "clear": lambda message: self.state.pick([]),
            "ground": self._ground,
        }

    def update(self, changed: Set[str]) -> None:
        super().update(changed)
        if changed & (_ARRANGED | {"color", "size"}):
            self._draw()
        if changed & (_ARRANGED | {"x", "y", "filters", "size"}):
            self._mark_front()
        if changed & _ARRANGED:
            self._send_frame(fresh="arrange" in changed)
        if changed & (_ARRANGED | {"selected", "color", "size"}):
            self._show_selection()

    # ---- markup
    def draw_map_tools(self) -> str:
        results, state = self.session.results, self.state
        color = choices(results).metric("color", state)
        return render(
            "map_tools",
            metrics=results.choices,
            color=color,
            size=choices(results).metric("size", state),
            arrange=state.arrange,
            kinds=[
                {"name": KIND, "label": "kind of operation"},
                *(
                    {"name": f"{FACET}{facet}", "label": FACETS[facet].lower()}
                    for facet in FACETS
                    if facet in results.experiments.telling or color == f"{FACET}{facet}"
                ),
            ],
        )

    def draw_legend(self) -> str:
        results, state = self.session.results, self.state
        color, size = choices(results).metric("color", state), choices(results).metric("size", state)
        kinds = self._series(color)
        color_scale = None if color.startswith(FACET) else self._scale(color, ramp=True)
        return render(
            "legend",
            kinds=kinds,
            kinds_of=FACETS.get(color.removeprefix(FACET), ""),
            color=color_scale,
            size=self._scale(size, ramp=False),
            marks=self._marks(),
        )

    def _marks(self) -> list[tuple[str, str]]:
        """Return the kinds of mark that are on the map, and what each means."""
        positions = self._layout().positions.values()
        forest = self.session.results.forest
        here = {
            "bundle": any(each.bundle for each in positions),
            "folded": any(each.hidden and not each.bundle for each in positions),
            "front": bool(self._front_marks.data["x"]),
            "selected": bool(positions),
            "lost": any(not each.bundle and forest[each.id].outcome is not StepOutcome.DONE for each in positions),
        }
        return [(name, meaning) for name, meaning in _MEANINGS.items() if here[name]]

    def draw_failures(self) -> str:
        results = self.session.results
        lost = [node for node in results.forest if node.outcome is not StepOutcome.DONE]
        lost.sort(key=lambda node: (node.outcome is not StepOutcome.FAILED, node.order))
        counts = [(outcome, sum(node.outcome is outcome for node in lost)) for outcome in StepOutcome]
        return render(
            "failures",
            text=", ".join(f"{count} {outcome}" for outcome, count in counts if count),
            steps=[
                {"key": node.key, "name": results.text.name(node.key), "outcome": node.outcome, "reason": node.reason}
                for node in lost[:_MOST_LOST]
            ],
            left_out=len(lost[_MOST_LOST:]),
        )

    def _series(self, color: str) -> list[tuple[str, str]]:
        """Return the names that have colours of their own; none where colour is a metric's scale."""
        looks = appearance(self.session.results)
        if color == KIND:
            return [(kind, kind_color(kind)) for kind in looks.kinds]
        return looks.series(color)[:_MOST_NAMED] if color.startswith(FACET) else []

    def _scale(self, metric: str, *, ramp: bool) -> dict[str, Any] | None:
        results = self.session.results
        if not metric or not results.keys:
            return None
        low, high = appearance(results).ends(metric)
        texts: dict[str, Any] = {
            "label": results.label(metric),
            "about": results.about(metric),
            "low": results.show_value(metric, low),
            "high": results.show_value(metric, high),
            "direction": results.direction(metric),
        }
        return texts | {"ticks": self._ticks(metric)} if ramp else texts

    def _ticks(self, metric: str) -> list[dict[str, str]]:
        """Return the values at the quarters of the models by rank, each with the colours between it and the next."""
        results = self.session.results
        ticks = appearance(results).color_ticks(metric)
        texts = [results.show_value(metric, value) for value, _ in ticks]
        ends = [*(share for _, share in ticks[1:]), ticks[-1][1] if ticks else 0.5]
        ramps = []
        for (_, share), end, text in zip(ticks, ends, texts, strict=True):
            stops = [share + (end - share) * step / (_STOPS - 1) for step in range(_STOPS)]
            colors = scale(stops, results.better(metric), low=0.0, high=1.0, dark=self.session.dark)
            ramps.append({"text": text, "stops": ", ".join(colors)})
        return ramps

    def draw_kin(self) -> str:
        return render("kin", chosen=len(self.state.selected))

    def draw_map_message(self) -> str:
        return (
            ""
            if self.session.results.forest.nodes
            else render("map_empty", recipes=self.session.results.snapshot.recipes)
        )

    # ---- drawing
    def _layout(self) -> Layout:
        return appearance(self.session.results).layout(self.state.arrange, self.state.opened, self.state.closed)

    def _draw(self) -> None:
        results, state = self.session.results, self.state
        looks = Looks(
            rgb=appearance(results).rgb(choices(results).metric("color", state), dark=self.session.dark),
            size=appearance(results).sizes(choices(results).metric("size", state)),
            visible=choices(results).visible_rows(state),
            ground=_GROUND[self.session.dark],
        )
        words = Words(results.text.name, lambda node: results.text.telling_text(node.brief))
        drawing = draw(self._layout(), results.forest, results.row, looks, words)
        self._index = drawing.index
        # an echo of a selection must not be taken for a person's: indices mean other models now
        self._echo = True
        self.nodes.selected.indices = []
        self._echo = False
        self.nodes.data = drawing.nodes
        self.ribbons.data = drawing.ribbons

    def _send_frame(self, *, fresh: bool) -> None:
        layout = self._layout()
        headers = [
            {
                "text": column.label.replace("_", " "),
                "title": f"{column.label.replace('_', ' ')}: {len(column.models)} model{'' if len(column.models) == 1 else 's'}",
            }
            for column in layout.columns
        ]
        frame = {
            "columns": len(layout.columns),
            "rows": layout.rows,
            "left": _LEFT,
            "right": _RIGHT,
            "headers": headers,
        }
        spots = [
            layout.positions[owner]
            for key in appearance(self.session.results).focus
            if (owner := layout.owner.get(key))
        ]
        spot = next(iter([*spots, *layout.positions.values()]), None)
        focus = {"column": spot.column, "row": spot.row} if spot else {"column": 0, "row": 0}
        self.session.send("map", {**frame, "focus": focus, "fresh": fresh})

    def _mark_front(self) -> None:
        """Put a ring around what is on the Pareto front of the scatterplot, or holds something that is."""
        results, state, nodes = self.session.results, self.state, self.nodes.data
        x, y = (choices(results).metric(axis, state) for axis in ("x", "y"))
        owner = self._layout().owner
        front = results.ranking.front(x, y, results.ranking.passing(state.filters))
        units = dict.fromkeys(owner.get(results.keys[row], "") for row in front)
        at = [self._index[unit] for unit in units if unit in self._index]
        self._front_marks.data = {
            "x": [float(nodes["x"][each]) for each in at],
            "y": [float(nodes["y"][each]) for each in at],
            "r": [float(nodes["r"][each]) + _CROWN for each in at],
        }

    def _show_selection(self) -> None:
        owner = self._layout().owner
        owners = (owner.get(key, "") for key in self.state.selected)
        at = list(dict.fromkeys(self._index[unit] for unit in owners if unit in self._index))
        if at != self.nodes.selected.indices:
            self._echo = True
            self.nodes.selected.indices = at
            self._echo = False

    # ---- what a person does
    def _on_selection(self, attr: str, old: list[int], new: list[int]) -> None:
        """The tap, box and lasso tools select marks; a mark that stood for a selected model keeps that model alone."""
        if self._echo:
            return
        with self.session.guarded(SELECTION_FAILED):
            owner, keys = self._layout().owner, self.nodes.data["key"]
            units = [keys[at] for at in new if at < len(keys)]  # the page may know an earlier drawing
            remaining = [key for key in self.state.selected if owner.get(key) in units]
            units_before = {owner[key] for key in remaining}
            with self.state.together():
                self._choose([*remaining, *self._models(unit for unit in units if unit not in units_before)], add=False)
            self._show_selection()
        self.session.outbox.send()

    def _column(self, message: Mapping[str, Any]) -> None:
        """A header was clicked: all models of the column, except those outside the budget."""
        columns, at = self._layout().columns, whole_number(message, "column", -1)
        if 0 <= at < len(columns):
            self._choose(self.session.known_models(list(columns[at].models)), add=bool(message.get("add")))

    def _kin(self, message: Mapping[str, Any]) -> None:
        """Add the relatives of what is selected."""
        forest = self.session.results.forest
        relatives: dict[str, Callable[[str], list[str]]] = {
            "parents": lambda key: forest.ancestors(key)[:1],
            "children": forest.children,
            "ancestors": forest.ancestors,
            "descendants": forest.descendants,
        }
        find = relatives.get(str(message.get("kin")))
        if find is not None:
            kin_keys = [kin for key in self.state.selected if key in forest for kin in find(key)]
            self._choose(self.session.known_models(kin_keys), add=True)

    def _node(self, message: Mapping[str, Any]) -> None:
        """A node was chosen by the keyboard; adding one that is selected takes it away."""
        keys, add = self._models([str(message.get("key"))]), bool(message.get("add"))
        if add and keys and set(keys) <= set(self.state.selected):
            self.state.pick([key for key in self.state.selected if key not in keys])
        else:
            self._choose(keys, add=add)
        count = len(self.state.selected)
        self.session.send("say", f"{count} model{'' if count == 1 else 's'} selected")

    def _choose(self, keys: Iterable[str], *, add: bool) -> None:
        """Select what is not outside the budget."""
        results = self.session.results
        visible = choices(results).visible_rows(self.state)
        inside = [
            key for key in keys if key in results.forest and (key not in results.row or visible[results.row[key]])
        ]
        self.state.pick([*self.state.selected, *inside] if add else inside)

    def _models(self, units: Iterable[str]) -> list[str]:
        """Put its siblings in the place of each bundle."""
        bundles = appearance(self.session.results).bundles.bundles
        return [key for unit in units for key in (bundles[unit].members if unit in bundles else (unit,))]

    def _fold(self, message: Mapping[str, Any]) -> None:
        """Open what is folded, fold what is open."""
        unit = str(message.get("key"))
        position = self._layout().positions.get(unit)
        unfolded = [each for each in self.state.opened if each != unit]
        closed = [each for each in self.state.closed if each != unit]
        if position is None:
            if appearance(self.session.results).bundle(unit) is not None:  # an open bundle is not itself on the map
                self.state.change({"opened": unfolded, "closed": [*closed, unit]})
        elif position.hidden:
            self.state.change({"opened": [*unfolded, unit], "closed": closed})
        elif position.can_fold:
            self.state.change({"opened": unfolded, "closed": [*closed, unit]})

    def _ground(self, message: Mapping[str, Any]) -> None:
        """The page's theme is settled in the browser; colour scales run the other way on a dark ground."""
        dark = bool(message.get("dark"))
        if dark != self.session.dark:
            self.session.dark = dark
            self.session.repaint()
