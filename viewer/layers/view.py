"""The page of layers: what compression changed inside a model, and which layer broke."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from bokeh.io import curdoc

from pipeline.delivery.branches.offer import offer_of
from viewer.format.spreadsheet import spreadsheet_safe
from viewer.format.templates import render
from viewer.layers.comparison_jobs import ComparisonJob, comparison_of
from viewer.layers.damage_map import damage_maps
from viewer.layers.page import NOTHING, PAGE, LayerPage, in_turn
from viewer.layers.queries import LayerDamage, LayerData, able_models, read_damages, read_layer_data, side_file
from viewer.layers.strip import strip
from viewer.layers.table import NUMBERS
from viewer.results.queries import snapshot_id
from viewer.session.compared_models import ComparedModels, compared_models, flag, models_on_rail
from viewer.session.messages import whole_number
from viewer.session.notes import Notes
from viewer.session.state import page_fields
from viewer.session.view import Action, NextTick, View

__all__ = ["Layers"]

_FIELDS = page_fields("layers") | {"selected", "base"}
_IMPORTED = "These models were imported. The file had their figures, and not their weights."
_TABS = [("sparsity", "Sparsity"), ("weights", "Weights"), ("activations", "Activations"), ("numbers", "All numbers")]
_CHANGES = ("unchanged", "to 1 %", "to 10 %", "to 50 %", "below 100 %", "100 % or more")
_MOST_FINDINGS = 24
_LONGEST_CELL = 400
_HEADS = 3
"""Findings in sight; the others unfold."""


class Layers(View):
    """A page of its own: `draw_page` gives its markup."""

    title: ClassVar[str] = "Layers"
    shows: ClassVar[frozenset[str]] = _FIELDS

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self._notes = Notes(session.path)
        self._able: tuple[Any, frozenset[str]] = (None, frozenset())
        self._data: tuple[Any, LayerData | None] = (None, None)
        self._sensitivity: tuple[Any, list[LayerDamage]] = (None, [])

    def actions(self) -> dict[str, Action]:
        """Messages of the page; every value is checked before it enters the state."""
        return {
            "l_filter": lambda message: self._change(l_filter=str(message.get("text", ""))[:200]),
            "l_type": self._type,
            "l_toggle": self._toggle,
            "l_cell": self._cell,
            "l_damage": self._damage,
            "l_sort": self._sort,
            "l_by": self._by,
            "l_turn": lambda message: self.state.change({"l_from": max(0, whole_number(message, "start"))}),
            "l_flat": lambda message: self._change(l_flat=message.get("value") == "1", l_order=""),
            "l_flag": self._flag,
            "l_unflag": self._flag,
            "l_export": lambda message: self._export(),
        }

    def draw_page(self) -> str:
        """Return the page's markup."""
        compared, names = self._compared_models(), self._names()
        if not compared.models:
            if self.session.results.snapshot.is_imported:
                return render("inside_empty", title="No layers", text=_IMPORTED)
            missing = _listed(compared.unable, names)
            text = (
                f"No statistics of layers are known of {missing}."
                if missing
                else "A run records the layers of every model it makes."
            )
            return render("inside_empty", title="No layers yet", text=text)
        data = self._read(compared)
        page = LayerPage(data, self.state, compared.models, names, self._notes.seen_by(self.session.user))
        rows, start, total = page.page()
        return render(
            "layers",
            state=self.state,
            shows=_TABS,
            rows=rows,
            start=start,
            stop=min(start + PAGE, total),
            total=total,
            page=PAGE,
            flat=page.flat,
            models=[(key, names[key]) for key in compared.models],
            base=compared.base,
            base_name=names[compared.base],
            letters={each.key: each for each in models_on_rail(self.session)},
            types=page.all_types,
            by=[(name, text) for name, (text, _) in NUMBERS.items()],
            classes=_CHANGES,
            strip=strip(page, data.findings),
            damages=damage_maps(self._damages(compared.models), compared.models, names, self.state.layers),
            histograms=page.histograms(self.state.layers.site) if self.state.layers.site else None,
            filter_problem=page.filter_problem,
            findings=[(finding, names[finding.model_key]) for finding in in_turn(data.findings)[:_MOST_FINDINGS]],
            heads=_HEADS,
            problems=self._problems(compared, names),
            remarks=self._remarks(page, names),
            waiting=self._waiting(page, names),
            offered=offer_of(self.session.path) is not None,
        )

    # ---- what the page is drawn from
    def _names(self) -> dict[str, str]:
        return {key: self.session.results.text.name(key) for key in self.session.results.keys}

    def _ables(self) -> frozenset[str]:
        snapshot = self.session.results.snapshot
        if self._able[0] != snapshot.id:
            self._able = snapshot.id, able_models(snapshot.path)
        return self._able[1]

    def _compared_models(self) -> ComparedModels:
        return compared_models(self.session, self._ables())

    def _read(self, compared: ComparedModels) -> LayerData:
        """Kept until the results, the comparisons beside them or the models change: sorting reads nothing."""
        snapshot = self.session.results.snapshot
        target = self.session.results.context.target
        identity = (snapshot.id, snapshot_id(side_file(snapshot.path)), tuple(compared.models), target)
        if self._data[0] != identity or self._data[1] is None:
            self._data = identity, read_layer_data(snapshot.path, compared.models, compared.base, target=target)
        data = self._data[1]
        assert data is not None
        return data

    def _damages(self, models: Sequence[str]) -> list[LayerDamage]:
        """Kept until the results or the models change."""
        snapshot = self.session.results.snapshot
        identity = (snapshot.id, tuple(models))
        if self._sensitivity[0] != identity:
            self._sensitivity = identity, read_damages(snapshot.path, models)
        return self._sensitivity[1]

    def _waiting(self, page: LayerPage, names: Mapping[str, str]) -> list[str]:
        """Start what nobody compared yet, and say how far it is."""
        notify = NextTick(curdoc(), self._redraw)
        jobs: list[ComparisonJob] = [
            comparison_of(self.session.results.snapshot.path, model, page.base, notify) for model in page.uncompared()
        ]
        return [
            f"{names[job.model]} was not compared with {names[page.base]} yet: {job.text}"
            for job in jobs
            if job.problem or not job.finished
        ]

    def _redraw(self) -> None:
        if self.state.page == "layers":
            with self.session.guarded("What has arrived could not be drawn."):
                self.session.send("panes", {"page": self.draw_page()})
            self.session.outbox.send()

    def _problems(self, compared: ComparedModels, names: Mapping[str, str]) -> list[str]:
        if not compared.unable:
            return []
        return [f"No statistics of layers are known of {_listed(compared.unable, names)}."]

    def _remarks(self, page: LayerPage, names: Mapping[str, str]) -> list[str]:
        untimed = page.untimed() if self.state.layers.show == "numbers" else []
        if not untimed:
            return []
        listed = "any of these models" if len(untimed) == len(page.models) else _listed(untimed, names)
        return [f"The time of each layer is not known of {listed}: a run measures it on `onnxruntime`, which tells it."]

    # ---- what a person does
    def _change(self, **values: Any) -> None:
        self.state.change({"l_from": 0, **values})

    def _type(self, message: Mapping[str, Any]) -> None:
        kind, types = str(message.get("type")), self.state.layers.types
        self._change(l_types=[t for t in types if t != kind] if kind in types else [*types, kind])

    def _toggle(self, message: Mapping[str, Any]) -> None:
        compared = self._compared_models()
        unfolded = LayerPage(self._read(compared), self.state, compared.models, self._names(), self._notes).open_modules
        name = str(message.get("name"))
        paths = [path for path in unfolded if path != name] if name in unfolded else [*unfolded, name]
        self.state.change({"l_open": paths or [NOTHING]})

    def _cell(self, message: Mapping[str, Any]) -> None:
        """Open a layer's histograms, or close them."""
        site = str(message.get("site", ""))
        self.state.change({"l_site": "" if site == self.state.layers.site else site})
        self.session.send("reveal", "l-site")

    def _damage(self, message: Mapping[str, Any]) -> None:
        """Open what a candidate does to a layer, or close it."""
        value = str(message.get("cell", ""))[:_LONGEST_CELL]
        self.state.change({"l_damage": "" if value == self.state.layers.damage else value})
        self.session.send("reveal", "l-damage")

    def _sort(self, message: Mapping[str, Any]) -> None:
        key = str(message.get("key", ""))
        if key == self.state.layers.order:
            self._change(l_descending=not self.state.layers.descending)
        elif key in ("", "name", "size") or self.session.known_models([key]):
            self._change(
                l_order=key, l_descending=key == "size" or (key != "name" and _worst_is_most(self.state.layers.by))
            )

    def _by(self, message: Mapping[str, Any]) -> None:
        value = str(message.get("value"))
        if value in NUMBERS:
            compared = self._compared_models()
            order = (
                self.state.layers.order
                if self.session.known_models([self.state.layers.order])
                else (compared.others or compared.models)[0]
            )
            self._change(l_by=value, l_order=order, l_descending=_worst_is_most(value))

    def _flag(self, message: Mapping[str, Any]) -> None:
        flag(self.session, self._notes, message, kinds=("layer", "model"))
        self.session.send("panes", {"page": self.draw_page()})

    def _export(self) -> None:
        self.session.send("save", {"name": "layers.csv", "type": "text/csv", "text": self.as_csv()})

    def as_csv(self) -> str:
        """All layers of all models on the page with every number."""
        compared, names = self._compared_models(), self._names()
        text = io.StringIO()
        if not compared.models:
            return ""
        data = self._read(compared)
        write = csv.writer(text).writerow
        write(["model_key", "model", "place", "stage", "site", "status", *NUMBERS])
        for model in compared.models:
            for key, site in data.sites[model].items():
                change = data.changes.get(model, {}).get(key)
                numbers = {**site.numbers, **(change.numbers if change else {})}
                count, zeros = site.numbers["count"], site.numbers["zeros"]
                numbers["sparsity"] = zeros / count if count and zeros is not None else None
                values = ["" if numbers.get(name) is None else repr(numbers[name]) for name in NUMBERS]
                write(
                    [
                        model,
                        spreadsheet_safe(names[model]),
                        *key[:2],
                        spreadsheet_safe(key[2]),
                        change.status if change else "",
                        *values,
                    ]
                )
        for note in self._notes.all():
            write(
                [
                    "note",
                    note.kind,
                    spreadsheet_safe(note.about),
                    spreadsheet_safe(note.who),
                    note.when,
                    spreadsheet_safe(note.why),
                ]
            )
        return text.getvalue()


def _worst_is_most(number: str) -> bool:
    """Whether much of a number is its bad end; of the signal that is left, little is."""
    return number not in ("sqnr_db", "cosine")


def _listed(keys: Sequence[str], names: Mapping[str, str]) -> str:
    return ", ".join(names[key] for key in keys[:5]) + (" and others" if len(keys) > 5 else "")  # noqa: PLR2004 - as many as are listed
