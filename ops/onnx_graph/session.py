"""ONNX Runtime as a library: sessions that keep quiet, and temporary files that stay in the step's folder."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

Optimization = Literal["all", "extended", "basic", "none"]
_LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}
CPU: tuple[tuple[str, dict[str, Any]], ...] = (("CPUExecutionProvider", {}),)
"""The execution provider that every ONNX Runtime has."""
_ERROR = 3  # ONNX Runtime's severities: 2 is warning, 3 error
_WARNING = 2


def session_options(*, threads: int = 1, optimize: Optimization = "all") -> Any:
    """Return the onnxruntime.SessionOptions of all our sessions: explicit threads, one node after the other, quiet.

    Threads of a pool that spin while they wait burn CPU time without doing work: with spinning, CPU time would say
    nothing about a model.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[optimize])
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = _ERROR
    return options


def create_session(model: Path | bytes, options: Any, providers: Sequence[tuple[str, dict[str, Any]]] = CPU) -> Any:
    """Return an onnxruntime.InferenceSession: the one place where sessions begin.

    Args:
        model: a file, or the content of one.
        options: those of `session_options`, and what the caller adds.
        providers: execution providers with their options; each takes what those before it do not.

    Raises:
        onnxruntime's errors: if it refuses the model.
    """
    import onnxruntime as ort

    return ort.InferenceSession(model if isinstance(model, bytes) else str(model), options, providers=list(providers))


def open_session(
    model: Path | bytes,
    *,
    optimize: Optimization = "all",
    save_optimized: Path | None = None,
    save_weights: bool = True,
) -> Any:
    """Open a CPU session on one thread.

    Args:
        model: a file, or the content of one.
        optimize: how far ONNX Runtime may rewrite the graph.
        save_optimized: where to write the graph that will run.
        save_weights: whether that file holds large tensors. If not, they go to a file beside it, so that the graph alone can
            be read, and weights are not packed for speed.

    Raises:
        onnxruntime's errors: if it refuses the model.
    """
    options = session_options(optimize=optimize)
    if save_optimized is not None:
        options.optimized_model_filepath = str(save_optimized)
    if save_optimized is not None and not save_weights:
        beside = f"{save_optimized.name}.weights"
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", beside)
        options.add_session_config_entry("session.disable_prepacking", "1")
    return create_session(model, options)


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
