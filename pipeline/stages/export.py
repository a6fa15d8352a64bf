"""Make the ONNX file of a torch model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.operation import TorchModel
from pipeline.engine.jobs import Job
from pipeline.engine.stage import NoParameters, Planning, Stage, register
from pipeline.models import storage
from pipeline.models.export_check import check_export
from pipeline.models.onnx_export import export_onnx

if TYPE_CHECKING:
    import numpy as np

    from pipeline.datasets.api import Split
    from pipeline.engine.worker import Worker

_SPLITS: tuple[Split, ...] = ("calibration", "train", "evaluation")
_INSTANCES = 4
"""On which the file's outputs are compared with the network's."""


class ExportStage(Stage[NoParameters]):
    """The ONNX file of every torch model. Operations work on it too, so its key is `pipeline.plan.steps.export_key`."""

    name, version, params = "export", 3, NoParameters
    stored = False

    def jobs(self, planning: Planning) -> Iterator[Job[NoParameters]]:
        """One job per torch model."""
        for step in planning.plan.steps:
            key = planning.exports.get(step.key)
            if key is not None:
                yield Job(key, self.name, step.path, step.key, (step.key,), NoParameters())

    def make(self, worker: Worker, job: Job[NoParameters], folder: Path, scratch: Path) -> dict[str, Any]:
        """Write model.onnx beside the architecture."""
        source = worker.artifacts.folder(job.model)
        model = storage.load(source)
        assert isinstance(model, TorchModel), "only torch models are scheduled for export"
        notes = export_onnx(model, folder / storage.ONNX_FILE)
        check_export(model, folder / storage.ONNX_FILE, _instances(worker))
        shutil.copyfile(source / storage.ARCHITECTURE_FILE, folder / storage.ARCHITECTURE_FILE)
        return {"version": self.version, **notes}


EXPORT = register(ExportStage())


def _instances(worker: Worker) -> dict[str, np.ndarray]:
    """Inputs of a few instances, from the first split that has any."""
    for split in _SPLITS:
        for batch in worker.dataset.batches(split, batch_size=_INSTANCES, samples=_INSTANCES):
            return {name: array[:_INSTANCES] for name, array in batch.inputs.items()}
    return {}
