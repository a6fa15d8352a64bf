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

from ops.core.forward import OUTPUTS, example_inputs
from ops.core.model import TorchModel
from pipeline.core.errors import BouillonError

OPSET = 18


class ExportError(BouillonError, RuntimeError):
    """The exporter cannot follow the network: the message names the model and the exporter's reason."""


def export_onnx(model: TorchModel, path: Path) -> None:
    """Write `model` as one ONNX file with a dynamic batch axis.

    Initialisers keep the names of the module's parameters, also where the exporter transposed them (linear layers); nodes
    that multiply matrices bear the names of their layers; inputs have the names of the forward arguments, and outputs the
    task's names (`ops.core.forward.OUTPUTS`). Batch normalisation is folded into convolutions by the exporter. The file says
    nothing of the machine that wrote it: no paths, no source lines.

    Raises:
        ExportError: if the network cannot be captured.
    """
    import onnx
    import torch

    from ops.onnx_graph.layers import drop_records, name_after_layers

    names = list(model.architecture.inputs)
    example = example_inputs(model.architecture, batch=2)
    by_name = set(names) <= set(inspect.signature(model.module.forward).parameters)
    axes: dict[str, Any] = {name: {0: torch.export.Dim("batch", min=1, max=65536)} for name in names}
    try:
        with torch.no_grad(), _quietly():
            program = torch.onnx.export(
                model.module.eval(),
                args=() if by_name else tuple(example.values()),
                kwargs=example if by_name else None,
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
    assert program is not None, "the exporter returns it when dynamo is set"
    proto = program.model_proto
    # some networks give more than the task asks for
    del proto.graph.output[len(OUTPUTS[model.architecture.task]) :]
    del program  # the weights once, not twice, while they are written
    name_after_layers(proto)
    drop_records(proto, keep_layers=True)
    onnx.save(proto, path)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The exporter prints its stages and warns of its own internals; an error still comes as an exception."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
