"""ONNX Runtime as a library: sessions that keep quiet, and temporary files that stay in the step's folder."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

_ERROR = 3  # ONNX Runtime's severities: 2 is warning, 3 error
_WARNING = 2


def open_session(
    model: Path | bytes,
    *,
    optimize: Literal["none", "basic", "all"] = "all",
    save_optimized: Path | None = None,
    save_weights: bool = True,
) -> Any:
    """Open a CPU session on one thread.

    Args:
        model: a file, or a graph as bytes.
        optimize: how far ONNX Runtime may rewrite the graph.
        save_optimized: where to write the graph that will run.
        save_weights: whether that file holds large tensors. If not, they go to a file beside it, so that the graph alone can
            be read, and weights are not packed for speed.
    """
    import onnxruntime as ort

    levels = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.log_severity_level = _ERROR
    options.intra_op_num_threads = 1
    options.graph_optimization_level = {
        "none": levels.ORT_DISABLE_ALL,
        "basic": levels.ORT_ENABLE_BASIC,
        "all": levels.ORT_ENABLE_ALL,
    }[optimize]
    if save_optimized is not None:
        options.optimized_model_filepath = str(save_optimized)
    if save_optimized is not None and not save_weights:
        beside = f"{save_optimized.name}.weights"
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", beside)
        options.add_session_config_entry("session.disable_prepacking", "1")
    source = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def quiet_tools(scratch: Path) -> Iterator[None]:
    """Silence what `onnxruntime.quantization` prints and logs, and keep its temporary files in `scratch`.

    It logs through the root logger, prints from its calibrators, opens sessions with the default severity, and one of
    its modules configures logging when it is imported. Errors still come as exceptions.
    """
    import onnxruntime as ort

    root, guard, folder = logging.getLogger(), logging.NullHandler(), tempfile.tempdir
    level = root.level
    root.addHandler(guard)  # with a handler in place, logging.basicConfig at import changes nothing
    root.setLevel(logging.ERROR)
    ort.set_default_logger_severity(_ERROR)
    tempfile.tempdir = str(scratch)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        tempfile.tempdir = folder
        ort.set_default_logger_severity(_WARNING)
        root.setLevel(level)
        root.removeHandler(guard)
