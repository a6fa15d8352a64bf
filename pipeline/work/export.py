"""Make the ONNX file of a torch model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.api import TorchModel
from pipeline import formats
from pipeline.export import export_onnx
from pipeline.export_version import EXPORT_VERSION

if TYPE_CHECKING:
    from pipeline.jobs import Job
    from pipeline.worker import Worker


def make(worker: Worker, job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
    """Write model.onnx beside the architecture."""
    source = worker.artifacts.path(job.model)
    model = formats.load(source)
    assert isinstance(model, TorchModel), "only torch models are scheduled for export"
    export_onnx(model, folder / formats.ONNX_FILE)
    shutil.copyfile(source / formats.ARCHITECTURE_FILE, folder / formats.ARCHITECTURE_FILE)
    return {"version": EXPORT_VERSION}
