"""Everything that some results say of one model: how it was made, of what, its figures, its answers, what is odd about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pipeline.store.documents import json_mapping
from pipeline.store.errors import StoreError
from pipeline.store.queries.confirmed import ConfirmedValue, confirmed_values
from pipeline.store.queries.model_pair import find_model
from pipeline.store.reader import Connection

__all__ = [
    "Ancestor",
    "Answer",
    "DatasetFacts",
    "Descent",
    "MeasuredFigure",
    "ModelFacts",
    "PartFigure",
    "RunFacts",
    "answers_of",
    "descent_of",
    "model_facts",
]


_PLACE = " WHERE model_key = ? AND target = ? AND dataset_key = ? AND split = 'evaluation' ORDER BY 1"
_CLASSES = f"SELECT class, instances, accuracy, low, high FROM class_accuracy{_PLACE}"
_GROUPS = f"SELECT attribute || ' ' || value, instances, accuracy, low, high FROM group_accuracy{_PLACE}"


class Ancestor(NamedTuple):
    """A model that another was made of, or that one itself."""

    key: str
    path: str
    """Of its step, in the run that the facts are of."""
    op: str
    version: int
    format: str
    params: Mapping[str, Any]
    references: Mapping[str, str]
    """Parameter -> key of another model that it names."""


class RunFacts(NamedTuple):
    """A run that made a model, or found it there."""

    run_id: str
    recipe: str
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    host: Mapping[str, Any]
    git_commit: str | None
    started_at: datetime


class Descent(NamedTuple):
    """How a model was made: the run, and the models from the base to it."""

    key: str
    lineage: tuple[Ancestor, ...]
    """From the base to the model; then those that parameters of theirs name, with their own ancestors."""
    run: RunFacts

    @property
    def path(self) -> str:
        """Of its step, in the run."""
        return next(each.path for each in self.lineage if each.key == self.key)


class DatasetFacts(NamedTuple):
    """The data that a model answered."""

    key: str
    name: str
    task: str
    classes: tuple[str, ...]
    splits: Mapping[str, int]


class MeasuredFigure(NamedTuple):
    """A stored value with its 95 % interval, where one is known."""

    metric: str
    value: float
    low: float | None
    high: float | None
    observations: int | None
    unit: str
    format: str
    role: str
    pairing: str
    primary: bool
    description: str


class PartFigure(NamedTuple):
    """Accuracy on a part of the data, with its interval."""

    part: str
    instances: int
    accuracy: float
    low: float
    high: float


class Answer(NamedTuple):
    """What a model answered to an instance."""

    instance: str
    predicted: str
    confidence: float | None
    probabilities: tuple[float, ...] | None
    """Of the classes, in the order of the data set's."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model of some results."""

    key: str
    name: str
    lineage: tuple[Ancestor, ...]
    """From the base to the model; then those that parameters of theirs name, with their own ancestors."""
    run: RunFacts
    target: str
    """The runtime that the figures are of."""
    device: str
    dataset: DatasetFacts
    figures: tuple[MeasuredFigure, ...]
    classes: tuple[PartFigure, ...]
    groups: tuple[PartFigure, ...]
    lints: tuple[tuple[str, str, str], ...]
    """(rule, message, advice)."""
    confirmed: tuple[ConfirmedValue, ...]
    """Figures on instances that no choice had seen, those of the first look; empty where nobody has looked."""
    notes: Mapping[str, Any]

    @property
    def path(self) -> str:
        """Of its step, in the run."""
        return next(each.path for each in self.lineage if each.key == self.key)


def model_facts(db: Connection, text: str, *, target: str | None = None) -> ModelFacts:
    """Return what is known of the model that is called `text`, or whose key begins so.

    Args:
        db: open results.
        text: name, or the beginning of the key.
        target: the runtime, where it was measured on several; else the first by name of those that ONNX Runtime is.

    Raises:
        StoreError: if there is none or several, it failed, no run of this program made it, that run has not ended, or it was
            not evaluated.
    """
    model = find_model(db, text)
    run = _run(db, model.key, model.name)
    dataset, answered_on, device = _evaluation(db, model.key, model.name, run, target)
    return ModelFacts(
        key=model.key,
        name=model.name,
        lineage=_lineage(db, model.key, run.run_id),
        run=run,
        target=answered_on,
        device=device,
        dataset=dataset,
        figures=_figures(db, model.key, answered_on, device, dataset.key),
        classes=_parts(db, _CLASSES, model.key, answered_on, dataset.key),
        groups=_parts(db, _GROUPS, model.key, answered_on, dataset.key),
        lints=tuple(
            db.execute(
                "SELECT DISTINCT lint, message, advice FROM lints WHERE model_key = $1 AND coalesce(target, $2) IN ('', $2)"
                " ORDER BY ALL",
                [model.key, answered_on],
            ).fetchall()
        ),
        confirmed=confirmed_values(db, model.key, answered_on, dataset.key),
        notes=json_mapping(_row(db, "SELECT notes FROM models WHERE model_key = ?", model.key)[0]),
    )


def descent_of(db: Connection, text: str) -> Descent:
    """Return how the model that is called `text`, or whose key begins so, was made: by the newest run, if one has ended by that.

    Args:
        db: open results.
        text: name, or the beginning of the key.

    Raises:
        StoreError: if there is none or several, it failed, or no run of this program made it.
    """
    model = find_model(db, text)
    run, _ = _newest_run(db, model.key, model.name)
    return Descent(model.key, _lineage(db, model.key, run.run_id), run)


def answers_of(db: Connection, facts: ModelFacts, most: int) -> list[Answer]:
    """Return what a model answered to at most so many instances, from all over the evaluation split."""
    rows = db.execute(
        "SELECT instance_id, predicted, confidence, probabilities FROM predictions"
        " WHERE model_key = ? AND target = ? AND dataset_key = ? AND split = 'evaluation' ORDER BY position",
        [facts.key, facts.target, facts.dataset.key],
    ).fetchall()
    count = min(most, len(rows))
    return [Answer(*rows[len(rows) * at // count]) for at in range(count)]


def _row(db: Connection, query: str, *values: object) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = db.execute(query, list(values)).fetchone()
    assert row is not None, "asked for what is known to be there"
    return row


def _run(db: Connection, key: str, name: str) -> RunFacts:
    run, is_finished = _newest_run(db, key, name, ended_first=False)
    if not is_finished:
        raise StoreError(
            f"The results of '{name}' are not finished: run '{run.recipe}' is going on, or was stopped. Run it to the end "
            f"(python -m pipeline recipe={run.recipe}); what is finished is kept"
        )
    return run


def _newest_run(db: Connection, key: str, name: str, *, ended_first: bool = True) -> tuple[RunFacts, bool]:
    """The newest run that has the model, or the newest that has ended; and whether it has."""
    row = db.execute(
        "SELECT r.run_id, r.recipe, r.config, r.versions, r.host, r.git_commit, r.started_at, r.finished_at"
        " FROM runs r WHERE r.run_id IN (SELECT run_id FROM steps WHERE model_key = $1 AND job = 'operation'"
        " AND outcome IN ('done', 'cached')) ORDER BY $2 AND r.finished_at IS NULL, r.started_at DESC LIMIT 1",
        [key, ended_first],
    ).fetchone()
    if row is None:
        raise StoreError(
            f"'{name}' was made by no run of this program: its figures were imported, and its files are not here"
        )
    run_id, recipe, config, versions, host, commit, started, finished = row
    facts = RunFacts(run_id, recipe, json_mapping(config), json_mapping(versions), json_mapping(host), commit, started)
    return facts, finished is not None


def _evaluation(
    db: Connection, key: str, name: str, run: RunFacts, target: str | None
) -> tuple[DatasetFacts, str, str]:
    """The data of the run, the runtime and the machine that figures are of."""
    fingerprint = str(run.config.get("dataset_key", ""))
    rows = db.execute(
        "SELECT DISTINCT target, coalesce(device, '') FROM measurements"
        " WHERE model_key = $1 AND dataset_key = $2 AND target IS NOT NULL"
        " AND target IN (SELECT target FROM predictions WHERE model_key = $1 AND dataset_key = $2)"
        " ORDER BY NOT starts_with(target, 'onnxruntime'), target, 2",
        [key, fingerprint],
    ).fetchall()
    fitting = [row for row in rows if target in (None, row[0])]
    if not fitting:
        others = f" It was evaluated on {', '.join(dict.fromkeys(row[0] for row in rows))}" if rows else ""
        where = f" on '{target}'" if target else ""
        raise StoreError(
            f"'{name}' was not evaluated{where}: there are no answers to compare with.{others}"
            + ("" if rows else f" Run its recipe to the end: python -m pipeline recipe={run.recipe}")
        )
    row = db.execute(
        "SELECT dataset_key, dataset, task, classes, splits FROM datasets WHERE dataset_key = ?", [fingerprint]
    ).fetchone()
    assert row is not None, "predictions refer to it"
    data, dataset, task, classes, splits = row
    return DatasetFacts(data, dataset, task, tuple(classes or ()), json_mapping(splits)), *fitting[0]


def _lineage(db: Connection, key: str, run_id: str) -> tuple[Ancestor, ...]:
    """From the base to the model, then the lineages of models that parameters name."""
    lineage: dict[str, Ancestor] = {}
    waiting = [key]
    while waiting:
        at: str | None = waiting.pop(0)
        line: list[Ancestor] = []
        while at is not None and at not in lineage and at not in {each.key for each in line}:
            parent, name, op, version, form, params, references = _row(
                db,
                "SELECT parent_key, name, op, op_version, format, params, reference_keys FROM models WHERE model_key = ?",
                at,
            )
            path = db.execute(
                "SELECT min(path) FROM steps WHERE run_id = ? AND model_key = ? AND job = 'operation'", [run_id, at]
            ).fetchone()
            own_path = path[0] if path and path[0] else name
            line.insert(0, Ancestor(at, own_path, op, version, form, json_mapping(params), json_mapping(references)))
            at = parent
        lineage |= {each.key: each for each in line}
        waiting += [other for each in line for other in each.references.values()]
    return tuple(lineage.values())


def _figures(db: Connection, key: str, target: str, device: str, dataset: str) -> tuple[MeasuredFigure, ...]:
    rows = db.execute(
        "SELECT m.metric, m.value, m.low, m.high, m.count, k.unit, k.format, k.role, k.pairing, k.is_primary, k.description"
        " FROM measurements m JOIN metrics k USING (metric) WHERE m.model_key = $1 AND coalesce(m.target, $2) = $2"
        " AND coalesce(m.device, $3) = $3 AND coalesce(m.dataset_key, $4) = $4 AND isfinite(m.value)"
        " QUALIFY row_number() OVER (PARTITION BY m.metric ORDER BY m.measured_at DESC) = 1"
        " ORDER BY k.is_primary DESC, m.metric",
        [key, target, device, dataset],
    ).fetchall()
    return tuple(MeasuredFigure(*row) for row in rows)


def _parts(db: Connection, query: str, *place: str) -> tuple[PartFigure, ...]:
    """Parts of the data; `place` is the model, the runtime and the data set."""
    return tuple(PartFigure(*row) for row in db.execute(query, list(place)).fetchall())
