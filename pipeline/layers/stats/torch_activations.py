"""Outputs of a torch network's layers, summarised by hooks: nothing is stored, no layer's output outlives its use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ops.core.forward import forward, tensors
from ops.core.network.channel_axes import output_axis
from ops.core.operation import Batch, TorchModel
from pipeline.layers.stats.activation_sampling import Scene, Site, SiteSample

if TYPE_CHECKING:
    import torch

STAGE = "torch"


def torch_activations(model: TorchModel, batches: Iterable[Batch], scene: Scene) -> list[SiteSample]:
    """Return what every layer with parameters gave, in the order of computation.

    A layer that runs several times for one batch is observed the first time.

    Args:
        model: it is put into evaluation mode.
        batches: instances, by the network's inputs.
        scene: settings that all layers share.
    """
    import torch

    watch = _Watch(scene)
    handles = [
        module.register_forward_hook(watch.hook(name, module), with_kwargs=True)
        for name, module in model.module.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    ]
    try:
        with torch.inference_mode():
            for batch in batches:
                watch.begin(len(batch))
                forward(model.module.eval(), tensors(batch.inputs), model.architecture.task)
    finally:
        for handle in handles:
            handle.remove()
    return [site.result() for site in watch.sites.values()]


class _Watch:
    """The sites of one network, and which of them have been seen in this batch."""

    def __init__(self, scene: Scene) -> None:
        self.sites: dict[str, Site] = {}
        self._scene = scene
        self._size = 0
        self._visited: set[str] = set()

    def begin(self, size: int) -> None:
        """A batch of so many instances comes."""
        self._size = size
        self._visited.clear()

    def hook(self, name: str, module: torch.nn.Module) -> Any:
        """Return the hook of one layer."""
        kind = type(module).__name__

        def observe(module: torch.nn.Module, inputs: Any, keywords: Any, output: Any) -> None:
            tensor = _tensor(output)
            if tensor is None or name in self._visited or tensor.ndim < 2 or tensor.shape[0] != self._size:  # noqa: PLR2004 - instances, channels
                return
            self._visited.add(name)
            if name not in self.sites:
                axis = output_axis(module, inputs, keywords, tensor)
                axis = -1 if axis is None else axis  # as of linear layers: where layers have no channels, any will do
                self.sites[name] = Site(self._scene, name, STAGE, position=len(self.sites), module_type=kind, axis=axis)
            self.sites[name].add(tensor.float().numpy())

        return observe


def _tensor(output: Any) -> torch.Tensor | None:
    import torch

    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) and output.is_floating_point() else None
