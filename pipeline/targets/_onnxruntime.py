"""The base of targets on ONNX Runtime: one way to open a session, whatever the execution provider."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ops.onnx_graph.session import Optimization, create_session, session_options
from pipeline.core.machine.cpu_quota import cores
from pipeline.targets.api import MissingRuntimeError, TargetError, needs_module

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime as ort

_TEXTS = 2  # axes: instances, tokens
INSTALL = "pip install onnxruntime"


def require_provider(provider: str, *, install: str = INSTALL) -> None:
    """Check that ONNX Runtime is there with an execution provider.

    Raises:
        MissingRuntimeError: saying what to install.
    """
    needs_module("onnxruntime", install=install)
    import onnxruntime as ort

    available = ort.get_available_providers()
    if provider not in available:
        raise MissingRuntimeError(
            f"This onnxruntime ({ort.__version__}) has no {provider}, only {', '.join(available)}. Install it with: {install}"
        )


def runtime_options(threads: int, optimization: Optimization) -> ort.SessionOptions:
    """Options that are the same for predictions and for timings; no threads: one for each core."""
    return session_options(threads=threads or cores(), optimize=optimization)


@functools.cache
def runtime_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of ONNX Runtime; they share no base class of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    result = (getattr(state, name) for name in dir(state))
    own = (item for item in result if isinstance(item, type) and issubclass(item, Exception))
    return (*own, ValueError, RuntimeError)  # the Python layer checks names and types of inputs itself


def open_runtime_session(
    model: Path, options: ort.SessionOptions, providers: Sequence[tuple[str, dict[str, Any]]]
) -> ort.InferenceSession:
    """Open a file.

    Args:
        model: the ONNX file.
        options: those of `runtime_options`, and what the caller adds.
        providers: execution providers with their options.

    Raises:
        TargetError: naming the file and ONNX Runtime's reason.
    """
    if not model.is_file():
        raise TargetError(f"{model}: there is no such ONNX file")
    try:
        return create_session(model, options, providers)
    except runtime_errors() as error:
        raise TargetError(f"{model}: ONNX Runtime refuses the model: {first_line(error)}") from None


class OrtSession:
    """An open model."""

    def __init__(self, session: ort.InferenceSession, model: Path) -> None:
        self._session = session
        self._model = model
        self.inputs = tuple(value.name for value in session.get_inputs())
        self.outputs = tuple(value.name for value in session.get_outputs())
        self.fixed_length = any(
            len(value.shape) == _TEXTS and isinstance(value.shape[1], int) and "int" in value.type
            for value in session.get_inputs()
        )
        """Whether an input of tokens has one length only."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        """Return the outputs as NumPy arrays."""
        try:
            return tuple(self._session.run(None, inputs))
        except runtime_errors() as error:
            raise TargetError(f"{self._model}: ONNX Runtime fails: {first_line(error)}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        del self._session


def first_line(error: Exception) -> str:
    """The part of a runtime's message that people need."""
    return str(error).strip().partition("\n")[0]
