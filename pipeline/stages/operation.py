"""Make a model: load the parent, apply the operation, store the result."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.errors import OperationError
from ops.core.operation import OPERATIONS, OnnxModel, OpSpec, TorchModel, Uses
from pipeline.core import environment
from pipeline.core.user_code import code_of, edited
from pipeline.datasets.interface import Interface
from pipeline.measure.change_count import count_changed
from pipeline.models import storage
from pipeline.models.identity import check_content
from pipeline.stages.operation_context import WorkerContext

if TYPE_CHECKING:
    from pipeline.core.keys import Key
    from pipeline.engine.jobs import Job
    from pipeline.engine.worker import Worker

UNSEEDED = 0
"""What the random generators begin with where no seed is in the key."""


def make(worker: Worker, job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write the model that `job.details` describes."""
    details = job.details
    spec = OPERATIONS[details["op"]]
    uses = spec.uses_with(details["params"])
    workplace = worker.workplace
    # without the seed in its key a step draws the same numbers whatever the seed is
    seed = details["seed"] if Uses.SEED in uses else UNSEEDED
    settle(seed, workplace.threads_alone if details["alone"] else workplace.threads)
    context = WorkerContext(
        seed=seed,
        scratch=scratch,
        dataset=lambda: worker.dataset,
        build=partial(_build, worker, details["interface"] if Uses.INTERFACE in uses else None),
        references={name: partial(_load, worker, key) for name, key in details["references"].items()},
        uses=uses,
    )
    check = partial(_check_inputs, worker, spec, details)
    check()
    parent = _load(worker, details["source"]) if details["source"] else None
    given = (context,) if parent is None else (parent, context)
    model = spec.apply(*given, **details["params"])
    if parent is not None and (changed := count_changed(parent, model)) is not None:
        context.note("changed", changed)
    storage.save(model, folder)
    check()
    return {
        "op": spec.name,
        "version": spec.version,
        "params": details["params"],
        "source": details["source"],
        "references": dict(details["references"]),
        "seed": seed if Uses.SEED in uses else None,
        "notes": context.notes,
        "libraries": environment.versions(),
    }


def _check_inputs(worker: Worker, spec: OpSpec, details: Mapping[str, Any]) -> None:
    """Compare the files and the code that the step reads with those that its key was made of: before it, and after.

    Raises:
        OperationError, ModelError: if they have changed since the run was planned.
    """
    for name in spec.marked("model entry"):
        if isinstance(details["params"].get(name), Mapping):
            check_content(details["params"][name], worker.workplace.data_folder)
    module = str(spec.apply.__module__)
    if details["code"] != code_of(module) or edited(module):
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
