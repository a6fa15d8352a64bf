import re

import pytest
import torch

from ops.core.errors import OperationError
from ops.core.forward import forward, loss, tensors
from ops.core.selector import choose_parameters
from tests.ops.digits import Changed, apply, context, digits, with_nan
from tests.ops.stored import base


def gradients(model, count, batch_size):
    """Gradients of the mean loss of each batch, by plain autograd."""
    weights = choose_parameters(model.module)
    for batch in digits().batches("train", batch_size=batch_size, samples=count):
        outputs = forward(model.module, tensors(batch.inputs), model.architecture.task)
        value = loss(outputs, tensors(batch.targets), model.architecture.task)
        yield dict(zip(weights, torch.autograd.grad(value, list(weights.values())), strict=True))


def expected(model, criterion):
    weights = {name: weight.detach() for name, weight in choose_parameters(model.module).items()}
    found = list(gradients(model, 48, batch_size=16))
    match criterion:
        case "taylor":
            return {name: sum((w * g[name]).abs() for g in found) for name, w in weights.items()}
        case "snip":
            return {name: (w * sum(g[name] for g in found)).abs() for name, w in weights.items()}
        case "fisher":
            return {name: w**2 * sum(g[name] ** 2 for g in found) for name, w in weights.items()}


@pytest.mark.parametrize("criterion", ["taylor", "snip", "fisher"])
@pytest.mark.parametrize("net", ["residual", "transformer"])
def test_the_scores_are_those_of_plain_autograd(net, criterion):
    model = base(net)
    found = apply(
        "gradient_prune", model, context(), sparsity=0.4, scope="layer", criterion=criterion, samples=48, batch_size=16
    )
    for name, scores in expected(model, criterion).items():
        threshold = scores.flatten().kthvalue(round(0.4 * scores.numel())).values
        near = (scores - threshold).abs() <= 1e-4 * threshold  # sums in another order
        assert torch.equal((scores > threshold)[~near], found.masks[name][~near]), name


def test_normalized_scores_are_compared_as_multiples_of_their_tensors_mean():
    model, ctx = base("residual"), context()
    found = apply("gradient_prune", model, ctx, sparsity=0.6, normalize=True, samples=48, batch_size=16)
    scores = {name: value / value.mean() for name, value in expected(model, "taylor").items()}
    pooled = torch.cat([value.flatten() for value in scores.values()])
    threshold = pooled.kthvalue(round(0.6 * pooled.numel())).values
    for name, value in scores.items():
        near = (value - threshold).abs() <= 1e-4 * threshold  # sums in another order
        assert torch.equal((value > threshold)[~near], found.masks[name][~near]), name
    assert ctx.notes["achieved"]["zeros"] == round(0.6 * pooled.numel())


def test_normalized_scores_leave_every_layer_something_where_plain_ones_would_empty_it():
    model = base("residual").copy()
    with torch.no_grad():  # a weight that hardly matters: its gradient is divided as its values are multiplied
        model.module.get_parameter("stem.0.weight").mul_(1e-6)
    with pytest.raises(OperationError, match=re.escape("would remove every weight of 'stem.0.weight'")):
        apply("gradient_prune", model, context(), sparsity=0.9, samples=48)
    left = apply("gradient_prune", model, context(), sparsity=0.9, samples=48, normalize=True).masks
    assert all(bool(mask.any()) for mask in left.values())


def test_only_the_stated_number_of_training_instances_is_read():
    seen = []

    def spy(split, batch, _):
        seen.append((split, len(batch)))
        return batch

    ctx = context(data=Changed(spy))
    apply("gradient_prune", base("depthwise"), ctx, sparsity=0.5, samples=40, batch_size=16)
    assert {split for split, _ in seen} == {"train"}
    assert sum(count for _, count in seen) == 40
    assert ctx.notes["samples"] == 40


def test_earlier_zeros_count():
    first = apply("magnitude_prune", base("residual"), context(), sparsity=0.3)
    ctx = context()
    second = apply("gradient_prune", first, ctx, sparsity=0.6, samples=32)
    assert not any((second.masks[name] & ~mask).any() for name, mask in first.masks.items())
    assert ctx.notes["achieved"]["zeros"] == round(0.6 * ctx.notes["achieved"]["weights"])


def test_without_training_data_it_says_so():
    with pytest.raises(OperationError, match="The training split is empty: gradients need labelled training instances"):
        apply("gradient_prune", base("residual"), context(data=Changed(empty=("train",))), sparsity=0.5)


def test_a_gradient_that_is_no_number_is_refused():
    data = Changed(lambda split, batch, _: with_nan(batch) if split == "train" else batch)
    message = re.escape("The gradient of 'stem.0.weight' is not finite on the training data")
    with pytest.raises(OperationError, match=message):
        apply("gradient_prune", base("residual"), context(data=data), sparsity=0.5)
    assert all(p.grad is None and p.requires_grad for p in base("residual").module.parameters())


def test_a_layer_that_the_loss_does_not_reach_is_named():
    model = base("residual").copy()
    list(model.module.modules())[-1].weight.data.zero_()  # of the head: no gradient goes further back
    with pytest.raises(OperationError, match=r"No weight of '.*' scores above any other .*does the loss reach"):
        apply("gradient_prune", model, context(), sparsity=0.5, samples=16, batch_size=16)
