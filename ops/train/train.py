"""Training as the root of a tree: from random weights, or from the pretrained ones that the model's entry names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from ops.core.errors import OperationError
from ops.core.operation import (
    Context,
    Exclude,
    Fraction,
    Include,
    Kind,
    ModelEntry,
    Requirement,
    TorchModel,
    Uses,
    operation,
)
from ops.train.loop.optimizers import OptimizerName, ScheduleName


@operation(kind=Kind.BASE, version=3, consumes=None, uses={Uses.DATA, Uses.SEED}, needs=lambda _: Requirement.LABELS)
def train(
    ctx: Context,
    *,
    model: ModelEntry = None,
    epochs: Annotated[int, Field(ge=1)] = 2,
    samples: Annotated[int, Field(ge=1)] | None = None,
    batch_size: Annotated[int, Field(ge=1)] = 128,
    optimizer: OptimizerName = "adamw",
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3,
    schedule: ScheduleName = "one_cycle",
    weight_decay: Annotated[float, Field(ge=0)] = 0.01,
    clip_norm: Annotated[float, Field(gt=0)] | None = None,
    label_smoothing: Fraction = 0.0,
    augment: bool = False,
    zero_init_residual: bool = True,
    include: Include = (),
    exclude: Exclude = (),
) -> TorchModel:
    """Train a network on the training split, from random weights or from those of its entry in conf/model.

    An entry with `weights` begins with them (and with a new head, if `new_head` says so): transfer learning in one step.
    The defaults suit a few epochs of a residual network. A killed run goes on after its last epoch.

    Args:
        ctx: gives the architecture, training instances and the seed.
        model: an entry of conf/model; default: the recipe's model.
        epochs: passes over the training instances.
        samples: how many training instances; null: the whole split.
        batch_size: instances per step; a smaller last batch of an epoch is left out.
        optimizer: `adamw`, or `sgd` with Nesterov momentum 0.9.
        learning_rate: the highest of the schedule.
        schedule: `one_cycle` (warm-up, then down), `cosine`, `linear` or `constant`.
        weight_decay: of matrices and kernels; biases and normalisation have none.
        clip_norm: largest norm of the gradient; null: any.
        label_smoothing: share of the target that is spread over all classes.
        augment: train on the data set's random variations.
        zero_init_residual: let every residual branch that ends in a batch normalisation begin at zero, which makes the
            first epochs of deep networks steadier (Goyal et al. 2017, arXiv:1706.02677); not with pretrained weights.
        include: layers to train; default: all.
        exclude: layers that keep the weights that they begin with.

    Raises:
        OperationError: the training split is empty, or the loss becomes NaN before one epoch is done; later, the last
            good epoch is kept, and recorded.
    """
    from ops.core.forward import loss
    from ops.train.loop.training import Trainee, Training, fit, note_outcome, trained_names

    assert isinstance(model, Mapping), "the plan replaces a model's name by its entry"
    pretrained = model.get("weights") is not None
    built = ctx.build(model, pretrained=pretrained)
    if not isinstance(built, TorchModel):
        raise OperationError(
            f"train: model '{model.get('name')}' is an ONNX file, which cannot be trained; use `load_onnx`"
        )
    if pretrained:
        ctx.note("began_with", str(model["weights"]))
        for name, value in built.notes.items():
            ctx.note(name, value)
    elif zero_init_residual:
        ctx.note("zero_initialised", _zero_residuals(built, ctx))
    task = built.architecture.task
    outcome = fit(
        Trainee(
            built.module,
            task,
            trained_names(built, include, exclude),
            output_kinds=built.architecture.output_kinds,
        ),
        ctx,
        Training(epochs, batch_size, optimizer, learning_rate, schedule, weight_decay, clip_norm, augment, samples),
        lambda _, outputs, targets: loss(outputs, targets, task, label_smoothing=label_smoothing),
    )
    note_outcome(ctx, outcome)
    return built


def _zero_residuals(model: TorchModel, ctx: Context) -> int:
    """Zero the scale of the normalisation that ends each residual branch; return how many there are."""
    import torch

    from ops.core.forward import forward, tensors
    from ops.train.loop.zero_init import residual_norms

    batch = next(iter(ctx.data.batches("train", batch_size=2, samples=2)), None)
    if batch is None:
        return 0
    with torch.enable_grad():
        outputs = forward(model.module.eval(), tensors(batch.inputs), model.architecture.task)
    norms = residual_norms(model.module, outputs.values())
    for norm in norms:
        torch.nn.init.zeros_(norm.get_parameter("weight"))
    return len(norms)
