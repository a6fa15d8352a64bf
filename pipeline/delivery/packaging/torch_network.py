"""A torch model without this program: its tensors, and the network as a module of plain operators that PyTorch alone runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.operation import TorchModel
from pipeline.core.errors import first_cause, reason
from pipeline.delivery.packaging.package_error import PackageError
from pipeline.models import storage

if TYPE_CHECKING:
    import torch

    from ops.core.model import Architecture

__all__ = ["NETWORK", "TENSORS", "write_network"]

NETWORK, TENSORS = "network.py", "model.safetensors"
_TEXT = '''\
"""The network of {tensors}, operator by operator, as torch.export saw it: one instance at a time."""

from types import SimpleNamespace

import torch
from safetensors.torch import load_file
from torch import device, inf, nan  # what operators may be given

TENSORS = {names!r}
INPUTS = {inputs!r}
OUTPUTS = {outputs!r}


class Network:
    """Takes and gives arrays by name, as a session of ONNX Runtime does."""

    def __init__(self, file):
        tensors = load_file(file)
        self.tensors = [tensors[name] for name in TENSORS]

    def get_inputs(self):
        return [SimpleNamespace(name=name) for name in INPUTS]

    @torch.inference_mode()
    def run(self, names, arrays):
        results = forward(None, *self.tensors, *(torch.from_numpy(arrays[name]) for name in INPUTS))
        outputs = dict(zip(OUTPUTS, (results[place] for place in {places!r})))
        return [outputs[name].numpy() for name in names]


{code}
'''


def write_network(source: Path, folder: Path) -> None:
    """Write the tensors of a torch artifact, and the module that computes with them.

    Args:
        source: the artifact.
        folder: the package.

    Raises:
        PackageError: if torch.export cannot follow the network.
    """
    import torch
    from safetensors.torch import save_file

    from ops.core.forward import example_inputs, output_names
    from ops.core.network.parametrized import plain_weights

    model = storage.load(source)
    assert isinstance(model, TorchModel), "only torch artifacts are asked for"
    model, _ = plain_weights(model)
    example = example_inputs(model.architecture, batch=1)
    try:
        with torch.no_grad():
            program = torch.export.export(
                _only_outputs(model.module.eval(), model.architecture), tuple(example.values()), strict=False
            )
    except Exception as error:  # noqa: BLE001 - boundary: the capture of a network may raise anything
        raise PackageError(
            f"'{model.architecture.name}' cannot be written down by torch.export ({reason(first_cause(error))}). Package it on a "
            "target that takes ONNX: --target onnxruntime"
        ) from None
    code = str(program.graph_module.code).strip()
    if "self." in code:
        raise PackageError(
            f"'{model.architecture.name}' chooses between parts while it runs, which torch.export writes down as networks in a "
            "network. Package it on a target that takes ONNX: --target onnxruntime"
        )
    own = [spec for spec in program.graph_signature.input_specs if spec.target is not None]
    outputs = program.graph_signature.output_specs
    text = _TEXT.format(
        tensors=TENSORS,
        names=[str(spec.target) for spec in own],
        inputs=list(example),
        outputs=list(output_names(model.module, model.architecture)),
        places=[place for place, spec in enumerate(outputs) if spec.kind.name == "USER_OUTPUT"],
        code=code,
    )
    (folder / NETWORK).write_text(text, encoding="utf-8")
    state = {**program.constants, **program.state_dict}
    save_file(
        {str(spec.target): state[str(spec.target)].detach().clone().contiguous() for spec in own}, folder / TENSORS
    )


def _only_outputs(module: torch.nn.Module, architecture: Architecture) -> torch.nn.Module:
    """A network that gives the task's outputs as a tuple."""
    import torch

    from ops.core.forward import forward

    class Outputs(torch.nn.Module):
        """Calls the network as the data name its inputs."""

        def __init__(self) -> None:
            super().__init__()
            self.network = module

        def forward(self, *inputs: Any) -> tuple[torch.Tensor, ...]:
            by_name = dict(zip(architecture.inputs, inputs, strict=True))
            return tuple(forward(self.network, by_name, architecture.task).values())

    return Outputs()
