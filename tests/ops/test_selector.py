import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ops.core.errors import OperationError
from ops.core.selector import choose, choose_layers, choose_parameters, head_of, layers_of
from tests.ops.stored import base


def bert(kind="BertForQuestionAnswering"):
    import transformers

    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    return getattr(transformers, kind)(config)


def t5():
    import transformers

    config = transformers.T5Config(
        vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    return transformers.T5ForQuestionAnswering(config)


LAYER = "bert.encoder.layer.0"


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ("attention", [f"{LAYER}.attention.self.{name}" for name in ("query", "key", "value")] + [f"{LAYER}.attention.output.dense"]),
        ("head", ["qa_outputs"]),
        ("embedding", [f"bert.embeddings.{name}_embeddings" for name in ("word", "position", "token_type")]),
        ("norm", ["bert.embeddings.LayerNorm", f"{LAYER}.attention.output.LayerNorm", f"{LAYER}.output.LayerNorm"]),
        ("BertIntermediate", [f"{LAYER}.intermediate.dense"]),
        ("LayerNorm", ["bert.embeddings.LayerNorm", f"{LAYER}.attention.output.LayerNorm", f"{LAYER}.output.LayerNorm"]),
        (f"{LAYER}.attention.self", [f"{LAYER}.attention.self.{name}" for name in ("query", "key", "value")]),
        ("*.quer?", [f"{LAYER}.attention.self.query"]),
    ],
)  # fmt: skip
def test_groups_types_and_names_of_a_transformer(pattern, chosen):
    found = choose_layers(
        bert(), [pattern], ["bert.encoder.layer.1"] if pattern in {"head", "embedding"} else ["*.layer.1"]
    )
    assert list(found) == chosen


def test_groups_of_convolutional_nets():
    layers = choose_layers(base("depthwise").module, ["depthwise"])
    assert list(layers) == ["stages.0.0.depthwise", "stages.1.0.depthwise"]
    assert "stages.0.0.depthwise" in choose_layers(base("depthwise").module, ["conv"])
    assert list(choose_layers(base("residual").module, ["head"])) == ["classifier"]


def test_a_position_table_of_vit_counts_as_an_embedding():
    chosen = choose_parameters(base("transformer").module, ["embedding"])
    assert list(chosen) == ["vit.embeddings.cls_token", "vit.embeddings.position_embeddings"]


def test_pruning_leaves_norms_biases_and_embeddings_alone_unless_asked():
    names = choose_parameters(bert())
    assert all(name.endswith(".weight") for name in names)
    assert not [name for name in names if "LayerNorm" in name or "embeddings" in name]
    assert {parameter.dim() for parameter in choose_parameters(bert(), ["norm"]).values()} == {1}
    assert all(name.endswith(".bias") for name in choose_parameters(bert(), ["*.bias"]))


@pytest.mark.parametrize("pattern", ["*", "bert*", LAYER, "BertForQuestionAnswering"])
def test_a_wide_pattern_reaches_no_norm_and_no_embedding(pattern):
    groups = {layer.name: layer.groups for layer in layers_of(bert())}
    assert all("linear" in groups[name] for name in choose_layers(bert(), [pattern]))


def test_without_a_default_a_wide_pattern_reaches_everything():
    everything = [layer.name for layer in layers_of(bert())]
    assert list(choose_layers(bert(), default=())) == everything
    assert list(choose_layers(bert(), ["*"], default=())) == everything


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ("atention", "include 'atention' matches no layer. Did you mean 'attention'?"),
        ("linear1", "include 'linear1' matches no layer. Did you mean 'linear'?"),
        ("LayrNorm", "include 'LayrNorm' matches no layer. Did you mean 'LayerNorm'?"),
        (
            "bert.encoder.layer.7",
            "include 'bert.encoder.layer.7' matches no layer. Did you mean 'bert.encoder.layer.1'?",
        ),
        (
            "conv",
            "Groups: norm, linear, embedding, attention, head; types: Embedding, LayerNorm, Linear; names as 'bert.",
        ),
    ],
)
def test_a_pattern_that_matches_nothing_names_the_nearest(include, message):
    for choosing in (choose_layers, choose_parameters):
        with pytest.raises(OperationError, match=re.escape(message)):
            choosing(bert(), [include])


def test_an_exclude_that_matches_nothing_or_takes_all_is_an_error():
    with pytest.raises(OperationError, match=re.escape("exclude 'hed' matches no layer. Did you mean 'head'?")):
        choose_parameters(bert(), exclude=["hed"])
    with pytest.raises(OperationError, match=re.escape("No layer is left: 'exclude' ['linear'] takes all 13")):
        choose_layers(bert(), exclude=["linear"])
    with pytest.raises(OperationError, match=re.escape("No weight is left: 'exclude' ['linear'] takes all 13")):
        choose_parameters(bert(), exclude=["linear"])


def test_layers_that_an_operation_cannot_change():
    message = (
        "include 'norm': this operation changes conv or linear layers only, and 'bert.embeddings.LayerNorm' is none"
    )
    with pytest.raises(OperationError, match=re.escape(message)):
        choose_layers(bert(), ["linear", "norm"], able=("conv", "linear"))
    with pytest.raises(OperationError, match="The model has no conv layer; name the layers to change with 'include'"):
        choose_layers(bert(), default=("conv",))


def test_a_shared_parameter_is_chosen_once_and_spared_where_any_layer_is_excluded():
    names = [name for name in choose_parameters(t5(), ["embedding"]) if "relative" not in name]
    assert names == ["shared.weight"]
    assert "shared.weight" not in choose_parameters(t5(), ["embedding"], ["decoder.embed_tokens"])


def test_the_head_is_the_output_layer_and_not_what_comes_before_it():
    assert head_of(bert("BertForSequenceClassification")) == {"classifier"}
    hidden = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    assert head_of(hidden) == {"2"}
    assert head_of(nn.Sequential(nn.ReLU())) == set()


def test_the_fused_attention_of_torch_is_attention():
    layer = nn.TransformerEncoderLayer(8, 2, 16)
    assert list(choose_layers(layer, ["attention"])) == ["self_attn", "self_attn.out_proj"]
    assert "self_attn.in_proj_weight" in choose_parameters(layer, ["attention"])


NAMES = [layer.name for layer in layers_of(bert())]
PATTERNS = st.lists(
    st.sampled_from(["linear", "norm", "attention", "LayerNorm", "Linear", "*.dense", *NAMES]), max_size=4
)


@given(include=PATTERNS, exclude=PATTERNS)
def test_exclude_wins_and_order_is_that_of_the_network(include, exclude):
    layers = layers_of(bert_once)
    try:
        chosen = [layer.name for layer in choose(layers, include, exclude)]
    except OperationError:
        assert exclude
        return
    assert chosen == [name for name in NAMES if name in set(chosen)]
    assert not [
        layer for layer in layers if layer.name in chosen and any(layer.matches(pattern) for pattern in exclude)
    ]
    assert set(chosen) <= {layer.name for layer in choose(layers, include)}


bert_once = bert()


class Gained(nn.Conv2d):
    """As NFNet's: a gain per output channel beside the weight."""

    def __init__(self):
        super().__init__(4, 8, 3)
        self.gain = nn.Parameter(torch.ones(8, 1, 1, 1))


def test_a_gain_beside_a_weight_is_a_scale():
    net = nn.Sequential(Gained(), nn.LSTM(8, 4, bidirectional=True))
    chosen = [f"1.weight_{kind}_l0{way}" for way in ("", "_reverse") for kind in ("ih", "hh")]
    assert list(choose_parameters(net)) == ["0.weight", *chosen]
    assert list(choose_parameters(net, ["*.gain"])) == ["0.gain"]
