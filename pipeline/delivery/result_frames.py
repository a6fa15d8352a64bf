"""Results as data frames, for notebooks and scripts.

results = ResultFrames("results.duckdb")
results.models()
results.compare("base/int8", "base")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.metric_kinds import Better
from pipeline.core.statistics import CONFIDENCE, Interval
from pipeline.delivery.gate_evidence import Unknown, parts_of
from pipeline.delivery.gate_rules import JudgedFigure, Rule
from pipeline.store.queries.model_pair import ModelPair, find_model
from pipeline.store.reader import Connection, open_results
from pipeline.store.records.run_records import Metric

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ResultFrames"]


class ResultFrames:
    """Some results, read only. Every call sees what is published when it is made."""

    def __init__(self, path: str | Path = "results.duckdb") -> None:
        """Name the results file.

        Raises:
            StoreError: if it cannot be read.
        """
        self.path = Path(path)
        open_results(self.path).close()

    def query(self, sql: str, *values: Any) -> pd.DataFrame:
        """Return what a query gives. Tables and views are in `pipeline/store/README.md`.

        Args:
            sql: one statement; the results stay what they are.
            values: of its parameters (`?`).
        """
        db = open_results(self.path)
        try:
            return db.execute(sql, values).df()
        finally:
            db.close()

    def models(self) -> pd.DataFrame:
        """Return a row per model, target, device and data set, and a column per metric: the view `scoreboard`."""
        return self.query("FROM scoreboard ORDER BY depth, model, target, device, dataset_key")

    def lineage(self, model: str) -> pd.DataFrame:
        """Return every operation on the way to a model, its root first.

        Args:
            model: name or key (its beginning is enough).

        Raises:
            StoreError: if there is no such model, or several.
        """
        return self.query(
            "SELECT m.* FROM models m JOIN lineage l ON l.model_key = ?"
            " WHERE m.model_key = l.model_key OR list_contains(l.ancestors, m.model_key) ORDER BY m.depth",
            self._key(model),
        )

    def predictions(self, model: str) -> pd.DataFrame:
        """Return a model's answers, a row per instance and target.

        Args:
            model: name or key (its beginning is enough).

        Raises:
            StoreError: if there is no such model, or several.
        """
        return self._of("predictions", model, "target, dataset_key, split, position")

    def layers(self, model: str) -> pd.DataFrame:
        """Return statistics of a model's tensors, a row for each.

        Args:
            model: name or key (its beginning is enough).

        Raises:
            StoreError: if there is no such model, or several.
        """
        return self._of("layers", model, "tensor")

    def compare(
        self,
        candidate: str,
        reference: str,
        *,
        confidence: float = CONFIDENCE,
        target: str | None = None,
        device: str | None = None,
        dataset: str | None = None,
    ) -> pd.DataFrame:
        """Compare two models in every metric that both have: paired by instance or session, as far as they can be.

        Args:
            candidate: name or key (its beginning is enough).
            reference: likewise.
            confidence: of the intervals.
            target: runtime, where they were measured on several.
            device: id of the machine, likewise.
            dataset: name or key (its beginning) of the data set, likewise.

        Returns:
            A row per metric: `metric`, `unit`, `candidate`, `reference`, `change` (candidate less reference) with `low` and
            `high`, and the `verdict`: better, worse, higher or lower (metrics without a good direction), no difference
            (that is larger than chance), or unknown, with a `note`. Intervals are not corrected for the number of metrics.

        Raises:
            StoreError: if a model is unknown, or they share no conditions, or several.
        """
        import pandas as pd

        with ModelPair(self.path, candidate, reference, target=target, device=device, dataset=dataset) as pair:
            rows = [_row(metric, pair, confidence) for metric in pair.metrics().values()]
        columns = ["metric", "unit", "candidate", "reference", "change", "low", "high", "verdict", "note"]
        return pd.DataFrame([row for row in rows if row is not None], columns=columns)

    def _of(self, view: str, model: str, order: str) -> pd.DataFrame:
        return self.query(f"FROM {view} WHERE model_key = ? ORDER BY {order}", self._key(model))

    def _key(self, model: str) -> str:
        db: Connection = open_results(self.path)
        try:
            return find_model(db, model).key
        finally:
            db.close()


def _row(metric: Metric, pair: ModelPair, confidence: float) -> tuple[Any, ...] | None:
    """The comparison in one metric; None where one of the two lacks it."""
    mine, theirs = (pair.figure(metric.metric, model) for model in (pair.candidate, pair.reference))
    if mine is None or theirs is None:
        return None
    head = (metric.metric, metric.unit, mine.value, theirs.value)
    parts = parts_of(Rule(metric.metric, metric, JudgedFigure.RISE, ">", 0.0), pair)
    if isinstance(parts, Unknown):
        return (*head, mine.value - theirs.value, None, None, "unknown", parts.reason)
    change = parts[0].estimate.interval(confidence)
    return (*head, change.value, change.low, change.high, _verdict(change, metric), parts[0].note)


def _verdict(change: Interval, metric: Metric) -> str:
    if change.low <= 0 <= change.high:
        return "no difference"
    rises = change.value > 0
    if metric.better not in (Better.HIGHER, Better.LOWER):
        return "higher" if rises else "lower"
    return "better" if rises == (metric.better == Better.HIGHER) else "worse"
