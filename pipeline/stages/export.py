"""Make the ONNX file of a torch model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.operation import TorchModel
from pipeline.core.versions import EXPORT_VERSION
from pipeline.models import storage
from pipeline.models.onnx_export import export_onnx

if TYPE_CHECKING:
    from pipeline.engine.jobs import Job
    from pipeline.engine.worker import Worker


def make(worker: Worker, job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write model.onnx beside the architecture."""
    source = worker.artifacts.folder(job.model)
    model = storage.load(source)
    assert isinstance(model, TorchModel), "only torch models are scheduled for export"
    export_onnx(model, folder / storage.ONNX_FILE)
    shutil.copyfile(source / storage.ARCHITECTURE_FILE, folder / storage.ARCHITECTURE_FILE)
    return {"version": EXPORT_VERSION}
