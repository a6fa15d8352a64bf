"""Puts a visitor's Layers page together: state and stored statistics in, what the template draws out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from viewer.layers.queries import Changed, Found, Key, LayerData, LayerSite
from viewer.layers.table import INSIDE, NUMBERS, Row, bars, flat_rows, matcher, roll_up, show_number, stacked, tree_rows
from viewer.session.notes import Notes
from viewer.session.state import ViewState

__all__ = ["NOTHING", "PAGE", "LayerPage", "in_turn"]

PAGE = 50
_COLUMNS = {
    "sparsity": ("sparsity",),
    "weights": ("relative_change", "mean_abs_change", "sqnr_db"),
    "activations": ("sqnr_db", "dead_share", "saturated"),
    "numbers": tuple(NUMBERS),
}
_DRAWN = "weights", "activations"
"""Shown as histograms, whose zeros would hide all else: their share is told in words."""
_FROM_SITE = "sparsity", "mean_abs", "dead_share", "saturated", "bits", "bytes", "macs", "seconds", "time_share"
NOTHING = "-"
"""Stands among the opened modules when a person has closed them all."""
_THINNEST = 0.03
"""Of the axis: equal values are seen too."""
_FIRST_ROWS = 14
"""So many rows of the tree are open before anybody has opened any."""


class LayerPage:
    """One drawing of the page."""

    def __init__(
        self, data: LayerData, state: ViewState, models: Sequence[str], names: Mapping[str, str], notes: Notes
    ) -> None:
        """`models` has the base first; `names` gives every model's name for people."""
        self.data, self.state, self.models, self.names = data, state, list(models), names
        self.flagged = notes.of("layer")
        self.base = self.models[0]
        self._kind = "activation" if state.layers.show == "activations" else "tensor"

    # ---- rows
    @cached_property
    def sites(self) -> list[str]:
        """Names of everything that any of the models has, in the order of the network, filtered."""
        order: dict[str, None] = {}
        for model in self.models:
            order.update(dict.fromkeys(key[2] for key in self._of(model)))
            order.update(dict.fromkeys(key[2] for key in self._changes(model)))
        (fits, _), types = matcher(self.state.layers.filter), set(self.state.layers.types)
        return [
            site
            for site in order
            if fits(site) and (not types or self.types.get(site, "") in types) and self._passes_flags(site)
        ]

    @property
    def filter_problem(self) -> str:
        """The reason why the filter is no regular expression; empty if it is one."""
        return matcher(self.state.layers.filter)[1]

    def _passes_flags(self, site: str) -> bool:
        return not self.state.layers.flagged or any(f"{site}.".startswith(f"{about}.") for about in self.flagged)

    @cached_property
    def types(self) -> dict[str, str]:
        """Site -> type of its module, as the base has it, else as any model has it."""
        types: dict[str, str] = {}
        for model in self.models:
            for key, site in self._of(model).items():
                types.setdefault(key[2], site.module_type)
                types.setdefault(site.module, site.module_type)
        return types

    @property
    def all_types(self) -> list[str]:
        """Types to choose from."""
        present = {self.types.get(key[2], "") for model in self.models for key in self._of(model)}
        return sorted(present - {""})

    @property
    def flat(self) -> bool:
        """Sorted and filtered rows have no tree."""
        return bool(self.state.layers.flat or self.state.layers.order or self.state.layers.filter)

    @cached_property
    def open_modules(self) -> list[str]:
        """The modules that are open: those a person left open, else as many levels as make a screenful."""
        if self.state.layers.open:
            return list(self.state.layers.open)
        paths: list[str] = []
        while True:
            rows = tree_rows(self.sites, self.types, set(paths))
            more = [row.name for row in rows if row.children and not row.open]
            if not more or len(rows) + sum(row.children for row in rows if not row.open) > _FIRST_ROWS:
                return paths
            paths += more

    @cached_property
    def rows(self) -> list[Row]:
        """All rows, sorted."""
        if not self.flat:
            return tree_rows(self.sites, self.types, set(self.open_modules))
        rows, order = flat_rows(self.sites, self.types), self.state.layers.order
        if not order:
            return rows
        if order == "name":
            return sorted(rows, key=lambda row: row.name, reverse=self.state.layers.descending)
        keyed = [(self._sort_value(row.name, order), row) for row in rows]
        present = [pair for pair in keyed if pair[0] is not None]
        present.sort(key=lambda pair: (pair[0], pair[1].name), reverse=self.state.layers.descending)
        return [row for _, row in present] + [row for value, row in keyed if value is None]

    def page(self) -> tuple[list[dict[str, Any]], int, int]:
        """Return the rows on this page, the first one's place, and how many there are in all."""
        total = len(self.rows)
        start = min(self.state.layers.start // PAGE * PAGE, max(0, (total - 1) // PAGE * PAGE))
        return [self._row(row) for row in self.rows[start : start + PAGE]], start, total

    def _row(self, row: Row) -> dict[str, Any]:
        first = self._site(self.base, row.sites[0]) if row.sites else None
        cells = [self._group(model, row) if row.site is None else self._cell(model, row.site) for model in self.models]
        shape = "×".join(map(str, first.shape)) if row.site and first and first.shape else ""  # noqa: RUF001 - the sign for shapes
        return {
            "row": row,
            "shape": shape,
            "notes": self.flagged.get(row.name),
            "cells": cells,
            "limits": _share_axis(cells),
        }

    # ---- cells
    def _cell(self, model: str, name: str) -> dict[str, Any]:
        site, change = self._site(model, name), self._change(model, name)
        if site is None and (change is None or change.status != "compared"):
            return _nothing(change.reason if change is not None else "not in this model")
        numbers = self._numbers(model, name)
        note = change.reason if change is not None and change.status != "compared" else ""
        return {
            "text": note,
            "numbers": self._number_texts(numbers),
            "bars": self._bars(site, change),
            "limits": self._limits(site, change),
            "split": self._split(model, numbers) if self.state.layers.show == "sparsity" else None,
            "odd": _odd(site),
            "how": ", ".join(change.how) if change is not None else "",
        }

    def _group(self, model: str, row: Row) -> dict[str, Any]:
        parts = [self._numbers(model, name) for name in row.sites]
        total = roll_up([part for part in parts if part])
        count, zeros = total.get("count"), total.get("zeros")
        total["sparsity"] = zeros / count if count and zeros is not None else None
        absolute = total.get("abs_sum")
        total["mean_abs"] = absolute / count if count and absolute is not None else None
        text = "" if any(parts) else "not in this model"
        return {
            "text": text,
            "numbers": self._number_texts(total),
            "bars": [],
            "limits": (0.0, 0.0),
            "odd": "",
            "how": "",
            "split": self._split(model, total) if self.state.layers.show == "sparsity" and not text else None,
        }

    def _numbers(self, model: str, name: str) -> dict[str, float | None]:
        site, change = self._site(model, name), self._change(model, name)
        numbers: dict[str, float | None] = {}
        if site is not None:
            numbers |= {key: site.numbers.get(key) for key in (*_FROM_SITE, "count", "zeros", "abs_sum")}
            count, zeros = site.numbers["count"], site.numbers["zeros"]
            numbers["sparsity"] = zeros / count if count and zeros is not None else None
        if change is not None and change.status == "compared":
            own = numbers.get("count")
            numbers |= {key: value for key, value in change.numbers.items() if key != "count" or own is None}
        return numbers

    def _number_texts(self, numbers: Mapping[str, float | None]) -> list[tuple[str, str]]:
        names: tuple[str, ...] = _COLUMNS[self.state.layers.show]
        if names == _COLUMNS["weights"] and "cosine" not in numbers and numbers.get("mean_abs_change") is None:
            names = ("mean_abs",)
        texts = [
            (NUMBERS[name][0], show_number(name, numbers[name])) for name in names if numbers.get(name) is not None
        ]
        if self.state.layers.show in _DRAWN and numbers.get("sparsity"):
            texts.append(("zeros, not drawn", show_number("sparsity", numbers["sparsity"])))
        return texts

    def _bars(self, site: LayerSite | None, change: Changed | None) -> list[Any]:
        return self._shapes_of(site, change) if self.state.layers.show in _DRAWN else []

    def _shapes_of(self, site: LayerSite | None, change: Changed | None) -> list[Any]:
        if change is not None and change.counts:
            return stacked(change.counts)
        return bars(site.counts) if site is not None else []

    def _limits(self, site: LayerSite | None, change: Changed | None) -> tuple[float, float]:
        source = change if change is not None and change.counts else site
        return (source.low, source.high) if source is not None else (0.0, 0.0)

    def _split(self, model: str, numbers: Mapping[str, float | None]) -> list[tuple[str, float, str]]:
        """Shares of zeros: in both, only here; for the base all of them."""
        count = numbers.get("count") or 0
        if not count:
            return []
        if model == self.base or numbers.get("zero_both") is None:
            zeros = numbers.get("zeros") or 0
            return [("c0", 100 * zeros / count, f"{zeros:,.0f} zeros of {count:,.0f}")]
        both, here, there = (numbers.get(f"zero_{name}") or 0 for name in ("both", "here", "there"))
        compared = max(count, both + here, 1)
        return [
            ("c0", 100 * both / compared, f"{both:,.0f} zero in both"),
            ("c5", 100 * here / compared, f"{here:,.0f} zero only here"),
            ("", 0, f"{there:,.0f} zero only in the base"),
        ]

    # ---- the rest of the page
    def number(self, model: str, site: str, name: str) -> float | None:
        """One of a layer's numbers; None where it is not known."""
        return self._numbers(model, site).get(name)

    def stage(self, model: str) -> str:
        """The stage of a model's outputs that is shown."""
        return self._stage(model)

    def histograms(self, site: str) -> dict[str, Any] | None:
        """One layer of all models, on one axis; None where none of them has it."""
        cells = [self._cell(model, site) for model in self.models]
        for model, cell in zip(self.models, cells, strict=True):
            if not cell["bars"] and not cell["text"]:
                cell["bars"] = self._shapes_of(self._site(model, site), self._change(model, site))
        if not any(cell["bars"] for cell in cells):
            return None
        limits = _share_axis(cells)
        names = [self.names[model] for model in self.models]
        return {
            "site": site,
            "type": self.types.get(site, ""),
            "limits": limits,
            "cells": list(zip(names, cells, strict=True)),
        }

    def untimed(self) -> list[str]:
        """Models of whose layers no runtime told the time."""
        return [model for model in self.models if model not in self.data.timed]

    def uncompared(self) -> list[str]:
        """Models that nobody compared with this base yet."""
        return [model for model in self.models[1:] if not self.data.changes.get(model)]

    # ---- parts
    def _of(self, model: str) -> dict[Key, LayerSite]:
        stage = self._stage(model)
        return {k: s for k, s in self.data.sites.get(model, {}).items() if k[0] == self._kind and k[1] == stage}

    def _changes(self, model: str) -> dict[Key, Changed]:
        stage = self._stage(model)
        return {k: c for k, c in self.data.changes.get(model, {}).items() if k[0] == self._kind and k[1] == stage}

    def _stage(self, model: str) -> str:
        """The stage asked for, or the one that there is: an int8 model has no network."""
        if self._kind == "tensor":
            return ""
        stages = self._stages.get(model, set())
        return self.state.layers.stage if self.state.layers.stage in stages else next(iter(sorted(stages)), "")

    @cached_property
    def _stages(self) -> dict[str, set[str]]:
        return {model: {k[1] for k in sites if k[0] == "activation"} for model, sites in self.data.sites.items()}

    def _site(self, model: str, name: str) -> LayerSite | None:
        return self.data.sites.get(model, {}).get((self._kind, self._stage(model), name))

    def _change(self, model: str, name: str) -> Changed | None:
        return self.data.changes.get(model, {}).get((self._kind, self._stage(model), name))

    def _sort_value(self, name: str, order: str) -> float | None:
        if order == "size":
            site = self._site(self.base, name)
            return site.numbers["count"] if site is not None else None
        number = self.state.layers.by
        if order == self.base and number in ("relative_change", "mean_abs_change", "sqnr_db", "cosine"):
            number = "mean_abs"
        value = self._numbers(order, name).get(number)
        return None if value is None or math.isnan(value) else value


def _share_axis(cells: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """Put the histograms of a row on one axis: each gets its `place` there; returns the axis's ends in words."""
    with_bars = [cell for cell in cells if cell["bars"]]
    if not with_bars:
        return "", ""
    low, high = min(cell["limits"][0] for cell in with_bars), max(cell["limits"][1] for cell in with_bars)
    span = (high - low) or 1.0
    for cell in with_bars:
        start, stop = cell["limits"]
        share = max((stop - start) / span, _THINNEST) if high > low else 1.0
        cell["place"] = (
            f"translate({INSIDE[0] * (1 - share) + (INSIDE[1] - INSIDE[0]) * (start - low) / span:.2f} 0) scale({share:.4f} 1)"
        )
    return f"{low:.3g}", f"{high:.3g}"


def in_turn(findings: Sequence[Found]) -> list[Found]:
    """Return findings, heaviest first, so that every model has its turn: one broken model would hide all others."""
    counts: dict[str, int] = {}
    ranked = []
    for entry in findings:
        counts[entry.model_key] = counts.get(entry.model_key, 0) + 1
        ranked.append((counts[entry.model_key], entry))
    return [finding for _, finding in sorted(ranked, key=lambda pair: pair[0])]


def _nothing(reason: str) -> dict[str, Any]:
    return {
        "text": reason or "not in this model",
        "numbers": [],
        "bars": [],
        "limits": (0.0, 0.0),
        "split": None,
        "odd": "",
        "how": "",
    }


def _odd(site: LayerSite | None) -> str:
    """NaN and infinities, in words."""
    if site is None or not (site.numbers["nans"] or site.numbers["infs"]):
        return ""
    return f"{site.numbers['nans'] or 0:,.0f} NaN, {site.numbers['infs'] or 0:,.0f} infinite"
