"""Say of language models which tokens a step costs: by kind, by place, and by group of documents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ops.core.tasks.task import TASKS
from pipeline.core.keys import Key
from pipeline.engine.jobs import Job
from pipeline.engine.stage import Planning, Recording, Stage, register
from pipeline.measure.predictions import load_predictions
from pipeline.stages.predict import PREDICT
from pipeline.store.write.own_table import own_table

if TYPE_CHECKING:
    from pipeline.engine.worker import Worker
    from pipeline.measure.metrics.api import Estimate

_GROUPS = "groups.json"


@own_table("token_groups", model_key="model")
@dataclass(frozen=True, slots=True)
class TokenGroupRecord:
    """A model's tokens of one kind, of one place in their documents, or of documents of one group; intervals over documents."""

    model_key: Annotated[str, "The language model."]
    target: Annotated[str, "The target on which its tokens were observed."]
    grouping: Annotated[str, "`kind`, `position`, or the attribute of documents."]
    name: Annotated[str, "The group of tokens."]
    documents: Annotated[int, "Documents that have such tokens."]
    tokens: Annotated[int, "Tokens that are judged."]
    loss: Annotated[float | None, "Mean negative log-probability in nats per token."]
    loss_low: Annotated[float | None, "Low end of the 95 % interval of `loss`, over documents."]
    loss_high: Annotated[float | None, "High end of the 95 % interval of `loss`, over documents."]
    loss_change: Annotated[float | None, "`loss` less the base's, paired by document; NULL for the base."]
    loss_change_low: Annotated[float | None, "Low end of the 95 % interval of `loss_change`, over documents."]
    loss_change_high: Annotated[float | None, "High end of the 95 % interval of `loss_change`, over documents."]
    flips: Annotated[float | None, "Share of tokens whose first choice is another than the base's."]
    flips_low: Annotated[float | None, "Low end of the 95 % interval of `flips`, over documents."]
    flips_high: Annotated[float | None, "High end of the 95 % interval of `flips`, over documents."]
    flip_margin: Annotated[
        float | None, "Where it flipped: the base's probability of its first choice less the second's."
    ]
    flip_margin_low: Annotated[float | None, "Low end of the 95 % interval of `flip_margin`, over documents."]
    flip_margin_high: Annotated[float | None, "High end of the 95 % interval of `flip_margin`, over documents."]


@dataclass(frozen=True, slots=True)
class TokenGroupParams:
    """Predictions that groups are made of."""

    predictions: Key
    base: Key | None = None
    """Of the root; None for the root itself."""


class TokenGroupStage(Stage[TokenGroupParams]):
    """The tokens of every language model on every target, by group."""

    name, version, params = "token_groups", 1, TokenGroupParams
    needs = ("predict",)

    def jobs(self, planning: Planning) -> Iterator[Job[TokenGroupParams]]:
        """One job per model and target, of tasks whose answers are tokens."""
        if not TASKS[planning.plan.facts.task].needs_own_tokenizer:
            return
        answers = {(run.model, run.target): run.key for run in planning.jobs_of(PREDICT)}
        for (model, target), predictions in answers.items():
            step = planning.steps[model]
            base = answers.get((step.root, target))
            params = TokenGroupParams(predictions, None if base == predictions else base)
            sources = tuple(dict.fromkeys(key for key in (predictions, params.base) if key is not None))
            key = self.key(model, predictions=predictions, base=params.base)
            yield Job(key, self.name, step.path, model, sources, params, target)

    def make(self, worker: Worker, job: Job[TokenGroupParams], folder: Path, scratch: Path) -> dict[str, Any]:
        """Write groups.json."""
        from pipeline.measure.token_groups import token_groups

        params = job.params
        predictions = load_predictions(worker.artifacts.folder(params.predictions))
        base = None if params.base is None else load_predictions(worker.artifacts.folder(params.base))
        rows = []
        for group in token_groups(predictions, base):
            row: dict[str, Any] = {}
            for each in fields(group):
                value = getattr(group, each.name)
                row |= {each.name: value} if isinstance(value, int | str) else _ends(each.name, value)
            rows.append(row)
        (folder / _GROUPS).write_text(json.dumps(rows))
        return {}

    def records(self, job: Job[TokenGroupParams], recording: Recording) -> Iterator[TokenGroupRecord]:
        """All groups."""
        for row in json.loads((recording.artifacts.folder(job.key) / _GROUPS).read_text()):
            yield TokenGroupRecord(model_key=job.model, target=job.target, **row)


TOKEN_GROUPS = register(TokenGroupStage())


def _ends(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
