"""Training on from given weights."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from ops.core.errors import OperationError
from ops.core.operation import (
    Context,
    Exclude,
    Fraction,
    Include,
    Kind,
    ModelRef,
    Requirement,
    TorchModel,
    Uses,
    operation,
)
from ops.core.order import palette_lost
from ops.train.loop.optimizers import OptimizerName, ScheduleName

if TYPE_CHECKING:
    import torch

    from ops.train.loop.training import Loss


def _needs(params: Mapping[str, Any]) -> Requirement:
    """A teacher alone can be followed without labels."""
    alone = params["teacher"] is not None and params["distillation_weight"] == 1
    return Requirement.INSTANCES if alone else Requirement.LABELS


@operation(kind=Kind.FINETUNE, version=3, uses={Uses.DATA, Uses.SEED}, refuse=palette_lost, needs=_needs)
def finetune(
    model: TorchModel,
    ctx: Context,
    *,
    epochs: Annotated[int, Field(ge=1)] = 1,
    samples: Annotated[int, Field(ge=1)] | None = None,
    batch_size: Annotated[int, Field(ge=1)] = 64,
    optimizer: OptimizerName = "adamw",
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3,
    schedule: ScheduleName = "cosine",
    weight_decay: Annotated[float, Field(ge=0)] = 0.01,
    clip_norm: Annotated[float, Field(gt=0)] | None = 1.0,
    label_smoothing: Fraction = 0.0,
    augment: bool = False,
    teacher: ModelRef | None = None,
    temperature: Annotated[float, Field(gt=0)] = 4.0,
    distillation_weight: Fraction = 0.5,
    quantization_aware: bool = False,
    include: Include = (),
    exclude: Exclude = (),
) -> TorchModel:
    """Train on from the given weights; what was pruned stays exactly zero.

    The repair after pruning or factorisation. With `teacher`, the network also learns to give another
    model's probabilities; with `quantization_aware`, weights and activations are rounded to 8 bits meanwhile, so that a
    later `quantize` costs less. A killed run goes on after its last epoch.

    Args:
        model: stays as it is.
        ctx: gives training instances, the seed and the teacher.
        epochs: passes over the training instances.
        samples: how many training instances; null: the whole split.
        batch_size: instances per step; a smaller last batch of an epoch is left out.
        optimizer: `adamw`, or `sgd` with Nesterov momentum 0.9.
        learning_rate: the highest of the schedule; for pretrained transformers rather 2e-5 to 2e-4.
        schedule: `cosine`, `one_cycle` (warm-up, then down), `linear` or `constant`.
        weight_decay: of matrices and kernels; biases and normalisation have none.
        clip_norm: largest norm of the gradient; null: any.
        label_smoothing: share of the target that is spread over all classes.
        augment: train on the data set's random variations.
        teacher: a model with the same classes, e.g. `base`; null: learn from labels alone.
        temperature: by which the logits of both models are divided before they are compared.
        distillation_weight: share of the teacher in the loss; 1: learn from the teacher alone.
        quantization_aware: round convolutions and linear layers while training.
        include: layers to train; default: all.
        exclude: layers to leave as they are.

    Raises:
        OperationError: the teacher has other classes or another task, the training split is empty, or the loss becomes
            NaN before one epoch is done; later, the last good epoch is kept, and recorded.

    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015 (arXiv:1503.02531).
    """
    from ops.core.selector import choose_layers
    from ops.train.loop.training import Trainee, Training, fit, note_outcome, trained_names

    if quantization_aware:
        model = _plain(model, ctx)
    result = model.copy()
    task = model.architecture.task
    value = _loss(task, label_smoothing)
    if teacher is not None:
        value = _distilled(value, _teacher(model, ctx, teacher), temperature, distillation_weight)
    trainee = Trainee(
        result.module,
        task,
        trained_names(result, include, exclude),
        result.masks,
        model.architecture.output_kinds,
    )
    with contextlib.ExitStack() as stack:
        if quantization_aware:
            from ops.train.loop.fake_quant import roundable, rounded

            layers = roundable(choose_layers(result.module))
            ctx.note("rounded_layers", list(layers))
            trainee.companion = stack.enter_context(rounded(layers))
        training = Training(
            epochs, batch_size, optimizer, learning_rate, schedule, weight_decay, clip_norm, augment, samples
        )
        note_outcome(ctx, fit(trainee, ctx, training, value))
    return result


def _plain(model: TorchModel, ctx: Context) -> TorchModel:
    """What is rounded are plain weights, not those that are computed anew in every step."""
    from ops.core.network.parametrized import plain_weights

    plain, folded = plain_weights(model)
    if folded:
        ctx.note("plain_weights", folded)
    return plain


def _loss(task: str, label_smoothing: float) -> Loss:
    from ops.core.forward import loss

    return lambda _, outputs, targets: loss(outputs, targets, task, label_smoothing=label_smoothing)


def _teacher(model: TorchModel, ctx: Context, name: str) -> TorchModel:
    teacher = ctx.load(name)
    mine, its = model.architecture, teacher.architecture
    if mine.task != its.task:
        raise OperationError(f"finetune: teacher '{name}' is for {its.task}, this model for {mine.task}")
    if mine.classes != its.classes:
        raise OperationError(
            f"finetune: teacher '{name}' has {len(its.classes)} classes ({', '.join(its.classes[:3])}, ...), this model "
            f"{len(mine.classes)} ({', '.join(mine.classes[:3])}, ...); a teacher must know the same classes in the same order"
        )
    return teacher


def _distilled(plain: Loss, teacher: TorchModel, temperature: float, weight: float) -> Loss:
    """Mix the loss with the divergence from the teacher's softened probabilities, scaled by temperature squared."""
    import torch

    from ops.core.forward import forward
    from ops.core.output_kind import torch_logits
    from ops.core.tasks.task import TASKS

    module, name = teacher.module.eval(), teacher.architecture.task
    kinds, task = teacher.architecture.output_kinds, TASKS[name]

    def loss(inputs: Any, outputs: Any, targets: Any) -> torch.Tensor:
        with torch.no_grad():
            theirs = torch_logits(forward(module, inputs, name), kinds)
        divergence = task.divergence(outputs, theirs, targets, temperature=temperature)
        return (1 - weight) * plain(inputs, outputs, targets) + weight * divergence

    return loss
