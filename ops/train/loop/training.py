"""The one training loop: reproducible, resumable after every epoch, and safe against a loss that is not a number."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ops.core.errors import OperationError
from ops.core.forward import forward, tensors, without_padding
from ops.core.network.sharing import identities, spread_masks
from ops.core.operation import Context
from ops.core.output_kind import torch_logits
from ops.core.selector import Network, choose, layers_of, network_of
from ops.train.loop.optimizers import OptimizerName, ScheduleName, make_optimizer, make_schedule

Tensors = Mapping[str, torch.Tensor]
Loss = Callable[[Tensors, Tensors, Tensors], torch.Tensor]
"""From a batch's inputs, the network's outputs and the batch's targets to the value that is minimised."""
_CHECKPOINT = "checkpoint.pt"
_EPOCH_SEEDS = 1_000_003  # epochs of neighbouring seeds must not share their order of instances


@dataclass(frozen=True, slots=True)
class Training:
    """The settings of a training."""

    epochs: int
    batch_size: int
    optimizer: OptimizerName
    learning_rate: float
    schedule: ScheduleName
    weight_decay: float
    clip_norm: float | None
    augment: bool
    samples: int | None = None
    """Training instances per epoch, the same in each; None: all."""


@dataclass(slots=True)
class Trainee:
    """The subject of a training. `module` is changed in place."""

    module: torch.nn.Module
    task: str
    trained: Sequence[str]
    """Names of the parameters that may change, in the order of the network; normalisation whose parameters may not keeps its statistics too."""
    masks: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Parameter -> bool tensor; where it is False the parameter is zero after every step."""
    output_kinds: Mapping[str, str] = field(default_factory=dict)
    """As `Architecture.output_kinds`: the loss is taken of logits."""
    companion: torch.nn.Module | None = None
    """Further state that belongs into checkpoints (observers of fake quantization)."""


@dataclass(slots=True)
class Outcome:
    """The outcome of a training."""

    losses: list[float]
    """Mean training loss of each epoch that counts."""
    stopped: str | None = None
    """Why training ended before its last epoch."""


def fit(trainee: Trainee, ctx: Context, training: Training, loss: Loss) -> Outcome:
    """Train `trainee.module` in place and return it to evaluation mode.

    Same seed, same bytes. The state after each epoch is kept in `ctx.scratch`; a run that finds one goes on from there
    and ends with the bytes of a run that was never disturbed. Where the loss becomes NaN or infinite, the module goes
    back to the last epoch that was good and the outcome says so.

    Raises:
        OperationError: the training split is empty, or the loss is not finite before one epoch is done.
    """
    frozen = [name for name, parameter in trainee.module.named_parameters() if not parameter.requires_grad]
    if remaining := sorted(set(frozen) - set(trainee.trained)):
        ctx.note("frozen", remaining)
    run = _Run(trainee, ctx, training, loss)
    run.resume()
    with _only_trained(trainee):
        while run.outcome.stopped is None and len(run.outcome.losses) < training.epochs:
            run.epoch()
    trainee.module.eval()
    return run.outcome


class _Run:
    def __init__(self, trainee: Trainee, ctx: Context, training: Training, loss: Loss) -> None:
        size = ctx.data.size("train")
        if not size:
            raise OperationError("The train split is empty: give the data set some train instances")
        self.trainee, self.ctx, self.training, self.loss = trainee, ctx, training, loss
        self.outcome = Outcome([])
        # a last, smaller batch is left out: batch normalisation would follow it as if it were a full one
        self.steps = max(1, min(size, training.samples or size) // training.batch_size)
        parameters = dict(trainee.module.named_parameters())
        self.parameters = {name: parameters[name] for name in trainee.trained}
        self.removed = _removed(trainee)
        self.optimizer = make_optimizer(
            training.optimizer,
            self.parameters,
            learning_rate=training.learning_rate,
            weight_decay=training.weight_decay,
        )
        self.schedule = make_schedule(
            training.schedule,
            self.optimizer,
            learning_rate=training.learning_rate,
            steps=self.steps * training.epochs,
        )

    @property
    def checkpoint(self) -> Path:
        return self.ctx.scratch / _CHECKPOINT

    def resume(self) -> None:
        """Continue after the last finished epoch, if a killed run left one."""
        if not self.checkpoint.exists():
            return
        state = torch.load(self.checkpoint, weights_only=True)
        if state.get("stamp") != self._stamp():
            return  # another version left it, and orders its state otherwise: training anew gives the same
        self.trainee.module.load_state_dict(state["module"])
        if self.trainee.companion is not None:
            self.trainee.companion.load_state_dict(state["companion"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.outcome = Outcome(state["losses"])

    def save(self) -> None:
        companion = self.trainee.companion
        state = {
            "stamp": self._stamp(),
            "module": self.trainee.module.state_dict(),
            "companion": companion.state_dict() if companion is not None else {},
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "losses": self.outcome.losses,
        }
        beside = self.checkpoint.with_suffix(".new")
        torch.save(state, beside)
        beside.replace(self.checkpoint)

    def _stamp(self) -> list[str]:
        """What must be equal for a checkpoint to fit: torch, and the parameters in their order."""
        return [str(torch.__version__), *(f"{name} {tuple(value.shape)}" for name, value in self.parameters.items())]

    def epoch(self) -> None:
        """Train for one epoch and keep the result, or go back to the last good one."""
        number = len(self.outcome.losses) + 1
        seed = self.ctx.seed * _EPOCH_SEEDS + number
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            total, steps = 0.0, 0
            for step, batch in enumerate(self._batches(seed), 1):
                value = self._step(batch)
                if not math.isfinite(value):
                    self._give_up(f"the loss became {value} in epoch {number}, step {step}")
                    return
                total, steps = total + value, steps + 1
                done = (number - 1) * self.steps + steps
                text = f"epoch {number}/{self.training.epochs}, loss {total / steps:.3f}"
                self.ctx.progress(done, self.steps * self.training.epochs, text)
        if not all(bool(p.isfinite().all()) for p in self.parameters.values()):
            self._give_up(f"weights became NaN or infinite at the end of epoch {number}")
            return
        self.outcome.losses.append(total / steps)
        self.save()

    def _batches(self, seed: int) -> Iterator[Any]:
        training = self.training
        batches = self.ctx.data.batches(
            "train", batch_size=training.batch_size, samples=training.samples, seed=seed, augment=training.augment
        )
        return itertools.islice(batches, self.steps)

    def _step(self, batch: Any) -> float:
        inputs, targets = without_padding(tensors(batch.inputs)), tensors(batch.targets)
        outputs = forward(self.trainee.module, inputs, self.trainee.task)
        loss = self.loss(inputs, torch_logits(outputs, self.trainee.output_kinds), targets)
        value = float(loss.detach())
        if not math.isfinite(value):
            return value
        if not loss.requires_grad:
            raise OperationError(
                "None of the layers that are trained has a part in the loss: choose others with 'include'"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._mask(gradients=True)
        if self.training.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.training.clip_norm)
        self.optimizer.step()
        self.schedule.step()
        self._mask(gradients=False)
        return value

    def _mask(self, *, gradients: bool) -> None:
        """Zero what masks remove: gradients so that they do not count when clipped, weights so that zeros are exact.

        Momentum and weight decay alone would move a weight whose gradient is zero.
        """
        with torch.no_grad():
            for parameter, removed in self.removed:
                tensor = parameter.grad if gradients else parameter
                if tensor is not None:
                    tensor.masked_fill_(removed, 0.0)

    def _give_up(self, reason: str) -> None:
        if not self.outcome.losses:
            raise OperationError(
                f"Training failed: {reason}, before one epoch was done. Lower learning_rate "
                f"({self.training.learning_rate:g}) or set clip_norm, and check the data for NaN"
            )
        self.resume()
        self.outcome.stopped = f"{reason}; the result is that of epoch {len(self.outcome.losses)}"


@contextlib.contextmanager
def _only_trained(trainee: Trainee) -> Iterator[None]:
    """Set training mode and gradients for what is trained, and put gradients back afterwards."""
    module = trainee.module.train()
    before = {name: parameter.requires_grad for name, parameter in module.named_parameters()}
    trained = set(trainee.trained)
    for name, parameter in module.named_parameters():
        if name in trained or parameter.requires_grad:
            parameter.requires_grad_(name in trained)
    for part in module.modules():
        own = list(part.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            part.eval()  # a frozen batch normalisation must not follow the batches
    try:
        yield
    finally:
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(before[name])
            parameter.grad = None


def _removed(trainee: Trainee) -> list[tuple[torch.nn.Parameter, torch.Tensor]]:
    """Return the trained parameters that have masks, under whatever name, and where they are to stay zero."""
    masks = spread_masks(trainee.module, trainee.masks)
    by_name = dict(trainee.module.named_parameters(remove_duplicate=False))
    trained = {id(by_name[name]) for name in trainee.trained}
    return [
        (by_name[name], ~masks[name])
        for name in dict(trainee.module.named_parameters())
        if name in masks and id(by_name[name]) in trained
    ]


def trained_names(model: Network, include: Sequence[str], exclude: Sequence[str]) -> list[str]:
    """Return the parameters of the chosen layers, biases and all, in the order of the code; by default of every layer.

    What the network's own code has frozen (`requires_grad` is false) stays so, unless its layer is named; a parameter that
    an excluded layer has too is not trained.

    Raises:
        OperationError: a pattern matches nothing, or nothing is left to train.
    """
    layers = layers_of(model, (*include, *exclude))
    selection = {layer.name for layer in choose(layers, include, exclude, default=())}
    module = network_of(model)
    same = identities(module)
    excluded = {
        same[name]
        for layer in layers
        if layer.name not in selection and any(layer.matches(pattern) for pattern in exclude)
        for name in layer.parameters
    }
    expected = {same[name] for layer in layers if layer.name in selection for name in layer.parameters} - excluded
    trained = [
        name
        for name, parameter in module.named_parameters()
        if same[name] in expected and parameter.is_floating_point() and (include or parameter.requires_grad)
    ]
    if not trained:
        raise OperationError(
            "Nothing is left to train: the network's code has frozen all parameters that were chosen (requires_grad=False). "
            "Name the layers to train with 'include'"
        )
    return trained


def note_outcome(ctx: Context, outcome: Outcome) -> None:
    """Record the epochs' losses, and why training ended early if it did."""
    ctx.note("losses", outcome.losses)
    if outcome.stopped is not None:
        ctx.note("stopped", outcome.stopped)
