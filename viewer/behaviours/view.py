"""The page of behaviours: which inputs, classes and groups a compressed model treats differently."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

from bokeh.io import curdoc

from viewer.behaviours.instance_previews import DataPlace, Pictures, pictures_of
from viewer.behaviours.joint_layers import KINDS, Bench, joint_panel
from viewer.behaviours.open_sheets import sheet_of
from viewer.behaviours.page import PAGE, BehaviourPage, page_start
from viewer.behaviours.queries import Sheet
from viewer.behaviours.threshold_panel import threshold_panel
from viewer.format.numbers import format_number
from viewer.format.spreadsheet import spreadsheet_safe
from viewer.format.templates import render
from viewer.session.compared_models import ComparedModels, compared_models, flag, models_on_rail
from viewer.session.messages import whole_number
from viewer.session.notes import Notes
from viewer.session.state import page_fields
from viewer.session.view import Action, NextTick, View

__all__ = ["Behaviours"]

_FIELDS = page_fields("behaviours") | {"selected", "base", "setting"}
_RESETS_PAGE = {"b_from": 0}
_IMPORTED = "These models were imported. The file had their figures, and not what they answer to single instances."
_NO_ANSWERS = (
    "These models have no task: nothing says what their outputs mean, so there are no answers to compare. How far outputs "
    "moved from the base's is in the table and on the other pages."
)
_ONLY = [
    ("all", "all instances"),
    ("changed", "changed answers"),
    ("broken", "right in the base, wrong here"),
    ("mended", "wrong in the base, right here"),
    ("exemplars", "changed in many models"),
    ("flagged", "flagged, or of a flagged class"),
]
_ROWS = {"classes": "Classes", "groups": "Groups", "instances": "Instances"}


class Behaviours(View):
    """A page of its own: `draw_page` gives its markup."""

    title: ClassVar[str] = "Behaviours"
    shows: ClassVar[frozenset[str]] = _FIELDS

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self._notes = Notes(session.path)
        for name in filter(None, os.environ.get("BOUILLON_PLUGINS", "").split(",")):
            import_module(name)

    def actions(self) -> dict[str, Action]:
        """Messages of the page; every value is checked before it enters the state."""
        plain = ("b_measure", "b_by", "b_only", "b_of", "b_least", "b_positive", "b_keep")
        return {
            **{field: self._setter(field) for field in plain},
            "b_relative": lambda message: self._change(b_relative=message.get("value") == "1"),
            "b_attribute": self._attribute,
            "b_text": lambda message: self._change(b_text=str(message.get("text", ""))[:200]),
            "b_clear": self._clear,
            "b_sort": self._sort,
            "b_open": self._open,
            "b_turn": self._turn,
            "b_brush": self._brush,
            "b_matrix": self._show_matrix,
            "b_flip": self._flip,
            "b_joint": self._join,
            "b_layer": self._layer,
            "b_flag": self._flag,
            "b_unflag": self._flag,
            "b_export": lambda message: self._export(),
        }

    def draw_page(self) -> str:
        """Return the page's markup."""
        sheet = self._sheet()
        if sheet is None and self.session.results.snapshot.is_imported:
            return render("inside_empty", title="No predictions", text=_IMPORTED)
        data = self.session.results.snapshot.data.get(self.session.results.context.dataset_key)
        if sheet is None and data is not None and not data.has_answers:
            return render("inside_empty", title="No answers", text=_NO_ANSWERS)
        if sheet is None:
            return render(
                "inside_empty",
                title="No predictions yet",
                text="Behaviours shows what models answer on the "
                "evaluation split. A run with a target in its recipe records that.",
            )
        compared = self._compared_models()
        names = {key: self.session.results.text.name(key) for key in self.session.results.keys}
        if not compared.models:
            return render(
                "inside_empty", title="None of these models has predictions", text=self._missing(compared, names)
            )
        with sheet.lock:
            page = BehaviourPage(sheet, self.state, compared.models, names, self._seen_notes)
            return self._markup(page, compared, names)

    def _markup(self, page: BehaviourPage, compared: ComparedModels, names: Mapping[str, str]) -> str:
        sheet, state = page.sheet, self.state
        rows, total = page.rows()
        start = page_start(state.behaviours.start, total)
        if page.rows_are == "instances":
            self._add_pictures(sheet, rows)
        attributes = sheet.attributes()
        return render(
            "behaviours",
            state=state,
            page=PAGE,
            rows=rows,
            total=total,
            start=start,
            stop=min(start + PAGE, total),
            rows_are=page.rows_are,
            rows_title=_ROWS[page.rows_are],
            has_classes=bool(sheet.classes),
            rows_choices=[
                (v, t)
                for v, t in _ROWS.items()
                if (v != "classes" or sheet.classes) and (v != "groups" or state.behaviours.groups)
            ],
            others=len(compared.others),
            measure=page.measure,
            measures=page.measures,
            headers=page.headers(),
            matrix=self._matrix(page, compared),
            joint=self._joint(sheet, compared),
            thresholds=self._thresholds(sheet, compared, names),
            scale=page.scale_text(),
            panel=page.group_panel(),
            base=compared.base,
            base_name=names[compared.base],
            models=[(key, names[key]) for key in compared.models],
            letters={each.key: each for each in models_on_rail(self.session)},
            attributes=attributes,
            groups=[name for name in state.behaviours.groups if name in attributes],
            only_choices=_ONLY,
            chips=self._chips(page, names),
            size=f"{sheet.size:,}",
            passing=f"{int(page.mask.sum()):,}",
            dataset=sheet.dataset,
            target=sheet.target,
            untested=page.untested,
            tested=not page.untested and page.measure.better != "neither",
            verdict=page.verdict(),
            problems=[
                *([self._missing(compared, names)] if compared.unable else []),
                *self._picture_problem(sheet, page),
            ],
        )

    def _matrix(self, page: BehaviourPage, compared: ComparedModels) -> dict[str, Any] | None:
        """The flip matrix of the model that was asked for, else of that which the rows are sorted by."""
        candidates = [self.state.behaviours.matrix, self.state.behaviours.order, *compared.others]
        key = next((key for key in candidates if key in compared.others), None)
        if key is None:
            return None
        matrix = page.matrix(key)
        return matrix | {"key": key, "names_and_rows": list(zip(matrix["names"], matrix["rows"], strict=True))}

    def _joint(self, sheet: Sheet, compared: ComparedModels) -> dict[str, Any] | None:
        joint = self.state.behaviours.joint
        if len(joint) < 2 or joint[0] not in compared.others:  # noqa: PLR2004 - the model and the kind of row
            return None

        notify = NextTick(curdoc(), self._redraw)
        bench = Bench(self.session.results.snapshot.path, self._pictures(sheet).refusal(runs=True), notify)
        return joint_panel(sheet, joint, compared.base, bench)

    def _thresholds(self, sheet: Sheet, compared: ComparedModels, names: Mapping[str, str]) -> dict[str, Any] | None:
        state = self.state.behaviours
        return threshold_panel(sheet, compared.models, names, positive=state.positive, keep=state.keep)

    # ---- what the page is drawn from
    def _sheet(self) -> Sheet | None:
        """The answers in the current setting; shared by all visitors while the results stay as they are."""
        return sheet_of(self.session.results)

    def _compared_models(self) -> ComparedModels:
        sheet = self._sheet()
        return compared_models(self.session, sheet.sets if sheet else {})

    def _missing(self, compared: ComparedModels, names: Mapping[str, str]) -> str:
        listed = ", ".join(names[key] for key in compared.unable[:5])
        return f"No predictions in this setting: {listed}" + (" and others." if len(compared.unable) > 5 else ".")  # noqa: PLR2004 - as many as are listed

    def _add_pictures(self, sheet: Sheet, rows: list[dict[str, Any]]) -> None:
        arrived = NextTick(curdoc(), self._redraw)
        previews = self._pictures(sheet).get([row["id"] for row in rows], arrived)
        for row in rows:
            row["picture"] = previews.get(row["id"])

    def _redraw(self) -> None:
        if self.state.page == "behaviours":
            with self.session.guarded("What has arrived could not be drawn."):
                self.session.send("panes", {"page": self.draw_page()})
            self.session.outbox.send()

    def _picture_problem(self, sheet: Sheet, page: BehaviourPage) -> list[str]:
        problem = self._pictures(sheet).problem if page.rows_are == "instances" else ""
        return [problem] if problem else []

    def _pictures(self, sheet: Sheet) -> Pictures:
        return pictures_of(DataPlace(self.session.path.absolute(), sheet.store, sheet.dataset_key, sheet.dataset))

    def _chips(self, page: BehaviourPage, names: Mapping[str, str]) -> list[tuple[str, str]]:
        state = self.state
        chips = [("b_class", f"class {state.behaviours.class_name}")] if state.behaviours.class_name else []
        chips += [("b_group", f"group {state.behaviours.group}")] if state.behaviours.group else []
        if page.flip is not None:
            of = names.get(state.behaviours.of, "any model")
            chips.append(("b_flip", f"“{page.flip[0]}” became “{page.flip[1]}” in {of}"))
        chips += [("b_text", f"“{state.behaviours.text}”")] if state.behaviours.text else []
        chips += [
            (
                f"b_brush {brush.model}",
                f"{names.get(brush.model, '?')}: {format_number(brush.low, '.3g')} to {format_number(brush.high, '.3g')}",
            )
            for brush in page.brushes
        ]
        return chips

    # ---- what a person does
    def _change(self, **values: Any) -> None:
        self.state.change({**_RESETS_PAGE, **values})

    def _setter(self, field: str) -> Action:
        def act(message: Mapping[str, Any]) -> None:
            value: Any = str(message.get("value"))
            if field == "b_least":
                value = max(1, whole_number(message, "value", 1))
            allowed = getattr(self.state.parameter(field), "objects", None)
            if allowed is None or value in allowed:
                self._change(**{field: value}, **({"b_brush": []} if field == "b_measure" else {}))

        return act

    def _attribute(self, message: Mapping[str, Any]) -> None:
        place, value = whole_number(message, "place"), str(message.get("value", ""))
        groups = [*self.state.behaviours.groups[:place], *([value] if value else [])]
        rows = (
            "groups"
            if groups
            else ("classes" if self.state.behaviours.rows == "groups" else self.state.behaviours.rows)
        )
        self._change(b_groups=groups, b_rows=rows, b_group="")

    def _clear(self, message: Mapping[str, Any]) -> None:
        field, _, model = str(message.get("field")).partition(" ")
        if field == "b_brush":
            self._change(b_brush=[text for text in self.state.behaviours.brush if not text.startswith(f"{model}~")])
        elif field == "b_flip":
            self._change(b_flip=[])
        elif field in ("b_class", "b_group", "b_text"):
            self._change(**{field: ""})

    def _sort(self, message: Mapping[str, Any]) -> None:
        key = str(message.get("key"))
        if key == self.state.behaviours.order:
            self._change(b_descending=not self.state.behaviours.descending)
        elif key == "name" or self.session.known_models([key]):
            self._change(b_order=key, b_descending=key != "name")

    def _open(self, message: Mapping[str, Any]) -> None:
        name = str(message.get("name"))
        if self.state.behaviours.rows == "groups" and self.state.behaviours.groups:
            self._change(b_rows="instances", b_group=name)
        else:
            self._change(b_rows="instances", b_class=name)

    def _turn(self, message: Mapping[str, Any]) -> None:
        self.state.change({"b_from": max(0, whole_number(message, "start"))})

    def _brush(self, message: Mapping[str, Any]) -> None:
        model, low, high = str(message.get("model")), message.get("low"), message.get("high")
        others = [text for text in self.state.behaviours.brush if not text.startswith(f"{model}~")]
        if isinstance(low, int | float) and isinstance(high, int | float) and self.session.known_models([model]):
            others.append(f"{model}~{low!r}~{high!r}")
        self._change(b_brush=others)

    def _show_matrix(self, message: Mapping[str, Any]) -> None:
        key = str(message.get("value", ""))
        self.state.change({"b_matrix": key if self.session.known_models([key]) else ""})

    def _flip(self, message: Mapping[str, Any]) -> None:
        """Show the instances whose answer changed in one way."""
        for key in self.session.known_models([str(message.get("key"))]):
            flip = [str(message.get("before")), str(message.get("after"))]
            self._change(b_rows="instances", b_flip=flip, b_of=key)

    def _join(self, message: Mapping[str, Any]) -> None:
        """Ask for the layers that differ most on the instances of a row, of another model, or of none."""
        joint, kind = self.state.behaviours.joint, str(message.get("row"))
        names = {
            "class": [str(message.get("name"))],
            "group": [str(message.get("name")), *self.state.behaviours.groups],
            "flip": [str(message.get("before")), str(message.get("after"))],
        }.get(kind, [])
        if "value" in message:
            for key in self.session.known_models([str(message["value"])]) if joint else ():
                self.state.change({"b_joint": [key, *joint[1:]]})
        elif kind in KINDS:
            compared = self._compared_models()
            candidates = [str(message.get("key")), self.state.behaviours.order, *compared.others]
            for key in [key for key in candidates if key in compared.others][:1]:
                self.state.change({"b_joint": [key, kind, *names]})
                self.session.send("reveal", "b-joint")
        else:
            self.state.change({"b_joint": []})

    def _layer(self, message: Mapping[str, Any]) -> None:
        """Show a layer on the page of layers, of the models that stand here."""
        compared = self._compared_models()
        stage = "onnx" if message.get("stage") == "file" else "torch"
        self.state.pick([*compared.models, *compared.unable])
        fields = {"l_show": "activations", "l_stage": stage, "l_site": str(message.get("site"))}
        self.state.change({"page": "layers", "base": compared.base, **fields})

    @property
    def _seen_notes(self) -> Notes:
        return self._notes.seen_by(self.session.user)

    def _flag(self, message: Mapping[str, Any]) -> None:
        sheet = self._sheet()
        where = sheet.dataset_key if sheet else ""
        flag(self.session, self._notes, message, kinds=("instance", "class", "model"), dataset_key=where)
        self.session.send("panes", {"page": self.draw_page()})

    def _export(self) -> None:
        self.session.send("save", {"name": "behaviours.csv", "type": "text/csv", "text": self.as_csv()})

    def as_csv(self) -> str:
        """All rows of the table with every model's value, interval (none where no test applies) and change, and the notes."""
        sheet, compared = self._sheet(), self._compared_models()
        text = io.StringIO()
        if sheet is None or not compared.models:
            return ""
        names = {key: self.session.results.text.name(key) for key in compared.models}
        page = BehaviourPage(sheet, self.state, compared.models, names, self._seen_notes)
        write = csv.writer(text).writerow
        write(
            ["row", "model_key", "model", "measure", "instances", "value", "low", "high", "change", "relative_change"]
        )
        if page.rows_are != "instances":
            for row, name in enumerate(page.belongs.names):
                for key, cells in zip(compared.models, page.table, strict=True):
                    ends = ["" if page.untested else repr(float(end[row])) for end in (cells.low, cells.high)]
                    changes = [repr(float(change[row])) for change in (cells.change, cells.relative)]
                    write(
                        [
                            spreadsheet_safe(name),
                            key,
                            spreadsheet_safe(names[key]),
                            page.measure.name,
                            int(cells.count[row]),
                            repr(float(cells.mean[row])),
                            *ends,
                            *changes,
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
