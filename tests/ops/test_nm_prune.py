import re

import pytest
import torch
from torch import nn

from ops.core.errors import OperationError
from ops.core.operation import OPERATIONS, Ancestry
from tests.ops.digits import apply, bert, context
from tests.ops.stored import base


def prune(model, **params):
    ctx = context()
    return apply("nm_prune", model, ctx, **params), ctx.notes


def naive(weight, n, m):
    """Groups of m input channels at one kernel position of one output."""
    keep = torch.zeros_like(weight, dtype=torch.bool)
    flat, marks = weight.flatten(2) if weight.dim() > 2 else weight[..., None], keep.view(*weight.shape[:2], -1)
    for output in range(flat.shape[0]):
        for start in range(0, flat.shape[1], m):
            for position in range(flat.shape[2]):
                group = flat[output, start : start + m, position].abs()
                marks[output, start + group.topk(n).indices, position] = True
    return keep


@pytest.mark.parametrize(("n", "m"), [(2, 4), (4, 8), (1, 4)])
@pytest.mark.parametrize("net", ["residual", "transformer"])
def test_the_largest_n_of_each_m_stay(net, n, m):
    found, notes = prune(base(net), n=n, m=m)
    for name, mask in found.masks.items():
        weight = base(net).module.get_parameter(name).detach()
        assert torch.equal(mask, naive(weight, n, m)), name
        assert torch.equal(found.module.get_parameter(name).detach(), weight * mask)
    assert notes["achieved"]["sparsity"] == pytest.approx(1 - n / m)


def test_layers_that_cannot_take_the_pattern_are_noted():
    found, notes = prune(base("depthwise"))
    assert notes["unchanged"] == {
        "stem.0": "1 input channels per output are not a multiple of 4",
        "stages.0.0.depthwise": "1 input channels per output are not a multiple of 4",
        "stages.1.0.depthwise": "1 input channels per output are not a multiple of 4",
    }
    assert {f"{name}.weight" for name in notes["unchanged"]}.isdisjoint(found.masks)
    with pytest.raises(OperationError, match=re.escape("No chosen layer can take the pattern 2:4: 'stem.0': 1 input")):
        prune(base("depthwise"), include=["stem"])


def test_wanda_scores_weigh_the_inputs():
    plain, _ = prune(bert_on_tokens(), include=["*.intermediate.dense"])
    weighed = apply(
        "nm_prune", bert_on_tokens(), context(data=sentences()), include=["*.intermediate.dense"], score="wanda"
    )
    assert not all(torch.equal(weighed.masks[name], mask) for name, mask in plain.masks.items())
    outlier = weighed.masks["bert.encoder.layer.0.intermediate.dense.weight"][:, 3]
    assert outlier.float().mean() > 0.95, "an input a hundred times larger than its neighbours keeps its weights"


def test_earlier_zeros_stay_and_count():
    first = apply("magnitude_prune", base("residual"), context(), sparsity=0.5, include=["stages.1"])
    second, _ = prune(first)
    for name, mask in first.masks.items():
        assert not (second.masks[name] & ~mask).any()
        groups = second.masks[name].flatten(2).unflatten(1, (-1, 4)).sum(dim=2)
        assert int(groups.max()) <= 2
        allowed = mask.flatten(2).unflatten(1, (-1, 4)).sum(dim=2).clamp_max(2)
        assert torch.equal(groups, allowed), "no more than the pattern asks for"


def test_a_pattern_that_keeps_everything_is_refused_when_planned():
    spec = OPERATIONS["nm_prune"]
    ancestry = Ancestry({}, "image-classification", ())
    message = "n must be smaller than m, as in 2:4 and 4:8 (got 4:4)"
    assert spec.refuse(ancestry, spec.check({"n": 4})) == message
    assert spec.refuse(ancestry, spec.check({})) is None


def sentences():
    from tests.ops.digits import Sentences

    return Sentences()


def bert_on_tokens():
    model = bert().copy()
    for part in model.module.modules():
        if isinstance(part, nn.LayerNorm):
            part.weight.data[3] *= 100
    return model
