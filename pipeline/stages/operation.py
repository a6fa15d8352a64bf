"""Make a model: load the parent, apply the operation, store the result."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.operation import OPERATIONS, OnnxModel, TorchModel, Uses
from pipeline.models import storage
from pipeline.stages.operation_context import WorkerContext

if TYPE_CHECKING:
    from pipeline.core.keys import Key
    from pipeline.engine.jobs import Job
    from pipeline.engine.worker import Worker


def make(worker: Worker, job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write the model that `job.details` describes."""
    details = job.details
    spec = OPERATIONS[details["op"]]
    workplace = worker.workplace
    settle(details["seed"], workplace.threads_alone if details["alone"] else workplace.threads)
    context = WorkerContext(
        seed=details["seed"],
        scratch=scratch,
        dataset=lambda: worker.dataset,
        build=partial(_build, worker),
        references={name: partial(_load, worker, key) for name, key in details["references"].items()},
    )
    given = (_load(worker, details["source"]), context) if details["source"] else (context,)
    model = spec.apply(*given, **details["params"])
    storage.save(model, folder)
    return {
        "op": spec.name,
        "version": spec.version,
        "params": details["params"],
        "source": details["source"],
        "references": dict(details["references"]),
        "seed": details["seed"] if Uses.SEED in spec.uses else None,
        "notes": context.notes,
    }


def settle(seed: int, threads: int) -> None:
    """Make torch and the random generators the same for every job, whatever ran in this process before."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _load(worker: Worker, key: Key) -> TorchModel | OnnxModel:
    return storage.load(worker.artifacts.path(key))


def _build(worker: Worker, entry: Mapping[str, Any], pretrained: bool) -> TorchModel | OnnxModel:
    from pipeline.models.api import Need
    from pipeline.models.build import build
    from pipeline.models.identity import with_located_weights

    data = worker.dataset
    return build(
        with_located_weights(entry, worker.workplace.data_folder),
        Need(data.task, tuple(data.classes), data.inputs, pretrained),
    )
