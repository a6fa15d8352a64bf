import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from ops.core.errors import OperationError
from ops.core.forward import loss
from ops.train.loop.fake_quant import Observer, round_input, round_weight, roundable, rounded
from ops.train.loop.training import Trainee, Training, fit, trained_names
from tests.ops.digits import Changed, accuracy, apply, context, export, pruned, same, state, trained, with_nan
from tests.ops.test_train import Killed, kill_at

SHORT = {"epochs": 2, "samples": 320, "batch_size": 32}
METHODS = [
    {},
    {"teacher": "base"},
    {"quantization_aware": True},
    {"optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 0.1, "schedule": "one_cycle", "augment": True},
]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_it_repairs_keeps_zeros_and_leaves_its_input_alone(method):
    before = state(pruned())
    result = apply("finetune", pruned(), context(base=trained()), **SHORT, **method)
    assert accuracy(result) > accuracy(pruned()) + 0.1
    for name, mask in result.masks.items():
        removed = result.module.get_parameter(name)[~mask]
        assert not removed.any()
        assert not torch.signbit(removed).any()  # a product with the mask would leave -0.0
    assert same(before, state(pruned()))
    assert list(state(result)) == list(before)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in result.module.parameters())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_zeros_are_zero_after_every_single_step(optimizer):
    """Momentum gathered before a weight is masked, and weight decay, would move it."""
    model, ctx = pruned().copy(), context()
    seen = []

    def progress(done, total, text=""):
        parameters = dict(model.module.named_parameters())
        seen.append(sum(int(parameters[name][~mask].count_nonzero()) for name, mask in model.masks.items()))

    ctx.progress = progress
    names = trained_names(model.module, (), ())
    fit(
        Trainee(model.module, "image-classification", names, model.masks),
        ctx,
        Training(1, 64, optimizer, 0.05, "constant", 0.3, None, augment=False),
        lambda _, outputs, targets: loss(outputs, targets, "image-classification"),
    )
    assert seen == [0] * 18


def test_masked_gradients_do_not_count_when_gradients_are_clipped():
    """With all but one weight masked, a small bound must not be used up by the others' gradients."""
    model = trained().copy()
    mask = torch.zeros_like(model.module.classifier.weight, dtype=torch.bool)
    mask[0, 0] = True
    model.module.classifier.weight.data[~mask] = 0
    model.masks["classifier.weight"] = mask
    options = {
        "optimizer": "sgd", "learning_rate": 1.0, "schedule": "constant", "clip_norm": 0.01, "weight_decay": 0,
        "epochs": 1, "samples": 64, "batch_size": 64, "include": ["head"],
    }  # fmt: skip
    result = apply("finetune", model, context(), **options)
    before, after = state(model), state(result)
    moved = torch.cat([(after[name] - before[name]).flatten() for name in ("classifier.weight", "classifier.bias")])
    # one step of SGD with Nesterov momentum moves by 1.9 times the clipped gradient
    assert float(moved.norm()) == pytest.approx(0.019, rel=1e-3)


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_killed_run_ends_with_the_same_bytes(tmp_path, method):
    undisturbed = apply("finetune", pruned(), context(base=trained()), **SHORT, **method)
    ctx = context(tmp_path, base=trained())
    kill_at(ctx, 15)
    with pytest.raises(Killed):
        apply("finetune", pruned(), ctx, **SHORT, **method)
    result = apply("finetune", pruned(), context(tmp_path, base=trained()), **SHORT, **method)
    assert same(state(result), state(undisturbed))


def test_a_teacher_teaches_without_labels():
    wrong = Changed(lambda split, batch, call: replace(batch, targets={"labels": (batch.targets["labels"] + 1) % 10}))
    options = {**SHORT, "teacher": "base", "distillation_weight": 1.0}
    taught = apply("finetune", pruned(), context(data=wrong, base=trained()), **options)
    assert accuracy(taught) > accuracy(pruned()) + 0.1


def test_a_teacher_with_other_classes_or_another_task_is_refused():
    architecture = replace(trained().architecture, classes=("cat", "dog", "fish", "fox"))
    message = (
        "finetune: teacher 'base' has 4 classes (cat, dog, fish, ...), this model 10 (0, 1, 2, ...); a teacher must know the "
        "same classes in the same order"
    )
    with pytest.raises(OperationError, match=re.escape(message)):
        apply("finetune", pruned(), context(base=replace(trained(), architecture=architecture)), teacher="base")
    other = replace(trained(), architecture=replace(trained().architecture, task="question-answering"))
    with pytest.raises(
        OperationError, match="teacher 'base' is for question-answering, this model for image-classification"
    ):
        apply("finetune", pruned(), context(base=other), teacher="base")


def test_a_loss_that_is_not_a_number_keeps_the_last_good_epoch_and_says_so():
    broken = Changed(lambda split, batch, call: with_nan(batch) if call == 2 else batch)
    ctx = context(data=broken)
    result = apply("finetune", pruned(), ctx, **SHORT)
    assert ctx.notes["stopped"] == "the loss became nan in epoch 2, step 1; the result is that of epoch 1"
    assert accuracy(result) > accuracy(pruned())
    assert all(bool(tensor.isfinite().all()) for tensor in state(result).values())


def test_a_learning_rate_that_breaks_the_model_leaves_nothing():
    with pytest.raises(OperationError, match=r"Training failed: the loss became nan in epoch 1, step \d+, before one"):
        apply("finetune", pruned(), context(), epochs=1, optimizer="sgd", learning_rate=1e30, clip_norm=None)


def test_only_included_layers_change():
    result = apply("finetune", pruned(), context(), **SHORT, include=["head"])
    before, after = state(pruned()), state(result)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_zeros_survive_pruning_then_finetuning_then_export_then_quantize():
    tuned = apply("finetune", pruned(), context(), **SHORT, quantization_aware=True)
    int8 = apply("quantize", export(tuned), context(), samples=64)
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(int8.path).graph.initializer}
    for name, mask in tuned.masks.items():
        stored = weights[f"{name}_quantized"]
        assert stored.dtype == np.int8
        stored = stored if stored.shape == mask.shape else stored.T
        assert not stored[~mask.numpy()].any()
    assert accuracy(int8) > accuracy(tuned) - 0.03


def test_training_with_rounding_prepares_for_coarse_weights():
    """What quantization-aware training is for, made visible with 8-bit inputs that are far too wide."""
    layer = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.3, -1.0, 0.0, 0.002], [5.0, 0.1, -0.02, 0.0]]))
    with rounded({"layer": layer}) as observers:
        given = torch.tensor([[1.0, -0.5, 0.25, 0.1]], requires_grad=True)
        result = layer(given)
        expected = round_input(given, observers[0].low, observers[0].high) @ round_weight(layer.weight).T
        assert torch.equal(result, expected)
    assert "forward" not in vars(layer)
    assert torch.equal(layer(given), given @ layer.weight.T)


def test_rounded_weights_are_the_runtimes_and_gradients_pass():
    weight = torch.randn(3, 2, 3, 3, requires_grad=True)
    result = round_weight(weight)
    scale = weight.detach().abs().flatten(1).amax(1)[:, None, None, None] / 127
    levels = (result / scale).detach()
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert float(levels.abs().max()) == pytest.approx(127)
    result.sum().backward()
    assert torch.equal(weight.grad, torch.ones_like(weight))
    assert not round_weight(torch.zeros(2, 3)).any()


def test_rounded_inputs_have_256_levels_with_zero_among_them_and_no_gradient_beyond_the_range():
    values = torch.linspace(-2, 6, 1000, requires_grad=True)
    result = round_input(values, torch.tensor(-1.0), torch.tensor(4.0))
    assert len(result.detach().round(decimals=4).unique()) == 256
    assert float(result.detach().abs().min()) == 0
    assert float(result.detach().min()) == pytest.approx(-1, abs=0.02)
    result.sum().backward()
    inside = (values > -0.95) & (values < 3.95)
    outside = (values < -1.05) | (values > 4.05)
    assert bool((values.grad[inside] == 1).all())
    assert bool((values.grad[outside] == 0).all())


def test_the_observer_follows_slowly_and_keeps_zero_in_range():
    observer = Observer()
    low, high = observer(torch.tensor([1.0, 3.0]))
    assert (float(low), float(high)) == (0.0, 3.0)
    low, high = observer(torch.tensor([-1.0, 13.0]))
    assert float(low) == pytest.approx(-0.01)
    assert float(high) == pytest.approx(3.1)


def test_layers_with_a_forward_of_their_own_are_not_rounded():
    class Scaled(nn.Linear):
        pass

    assert list(
        roundable({"a": nn.Linear(2, 2), "b": Scaled(2, 2), "c": nn.Conv1d(1, 1, 1), "d": nn.LayerNorm(2)})
    ) == ["a", "c"]


def test_the_forward_comes_back_when_training_fails():
    layer = nn.Linear(2, 2)
    with pytest.raises(ZeroDivisionError), rounded({"layer": layer}):
        raise ZeroDivisionError
    assert "forward" not in vars(layer)


class _Aside(nn.Module):
    """A part that serves training in its author's own loop only."""

    def __init__(self):
        super().__init__()
        self.head, self.aside = nn.Linear(64, 10), nn.Linear(64, 10)

    def forward(self, x):
        return self.head(x.flatten(1))


def test_layers_that_the_loss_does_not_reach_cannot_be_trained_alone():
    model = replace(trained(), module=_Aside().eval(), edits=[], masks={})
    with pytest.raises(OperationError, match="None of the layers that are trained has a part in the loss"):
        apply("finetune", model, context(), **SHORT, include=["aside"])
