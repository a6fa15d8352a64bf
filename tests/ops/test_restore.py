import re

import pytest
import torch

from ops.core.errors import BadParamsError, OperationError
from ops.core.operation import OPERATIONS
from tests.ops.digits import apply, context, pruned, same, state, trained


def test_chosen_layers_come_back_whole_and_lose_their_masks():
    broken = apply("magnitude_prune", trained(), context(), sparsity=0.5, include=["norm", "conv"])
    broken = apply("calibrate", broken, context())
    ctx = context(base=trained())
    result = apply("restore", broken, ctx, include=["norm"])
    before, after, wanted = state(broken), state(result), state(trained())
    norms = {name for name in wanted if re.search(r"norm\d|stem\.1|shortcut\.1", name)}
    assert all(torch.equal(after[name], wanted[name]) for name in norms)
    assert any(not torch.equal(before[name], wanted[name]) for name in norms if name.endswith("running_mean"))
    assert all(torch.equal(after[name], before[name]) for name in set(before) - norms)
    assert set(result.masks) == set(broken.masks) - norms
    assert "stem.1" in ctx.notes["restored"]


def test_exclude_is_respected():
    result = apply("restore", pruned(), context(base=trained()), include=["conv"], exclude=["stages.0.*"])
    assert not torch.equal(state(result)["stages.0.0.conv1.weight"], state(trained())["stages.0.0.conv1.weight"])
    assert torch.equal(state(result)["stages.1.0.conv1.weight"], state(trained())["stages.1.0.conv1.weight"])


def test_everything_back_is_the_reference():
    assert same(state(apply("restore", pruned(), context(base=trained()), include=["*"])), state(trained()))


def test_recipes_write_from():
    spec = OPERATIONS["restore"]
    assert spec.check({"include": ["norm"], "from": "other"})["source"] == "other"
    assert spec.marked("model reference") == ("source",)
    message = "unknown parameter 'form'. Did you mean 'from'? Known: include, exclude, from"
    with pytest.raises(BadParamsError, match=re.escape(message)):
        spec.check({"include": ["norm"], "form": "other"})
    with pytest.raises(BadParamsError, match="'include' is required"):
        spec.check({})


def test_a_narrowed_layer_is_refused_by_name():
    wide = context().build(
        {"name": "w", "builder": "residual_cnn", "depths": [1, 1], "widths": [16, 40]}, pretrained=False
    )
    message = (
        "restore: 'stages.1.0.conv1.weight' has shape (32, 16, 3, 3) here and (40, 16, 3, 3) in 'base': the layer was "
        "narrowed and cannot be put back alone; exclude it"
    )
    with pytest.raises(OperationError, match=re.escape(message)):
        apply("restore", pruned(), context(base=wide), include=["conv"])


def test_a_rebuilt_layer_is_refused_by_name():
    deep = context().build(
        {"name": "d", "builder": "residual_cnn", "depths": [2, 1], "widths": [16, 32]}, pretrained=False
    )
    message = "restore: 'stages.0.1.conv1.weight' is not in 'base' (the layer was rebuilt since); exclude it"
    with pytest.raises(OperationError, match=re.escape(message)):
        apply("restore", deep, context(base=trained()), include=["stages.0.1.conv1"])
