"""The map as arrays: what a laid-out forest looks like with a colour and a size for each model. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from viewer.map.layout import Layout, Placed
from viewer.map.ribbons import joined, ribbons
from viewer.results.lineage import Forest, Node, StepOutcome

__all__ = ["FAINT", "LINEAGE", "Drawing", "Looks", "Words", "draw", "packed"]

FAINT = 0.12
"""Opacity of what is outside the budget."""
LINEAGE = 0.45
"""Of what is outside, and has led to something within."""
_SMALLEST, _LARGEST = 0.11, 0.34
"""Radii in rows."""
_LOST = {StepOutcome.FAILED: ("#f2b48c", "#b3470f"), StepOutcome.SKIPPED: ("#c3cbd4", "#7b8794")}
_EDGE, _BUNDLE_EDGE = "#5c6b7a", "#33414f"
_BOUND = "\N{NO-BREAK SPACE}"
_TIMES = "\N{MULTIPLICATION SIGN}"
_INK, _FAINT_INK = 0.85, 0.09
"""How much of a ribbon's colour is seen, and of one outside the budget: mixed with the ground, as opacities would add up
where its pieces overlap."""
_ALL_PIECES, _LEAST_PIECES, _MOST_PIECES = 900, 8, 40
"""Of the map, and of a ribbon: painting takes time by the piece. Those whose colour changes share what the others leave."""
_ALIKE = 24
"""Of 255: colours that differ by less in each component run from one to the other in few pieces without visible steps."""
_RIBBON_SHARE = 0.5
"""Half-width of a ribbon's end, of its node's radius."""


@dataclass(frozen=True)
class Looks:
    """Of each model, by row of the study."""

    rgb: np.ndarray
    """uint8 (N, 3)."""
    size: np.ndarray
    """From 0 to 1; float (N,)."""
    visible: np.ndarray
    """Whether it is drawn in full: bool (N,)."""
    ground: str = "#ffffff"
    """What it is drawn on: ribbons let a little of it through, whatever lies below them."""


@dataclass(frozen=True)
class Words:
    """The words beside the marks."""

    name: Callable[[str], str]
    """Of a model, by its key."""
    parameters: Callable[[Node], str]
    """Those of its step that are worth reading on the map."""


@dataclass(frozen=True)
class Drawing:
    """Columns of the map's two sources."""

    nodes: dict[str, Any]
    ribbons: dict[str, Any]
    index: dict[str, int]
    """Id -> position in `nodes`."""


def draw(layout: Layout, forest: Forest, row: Mapping[str, int], looks: Looks, words: Words) -> Drawing:
    """Draw a layout.

    Args:
        layout: where everything stands.
        forest: the models.
        row: key -> row of the model in `looks`.
        looks: colour and size of every model.
        words: what is written beside the marks.
    """
    label = words.parameters
    positions = list(layout.positions.values())
    index = {each.id: at for at, each in enumerate(positions)}
    members = [_rows(each, row) for each in positions]
    below = [_hidden_rows(each, row, forest) for each in positions]
    rgb, radius = _appearance(positions, members, looks, forest)
    alpha = _opacity(positions, members, below, looks.visible)
    x = np.array([each.column for each in positions], dtype=np.float32)
    y = np.array([each.row for each in positions], dtype=np.float32)
    outcomes = [_outcome(each, forest) for each in positions]
    nodes = {
        "x": x,
        "y": y,
        "r": radius,
        "color": packed(rgb),
        "alpha": alpha,
        "edge": [
            _LOST[o][1] if o in _LOST else _BUNDLE_EDGE if p.hidden else _EDGE
            for o, p in zip(outcomes, positions, strict=True)
        ],
        "edge_width": np.array(
            [2.0 if o in _LOST or p.hidden else 0.8 for o, p in zip(outcomes, positions, strict=True)], np.float32
        ),
        "dash": ["dashed" if outcome in _LOST else "solid" for outcome in outcomes],
        "key": list(index),
        "model": np.array([row.get(each.id, -1) for each in positions], dtype=np.int32),
        "below": below,
        "members": [rows if each.id not in row else [] for each, rows in zip(positions, members, strict=True)],
        "label": [_label(each, forest, label) for each in positions],
        "brief": _briefs(positions, forest, label),
        "name": ["" if each.bundle or each.parent else words.name(each.id) for each in positions],
        "inside": [_inside(each) for each in positions],
    }
    shapes, colors = _bands(layout, index, np.stack([x, y], axis=1), radius, rgb)
    inks = {
        name: packed(_over(looks.ground, colors, ink).round()) for name, ink in (("color", _INK), ("faint", _FAINT_INK))
    }
    return Drawing(nodes, shapes | inks, index)


def packed(rgb: np.ndarray) -> np.ndarray:
    """Colours as Bokeh takes them in bulk: uint32, 0xRRGGBBAA."""
    wide = rgb.astype(np.uint32)
    return (wide[:, 0] << 24) | (wide[:, 1] << 16) | (wide[:, 2] << 8) | np.uint32(255)


def _over(ground: str, rgb: np.ndarray, ink: float) -> np.ndarray:
    """Return colours as they look where `ink` of them, from 0 to 1, lies over the ground: float32 (N, 3)."""
    below = np.frombuffer(bytes.fromhex(ground[1:]), dtype=np.uint8).astype(np.float32)
    mixed: np.ndarray = below + ink * (rgb - below)
    return mixed


def _rows(each: Placed, row: Mapping[str, int]) -> list[int]:
    keys = each.bundle.members if each.bundle else (each.id,)
    return [row[key] for key in keys if key in row]


def _outcome(each: Placed, forest: Forest) -> StepOutcome:
    return each.bundle.outcome if each.bundle else forest[each.id].outcome


def _hidden_rows(each: Placed, row: Mapping[str, int], forest: Forest) -> list[int]:
    """Return the rows of what is below a model, or below the models of a bundle, and not drawn."""
    if not each.hidden:
        return []
    hidden = each.bundle.models if each.bundle else forest.descendants(each.id)
    return [row[key] for key in hidden if key in row]


def _appearance(
    positions: list[Placed], members: list[list[int]], looks: Looks, forest: Forest
) -> tuple[np.ndarray, np.ndarray]:
    """Colour and radius; a bundle has the mean of its models."""
    rgb = np.empty((len(positions), 3), dtype=np.uint8)
    share = np.empty(len(positions), dtype=np.float32)
    for at, (each, rows) in enumerate(zip(positions, members, strict=True)):
        if rows:
            rgb[at] = looks.rgb[rows].mean(axis=0)
            share[at] = looks.size[rows].mean()
        else:
            fill = _LOST.get(_outcome(each, forest), ("#9aa3ad", ""))[0]
            rgb[at] = tuple(bytes.fromhex(fill[1:]))
            share[at] = 0.4
        if each.hidden:
            share[at] = max(share[at], 0.75)  # room for the number of what it stands for
    return rgb, (_SMALLEST + (_LARGEST - _SMALLEST) * share).astype(np.float32)


def _opacity(
    positions: list[Placed], members: list[list[int]], below: list[list[int]], visible: np.ndarray
) -> np.ndarray:
    """Return the opacity of every node: a bundle is faint only if all of its models are, and `LINEAGE` if they led to others.

    The browser does the same while a budget is dragged (`static/dimming.js`).
    """
    index = {each.id: at for at, each in enumerate(positions)}
    passes = np.ones(len(positions), dtype=bool)
    leads = np.zeros(len(positions), dtype=bool)
    for at, (each, rows) in enumerate(zip(positions, members, strict=True)):  # parents come before their children
        passes[at] = visible[rows].any() if rows else passes[index[each.parent]] if each.parent else True
        leads[at] = bool(visible[below[at]].any()) if below[at] else False
    for at in range(len(positions) - 1, -1, -1):
        parent = positions[at].parent
        if parent and (leads[at] or (passes[at] and members[at])):
            leads[index[parent]] = True
    return np.where(passes, 1.0, np.where(leads, LINEAGE, FAINT)).astype(np.float32)


def _label(each: Placed, forest: Forest, label: Callable[[Node], str]) -> str:
    if each.bundle is not None:
        name = each.bundle.parameter.replace("_", " ")
        return f"{name} {each.bundle.span}".strip() or f"{len(each.bundle.members)} models"
    return label(forest[each.id]) if each.parent else ""


def _briefs(positions: list[Placed], forest: Forest, label: Callable[[Node], str]) -> list[str]:
    """Name one parameter with its value, for narrow columns, and the values of more where that tells no siblings apart.

    Between the first and its value stands a space that does not break.
    """
    parts = [[] if each.bundle or not each.parent else label(forest[each.id]).split(", ") for each in positions]
    families: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for at, each in enumerate(positions):
        if len(parts[at]) > 1:
            families[each.parent or "", forest[each.id].op, parts[at][0]].append(at)
    for family in families.values():
        if len(family) == 1:
            del parts[family[0]][1:]
    return [_brief(each, own) for each, own in zip(positions, parts, strict=True)]


def _brief(each: Placed, parts: list[str]) -> str:
    if each.bundle is not None:
        return _BOUND.join(filter(None, [each.bundle.parameter.replace("_", " "), each.bundle.span]))
    first, rest = _BOUND.join("".join(parts[:1]).rsplit(" ", 1)), [part.rsplit(" ", 1)[-1] for part in parts[1:]]
    return ", ".join([first, *rest])


def _inside(each: Placed) -> str:
    if each.bundle is not None:
        return f"{_TIMES}{len(each.bundle.members)}"
    return f"+{each.hidden}" if each.hidden else ""


def _bands(
    layout: Layout, index: Mapping[str, int], at: np.ndarray, radius: np.ndarray, rgb: np.ndarray
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the pieces of the edges, and the colour of each, float32 (pieces, 3); `rgb` (N, 3) are those of the ends."""
    parent = np.array([index[edge.parent] for edge in layout.edges], dtype=np.int32)
    child = np.array([index[edge.child] for edge in layout.edges], dtype=np.int32)
    half = radius * _RIBBON_SHARE
    # the layout keeps rows free from the column after the parent on: bend before that column
    ends = rgb.astype(np.float32)
    changes = (np.abs(ends[parent] - ends[child]) >= _ALIKE).any(axis=1)
    budget = _ALL_PIECES - _LEAST_PIECES * int((~changes).sum())
    many = min(max(budget // max(1, int(changes.sum())), _LEAST_PIECES), _MOST_PIECES)
    result = joined(
        [
            (
                rows,
                ribbons(
                    at[parent[rows]], at[child[rows]], half[parent[rows]], half[child[rows]], turn=1.0, pieces=pieces
                ),
            )
            for rows, pieces in ((np.flatnonzero(~changes), _LEAST_PIECES), (np.flatnonzero(changes), many))
        ]
    )
    one, other = ends[parent][result.ribbon], ends[child][result.ribbon]
    shapes = {
        "corners_x": result.xs,
        "corners_y": result.ys,
        "parent": parent[result.ribbon],
        "child": child[result.ribbon],
    }
    return shapes, one + (other - one) * result.along[:, None]
