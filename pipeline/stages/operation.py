"""Make a model: load the parent, apply the operation, store the result."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.errors import OperationError
from ops.core.operation import OPERATIONS, OnnxModel, OpSpec, TorchModel, Uses
from pipeline.core import environment
from pipeline.core.keys import Key
from pipeline.core.user_code import code_of, edited
from pipeline.datasets.interface import Interface
from pipeline.engine.jobs import Job
from pipeline.engine.stage import Planning, Recording, Stage, register
from pipeline.measure.change_count import count_changed
from pipeline.models import storage
from pipeline.models.identity import check_content
from pipeline.stages.operation_context import WorkerContext
from pipeline.store.records.run_records import Model

if TYPE_CHECKING:
    from pipeline.engine.worker import Worker

UNSEEDED = 0
"""What the random generators begin with where no seed is in the key."""


@dataclass(frozen=True, slots=True)
class OperationParams:
    """Everything that a model is made from."""

    op: str
    version: int
    params: Mapping[str, Any]
    seed: int
    source: Key | None
    """The model, or its export, that the operation is applied to; None: it begins a tree."""
    references: Mapping[str, Key]
    """Name in the recipe -> key of a model that parameters name."""
    interface: Mapping[str, Any]
    """`pipeline.datasets.interface.Interface.plain` of the data that the run was planned with."""
    code: str | None
    """Digest of the code of a person's own operation."""
    alone: bool
    """Whether no other job can run beside it."""


class OperationStage(Stage[OperationParams]):
    """The models themselves: a step's key is that of its model, and operations have versions of their own."""

    name, params = "operation", OperationParams
    needs = ()

    def jobs(self, planning: Planning) -> Iterator[Job[OperationParams]]:
        """One job per step."""
        facts = planning.plan.facts
        roots = {step.root for step in planning.plan.steps}
        for step in planning.plan.steps:
            source = step.export or step.parent
            params = OperationParams(
                op=step.op,
                version=step.version,
                params=dict(step.params),
                seed=step.seed,
                source=source,
                references={str(step.params[name]): key for name, key in step.references.items()},
                interface=dict(facts.interface),
                code=facts.code.get(step.op),
                # all others wait for the root of a single tree; whether it is alone must not depend on who is done first
                alone=roots == {step.key},
            )
            needs = tuple(dict.fromkeys([*([source] if source else []), *step.references.values()]))
            yield Job(step.key, self.name, step.path, step.key, needs, params)

    def make(self, worker: Worker, job: Job[OperationParams], folder: Path, scratch: Path) -> dict[str, Any]:
        """Write the model."""
        params = job.params
        spec = OPERATIONS[params.op]
        uses = spec.uses_with(params.params)
        workplace = worker.workplace
        # without the seed in its key a step draws the same numbers whatever the seed is
        seed = params.seed if Uses.SEED in uses else UNSEEDED
        settle(seed, workplace.threads_alone if params.alone else workplace.threads)
        context = WorkerContext(
            seed=seed,
            scratch=scratch,
            dataset=lambda: worker.dataset,
            build=partial(_build, worker, params.interface if Uses.INTERFACE in uses else None),
            references={name: partial(_load, worker, key) for name, key in params.references.items()},
            uses=uses,
        )
        check = partial(_check_inputs, worker, spec, params)
        check()
        parent = _load(worker, params.source) if params.source else None
        model = spec.apply(*((context,) if parent is None else (parent, context)), **params.params)
        if parent is not None and (changed := count_changed(parent, model)) is not None:
            context.note("changed", changed)
        storage.save(model, folder)
        check()
        return {
            "op": spec.name,
            "version": spec.version,
            "params": params.params,
            "source": params.source,
            "references": dict(params.references),
            "seed": seed if Uses.SEED in uses else None,
            "notes": context.notes,
            "libraries": environment.versions(),
        }

    def records(self, job: Job[OperationParams], recording: Recording) -> Iterator[Model]:
        """The model, with what its operation has noted."""
        step = recording.steps[job.model]
        yield Model(
            model_key=step.key,
            parent_key=step.parent,
            name=step.path,
            title="",
            recipe=recording.plan.recipe.name,
            op=step.op,
            op_version=step.version,
            kind=step.kind,
            format=step.format.value,
            params=step.written,
            references=dict(step.references),
            notes=recording.artifacts.manifest(job.key)["notes"],
        )


OPERATION = register(OperationStage())


def _check_inputs(worker: Worker, spec: OpSpec, params: OperationParams) -> None:
    """Compare the files and the code that the step reads with those that its key was made of: before it, and after.

    Raises:
        OperationError, ModelError: if they have changed since the run was planned.
    """
    for name in spec.marked("model entry"):
        if isinstance(params.params.get(name), Mapping):
            check_content(params.params[name], worker.workplace.data_folder)
    module = str(spec.apply.__module__)
    if params.code != code_of(module) or edited(module):
        raise OperationError(
            f"{spec.name}: its code ({module}, or what that imports) has changed since the run was planned; run again"
        )


def settle(seed: int, threads: int) -> None:
    """Make torch and the random generators the same for every job, whatever ran in this process before."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _load(worker: Worker, key: Key) -> TorchModel | OnnxModel:
    return storage.load(worker.artifacts.folder(key))


def _build(
    worker: Worker, interface: Mapping[str, Any] | None, entry: Mapping[str, Any], pretrained: bool
) -> TorchModel | OnnxModel:
    from pipeline.models.api import Need
    from pipeline.models.build import build
    from pipeline.models.identity import with_located_weights

    fit = Interface.of(worker.dataset) if interface is None else Interface.parse(interface)
    return build(
        with_located_weights(entry, worker.workplace.data_folder), Need(fit.task, fit.classes, fit.inputs, pretrained)
    )
