"""Needs of small data, and weights of small networks saved in every way."""

from dataclasses import replace

import pytest

from pipeline.models.api import Need

PICTURES = Need(
    "image-classification", ("cat", "dog", "emu"), {"pixel_values": ("float32", (3, 8, 8))}, pretrained=False
)
TOKENS = dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), ("int64", (12,)))
TEXTS = Need("text-classification", ("bad", "good"), TOKENS, pretrained=False)
QUESTIONS = Need("question-answering", (), TOKENS, pretrained=False)
RESNET = {"depths": [1, 1], "hidden_sizes": [8, 16], "embedding_size": 8}
BERT = {
    "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 16,
}  # fmt: skip


@pytest.fixture
def pretrained():
    """The same need, with the weights asked for."""
    return lambda need, **changes: replace(need, pretrained=True, **changes)


def entry(builder, **arguments):
    return {"name": "mine", "builder": builder, **arguments}
