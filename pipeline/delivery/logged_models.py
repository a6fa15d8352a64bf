"""Models of other people's scripts in the results: beside those of recipes, on the same map, with the same comparisons.

    test = EvaluationSet("wine", labels=y_test)
    log("forest", evaluation=test, probabilities=forest.predict_proba(x_test))
    log("forest/small", parent="forest", operation="prune", parameters={"trees": 10}, evaluation=test,
        probabilities=small.predict_proba(x_test), figures={"nodes": 3346})

What can be computed from answers and weights is computed here, by the metrics of recipes; a script gives what only it knows.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ops.core.registry import nearest
from ops.core.text import show
from pipeline.core import environment
from pipeline.core.keys import Key, digest
from pipeline.core.metric_kinds import Better, MetricRole
from pipeline.delivery.evaluation_set import EvaluationSet, LogError
from pipeline.layers.stats.describe import statistics_of
from pipeline.layers.tensors.open import tensors_of_file
from pipeline.measure.metrics.api import METRICS, Estimate, MetricSpec, ModelFiles, Predictions
from pipeline.measure.metrics.compute import compute
from pipeline.measure.metrics.definitions import metric_records
from pipeline.measure.predictions import prediction_record
from pipeline.store.interchange.guess import better_of, operation_kind, role_of
from pipeline.store.queries.model_pair import StoredModel, find_model
from pipeline.store.reader import Connection, open_results
from pipeline.store.records import run_records
from pipeline.store.writer import Store

__all__ = ["LoggedFigure", "log"]

_LEAST_PROBABILITY = 1e-30
"""Stands for zero, whose logarithm is no number."""
_LEAST_STORED = 6e-15
"""What the store keeps of smaller probabilities is no more than that they are small."""
_LOGARITHMIC = "nat"
"""Unit of metrics that a probability of zero makes infinite."""
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class LoggedFigure:
    """A number that only the script knows."""

    value: float
    low: float | None = None
    """Ends of its 95 % interval, if known."""
    high: float | None = None
    count: int | None = None
    """Observations behind it."""
    unit: str | None = None
    """This and what follows: of a metric that Bouillon does not know. By default what its name tells."""
    better: str | None = None
    """`higher`, `lower` or `neither`."""
    role: str | None = None
    """`quality`, `cost`, `size`, `change` or `other`."""


def log(
    name: str,
    *,
    parent: str | None = None,
    operation: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    evaluation: EvaluationSet | None = None,
    probabilities: Any = None,
    weights: str | Path | None = None,
    figures: Mapping[str, float | LoggedFigure] | None = None,
    experiment: str = "logged",
    target: str = "script",
    results: str | Path = "results.duckdb",
) -> str:
    """Write a model that a script made to the results, and publish them.

    Logging a model again replaces its answers and figures; the same ones again change nothing.

    Args:
        name: of the model, as the results show it.
        parent: the model that it was made from: the name or key of one in the results. None: it is a root.
        operation: what was done to the parent.
        parameters: of the operation, JSON-ready.
        evaluation: the instances that `probabilities` are for.
        probabilities: (N, classes), rows that sum to one: answers to the instances, columns in the order of the classes.
        weights: the model's file (`.onnx` or `.safetensors`), for statistics of layers and sizes. It stays where it is.
        figures: metric -> value. Those that follow from answers or weights are computed, and cannot be given.
        experiment: stands where the results have the name of a recipe.
        target: what ran the model; models of one target are compared.
        results: the results file, made if there is none.

    Returns:
        The model's key.

    Raises:
        LogError: if an argument does not fit the others: nothing is written then.
        LayerError: if the weights cannot be read.
        StoreError: if there is no such parent, or the results cannot be written.
    """
    if not name or not isinstance(name, str):
        raise LogError("name: give the model a name")
    if (probabilities is None) != (evaluation is None):
        raise LogError("evaluation and probabilities: answers are of instances, give both or none")
    store = Store(Path(results))
    store.publish()
    db = open_results(Path(results))
    try:
        entry = _Entry(
            name=name,
            parent=None if parent is None else find_model(db, parent),
            operation=operation or ("base" if parent is None else "unknown"),
            parameters=_plain(parameters or {}),
            experiment=experiment,
            target=target,
            file=None if weights is None else Path(weights),
            figures={metric: _checked_figure(metric, one) for metric, one in (figures or {}).items()},
            evaluation=evaluation,
            answers=None if evaluation is None else _predictions(evaluation, probabilities),
            definitions=store.metrics(),
        )
        base = None if entry.parent is None else _stored_answers(db, entry)
    finally:
        db.close()
    facts = list(entry.records(base))
    if entry.evidence not in store.ingested():
        store.write(facts)
        store.publish()
    store.close()
    return entry.key


@dataclass(frozen=True)
class _Entry:
    """One model on its way to records."""

    name: str
    parent: StoredModel | None
    operation: str
    parameters: Mapping[str, Any]
    experiment: str
    target: str
    file: Path | None
    figures: Mapping[str, LoggedFigure]
    evaluation: EvaluationSet | None
    answers: Predictions | None
    definitions: Mapping[str, run_records.Metric]
    key: Key = field(init=False)
    evidence: Key = field(init=False)
    """Identity of all that is said of the model."""

    def __post_init__(self) -> None:
        identity = {
            "experiment": self.experiment,
            "name": self.name,
            "parent": self.parent and self.parent.key,
            "operation": self.operation,
            "parameters": dict(self.parameters),
            "weights": self.file and _digest_of(self.file),
        }
        key = digest({"what": "logged model", **identity})
        statements = {
            "target": self.target,
            "figures": {name: asdict(figure) for name, figure in self.figures.items()},
            "set": self.evaluation and self.evaluation.key,
            "answers": self.answers and hashlib.sha256(self.answers.outputs["logits"].tobytes()).hexdigest(),
        }
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "evidence", digest({"what": "logged evidence", "model": key, **statements}))

    @property
    def run(self) -> str:
        """Id of the run that stands for the call."""
        return f"log-{self.evidence[:16]}"

    def records(self, base: Predictions | None) -> Iterator[run_records.Record]:
        """Return all facts, in no particular order; `base` are the root's answers, where they are known."""
        now = datetime.now(UTC)
        config = {"log": self.name, "target": self.target}
        commit = environment.git_commit(Path.cwd())
        yield run_records.Run(
            self.run, self.experiment, config, environment.versions(), environment.host(), commit, now
        )
        yield run_records.Device(environment.device_id(), environment.device())
        yield from metric_records()
        yield run_records.Model(
            model_key=self.key,
            parent_key=self.parent and self.parent.key,
            name=self.name,
            title="",
            recipe=self.experiment,
            op=self.operation,
            op_version=0,
            kind=operation_kind(self.operation, is_root=self.parent is None),
            format=self.file.suffix.removeprefix(".") if self.file else "",
            params=self.parameters,
        )
        computed = set()
        for spec, estimate, place in (*self._of_answers(base), *self._of_weights()):
            computed.add(spec.name)
            figure = LoggedFigure(estimate.value, estimate.low, estimate.high, estimate.count)
            yield self._measurement(spec.name, figure, place, now)
            if estimate.rows is not None:
                yield run_records.InstanceValues(
                    model_key=self.key, metric=spec.name, values=estimate.rows, evidence_key=self.evidence, **place
                )
        if self.evaluation is not None and self.answers is not None:
            yield from self.evaluation.records()
            yield prediction_record(self.answers, model=self.key, target=self.target, dataset=self.evaluation.key)
        if self.file is not None:
            for parts in statistics_of(tensors_of_file(self.file), self.key):
                yield from parts
        yield from self._own_figures(computed, now)
        yield run_records.Ingested(self.evidence)
        yield run_records.RunEnd(self.run, now, 0)

    def _of_answers(self, base: Predictions | None) -> Iterator[tuple[MetricSpec, Estimate, dict[str, str]]]:
        """The metrics of answers. Where some probability is zero, those that take its logarithm are left out."""
        if self.answers is None:
            return
        is_bounded = not any(_has_zeros(one) for one in (self.answers, base) if one is not None)
        for spec, estimate in compute(self.answers, base=base):
            if is_bounded or spec.unit != _LOGARITHMIC:
                yield spec, estimate, self._place(spec.role)

    def _of_weights(self) -> Iterator[tuple[MetricSpec, Estimate, dict[str, str]]]:
        if self.file is None:
            return
        layers, _ = statistics_of(tensors_of_file(self.file), self.key)
        files = ModelFiles(self.file, tuple(asdict(layer) for layer in layers), _macs(self.file))
        for spec, estimate in compute(files):
            yield spec, estimate, dict.fromkeys(("target", "device", "dataset_key"), "")

    def _own_figures(self, computed: set[str], now: datetime) -> Iterator[run_records.Record]:
        for metric, figure in self.figures.items():
            if metric in computed:
                raise LogError(f"figures: {metric} is computed from what else is given; leave it out")
            definition = self._definition(metric, figure)
            if metric not in METRICS and definition != self.definitions.get(metric):
                yield definition
            yield self._measurement(metric, figure, self._place(definition.role), now)

    def _definition(self, metric: str, figure: LoggedFigure) -> run_records.Metric:
        """What a metric means: as it is known, or as the figure and its name tell."""
        definitions = {one.metric: one for one in metric_records()} if metric in METRICS else self.definitions
        if metric in definitions:
            mine = definitions[metric]
            for word, own, asked in (
                ("unit", mine.unit, figure.unit),
                ("better", mine.better, figure.better),
                ("role", mine.role, figure.role),
            ):
                if asked is not None and asked != own:
                    raise LogError(
                        f"figures: {metric} has the {word} '{own}' in these results, not '{asked}'; choose another name"
                    )
            return mine
        better, role = figure.better or better_of(metric), figure.role or role_of(metric)
        for word, value, allowed in (("better", better, Better), ("role", role, MetricRole)):
            if value not in list(allowed):
                raise LogError(
                    f"figures: {metric}: no {word} is called '{value}'.{nearest(value, allowed)} There are {', '.join(allowed)}"
                )
        return run_records.Metric(
            metric=metric,
            unit=figure.unit or "",
            format=".4g",
            better=better,
            primary=False,
            description=f"{metric}, as logged by a script",
            role=role,
        )

    def _measurement(
        self, metric: str, figure: LoggedFigure, place: Mapping[str, str], now: datetime
    ) -> run_records.Measurement:
        return run_records.Measurement(
            model_key=self.key,
            metric=metric,
            value=figure.value,
            low=figure.low,
            high=figure.high,
            count=figure.count,
            run_id=self.run,
            measured_at=now,
            evidence_key=self.evidence,
            **place,
        )

    def _place(self, role: str) -> dict[str, str]:
        """What a figure depends on, by its role: sizes on nothing, costs on the machine, answers on the data too."""
        answered = role in (MetricRole.QUALITY, MetricRole.CHANGE) and self.evaluation is not None
        here = answered or role == MetricRole.COST
        return {
            "target": self.target if here else "",
            "device": environment.device_id() if here else "",
            "dataset_key": self.evaluation.key if answered and self.evaluation else "",
        }


def _checked_figure(metric: str, value: float | LoggedFigure) -> LoggedFigure:
    """A figure whose numbers are numbers."""
    figure = value if isinstance(value, LoggedFigure) else LoggedFigure(value)
    ends = {word: getattr(figure, word) for word in ("value", "low", "high")}
    try:
        numbers: dict[str, Any] = {word: None if end is None else float(end) for word, end in ends.items()}
    except (TypeError, ValueError):
        raise LogError(f"figures: {metric}: expected a number or a bouillon.Figure, got {show(value)}") from None
    for word, number in numbers.items():
        if number is not None and not math.isfinite(number):
            raise LogError(f"figures: {metric}: its {word} is {number}; leave out what is not a number")
    return replace(figure, **numbers)


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-ready: NumPy's numbers become numbers, everything else that JSON does not know its text."""
    return dict(
        json.loads(
            json.dumps(dict(parameters), default=lambda one: one.tolist() if hasattr(one, "tolist") else str(one))
        )
    )


def _digest_of(file: Path) -> str:
    tensors_of_file(file)  # says what is wrong with it
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _macs(file: Path) -> int | None:
    if file.suffix != ".onnx":
        return None
    from ops.onnx_graph.macs import count_macs, has_free_sizes, total_macs

    return None if has_free_sizes(file) else total_macs(count_macs(file))


def _predictions(evaluation: EvaluationSet, probabilities: Any) -> Predictions:
    """Answers as metrics take them.

    Raises:
        LogError: if they are no probabilities of the classes for each instance.
    """
    values = np.asarray(probabilities, np.float64)
    classes = tuple(evaluation.classes or ())
    if values.shape != (len(evaluation), len(classes)):
        raise LogError(
            f"probabilities: expected the shape ({len(evaluation)}, {len(classes)}), instances by classes, got {values.shape}"
        )
    sums = values.sum(axis=1)
    odd = (values < 0).any(axis=1) | (np.abs(sums - 1) > _SUM_TOLERANCE)  # NaN is neither: a broken model is logged too
    if odd.any():
        row = int(np.flatnonzero(odd)[0])
        raise LogError(
            f"probabilities: row {row} is no distribution (it sums to {sums[row]:.4g}); of logits take the softmax"
        )
    return Predictions(
        task=evaluation.task,
        classes=classes,
        ids=tuple(evaluation.ids or ()),
        outputs={"logits": np.log(np.maximum(values, _LEAST_PROBABILITY)).astype(np.float32)},
        targets={"labels": evaluation.label_numbers()},
        attributes={name: tuple(own) for name, own in evaluation.attributes.items()} or None,
    )


def _has_zeros(answers: Predictions) -> bool:
    return bool((answers.outputs["logits"] <= np.float32(math.log(_LEAST_PROBABILITY))).any())


def _stored_answers(db: Connection, entry: _Entry) -> Predictions | None:
    """The answers of the root of the tree to the same instances; None where the results do not hold them."""
    if entry.parent is None or entry.evaluation is None:
        return None
    rows = db.execute(
        "SELECT probabilities FROM predictions WHERE model_key = ? AND target = ? AND dataset_key = ?"
        " AND split = 'evaluation' ORDER BY position",
        [entry.parent.root, entry.target, entry.evaluation.key],
    ).fetchall()
    if len(rows) != len(entry.evaluation):
        return None
    classes = len(entry.evaluation.classes or ())
    invalid = [math.nan] * classes
    values = np.array([row if row is not None else invalid for (row,) in rows], np.float64)
    values[values <= _LEAST_STORED] = 0
    return _predictions(entry.evaluation, values / values.sum(axis=1, keepdims=True))
