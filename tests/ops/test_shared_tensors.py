"""One tensor is one thing, whatever its names: in selectors, counts, masks, restoring, training, and on disk."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ops.core.errors import OperationError
from ops.core.network.sharing import copy_network, identities, same_names, share_weights, spread_masks
from pipeline.models import storage
from tests.ops.digits import apply, context, logits
from tests.ops.shared_nets import model_of, network

WEIGHTS = 64 * 48 + 48 * 48 + 48 * 10


def zeros(model):
    named = dict(model.module.named_parameters(remove_duplicate=False))
    return {name: int((value == 0).sum()) for name, value in named.items() if name.endswith("weight")}


def broken(model):
    """Masked weights that are not zero, under any name."""
    named = dict(model.module.named_parameters(remove_duplicate=False))
    return {name: int((named[name][~mask] != 0).sum()) for name, mask in model.masks.items()}


@pytest.mark.parametrize(
    ("op", "params", "share_of_zeros"),
    [
        ("magnitude_prune", {"sparsity": 0.6, "scope": "layer"}, 0.6),
        ("magnitude_prune", {"sparsity": 0.6}, 0.6),
        ("gradient_prune", {"sparsity": 0.6, "samples": 32}, 0.6),
        ("activation_prune", {"sparsity": 0.6, "samples": 32}, 0.6),
        ("activation_prune", {"sparsity": 0.6, "samples": 32, "method": "sparsegpt"}, 0.6),
        ("nm_prune", {"score": "wanda", "samples": 32}, 0.5),
        ("nm_prune", {}, 0.5),
    ],
)
@pytest.mark.parametrize("kind", ["Tied", "Twice"])
def test_a_shared_weight_is_pruned_and_counted_once(op, params, share_of_zeros, kind):
    ctx = context()
    found = apply(op, network(kind), ctx, **params)
    achieved = ctx.notes["achieved"]
    assert achieved["weights"] == WEIGHTS
    assert achieved["zeros"] == pytest.approx(share_of_zeros * WEIGHTS, abs=3)
    named = dict(found.module.named_parameters())
    assert sum(int((value == 0).sum()) for name, value in named.items() if "bias" not in name) == achieved["zeros"]
    other = "b.weight" if kind == "Tied" else "again.weight"
    assert torch.equal(found.masks["a.weight"], found.masks[other])
    assert set(broken(found).values()) == {0}


def test_wanda_scores_a_shared_weight_by_what_all_its_layers_see():
    model = network("Tied")
    found = apply("activation_prune", model, context(), sparsity=0.5, samples=64, include=["a"])
    seen = {"a": 0.0, "b": 0.0}
    handles = [
        layer.register_forward_pre_hook(
            lambda _, given, name=name: seen.__setitem__(name, seen[name] + given[0].square().sum(0, dtype=torch.float64))
        )
        for name, layer in (("a", model.module.a), ("b", model.module.b))
    ]  # fmt: skip
    for batch in context().data.batches("calibration", batch_size=64, samples=64):
        with torch.no_grad():
            model.module(torch.from_numpy(batch.inputs["pixel_values"]))
    for handle in handles:
        handle.remove()
    scores = model.module.a.weight.detach().abs() * (seen["a"] + seen["b"]).sqrt().float()
    kept = scores.argsort(dim=1).argsort(dim=1) >= 24
    assert torch.equal(found.module.a.weight != 0, kept)
    assert found.module.b.weight is found.module.a.weight


def test_what_is_excluded_under_one_name_is_left_alone_under_all():
    model = network("Tied")
    for op, params in (("magnitude_prune", {}), ("activation_prune", {"samples": 16}), ("palettize", {})):
        wanted = {"sparsity": 0.5} if op != "palettize" else {"bits": 2}
        found = apply(op, model, context(), exclude=["b"], **params, **wanted)
        assert torch.equal(found.module.a.weight, model.module.a.weight), op
    found = apply("finetune", model, context(), epochs=1, samples=64, exclude=["b"])
    assert torch.equal(found.module.a.weight, model.module.a.weight)
    assert not torch.equal(found.module.stem.weight, model.module.stem.weight)


def test_restoring_one_layer_restores_what_it_shares_and_training_does_not_undo_it():
    base = network("Tied")
    pruned = apply("magnitude_prune", base, context(), sparsity=0.6, scope="layer")
    restored = apply("restore", pruned, context(base=base), include=["b"])
    assert torch.equal(restored.module.a.weight, base.module.a.weight)
    assert set(restored.masks) == {"stem.weight", "head.weight"}
    tuned = apply("finetune", restored, context(), epochs=1, samples=64, learning_rate=1e-6)
    assert zeros(tuned)["a.weight"] == zeros(tuned)["b.weight"] == 0
    assert zeros(tuned)["stem.weight"] == round(0.6 * 64 * 48)
    assert set(broken(tuned).values()) == {0}


@pytest.mark.parametrize("name", ["a.weight", "b.weight"])
def test_training_keeps_zeros_whatever_name_their_mask_has(name):
    model = network("Tied")
    mask = torch.rand(48, 48, generator=torch.Generator().manual_seed(0)) > 0.5
    model.masks[name] = mask
    with torch.no_grad():
        model.module.a.weight.masked_fill_(~mask, 0)
    found = apply("finetune", model, context(), epochs=1, samples=64)
    assert int((found.module.a.weight[~mask] != 0).sum()) == 0
    assert not torch.equal(found.module.a.weight, model.module.a.weight)


def test_a_transposed_weight_in_the_same_memory_is_the_same_weight():
    model = network("Transposed")
    found = apply("magnitude_prune", model, context(), sparsity=0.6, scope="layer")
    assert found.module.back.weight.data_ptr() == found.module.stem.weight.data_ptr()
    assert torch.equal(found.module.back.weight, found.module.stem.weight.t())
    assert zeros(found)["back.weight"] == round(0.6 * 64 * 48)
    assert torch.equal(found.masks["back.weight"], found.masks["stem.weight"].t())
    tuned = apply("finetune", found, context(), epochs=1, samples=64)
    assert torch.equal(tuned.module.back.weight, tuned.module.stem.weight.t())
    assert set(broken(tuned).values()) == {0}
    wanda = apply("activation_prune", model, context(), sparsity=0.6, samples=16)
    assert zeros(wanda)["back.weight"] == zeros(wanda)["stem.weight"] == round(0.6 * 64 * 48)


def test_slices_of_one_memory_are_things_of_their_own():
    block = torch.randn(20, 8)
    module = nn.Sequential(nn.Linear(8, 10), nn.Linear(8, 10))
    module[0].weight, module[1].weight = nn.Parameter(block[:10]), nn.Parameter(block[10:])
    assert len({identities(module)[f"{layer}.weight"] for layer in (0, 1)}) == 2
    found = copy_network(module)
    assert all(torch.equal(found[layer].weight, module[layer].weight) for layer in (0, 1))


@pytest.mark.parametrize(
    "params", [{}, {"include": ["*"]}, {"include": ["linear"]}, {"include": ["Linear"]}, {"include": ["*m*"]}]
)
@pytest.mark.parametrize("op", ["magnitude_prune", "activation_prune", "nm_prune"])
def test_a_tied_embedding_is_left_alone_unless_asked_for(op, params):
    model, ctx = network("TiedEmbedding"), context()
    strength = {} if op == "nm_prune" else {"sparsity": 0.5}
    found = apply(op, model, ctx, **strength, **params)
    assert zeros(found)["embedding.weight"] == 0
    assert zeros(found)["mix.weight"] == 128
    if params.get("include") != ["*m*"]:  # which does not reach the head
        assert "embedding" in str(ctx.notes["unchanged"])


@pytest.mark.parametrize("include", [["embedding"], ["head"], ["head.weight"], ["Embedding"], ["mix", "head"]])
def test_a_tied_embedding_is_pruned_where_it_is_named(include):
    model = network("TiedEmbedding")
    found = apply("magnitude_prune", model, context(), sparsity=0.5, scope="layer", include=include)
    assert zeros(found)["embedding.weight"] == zeros(found)["head.weight"] == 136
    assert found.module.head.weight is found.module.embedding.weight


def test_nothing_but_a_tied_embedding_is_an_error_that_names_it():
    model = network("TiedEmbedding")
    with pytest.raises(OperationError, match=r"'head\.weight' is also that of 'embedding': name it with 'include'"):
        apply("magnitude_prune", model, context(), sparsity=0.5, exclude=["mix"])
    with pytest.raises(OperationError, match="also those of 'embedding'"):
        apply("factorize", model, context(), ratio=0.5, exclude=["mix"])


@pytest.mark.parametrize(("kind", "layers"), [("Tied", {"a", "b"}), ("TiedEmbedding", {"head"})])
def test_factors_are_not_put_in_the_place_of_a_weight_that_others_use(kind, layers):
    model, ctx = network(kind), context()
    before = sum(p.numel() for p in model.module.parameters())
    found = apply("factorize", model, ctx, ratio=0.4)
    assert layers <= set(ctx.notes["unchanged"])
    assert sum(p.numel() for p in found.module.parameters()) < before


def test_a_layer_with_two_names_is_factorised_under_both(tmp_path):
    model = network("Twice")
    found = apply("factorize", model, context(), ratio=0.4)
    assert found.module.again is found.module.a
    assert len(found.module.a) == 2
    storage.save(found, tmp_path)
    assert np.array_equal(logits(storage.load(tmp_path)), logits(found))


@pytest.mark.parametrize("kind", ["Tied", "Twice", "Transposed", "TiedEmbedding"])
def test_what_is_shared_is_shared_again_after_loading(kind, tmp_path):
    model = network(kind)
    storage.save(model, tmp_path)
    found = storage.load(tmp_path)
    assert identities(found.module) == identities(model.module)
    assert np.array_equal(logits(found), logits(model))


def test_what_was_taken_apart_is_apart_after_loading(tmp_path):
    """As where an operation gave two layers weights of their own that the network's code ties."""
    model = network("Tied")
    model.module.b.weight = nn.Parameter(torch.randn(48, 48, generator=torch.Generator().manual_seed(3)))
    storage.save(model, tmp_path)
    found = storage.load(tmp_path)
    assert torch.equal(found.module.b.weight, model.module.b.weight)
    assert torch.equal(found.module.a.weight, model.module.a.weight)


def test_what_was_tied_after_building_is_tied_after_loading():
    apart, tied = network("Tied").module, network("Tied").module
    apart.b.weight = nn.Parameter(apart.a.weight.detach().clone())
    share_weights(apart, same_names(tied))
    assert apart.b.weight is apart.a.weight
    share_weights(apart, [])
    assert apart.b.weight is not apart.a.weight


def test_masks_meet_under_all_names():
    model = network("Tied")
    one, two = torch.rand(48, 48) > 0.5, torch.rand(48, 48) > 0.5
    found = spread_masks(model.module, {"a.weight": one, "b.weight": two})
    assert torch.equal(found["a.weight"], one & two)
    assert torch.equal(found["b.weight"], one & two)


def test_a_frozen_parameter_stays_as_the_networks_code_left_it():
    model, ctx = network("Tied"), context()
    model.module.stem.weight.requires_grad_(False)
    found = apply("finetune", model, ctx, epochs=1, samples=64)
    assert torch.equal(found.module.stem.weight, model.module.stem.weight)
    assert ctx.notes["frozen"] == ["stem.weight"]
    assert not found.module.stem.weight.requires_grad
    named = apply("finetune", model, context(), epochs=1, samples=64, include=["stem"])
    assert not torch.equal(named.module.stem.weight, model.module.stem.weight)


def test_weights_of_other_types_are_pruned_and_what_stays_keeps_every_bit():
    for kind in (torch.float64, torch.float16, torch.bfloat16):
        module = copy.deepcopy(network("Tied").module).to(kind)
        before = module.stem.weight.detach().clone()
        found = apply("magnitude_prune", model_of(module), context(), sparsity=0.5, scope="layer")
        kept = found.module.stem.weight != 0
        assert int(kept.sum()) == 64 * 48 // 2
        assert found.module.stem.weight.dtype == kind
        assert torch.equal(found.module.stem.weight[kept], before[kept])


def t5():
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=400, d_model=16, d_ff=32, d_kv=4, num_layers=1, num_heads=4)
    return T5ForConditionalGeneration(config)


def masked_bert():
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(
        BertConfig(vocab_size=400, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    )


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=16, n_layer=1, n_head=2, n_positions=32))


def albert():
    from transformers import AlbertConfig, AlbertForSequenceClassification

    sizes = {"embedding_size": 8, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    return AlbertForSequenceClassification(AlbertConfig(vocab_size=400, num_hidden_layers=3, num_labels=2, **sizes))


@pytest.mark.parametrize("make", [t5, masked_bert, gpt2])
def test_tied_language_models_keep_their_embeddings(make):
    torch.manual_seed(0)
    module = make()
    embedding, output = module.get_input_embeddings().weight, module.get_output_embeddings().weight
    assert output is embedding
    ctx = context()
    found = apply("magnitude_prune", model_of(module), ctx, sparsity=0.5, scope="layer").module
    assert torch.equal(found.get_input_embeddings().weight, embedding)
    assert found.get_output_embeddings().weight is found.get_input_embeddings().weight
    before = dict(module.named_parameters())
    pruned = sum(int(((p == 0) & (before[name] != 0)).sum()) for name, p in found.named_parameters())
    assert pruned == ctx.notes["achieved"]["zeros"] > 0
    palette = apply("palettize", model_of(module), context(), bits=2).module
    assert torch.equal(palette.get_input_embeddings().weight, embedding)


def test_layers_that_run_several_times_are_pruned_once():
    """ALBERT has one block, which runs three times."""
    from ops.core.model import Architecture
    from ops.core.operation import TorchModel
    from tests.ops.digits import Sentences

    torch.manual_seed(0)
    architecture = Architecture("albert", "", {}, Sentences.task, Sentences.classes, Sentences.inputs)
    model, ctx = TorchModel(albert().eval(), architecture), context(data=Sentences())
    found = apply("activation_prune", model, ctx, sparsity=0.5, samples=16)
    weights = [p for name, p in found.module.named_parameters() if p.dim() > 1 and "embeddings." not in name]
    assert ctx.notes["achieved"]["weights"] == sum(p.numel() for p in weights)
    assert all(float((p == 0).float().mean()) == pytest.approx(0.5, abs=0.02) for p in weights)


def test_biases_of_any_name_are_no_weights():
    from ops.core.selector import choose_parameters

    attention = nn.MultiheadAttention(8, 2, add_bias_kv=True)
    assert set(choose_parameters(attention)) == {"in_proj_weight", "out_proj.weight"}
    assert set(choose_parameters(nn.Sequential(nn.Bilinear(4, 4, 4), nn.ConvTranspose2d(4, 4, 3), nn.LSTMCell(4, 4)))) == {
        "0.weight", "1.weight", "2.weight_ih", "2.weight_hh",
    }  # fmt: skip
    assert set(choose_parameters(nn.EmbeddingBag(9, 4), ["embedding"])) == {"weight"}


@pytest.mark.parametrize(
    ("op", "params"),
    [
        ("activation_prune", {"sparsity": 0.5, "samples": 16}),
        ("activation_prune", {"sparsity": 0.5, "samples": 16, "method": "sparsegpt"}),
        ("nm_prune", {}),
    ],
)
def test_gpt2s_linear_layers_are_pruned_by_their_own_axes(op, params):
    """Their weights are (inputs, outputs): the same network with nn.Linear in their place must lose the same ones."""
    plain, other = Halves(transposed=False), Halves(transposed=True)
    with torch.no_grad():
        for name in ("one", "two"):
            getattr(other, name).weight.copy_(getattr(plain, name).weight.t())
            getattr(other, name).bias.copy_(getattr(plain, name).bias)
    found = apply(op, model_of(other), context(), **params).module
    expected = apply(op, model_of(plain), context(), **params).module
    for name in ("one", "two"):
        weight, wanted = getattr(found, name).weight, getattr(expected, name).weight.t()
        assert torch.equal(weight == 0, wanted == 0)
        torch.testing.assert_close(weight, wanted.contiguous(), rtol=1e-3, atol=1e-4)


class Halves(nn.Module):
    def __init__(self, *, transposed):
        from transformers.pytorch_utils import Conv1D

        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = (Conv1D(32, 64), Conv1D(10, 32)) if transposed else (nn.Linear(64, 32), nn.Linear(32, 10))

    def forward(self, x):
        return self.two(torch.relu(self.one(x.flatten(1))))


class Cached(nn.Module):
    """Keeps what it computes of a weight until it is trained again, as LeViT's attention does."""

    def __init__(self):
        super().__init__()
        self.table, self.head, self.cache = nn.Parameter(torch.randn(64, 16)), nn.Linear(16, 10), {}

    def train(self, mode=True):
        if mode:
            self.cache = {}
        return super().train(mode)

    def forward(self, x):
        if self.training or "table" not in self.cache:
            self.cache["table"] = 2 * self.table
        return self.head(x.flatten(1) @ self.cache["table"])


def test_what_a_layer_keeps_of_its_weights_does_not_outlive_them():
    torch.manual_seed(0)
    model = model_of(Cached())
    x = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        model.module(x)
    found = apply("magnitude_prune", model, context(), sparsity=0.5, include=["table"])
    with torch.no_grad():
        expected = found.module.head(x.flatten(1) @ (2 * found.module.table))
        assert torch.equal(found.module(x), expected)
