"""From a torch model to an ONNX file."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.forward import OUTPUTS, example_inputs
from ops.model import TorchModel

OPSET = 18


class ExportError(RuntimeError):
    """The exporter cannot follow the network: the message names the model and the exporter's reason."""


def export_onnx(model: TorchModel, path: Path) -> None:
    """Write `model` as one ONNX file with a dynamic batch axis.

    Initialisers keep the names of the module's parameters, inputs the names of the forward arguments, and outputs the
    task's names (`ops.forward.OUTPUTS`). Batch normalisation is folded into convolutions by the exporter.

    Raises:
        ExportError: if the network cannot be captured or written.
    """
    import torch

    names = list(model.architecture.inputs)
    example = example_inputs(model.architecture, batch=2)
    by_name = set(names) <= set(inspect.signature(model.module.forward).parameters)
    axes: dict[str, Any] = {name: {0: torch.export.Dim("batch", min=1, max=65536)} for name in names}
    try:
        with torch.no_grad(), _quietly():
            torch.onnx.export(
                model.module.eval(),
                args=() if by_name else tuple(example.values()),
                kwargs=example if by_name else None,
                f=path,
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                input_names=names,
                output_names=list(OUTPUTS[model.architecture.task]),
                dynamic_shapes=axes if by_name else tuple(axes.values()),
                optimize=True,
                verbose=False,
            )
    except Exception as error:  # the exporter's many stages raise anything; the cause is kept
        reason = str(error).strip().splitlines()
        raise ExportError(
            f"'{model.architecture.name}' cannot be exported to ONNX: {reason[0] if reason else error!r}"
        ) from error


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The exporter prints its stages and warns of its own internals; an error still comes as an exception."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
