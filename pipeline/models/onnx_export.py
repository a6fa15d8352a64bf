"""From a torch model to an ONNX file."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ops.core.forward import all_outputs, call, example_inputs, task_outputs
from ops.core.model import Architecture, TorchModel
from ops.onnx_graph.layers import fixed_length, rename_values
from pipeline.core.errors import BouillonError, first_cause, reason
from pipeline.models.onnx_files.external_data import write_whole

OPSET = 18


class ExportError(BouillonError, RuntimeError):
    """The exporter cannot follow the network: the message names the model and the exporter's reason."""


def export_onnx(model: TorchModel, path: Path) -> dict[str, Any]:
    """Write `model` as one ONNX file with a dynamic batch axis, and a dynamic length for tokens.

    Initialisers keep the names of the module's parameters, also where the exporter transposed them (linear layers); nodes
    that multiply matrices bear the names of their layers; inputs have the names of the forward arguments, and outputs the
    task's names (`Task.outputs`). Batch normalisation is folded into convolutions by the exporter, and weights that are
    computed from others are written as what they are. The file says nothing of the machine that wrote it: no paths, no
    source lines.

    Returns what there is to say of the file: `fixed_length`, with the reason, where the exporter cannot follow the network
    at other lengths than the data's.

    Raises:
        ExportError: if the network cannot be captured.
    """
    from ops.core.network.parametrized import plain_weights
    from ops.onnx_graph.layers import drop_records, name_after_layers

    model, _ = plain_weights(model)
    _check_recurrent(model)
    notes: dict[str, Any] = {}
    try:
        proto, places = _captured(model, _axes(model.architecture))
    except _CaptureError as error:
        if not _token_inputs(model.architecture):
            raise ExportError(f"'{model.architecture.name}' cannot be exported to ONNX: {error}") from error.__cause__
        try:
            proto, places = _captured(model, _axes(model.architecture, fixed=True))
        except _CaptureError as second:
            raise ExportError(f"'{model.architecture.name}' cannot be exported to ONNX: {second}") from second.__cause__
        notes["fixed_length"] = str(error)
    if fixed_length(proto) is not None:
        notes.setdefault("fixed_length", "the exporter makes the length a constant")
    _keep_outputs(proto, places)
    name_after_layers(proto)
    drop_records(proto, keep_layers=True)
    write_whole(proto, path)
    return notes


class _CaptureError(RuntimeError):
    """The exporter gave up: the message is its first cause."""


def _captured(model: TorchModel, axes: Mapping[str, Any]) -> tuple[Any, dict[str, int]]:
    """Return the graph (onnx.ModelProto), and which of its outputs is which of the task's."""
    import torch

    example = example_inputs(model.architecture, batch=2)
    by_name = set(example) <= set(inspect.signature(model.module.forward).parameters)
    module = model.module.eval()
    try:
        with torch.no_grad(), _quietly():
            places = _places(call(module, example), model.architecture.task)
            program = torch.onnx.export(
                module,
                args=() if by_name else tuple(example.values()),
                kwargs=example if by_name else None,
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                input_names=list(example),
                dynamic_shapes=dict(axes) if by_name else tuple(axes.values()),
                optimize=True,
                verbose=False,
            )
    except Exception as error:  # the exporter's many stages raise anything; the first cause says most
        raise _CaptureError(reason(first_cause(error))) from error
    assert program is not None, "the exporter returns it when dynamo is set"
    return program.model_proto, places


def _axes(architecture: Architecture, *, fixed: bool = False) -> dict[str, dict[int, Any]]:
    """Input -> axis -> its dimension: the batch, and the length of what is made of tokens.

    A text and its mask have one length; what a decoder is given has its own.
    """
    import torch

    batch = torch.export.Dim("batch", min=1, max=65536)
    axes: dict[str, dict[int, Any]] = {name: {0: batch} for name in architecture.inputs}
    if fixed:
        return axes
    for name, length in _token_inputs(architecture).items():
        written = name.startswith("decoder_")
        most = _longest(architecture) if not written else 1 << 20
        axes[name][1] = torch.export.Dim("decoder_length" if written else "length", min=1, max=max(length, most))
    return axes


def _token_inputs(architecture: Architecture) -> dict[str, int]:
    """Inputs of whole numbers along one axis -> how many the data has."""
    return {
        name: shape[0]
        for name, (dtype, shape) in architecture.inputs.items()
        if len(shape) == 1 and dtype.startswith("int")
    }


def _longest(architecture: Architecture) -> int:
    """The most tokens that the network has positions for."""
    config = architecture.arguments.get("config") or {}
    present = [config.get(key) for key in ("max_position_embeddings", "n_positions")]
    return min((length for length in present if isinstance(length, int) and length > 0), default=1 << 20)


def _places(result: Any, task: str) -> dict[str, int]:
    """Output of the task -> its place among all that the network returns."""
    order = {id(output): place for place, output in enumerate(all_outputs(result).values())}
    return {name: order[id(output)] for name, output in task_outputs(result, task).items()}


def _keep_outputs(proto: Any, places: Mapping[str, int]) -> None:
    """Leave the task's outputs in the graph, in its order and by its names. The model's notes name the others."""
    outputs = list(proto.graph.output)
    remaining = {name: outputs[place] for name, place in places.items()}
    rename_values(proto, {value.name: name for name, value in remaining.items()})
    del proto.graph.output[:]
    proto.graph.output.extend(remaining.values())


def _check_recurrent(model: TorchModel) -> None:
    """Refuse what the exporter writes wrongly without a word: ONNX's LSTM has no projections."""
    from torch import nn

    for name, part in model.module.named_modules():
        if isinstance(part, nn.LSTM) and part.proj_size:
            raise ExportError(
                f"'{model.architecture.name}' cannot be exported to ONNX: '{name}' is an LSTM with proj_size, which ONNX does "
                "not know; use a linear layer behind an LSTM without it"
            )


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
