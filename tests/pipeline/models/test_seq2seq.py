"""Networks that write answers: T5 and its kind."""

import re
from dataclasses import replace

import pytest
import torch

from ops.core.forward import forward
from ops.core.tasks.generative_qa import GenerativeQuestionAnswering
from pipeline.models import storage
from pipeline.models.api import ModelError, Need
from pipeline.models.build import build, build_structure
from tests.pipeline.models.conftest import BERT, entry

T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 30}
WRITING = Need(
    GenerativeQuestionAnswering.name, (),
    {"input_ids": ("int64", (12,)), "attention_mask": ("int64", (12,)), "decoder_input_ids": ("int64", (5,))},
    pretrained=False,
)  # fmt: skip


@pytest.fixture
def model():
    return build(entry("huggingface", architecture="t5", config=T5), WRITING)


def test_it_gives_the_logits_of_every_next_token_and_nothing_else(model):
    inputs = {name: torch.ones((3, *shape), dtype=torch.int64) for name, (_, shape) in WRITING.inputs.items()}
    assert forward(model.module, inputs, GenerativeQuestionAnswering.name)["logits"].shape == (3, 5, 30)
    assert set(model.module(**inputs).keys()) == {"logits", "encoder_last_hidden_state"}


def test_the_table_that_its_parts_share_is_one_again_after_storing(model, tmp_path):
    storage.save(model, tmp_path)
    loaded = storage.load(tmp_path).module
    assert loaded.lm_head.weight is loaded.shared.weight is loaded.encoder.embed_tokens.weight
    assert torch.equal(loaded.lm_head.weight, model.module.lm_head.weight)
    assert build_structure(model.architecture).lm_head.weight.shape == (30, 16)


def test_weights_of_a_folder_are_loaded_as_they_were(model, tmp_path):
    model.module.save_pretrained(tmp_path / "t5")
    loaded = build(entry("huggingface", weights=str(tmp_path / "t5")), replace(WRITING, pretrained=True))
    for name, tensor in model.module.state_dict().items():
        assert torch.equal(loaded.module.state_dict()[name], tensor)


def test_a_network_that_cannot_write_is_refused_by_name():
    message = "Model 'mine': architecture 'bert' for generative-question-answering (Unrecognized configuration class"
    with pytest.raises(ModelError, match=re.escape(message)):
        build(entry("huggingface", architecture="bert", config=BERT), WRITING)
