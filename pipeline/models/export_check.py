"""Whether an exported file computes what the network computes: on instances of the data, padding and all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ops.core.forward import TOKENS, forward, tensors
from ops.core.model import TorchModel
from ops.core.tasks.task import TASKS
from ops.onnx_graph.session import open_session
from pipeline.models.onnx_export import ExportError

_TOLERANCE = 1e-3
"""Largest difference over the largest output. Kernels that add in another order differ by 1e-5."""


def check_export(model: TorchModel, path: Path, inputs: Mapping[str, np.ndarray]) -> None:
    """Compare the outputs of an ONNX file with those of the network that it was made from.

    Of texts also on half of their tokens, if the file takes any length: an exporter may keep the example's. Instances for
    which the network itself gives no numbers say nothing.

    Args:
        model: the network.
        path: its file.
        inputs: of some instances, as the data set gives them: (N, ...) each; none: there is nothing to compare.

    Raises:
        ExportError: naming the output that differs, and by how much.
    """
    import torch

    if not inputs:
        return
    session = open_session(path)
    in_use = [value.name for value in session.get_inputs()]
    names = list(TASKS[model.architecture.task].outputs) or [value.name for value in session.get_outputs()]
    free = all(not isinstance(size, int) for value in session.get_inputs() for size in value.shape[:2])
    for feed in [inputs, _shortened(inputs)] if free and TOKENS[0] in inputs else [inputs]:
        with torch.no_grad():
            expected = forward(model.module.eval(), tensors(feed), model.architecture.task)
        result = dict(zip(names, session.run(names, {name: feed[name] for name in in_use}), strict=True))
        for name in names:
            _compare(model.architecture.name, name, expected[name].float().numpy(), result[name])


def _shortened(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first half of every text, none of it padding."""
    half = max(1, inputs[TOKENS[0]].shape[1] // 2)
    feed = {name: array[:, :half] if name in TOKENS else array for name, array in inputs.items()}
    return feed | {name: np.ones_like(array) for name, array in feed.items() if name == "attention_mask"}


def _compare(model: str, output: str, expected_output: np.ndarray, result: np.ndarray) -> None:
    if expected_output.shape != result.shape:
        raise ExportError(
            f"'{model}' cannot be exported to ONNX: output '{output}' has the shape {list(result.shape)} in the file, "
            f"{list(expected_output.shape)} in torch"
        )
    finite = np.isfinite(expected_output)
    if not finite.any():
        return
    largest = max(float(np.abs(expected_output[finite]).max()), 1e-6)
    difference = float(np.abs(expected_output[finite] - result[finite]).max())
    if not difference <= _TOLERANCE * largest:
        raise ExportError(
            f"'{model}' cannot be exported to ONNX: on instances of the data, output '{output}' of the file differs from "
            f"torch's by {difference:.3g}, where the largest is {largest:.3g}"
        )
