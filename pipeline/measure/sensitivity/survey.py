"""One candidate on every layer of a model, one after the other: damage, and what it saves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ops.core.errors import OperationError
from ops.core.operation import Batch, Context, OnnxModel, TorchModel
from pipeline.core.keys import Key
from pipeline.measure.metrics.api import Predictions
from pipeline.measure.sensitivity.damage import Damage, damage_of, run_model
from pipeline.measure.sensitivity.groups import changed_groups, quantized_groups
from pipeline.measure.sensitivity.sizes import Sizes, WeightSizes, work_of
from pipeline.plan.candidates import LayerCandidate
from pipeline.store.records.run_records import Sensitivity

__all__ = ["ALL_LAYERS", "SCORE_INSTANCES", "Survey", "costs_of", "layers_to_measure"]

ALL_LAYERS, TOP_LAYERS = 64, 20
"""Of a network with at most so many layers all are measured, else so many: those of the largest scores."""
SCORE_INSTANCES = 64
_CHECKPOINT = "layers.jsonl"
Changed = tuple[TorchModel | OnnxModel, Mapping[str, Any]]


def layers_to_measure(scores: Mapping[str, float | None], exact: int | None) -> set[str]:
    """Return the layers that are run: all, or those of the largest scores; one without a score is always run."""
    if exact is None:
        exact = len(scores) if len(scores) <= ALL_LAYERS else TOP_LAYERS
    ranked = sorted((name for name in scores if scores[name] is not None), key=lambda name: -(scores[name] or 0.0))
    return {*ranked[:exact], *(name for name in scores if scores[name] is None)}


@dataclass
class Survey:
    """A candidate and a model."""

    key: Key
    model_key: Key
    candidate: LayerCandidate
    model: TorchModel | OnnxModel
    apply: Callable[[Mapping[str, Any]], Changed]
    """Applies the operation to the model with some parameters: the result and its notes."""
    batches: Sequence[Batch]
    """Calibration instances."""
    exact: int | None = None
    sizes: WeightSizes = field(default_factory=WeightSizes)

    @cached_property
    def uniform(self) -> Changed:
        """The model with the candidate on all its layers."""
        return self.apply(self.candidate.params)

    @cached_property
    def groups(self) -> list[tuple[str, ...]]:
        """The layers that can change, those that change together as one.

        Raises:
            OperationError: there is none.
        """
        changed, notes = self.uniform
        if isinstance(self.model, TorchModel) and isinstance(changed, TorchModel):
            return changed_groups(self.candidate, self.model, changed)
        return quantized_groups(notes, self.candidate.label)

    def alone(self, group: Sequence[str]) -> TorchModel | OnnxModel:
        """Return the model with the candidate on one group of layers alone."""
        return self.apply(self.candidate.params_for(group))[0]

    def records(self, context: Context) -> list[Sensitivity]:
        """Measure every layer that is worth it, and return a record of each.

        What is done is kept in the context's folder, so that a run that was killed goes on.

        Raises:
            OperationError: the candidate changes no layer, or there are no instances.
        """
        scores, seconds = self._scores()
        measured = layers_to_measure(scores, self.exact)
        file = context.scratch / _CHECKPOINT
        present = _read(file)
        for done, (position, group) in enumerate(enumerate(self.groups)):
            name = group[0]
            if name not in present:
                record = self._record(position, group, scores[name], seconds / len(self.groups), name in measured)
                with file.open("a") as stream:
                    stream.write("\n" + json.dumps(asdict(record)) + "\n")  # a kill may have cut the line before
                present[name] = record
            context.progress(done + 1, len(self.groups), name)
        return [present[group[0]] for group in self.groups]

    def _scores(self) -> tuple[dict[str, float | None], float]:
        """Estimates by first layer, and the seconds that all took, the candidate's application included."""
        start = time.perf_counter()
        changed = self.uniform[0]
        if not (isinstance(self.model, TorchModel) and isinstance(changed, TorchModel)):
            return {group[0]: None for group in self.groups}, 0.0
        from pipeline.measure.sensitivity.score import layer_scores

        scores = layer_scores(self.model, changed, self.groups, _first(self.batches, SCORE_INSTANCES))
        return scores, time.perf_counter() - start

    def _record(
        self, position: int, group: tuple[str, ...], score: float | None, score_seconds: float, is_measured: bool
    ) -> Sensitivity:
        start, reason, damage = time.perf_counter(), "", Damage()
        sizes, work = self._before
        after, after_work = sizes, work
        try:
            changed = self.alone(group)
            after, after_work = self.sizes.of(changed), self._work(changed)
            if is_measured:
                damage = damage_of(run_model(changed, self.batches), self._base)
        except OperationError as error:
            reason = str(error)
        return Sensitivity(
            evidence_key=self.key,
            model_key=self.model_key,
            candidate=self.candidate.label,
            op=self.candidate.op,
            params=dict(self.candidate.params),
            layer=group[0],
            members=list(group),
            position=position,
            score=score,
            **{name: _stored(value) for name, value in asdict(damage).items()},
            weight_bytes=sizes.weight_bytes - after.weight_bytes,
            compressed_weight_bytes=sizes.compressed_weight_bytes - after.compressed_weight_bytes,
            macs=work - after_work,
            before={**asdict(sizes), "macs": work},
            reason=reason,
            instances=len(self._base.ids),
            seconds=time.perf_counter() - start,
            score_seconds=score_seconds,
        )

    @cached_property
    def _base(self) -> Predictions:
        return run_model(self.model, self.batches)

    @cached_property
    def _before(self) -> tuple[Sizes, int]:
        return self.sizes.of(self.model), self._work(self.model)

    def _work(self, model: TorchModel | OnnxModel) -> int:
        """Multiply-accumulates; 0 where the candidate leaves all layers as wide as they were, so that they do not change."""
        changed = self.uniform[0]
        if isinstance(model, OnnxModel) or not (isinstance(changed, TorchModel) and isinstance(self.model, TorchModel)):
            return 0
        return 0 if changed.edits == self.model.edits else work_of(model)


def costs_of(model: TorchModel | OnnxModel, *, work: bool) -> dict[str, float]:
    """Return a model's sizes, and of a network its multiply-accumulates where `work` asks for them."""
    sizes = asdict(WeightSizes().of(model))
    return {**sizes, **({"macs": work_of(model)} if work and isinstance(model, TorchModel) else {})}


_LARGEST = 1e300


def _stored(value: float | None) -> float | None:
    """JSON knows no infinity: a broken model has the largest damage."""
    return _LARGEST if value == float("inf") else value


def _first(batches: Sequence[Batch], count: int) -> list[Batch]:
    result: list[Batch] = []
    for batch in batches:
        room = count - sum(map(len, result))
        if room <= 0:
            break
        inputs, targets = (
            {name: array[:room] for name, array in arrays.items()} for arrays in (batch.inputs, batch.targets)
        )
        result.append(Batch(batch.ids[:room], inputs, targets))
    return result


def _read(file: Path) -> dict[str, Sensitivity]:
    """Read what is done; a line that a kill has cut short is not."""
    records: dict[str, Sensitivity] = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            record = Sensitivity(**json.loads(line))
        except (ValueError, TypeError):
            continue
        records[record.layer] = record
    return records
