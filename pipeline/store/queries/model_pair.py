"""Two models of some results side by side: their figures, answers and times under the same conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ops.core.registry import nearest
from pipeline.store.errors import StoreError
from pipeline.store.queries.metrics import stored_metrics
from pipeline.store.reader import Connection, open_results
from pipeline.store.records.run_records import Metric

__all__ = ["Conditions", "Figure", "ModelPair", "PairedAnswers", "SpeedupRow", "StoredModel", "find_model"]

_SEVERAL = 4
"""Names in a message."""


class StoredModel(NamedTuple):
    """A model of the results."""

    key: str
    name: str
    root: str
    """Key of the base at the top of its tree."""


class Conditions(NamedTuple):
    """The runtime, machine and data that figures were measured with; empty: the figures depend on none."""

    target: str
    device: str
    dataset_key: str
    dataset: str

    @property
    def text(self) -> str:
        """For people."""
        return " · ".join(part for part in (self.target, self.device, self.dataset) if part) or "no conditions"


class Figure(NamedTuple):
    """A stored value with its 95 % interval, where one is known."""

    value: float
    low: float | None
    high: float | None
    observations: int | None
    of_file: bool
    """Whether it depends on no runtime, machine or data: it counts what is in the model's file."""


@dataclass(frozen=True, slots=True)
class PairedAnswers:
    """Right and wrong answers of two models on the same instances."""

    candidate: np.ndarray
    """bool (N,)."""
    reference: np.ndarray
    """bool (N,)."""
    classes: np.ndarray | None
    """Label of each instance, str (N,); None where the task has no classes."""
    attributes: dict[str, np.ndarray]
    """Name -> value of each instance, str (N,)."""


class SpeedupRow(NamedTuple):
    """Time of the other divided by time of the model, with its 95 % interval."""

    ratio: float
    low: float
    high: float
    contended: bool


def find_model(db: Connection, text: str) -> StoredModel:
    """Return the one model that is called `text`, or whose key begins so.

    Raises:
        StoreError: if there is none, several, or its step failed; with the nearest name, or the keys to choose from.
    """
    query = "SELECT model_key, name, root_key FROM models WHERE {} ORDER BY name, model_key"
    rows = db.execute(query.format("name = $1 OR model_key = $1"), [text]).fetchall()
    rows = rows or (db.execute(query.format("starts_with(model_key, $1)"), [text]).fetchall() if text else [])
    if len(rows) == 1:
        return StoredModel(*rows[0])
    if rows:
        keys = ", ".join(f"{key[:12]} ({name})" for key, name, _ in rows[:_SEVERAL])
        rest = f" and {len(rows) - _SEVERAL} more" if len(rows) > _SEVERAL else ""
        raise StoreError(f"Several models are called '{text}' in these results. Name one by its key: {keys}{rest}")
    failed = db.execute(
        "SELECT error FROM steps WHERE path = $1 AND outcome IN ('failed', 'skipped') ORDER BY finished_at DESC LIMIT 1",
        [text],
    ).fetchone()
    if failed:
        raise StoreError(f"There is no model '{text}': its step failed ({failed[0]})")
    names = [name for (name,) in db.execute("SELECT DISTINCT name FROM models").fetchall()]
    raise StoreError(f"No model is called '{text}' in these results.{nearest(text, names)}")


class ModelPair:
    """A candidate and a reference, compared under one set of conditions. Opens the results for as long as it lives.

    with ModelPair(Path("results.duckdb"), "base/int8", "base") as pair:
        pair.answers()
    """

    def __init__(
        self,
        results: Path,
        candidate: str,
        reference: str,
        *,
        target: str | None = None,
        device: str | None = None,
        dataset: str | None = None,
    ) -> None:
        """Find both models and the conditions that they share.

        Args:
            results: the results file.
            candidate: name or key (its beginning is enough).
            reference: likewise.
            target: runtime, where they were measured on several.
            device: id of the machine, likewise.
            dataset: name or key (its beginning) of the data set, likewise.

        Raises:
            StoreError: if a model is unknown, or they share no conditions, or several.
        """
        self._db = open_results(results)
        try:
            self.candidate, self.reference = find_model(self._db, candidate), find_model(self._db, reference)
            self.conditions = self._shared(
                {"--target": target, "--device": device, "--dataset": dataset},
                lambda of: (
                    (target in (None, of.target))
                    and (device in (None, of.device))
                    and (dataset is None or dataset == of.dataset or of.dataset_key.startswith(dataset))
                ),
            )
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> ModelPair:
        return self

    def __exit__(self, *error: object) -> None:
        self._db.close()

    # ---- conditions
    def _shared(self, options: dict[str, str | None], fits: Callable[[Conditions], bool]) -> Conditions:
        mine, theirs = self._conditions(self.candidate), self._conditions(self.reference)
        both = [conditions for conditions in mine if conditions in theirs and fits(conditions)]
        evaluated = [conditions for conditions in both if conditions.dataset_key]
        if not evaluated and not all(any(of.dataset_key for of in side) for side in (mine, theirs)):
            evaluated = both  # one of the two answered nothing: times and sizes can still be compared
        if len(evaluated) == 1:
            return evaluated[0]
        if not evaluated and not mine and not theirs:
            return Conditions("", "", "", "")
        if evaluated:
            listed = "; ".join(conditions.text for conditions in evaluated[:_SEVERAL])
            names = [name for name, value in options.items() if value is None]
            raise StoreError(
                f"Both models were measured under several conditions: choose by {_either(names)}. {listed}"
            )
        selection = " ".join(f"{name} {value}" for name, value in options.items() if value is not None)
        within = f" with {selection}" if selection else ""
        sides = [
            f"'{model.name}' {_listed(conditions)}"
            for model, conditions in ((self.candidate, mine), (self.reference, theirs))
        ]
        raise StoreError(
            f"The two models were not measured under the same conditions{within}: {', '.join(sides)}. Run both in one recipe"
        )

    def _conditions(self, model: StoredModel) -> list[Conditions]:
        rows = self._db.execute(
            "SELECT DISTINCT target, coalesce(device, ''), coalesce(dataset_key, ''), coalesce(dataset, '')"
            " FROM measurements WHERE model_key = ? AND target IS NOT NULL ORDER BY ALL",
            [model.key],
        ).fetchall()
        return [Conditions(*row) for row in rows]

    # ---- figures
    def metrics(self) -> dict[str, Metric]:
        """Return the metrics of the results by name."""
        return stored_metrics(self._db)

    def figure(self, metric: str, model: StoredModel) -> Figure | None:
        """Return the newest value of a model under the conditions."""
        target, device, dataset_key, _ = self.conditions
        row = self._db.execute(
            "SELECT value, low, high, count, coalesce(target, device, dataset_key) IS NULL FROM measurements"
            " WHERE model_key = $1 AND metric = $2"
            " AND coalesce(target, $3) = $3 AND coalesce(device, $4) = $4 AND coalesce(dataset_key, $5) = $5"
            " ORDER BY measured_at DESC LIMIT 1",
            [model.key, metric, target, device, dataset_key],
        ).fetchone()
        return None if row is None else Figure(*row)

    def values(self, metric: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the metric of each instance that counts, float64 (N,), of candidate and reference.

        None where the two do not count the same instances.
        """
        mine, theirs = (self._values(metric, model) for model in (self.candidate, self.reference))
        counted = ~np.isnan(mine)
        if not mine.size or mine.shape != theirs.shape or not np.array_equal(counted, ~np.isnan(theirs)):
            return None
        return mine[counted], theirs[counted]

    def _values(self, metric: str, model: StoredModel) -> np.ndarray:
        target, device, dataset_key, _ = self.conditions
        rows = self._db.execute(
            "SELECT value FROM instance_values WHERE model_key = $1 AND metric = $2 AND target = $3"
            " AND coalesce(device, $4) = $4 AND dataset_key = $5 ORDER BY position",
            [model.key, metric, target, device, dataset_key],
        ).fetchnumpy()["value"]
        return np.ma.filled(np.ma.asarray(rows, np.float64), np.nan)

    def answers(self) -> PairedAnswers | None:
        """Return which answers of the two are right, by instance; None where they did not answer the same ones."""
        target, _, dataset_key, _ = self.conditions
        rows = self._db.execute(
            "SELECT c.correct AS candidate, r.correct AS reference, i.label, i.attributes FROM predictions c"
            " JOIN predictions r USING (target, dataset_key, split, position)"
            " JOIN instances i USING (dataset_key, split, position)"
            " WHERE c.model_key = $1 AND r.model_key = $2 AND target = $3 AND dataset_key = $4 AND split = 'evaluation'"
            " ORDER BY position",
            [self.candidate.key, self.reference.key, target, dataset_key],
        ).fetchall()
        if not rows:
            return None
        candidate, reference, labels, attributes = zip(*rows, strict=True)
        (classes,) = self._db.execute(
            "SELECT len(classes) FROM datasets WHERE dataset_key = ?", [dataset_key]
        ).fetchone() or (0,)
        names = dict.fromkeys(name for row in attributes for name in row)
        return PairedAnswers(
            np.array(candidate, bool),
            np.array(reference, bool),
            np.array(labels) if classes else None,
            {name: np.array([row.get(name, "") for row in attributes]) for name in names},
        )

    # ---- times
    def speedup(self, clock: str) -> SpeedupRow | None:
        """Return how many times as fast the candidate is as the reference, by `cpu` or `wall` time of one session.

        Directly where the session compared the two; else through a third that it compared both with, where the
        interval is that of two independent ratios: wider than the truth, as the third is the same in both.
        """
        rows: list[Any] = self._db.execute(
            "SELECT model_key, against_key, evidence_key, ratio, low, high, contended FROM speedups"
            " WHERE clock = $1 AND target = $2 AND device = $3 AND scenario = 'single_stream' AND batch_size = 1"
            " AND threads = 1 AND relation <> 'itself' AND low IS NOT NULL AND (model_key IN ($4, $5))"
            " ORDER BY measured_at DESC",
            [clock, self.conditions.target, self.conditions.device, self.candidate.key, self.reference.key],
        ).fetchall()
        of = {(row[0], row[1], row[2]): SpeedupRow(*row[3:]) for row in reversed(rows)}
        mine, theirs = self.candidate.key, self.reference.key
        for (model, against, _), row in reversed(of.items()):
            if (model, against) == (mine, theirs):
                return row
            if (model, against) == (theirs, mine):
                return SpeedupRow(1 / row.ratio, 1 / row.high, 1 / row.low, row.contended)
        for (model, against, session), row in reversed(of.items()):
            other = of.get((theirs, against, session))
            if model == mine and other is not None:
                return _through(row, other)
        return None

    def is_rough(self, model: StoredModel) -> bool:
        """Whether a model's times are first figures, taken beside other work, or contended."""
        row = self._db.execute(
            "SELECT bool_or(rough OR contended) FROM timings WHERE model_key = ? AND target = ? AND device = ?"
            " AND error IS NULL AND scenario = 'single_stream' AND threads = 1",
            [model.key, self.conditions.target, self.conditions.device],
        ).fetchone()
        return bool(row and row[0])

    def name_of(self, key: str) -> str:
        """Return a model's name."""
        row = self._db.execute("SELECT name FROM models WHERE model_key = ?", [key]).fetchone()
        return str(row[0]) if row else key[:12]


def _through(row: SpeedupRow, other: SpeedupRow) -> SpeedupRow:
    centre = np.log(row.ratio) - np.log(other.ratio)
    below = np.hypot(np.log(row.ratio / row.low), np.log(other.high / other.ratio))
    above = np.hypot(np.log(row.high / row.ratio), np.log(other.ratio / other.low))
    ratio, low, high = (float(np.exp(value)) for value in (centre, centre - below, centre + above))
    return SpeedupRow(ratio, low, high, row.contended or other.contended)


def _listed(conditions: list[Conditions]) -> str:
    if not conditions:
        return "was not measured"
    rest = f" and {len(conditions) - _SEVERAL} more" if len(conditions) > _SEVERAL else ""
    return "on " + "; ".join(each.text for each in conditions[:_SEVERAL]) + rest


def _either(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
