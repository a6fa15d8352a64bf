"""Decoders as text classifiers: their own choice of the last token, at any length and padding, in torch and as ONNX."""

import numpy as np
import onnxruntime as ort
import pytest
import torch

from pipeline.models.build import build
from pipeline.models.export_check import check_export
from pipeline.models.onnx_export import export_onnx
from tests.pipeline.models.conftest import entry

SIZES = {
    "vocab_size": 30, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 32,
}  # fmt: skip
GROUPED = {**SIZES, "num_key_value_heads": 2}
CONFIGS = {
    "llama": GROUPED,
    "mistral": GROUPED,
    "qwen2": GROUPED,
    "gpt_neox": SIZES,
    "gpt2": {"vocab_size": 30, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 32},
}
PAD = 0


def _texts(side, length):
    """Three texts of different lengths, padded to one length at one side."""
    rng = np.random.default_rng(length)
    ids = rng.integers(3, 30, (3, length))
    mask = np.ones_like(ids)
    for row, count in enumerate((0, length // 3, length - 2)):
        padding = slice(0, count) if side == "left" else slice(length - count, length)
        ids[row, padding], mask[row, padding] = PAD, 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.fixture(scope="module", params=list(CONFIGS))
def decoder(request, tmp_path_factory):
    """A model as transformers saves it, with its defaults; the same read from its folder, and its ONNX file."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    place = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    names = {0: "bad", 1: "good"}
    config = AutoConfig.for_model(
        request.param,
        **CONFIGS[request.param],
        pad_token_id=PAD,
        id2label=names,
        label2id={v: k for k, v in names.items()},
    )
    assert config.use_cache  # as every decoder's says
    own = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
    own.save_pretrained(place)
    from pipeline.models.api import Need

    need = Need(
        "text-classification", ("bad", "good"), dict.fromkeys(("input_ids", "attention_mask"), ("int64", (12,))), True
    )
    model = build(entry("huggingface", weights=str(place)), need)
    notes = export_onnx(model, place / "model.onnx")
    return own, model, place / "model.onnx", notes


@pytest.mark.matrix
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_file_answers_as_transformers_at_every_length(decoder, side):
    own, model, file, notes = decoder
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert notes == {}
    assert [value.shape for value in session.get_inputs()] == [["batch", "length"]] * 2
    for length in (12, 7, 31):
        texts = _texts(side, length)
        with torch.no_grad():
            wanted = own(**{name: torch.from_numpy(array) for name, array in texts.items()}).logits.numpy()
        assert np.abs(wanted).max() > 1e-3
        assert np.allclose(session.run(["logits"], texts)[0], wanted, atol=1e-5)
        check_export(model, file, texts)


def test_the_last_token_that_is_no_padding_decides(decoder):
    own, _, file, _ = decoder
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    texts = _texts("right", 12)
    alone = []
    for ids, mask in zip(*texts.values(), strict=True):
        tokens = torch.from_numpy(ids[mask == 1])[None]
        with torch.no_grad():
            hidden = own.base_model(tokens).last_hidden_state[:, -1]
            alone.append(own.score(hidden)[0].numpy())
    assert np.allclose(session.run(["logits"], texts)[0], alone, atol=1e-5)
