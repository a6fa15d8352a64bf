"""The page of effects: what each operation did, at every place where it was applied."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from viewer.compare.effects.chain_tables import chain_tables
from viewer.compare.effects.effects import effects
from viewer.compare.effects.page import PAGE, EffectsPage, parameter_sweeps
from viewer.format.spreadsheet import spreadsheet_safe
from viewer.format.templates import render
from viewer.session.choices import choices
from viewer.session.messages import whole_number
from viewer.session.state import page_fields
from viewer.session.view import Action, View

__all__ = ["OperationEffects"]

_FIRST = ("goal", "size", "x")
"""Fields of the state whose defaults are the first columns: quality, size and speed."""


class OperationEffects(View):
    """A page of its own: `draw_page` gives its markup."""

    title: ClassVar[str] = "Effects"
    shows: ClassVar[frozenset[str]] = page_fields("effects") | {"selected"}

    def actions(self) -> dict[str, Action]:
        return {
            "e_column": self._column,
            "e_sort": self._sort,
            "e_open": self._open,
            "e_turn": self._turn,
            "e_select": self._select,
            "e_csv": lambda message: self._csv(),
        }

    def draw_page(self) -> str:
        results, state = self.session.results, self.state.effects
        operations, columns = effects(results).operations, self.columns()
        if not operations:
            return render(
                "inside_empty",
                title="No effects yet",
                text="An effect is what an operation changed in a model. As soon as a model is made from another, it is here.",
            )
        page = EffectsPage(results, state, columns, self.state.selected)
        start = min(state.start, self._last())
        return render(
            "effects",
            show=state.show,
            flat=state.flat,
            order=state.order,
            gain=state.gain,
            metrics=[
                {"name": m.name, "label": m.label, "about": results.about(m.name), "is_visible": m.name in columns}
                for m in results.metrics
            ],
            headings=page.headings(),
            rows=page.rows(start) if state.show == "operations" else [],
            sweeps=page.sweeps() if state.show == "sweeps" else [],
            curves=len(parameter_sweeps(results)),
            tables=chain_tables(results, columns) if state.show == "chains" else [],
            start=start,
            stop=min(start + PAGE, len(operations)),
            total=len(operations),
            page=PAGE,
        )

    def columns(self) -> list[str]:
        """Return the metrics shown, in their order in the study: at first quality, size and speed."""
        results = self.session.results
        names = [metric.name for metric in results.metrics]
        first = [choices(results).suiting(field) for field in _FIRST]
        return [name for name in names if name in self.state.effects.columns] or [
            name for name in dict.fromkeys(first) if name
        ]

    def _last(self) -> int:
        """Return the first row of the last page."""
        return max(0, (len(effects(self.session.results).operations) - 1) // PAGE * PAGE)

    # ---- what a person does
    def _column(self, message: Mapping[str, Any]) -> None:
        names, metric = self.columns(), str(message.get("metric"))
        if metric in {each.name for each in self.session.results.metrics}:
            columns = [name for name in names if name != metric] if metric in names else [*names, metric]
            self.state.change({"e_columns": columns})

    def _sort(self, message: Mapping[str, Any]) -> None:
        """Sort by a column, the most harm first; by the same once more, the most gain."""
        order = str(message.get("order", ""))
        if order in {"", " places", *self.columns()}:
            again = order == self.state.effects.order and order != ""
            self.state.change({"e_order": order, "e_gain": again and not self.state.effects.gain, "e_from": 0})

    def _open(self, message: Mapping[str, Any]) -> None:
        name, unfolded = str(message.get("operation")), self.state.effects.open
        if name in effects(self.session.results).by_id:
            rest = [each for each in unfolded if each != name]
            self.state.change({"e_open": rest if name in unfolded else [*unfolded, name]})

    def _turn(self, message: Mapping[str, Any]) -> None:
        self.state.change({"e_from": min(self._last(), max(0, whole_number(message, "start")))})

    def _select(self, message: Mapping[str, Any]) -> None:
        """Select the models of a point, of a place, or of all places of an operation."""
        keys = self.session.known_models(self._keys(message))
        if keys:
            self.state.pick([*self.state.selected, *keys] if message.get("add") else keys)

    def _keys(self, message: Mapping[str, Any]) -> list[str]:
        if "keys" in message:
            return str(message.get("keys")).split(",")
        operation = effects(self.session.results).by_id.get(str(message.get("operation")))
        places = operation.places if operation else ()
        number = whole_number(message, "place", -1)
        return [key for at, place in enumerate(places) if number in (at, -1) for key in place.keys]

    def _csv(self) -> None:
        text = io.StringIO()
        csv.writer(text).writerows(self._lines())
        self.session.send("save", {"name": "effects.csv", "type": "text/csv", "text": text.getvalue()})

    def _lines(self) -> Iterator[list[Any]]:
        """Yield every place with every metric shown, in full precision."""
        store = effects(self.session.results)
        yield ["operation", "parameters", "parent", "model", "metric", "change", "low", "high", "factor"]
        for operation in store.operations:
            for place in operation.places:
                for metric in self.columns():
                    effect = store.of_place(place, metric)
                    if effect is None:
                        continue
                    is_factor = store.is_factor(metric)
                    numbers = effect.measured.value, effect.measured.low, effect.measured.high
                    yield [
                        *(spreadsheet_safe(text) for text in (operation.op, operation.text)),
                        *(
                            spreadsheet_safe(" ".join(dict.fromkeys(keys)))
                            for keys in zip(*((p.parent, p.child) for p in place.pairs), strict=True)
                        ),
                        spreadsheet_safe(metric),
                        *(_number(math.exp(each) if is_factor else each) for each in numbers),
                        "yes" if is_factor else "no",
                    ]


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else ""
