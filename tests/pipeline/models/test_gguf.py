"""GGUF files: the weights of a tiny Llama as floats and as integers, its tokenizer, and files that cannot be read."""

import re

import numpy as np
import pytest
import torch

from ops.core.forward import forward, tensors
from pipeline.core.download.gguf import gguf_facts
from pipeline.datasets.api import DataError
from pipeline.datasets.open import open_dataset
from pipeline.models.api import ModelError, Need
from pipeline.models.build import build
from pipeline.models.preprocessing.text_settings import text_settings
from pipeline.models.weights import read_tensors
from tests.pipeline.language import TALES, documents_entry, tales_model, write_documents
from tests.pipeline.models.conftest import entry

gguf = pytest.importorskip("gguf", reason="the extra `language` is not installed")
pytest.importorskip("accelerate", reason="the extra `language` is not installed")

_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
_OUTER = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}


def _gguf_name(name):
    if name in _OUTER:
        return _OUTER[name]
    _, _, number, rest = name.split(".", 3)
    return f"blk.{number}.{_NAMES[rest.removesuffix('.weight')]}.weight"


def _interleaved(weight, heads):
    """llama.cpp rotates neighbouring features, transformers the two halves."""
    rows = weight.reshape(heads, 2, len(weight) // heads // 2, -1)
    return np.ascontiguousarray(rows.swapaxes(1, 2).reshape(weight.shape))


def write_gguf(file, module, *, kind=None, architecture="llama", tokenizer=True):
    """Write a tiny Llama; matrices of its blocks as `kind` (a type of GGUF), all else as float32."""
    config = module.config
    writer = gguf.GGUFWriter(str(file), architecture)
    writer.add_name("tales")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    if tokenizer:
        import json

        raw = json.loads((TALES / "tokenizer.json").read_text())["model"]
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list(list(raw["vocab"]))
        writer.add_token_merges([" ".join(pair) for pair in raw["merges"]])
        writer.add_token_types([3 if token == "<end>" else 1 for token in raw["vocab"]])
        writer.add_eos_token_id(0)
        writer.add_bos_token_id(0)
        writer.add_pad_token_id(0)
    for name, parameter in module.named_parameters():
        values = parameter.detach().numpy()
        for part, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            if part in name:
                values = _interleaved(values, heads)
        if kind is not None and name.endswith("_proj.weight"):
            writer.add_tensor(_gguf_name(name), gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(_gguf_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    place = tmp_path_factory.mktemp("tales")
    return open_dataset(documents_entry(write_documents(place)), place / "cache")


@pytest.fixture(scope="module")
def need(data):
    return Need(data.task, (), data.inputs, True)


@pytest.fixture(scope="module")
def model(data):
    return tales_model(data)


def _outputs(model, data):
    batch = next(data.batches("evaluation", batch_size=4))
    with torch.no_grad():
        return forward(model.module, tensors(batch.inputs), data.task)["logits"]


def test_float_weights_are_those_of_the_network(model, data, need, tmp_path):
    file = write_gguf(tmp_path / "tales.gguf", model.module)
    again = build(entry("huggingface", weights=str(file)), need)
    torch.testing.assert_close(_outputs(again, data), _outputs(model, data), rtol=1e-4, atol=1e-4)
    assert "weights_from_grid" not in again.notes
    assert again.module.lm_head.weight is again.module.model.embed_tokens.weight
    assert again.architecture.arguments["architecture"] == "llama"  # the structure needs no file


def test_of_integers_it_is_said_that_they_were_on_a_grid(model, data, need, tmp_path):
    kind = gguf.GGMLQuantizationType.Q4_1
    file = write_gguf(tmp_path / "tales.gguf", model.module, kind=kind)
    again = build(entry("huggingface", weights=str(file)), need)
    assert again.notes["weights_from_grid"] == {"type": "Q4_1", "bits": 4}
    values = model.module.model.layers[0].mlp.up_proj.weight.detach().numpy()
    expected = gguf.quants.dequantize(gguf.quants.quantize(values, kind), kind)
    np.testing.assert_allclose(again.module.model.layers[0].mlp.up_proj.weight.detach().numpy(), expected, atol=1e-6)
    facts = gguf_facts(file)
    assert (facts.architecture, facts.longest, facts.pad, facts.grid) == ("llama", 64, 0, ("Q4_1", 4))


def test_its_tokenizer_and_its_length_are_the_data_s(model, data, tmp_path):
    file = write_gguf(tmp_path / "tales.gguf", model.module)
    settings = text_settings(entry("huggingface", weights=str(file)))
    assert (settings.folder, settings.longest, settings.pad) == (file, 64, 0)
    own = documents_entry(write_documents(tmp_path), text={"tokenizer": str(file), "max_length": 32, "stride": 8})
    other = open_dataset(own, tmp_path / "cache")
    for split in ("train", "evaluation"):
        one, two = (next(each.batches(split, batch_size=50)) for each in (data, other))
        assert np.array_equal(one.inputs["input_ids"], two.inputs["input_ids"])


def test_an_unknown_architecture_is_one_clear_line(model, need, tmp_path):
    file = write_gguf(tmp_path / "odd.gguf", model.module, architecture="lama", tokenizer=False)
    with pytest.raises(
        ModelError, match=r"architecture 'lama', which transformers cannot read\. Did you mean 'llama'"
    ) as caught:
        build(entry("huggingface", weights=str(file)), need)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_one_clear_line(need, tmp_path):
    (tmp_path / "half.gguf").write_bytes(b"GGUF" + bytes(40))
    with pytest.raises(ModelError, match=r"half\.gguf: damaged or no GGUF file") as caught:
        build(entry("huggingface", weights=str(tmp_path / "half.gguf")), need)
    assert "\n" not in str(caught.value)


def test_a_longer_window_than_the_model_takes_is_refused(model, need, tmp_path):
    file = write_gguf(tmp_path / "tales.gguf", model.module)
    longer = Need(need.task, (), dict.fromkeys(need.inputs, ("int64", (65,))), True)
    with pytest.raises(ModelError, match=r"the data has 65 tokens, the model takes 64; lower text\.max_length"):
        build(entry("huggingface", weights=str(file)), longer)


def test_where_only_tensors_are_read_it_is_said_what_reads_the_file(tmp_path):
    (tmp_path / "w.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="it is for `builder: huggingface`"):
        read_tensors(str(tmp_path / "w.gguf"))


def test_a_tokenizer_that_is_not_there_is_said(tmp_path):
    own = documents_entry(write_documents(tmp_path), text={"tokenizer": str(tmp_path / "no.gguf")})
    with pytest.raises(DataError, match=re.escape("no.gguf: there is no such file")):
        open_dataset(own, tmp_path / "cache")
