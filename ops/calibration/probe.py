"""A probe of single layers: their inputs and outputs in a forward pass that stops after the last of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch

from ops.core.forward import forward, tensors
from ops.core.operation import Batch, TorchModel

Seen = dict[str, list[tuple[torch.Tensor, torch.Tensor]]]
"""Layer -> (input, output) of each of its calls, in order."""
_Kept = TypeVar("_Kept")


class _EnoughError(Exception):
    """All layers have run: the rest of the forward pass is not needed."""


class Probe:
    """Watches layers of a network that is in evaluation mode."""

    def __init__(self, model: TorchModel, layers: Mapping[str, torch.nn.Module]) -> None:
        self._model, self._layers = model, layers
        self._calls: dict[str, int] | None = None
        """How often each layer runs, known after the first pass."""

    def run(self, batch: Batch) -> Seen:
        """Return what the layers saw and gave; those that the network never calls are absent."""
        return self.reduce(batch, lambda _, values, output: (values, output))

    def reduce(self, batch: Batch, keep: Callable[[str, torch.Tensor, torch.Tensor], _Kept]) -> dict[str, list[_Kept]]:
        """As `run`, but of each call only `keep(layer, input, output)` stays: many layers' outputs can be more than the model."""
        remaining: dict[str, list[_Kept]] = {}

        def visit(name: str, values: torch.Tensor, output: torch.Tensor) -> None:
            supplied = output.detach() if isinstance(output, torch.Tensor) else output
            remaining.setdefault(name, []).append(keep(name, values.detach(), supplied))
            if self._calls is not None and all(len(remaining.get(key, ())) >= n for key, n in self._calls.items()):
                raise _EnoughError

        with torch.no_grad(), _watched(self._layers, visit), contextlib.suppress(_EnoughError):
            forward(self._model.module, tensors(batch.inputs), self._model.architecture.task)
        self._calls = {name: len(calls) for name, calls in remaining.items()}
        return remaining


@contextlib.contextmanager
def _watched(
    layers: Mapping[str, torch.nn.Module], visit: Callable[[str, torch.Tensor, torch.Tensor], None]
) -> Iterator[None]:
    def hook(name: str) -> Callable[..., None]:
        def run(_: Any, args: tuple[Any, ...], by_name: dict[str, Any], output: torch.Tensor) -> None:
            visit(name, args[0] if args else next(iter(by_name.values())), output)

        return run

    with contextlib.ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_hook(hook(name), with_kwargs=True).remove)
        yield
