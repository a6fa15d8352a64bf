import math
import re

import pytest
import torch
from torch import nn

from ops.core.errors import OperationError
from ops.train.loop.optimizers import make_optimizer, make_schedule
from ops.train.loop.zero_init import residual_norms
from tests.ops.digits import DEPTHWISE, RESIDUAL, Changed, accuracy, apply, context, same, state, with_nan

SHORT = {"model": RESIDUAL, "epochs": 3, "samples": 320, "batch_size": 32}


class Killed(BaseException):
    """What ends a worker in the middle of a step."""


def kill_at(ctx, step):
    def progress(done, total, text=""):
        if done >= step:
            raise Killed

    ctx.progress = progress


@pytest.mark.parametrize(("entry", "least"), [(RESIDUAL, 0.8), (DEPTHWISE, 0.7)], ids=["residual", "depthwise"])
def test_the_defaults_learn_held_out_digits(entry, least):
    """Chance is .1; these read .99 and .95, far enough above for what rounding and seeds change."""
    assert accuracy(apply("train", context(), model=entry, epochs=12, batch_size=32, learning_rate=5e-3)) > least


def test_same_seed_same_bytes_other_seed_other_bytes():
    first = apply("train", context(), **SHORT)
    torch.rand(3)  # whatever ran before in the process
    assert same(state(first), state(apply("train", context(), **SHORT)))
    assert not same(state(first), state(apply("train", context(seed=1), **SHORT)))


@pytest.mark.parametrize("step", [11, 20, 29])
def test_a_killed_run_goes_on_after_its_last_epoch_and_ends_with_the_same_bytes(tmp_path, step):
    undisturbed = apply("train", context(), **SHORT)
    ctx = context(tmp_path)
    kill_at(ctx, step)  # epochs have ten steps
    with pytest.raises(Killed):
        apply("train", ctx, **SHORT)
    again = context(tmp_path)
    seen = []
    again.progress = lambda done, total, text="": seen.append(done)
    result = apply("train", again, **SHORT)
    assert seen[0] == 10 * ((step - 1) // 10) + 1
    assert same(state(result), state(undisturbed))
    assert len(again.notes["losses"]) == 3


def test_a_loss_that_is_not_a_number_in_the_first_epoch_says_what_to_do():
    message = (
        "Training failed: the loss became nan in epoch 1, step 1, before one epoch was done. Lower learning_rate (0.002) "
        "or set clip_norm, and check the data for NaN"
    )
    broken = Changed(lambda split, batch, call: with_nan(batch))
    with pytest.raises(OperationError, match=re.escape(message)):
        apply("train", context(data=broken), **SHORT, zero_init_residual=False)


def test_a_loss_that_is_not_a_number_later_keeps_the_last_good_epoch():
    broken = Changed(lambda split, batch, call: with_nan(batch) if call == 3 else batch)
    ctx = context(data=broken)
    result = apply("train", ctx, **SHORT, zero_init_residual=False)
    assert ctx.notes["stopped"] == "the loss became nan in epoch 3, step 1; the result is that of epoch 2"
    assert len(ctx.notes["losses"]) == 2
    two = context()
    kill_at(two, 21)
    with pytest.raises(Killed):
        apply("train", two, **SHORT, zero_init_residual=False)
    kept = torch.load(two.scratch / "checkpoint.pt", weights_only=True)["module"]
    assert same(state(result), kept)


def test_a_checkpoint_of_another_version_is_passed_over(tmp_path):
    """Its optimiser's state may be ordered otherwise: it would be taken up wrongly, or fail in every run."""
    ctx = context(tmp_path)
    kill_at(ctx, 11)
    with pytest.raises(Killed):
        apply("train", ctx, **SHORT)
    file = tmp_path / "checkpoint.pt"
    kept = torch.load(file, weights_only=True)
    torch.save({**kept, "stamp": ["1.0", *kept["stamp"][1:]], "losses": [9.0, 9.0]}, file)
    again = context(tmp_path)
    result = apply("train", again, **SHORT)
    assert 9.0 not in again.notes["losses"]
    assert same(state(result), state(apply("train", context(), **SHORT)))


def test_an_empty_training_split_is_refused():
    with pytest.raises(OperationError, match="The train split is empty: give the data set some train instances"):
        apply("train", context(data=Changed(empty=("train",))), **SHORT)


def test_excluded_layers_keep_their_initial_weights_and_statistics():
    untrained = context().build(RESIDUAL, pretrained=False)
    before, after = state(untrained), state(apply("train", context(), **SHORT, exclude=["*norm1", "head"]))
    frozen = [name for name in before if "norm1" in name or name.startswith("classifier.")]
    assert {"classifier.bias", "stages.0.0.norm1.running_mean"} <= set(frozen)
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert not torch.equal(before["stages.0.0.conv1.weight"], after["stages.0.0.conv1.weight"])


def test_an_instance_too_few_for_a_batch_is_left_out_and_a_small_split_is_one_batch():
    ctx = context()
    seen = []
    ctx.progress = lambda done, total, text="": seen.append((done, total))
    apply("train", ctx, model=RESIDUAL, epochs=1, samples=50, batch_size=32)
    assert seen == [(1, 1)]
    seen.clear()
    apply("train", ctx_with(seen), model=RESIDUAL, epochs=1, samples=20, batch_size=32)
    assert seen == [(1, 1)]


def ctx_with(seen):
    ctx = context()
    ctx.progress = lambda done, total, text="": seen.append((done, total))
    return ctx


def test_residual_branches_begin_at_zero():
    ctx = context()
    built = apply("train", ctx, **{**SHORT, "epochs": 1}, include=["head"])
    assert ctx.notes["zero_initialised"] == 2
    for block in (0, 1):
        assert not built.module.get_parameter(f"stages.{block}.0.norm2.weight").any()
        assert built.module.get_parameter(f"stages.{block}.0.norm1.weight").all()
    ctx = context()
    apply("train", ctx, **{**SHORT, "model": DEPTHWISE, "epochs": 1})
    assert ctx.notes["zero_initialised"] == 0


def test_an_entry_with_weights_begins_with_them_and_a_new_head(tmp_path):
    from safetensors.torch import load_file, save_file

    shape = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_channels": 1}
    plain = {"name": "small", "builder": "huggingface", "architecture": "resnet", "config": shape}
    still = {"epochs": 1, "samples": 64, "batch_size": 32, "learning_rate": 1e-12, "weight_decay": 0}
    before = state(apply("train", context(seed=3), model=plain, **still))
    body = {name: tensor for name, tensor in before.items() if not name.startswith("classifier")}
    save_file({name: tensor.contiguous() for name, tensor in body.items()}, tmp_path / "body.safetensors")
    entry = {**plain, "weights": str(tmp_path / "body.safetensors"), "new_head": True}
    ctx = context()
    begun = state(apply("train", ctx, model=entry, **still))
    weights = [name for name in load_file(tmp_path / "body.safetensors") if name.endswith("weight")]
    assert all(torch.allclose(begun[name], body[name], atol=1e-6) for name in weights)
    assert ctx.notes["began_with"] == entry["weights"]
    assert "zero_initialised" not in ctx.notes
    random = state(apply("train", context(), model=plain, **still))
    assert not any(torch.allclose(random[name], body[name], atol=1e-6) for name in weights if "convolution" in name)


def test_residual_branches_are_found_in_bottlenecks_of_hugging_face():
    from transformers import ResNetConfig, ResNetForImageClassification

    net = ResNetForImageClassification(
        ResNetConfig(num_channels=1, embedding_size=8, hidden_sizes=[16, 32], depths=[2, 1], num_labels=3)
    ).eval()
    found = residual_norms(net, [net(torch.randn(2, 1, 32, 32)).logits])
    names = {name for name, part in net.named_modules() if any(part is norm for norm in found)}
    assert names == {
        f"resnet.encoder.stages.{place}.layer.2.normalization" for place in ("0.layers.0", "0.layers.1", "1.layers.0")
    }


def test_biases_and_normalisation_do_not_decay():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    optimizer = make_optimizer("sgd", dict(net.named_parameters()), learning_rate=0.1, weight_decay=0.5)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: decays[id(p)] for name, p in net.named_parameters()} == {
        "0.weight": 0.5, "0.bias": 0, "1.weight": 0, "1.bias": 0, "3.weight": 0.5, "3.bias": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "first", "highest", "last"),
    [("one_cycle", 0.04, 1, 4e-6), ("cosine", 1, 1, 0), ("linear", 1, 1, 0), ("constant", 1, 1, 1)],
)
def test_schedules_begin_peak_and_end_where_they_should(name, first, highest, last):
    optimizer = make_optimizer("adamw", {"w": nn.Parameter(torch.ones(1))}, learning_rate=1.0, weight_decay=0)
    schedule = make_schedule(name, optimizer, learning_rate=1.0, steps=50)
    rates = []
    for _ in range(50):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert math.isclose(rates[0], first)
    assert math.isclose(max(rates), highest, rel_tol=1e-6)
    assert math.isclose(rates[-1], last, abs_tol=0.03)
