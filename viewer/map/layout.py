"""The model map: what is visible, where it stands, and which lines connect it. Plain data in, plain data out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from viewer.map.bundles import Bundle, Bundles, Shown, unfold
from viewer.map.columns import ColumnHeading, by_operation, by_step, by_time
from viewer.map.rows import pack
from viewer.results.lineage import Forest, StepOutcome

__all__ = ["ROWS", "Arrange", "Edge", "Layout", "MapColumn", "Placed", "layout"]

Arrange: TypeAlias = Literal["operation", "step", "time"]
ROWS = 60
"""Rows that a person can take in at once on an ordinary screen."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One thing on the map: a model, or a bundle drawn as one."""

    id: str
    """Key of the model or id of the bundle."""
    column: int
    row: int
    parent: str | None
    """Id of the placed thing that its edge comes from."""
    bundle: Bundle | None
    """What it stands for, where it is a closed bundle."""
    inside: str
    """Id of the innermost open bundle that it is in; "" where none."""
    hidden: int
    """Number of models below it that are not visible; of a bundle, all of its models."""
    can_fold: bool
    """Whether it has anything below it or in it."""
    failed: int
    """Number of failed or skipped steps among what it stands for."""


@dataclass(frozen=True, slots=True)
class MapColumn:
    """One column with what is above it."""

    label: str
    op: str
    kind: str
    """Kind of its operation; "" where it has several."""
    nth: int
    models: tuple[str, ...]
    """Keys of all models in it, those in closed bundles included."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A line from a placed thing to another, further right."""

    parent: str
    child: str


@dataclass(frozen=True)
class Layout:
    """A drawn map in units of columns and rows, rows downwards."""

    positions: dict[str, Placed]
    """By id, in preorder."""
    columns: list[MapColumn]
    rows: int
    edges: list[Edge]
    bundles: dict[str, Bundle]
    """All bundles there are, by id, open or closed."""
    owner: dict[str, str]
    """Key of a model -> id of what stands for it."""


def layout(
    forest: Forest,
    *,
    arrange: Arrange = "operation",
    rows: int | None = ROWS,
    open_units: Collection[str] = (),
    closed: Collection[str] = (),
    bundles: Bundles | None = None,
    focus: Sequence[str] = (),
) -> Layout:
    """Lay out a forest. The result depends on the models alone, not on the order in which they come.

    Args:
        forest: the models.
        arrange: what the columns are.
        rows: folds and bundles what exceeds them; None: show everything.
        open_units: ids of models and bundles that a person opened.
        closed: ids of those that a person closed.
        bundles: those of the forest, where they are at hand.
        focus: keys of models that are to be seen before others, the first one first.
    """
    bundles = bundles or Bundles(forest)
    units = unfold(bundles, rows=rows, open_units=open_units, closed=closed, focus=focus)
    index = {unit.id: at for at, unit in enumerate(units)}
    parents = [-1 if unit.parent is None else index[unit.parent] for unit in units]
    columns, headers = _columns(bundles, units, parents, arrange)
    positions = {
        unit.id: _place(bundles, unit, column, row)
        for unit, column, row in zip(units, columns, pack(columns, parents), strict=True)
    }
    return Layout(
        positions=positions,
        columns=_with_models(bundles, units, columns, headers),
        rows=max((each.row for each in positions.values()), default=-1) + 1,
        edges=[Edge(unit.parent, unit.id) for unit in units if unit.parent is not None],
        bundles=bundles.bundles,
        owner=_owners(bundles, units),
    )


def _columns(
    bundles: Bundles, units: list[Shown], parents: list[int], arrange: Arrange
) -> tuple[list[int], list[ColumnHeading]]:
    if arrange == "step":
        return by_step(parents)
    if arrange == "time":
        orders = [min(bundles.forest[key].order for key in _own(bundles, unit)) for unit in units]
        return by_time(orders, parents)
    ops = [bundles.bundles[unit.id].op if unit.id in bundles.bundles else bundles.forest[unit.id].op for unit in units]
    return by_operation(ops, parents)


def _own(bundles: Bundles, unit: Shown) -> tuple[str, ...]:
    """Return the models that stand where the unit stands: itself, or a bundle's siblings."""
    return bundles.bundles[unit.id].members if unit.id in bundles.bundles else (unit.id,)


def _place(bundles: Bundles, unit: Shown, column: int, row: int) -> Placed:
    bundle = bundles.bundles.get(unit.id)
    below = 0 if unit.open else bundles.sizes[unit.id] - 1 if bundle is None else len(bundle.models)
    stands_for = bundles.models(unit.id) if below else (unit.id,)
    return Placed(
        id=unit.id,
        column=column,
        row=row,
        parent=unit.parent,
        bundle=bundle,
        inside=unit.bundle,
        hidden=below,
        can_fold=bool(bundles.units(unit.id)),
        failed=sum(bundles.forest[key].outcome is not StepOutcome.DONE for key in stands_for),
    )


def _with_models(
    bundles: Bundles, units: list[Shown], columns: list[int], headers: list[ColumnHeading]
) -> list[MapColumn]:
    inside: list[list[str]] = [[] for _ in headers]
    for unit, column in zip(units, columns, strict=True):
        inside[column].extend(_own(bundles, unit))
    kinds = [{bundles.forest[key].kind for key in keys} for keys in inside]
    return [
        MapColumn(header.label, header.op, next(iter(kind)) if len(kind) == 1 else "", header.nth, tuple(keys))
        for header, kind, keys in zip(headers, kinds, inside, strict=True)
    ]


def _owners(bundles: Bundles, units: list[Shown]) -> dict[str, str]:
    owner: dict[str, str] = {}
    for unit in units:
        keys = (unit.id,) if unit.open and unit.id not in bundles.bundles else bundles.models(unit.id)
        owner |= dict.fromkeys(keys, unit.id)
    return owner
