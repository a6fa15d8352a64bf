"""The look of models on the map and in the scatterplot: place, colour and size."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from viewer.format.natural_order import natural_key
from viewer.format.palette import KINDS, MISSING, SERIES, kind_color, rank_shares, scale
from viewer.map.bundles import Bundle, Bundles
from viewer.map.layout import Arrange, Layout, layout
from viewer.results.results import Results
from viewer.session.choices import choices
from viewer.session.state import FACET, KIND

__all__ = ["Appearance", "appearance"]

_MOST_LAYOUTS = 8
_MOST_FOCUSED = 6
"""Models of the front whose surroundings are opened first."""
_PLAIN = "#5b8db8"
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_FILLED = 0.25
"""Share of its declared range that a metric's values must take for the range to be its scale."""


def appearance(results: Results) -> Appearance:
    """Return how these results look; made once for all visitors."""
    return results.shared(Appearance)


class Appearance:
    """The looks of one publication's results; the latest layouts and colours are kept for all visitors."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._layouts: dict[tuple[str, tuple[str, ...], tuple[str, ...]], Layout] = {}
        self._colors: dict[tuple[str, bool], np.ndarray] = {}

    def prepare(self) -> None:
        """Do now what the first visitor would wait for."""
        self.layout("operation", (), ())
        _ = self._results.parent_rows

    @cached_property
    def bundles(self) -> Bundles:
        """Groups of models that may be drawn as one."""
        return Bundles(self._results.forest)

    @cached_property
    def focus(self) -> tuple[str, ...]:
        """Models where the action is: the best in quality, then others of the front, from its whole length."""
        results, axes = self._results, choices(self._results)
        x, y, goal = (axes.suiting(field) for field in ("x", "y", "goal"))
        rows = results.ranking.front(x, y) if x and y else []
        best = results.ranking.best(goal, np.isin(np.arange(len(results.keys)), rows)) if rows else None
        step = max(1, len(rows) // _MOST_FOCUSED)
        keys = [*([best.row] if best else []), *rows[::step][:_MOST_FOCUSED]]
        return tuple(results.keys[row] for row in dict.fromkeys(keys))

    def layout(self, arrange: Arrange, unfolded: Iterable[str], closed: Iterable[str]) -> Layout:
        """Return where everything stands; the latest arrangements are kept for all visitors.

        Args:
            arrange: what the columns are.
            unfolded: ids of models and bundles that a person opened.
            closed: ids of those that a person closed.
        """
        arrangement = (arrange, tuple(sorted(unfolded)), tuple(sorted(closed)))
        result = self._layouts.get(arrangement)
        if result is None:
            result = layout(
                self._results.forest,
                arrange=arrange,
                open_units=arrangement[1],
                closed=arrangement[2],
                bundles=self.bundles,
                focus=self.focus,
            )
            while len(self._layouts) >= _MOST_LAYOUTS:
                self._layouts.pop(next(iter(self._layouts)), None)
            self._layouts[arrangement] = result
        return result

    def bundle(self, key: str) -> Bundle | None:
        """Return a bundle by its id."""
        return self.bundles.bundles.get(key)

    def rgb(self, metric: str, *, dark: bool) -> np.ndarray:
        """Return the colour of every row: uint8 (N, 3); the stronger, the better."""
        colors = self._colors.get((metric, dark))
        if colors is None:
            names = self._ink(metric, dark=dark)
            colors = np.frombuffer(bytes.fromhex("".join(name[1:] for name in names)), dtype=np.uint8).reshape(-1, 3)
            self._colors[metric, dark] = colors
        return colors

    def _ink(self, metric: str, *, dark: bool) -> list[str]:
        if metric == KIND:
            return [kind_color(self._results.forest[key].kind) for key in self._results.keys]
        if metric.startswith(FACET):
            colors = dict(self.series(metric))
            return [colors.get(text, MISSING) for text in self._results.experiments.texts(metric.removeprefix(FACET))]
        if not metric:
            return [_PLAIN] * len(self._results.keys)
        return scale(self._shares(metric), self._results.better(metric), low=0.0, high=1.0, dark=dark)

    def _shares(self, metric: str) -> np.ndarray:
        return rank_shares(self._results.values(metric))

    def color_ticks(self, metric: str) -> list[tuple[float, float]]:
        """Return values that part the models into quarters, each once, with their places on the colour scale, 0 to 1."""
        values, shares = self._results.values(metric), self._shares(metric)
        finite = np.sort(values[np.isfinite(values)])
        ticks = dict.fromkeys(float(finite[round(at * (len(finite) - 1))]) for at in _QUARTERS) if len(finite) else {}
        return [(value, float(shares[np.flatnonzero(values == value)[0]])) for value in ticks]

    def series(self, color: str) -> list[tuple[str, str]]:
        """Return each value of a facet of experiments with its colour; the last ones of many share one."""
        experiments, facet = self._results.experiments, color.removeprefix(FACET)
        values = sorted({text for text in experiments.texts(facet) if text}, key=natural_key)
        return [(value, SERIES[at] if at < len(SERIES) else MISSING) for at, value in enumerate(values)]

    @cached_property
    def kinds(self) -> list[str]:
        """The kinds of operation that made the models: those with a colour of their own first."""
        here = {self._results.forest[key].kind for key in self._results.keys}
        return [kind for kind in KINDS if kind in here] + sorted(here - set(KINDS))

    def sizes(self, metric: str) -> np.ndarray:
        """Return the size of every row, 0 to 1: its area grows with the metric; without one it is small."""
        if not metric:
            return np.full(len(self._results.keys), 0.45)
        values = self._results.values(metric)
        low, high = self.ends(metric)
        share = (values - low) / ((high - low) or 1.0)
        return np.sqrt(np.nan_to_num(np.clip(share, 0.0, 1.0), nan=0.0))

    def ends(self, metric: str) -> tuple[float, float]:
        """Return the ends of a metric's scale: those of its values, or the declared ones if the values fill them.

        A scale of 0 to 1 for values of 0.75 to 0.77 would make all models look the same. No value lies outside.
        """
        values, spec = self._results.values(metric), self._results.spec(metric)
        finite = values[np.isfinite(values)]
        if not finite.size:
            return spec.low or 0.0, 1.0 if spec.high is None else spec.high
        low, high = float(finite.min()), float(finite.max())
        bottom, top = (
            min(low, spec.low if spec.low is not None else low),
            max(high, spec.high if spec.high is not None else high),
        )
        return (bottom, top) if high - low >= _FILLED * (top - bottom) else (low, high)
