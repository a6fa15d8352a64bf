"""Whether a network has a place for every token of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.models.api import ModelError

if TYPE_CHECKING:
    from ops.core.model import TorchModel
    from pipeline.datasets.api import Dataset


def check_vocabulary(model: TorchModel, data: Dataset) -> None:
    """Compare a network's table of tokens with the data's tokenizer, where both can be asked.

    Args:
        model: a network of transformers, or any.
        data: a data set of texts, or any.

    Raises:
        ModelError: the tokenizer has more tokens than the network.
    """
    tokens = getattr(data, "vocabulary", None)
    table = getattr(model.module, "get_input_embeddings", lambda: None)()
    places = getattr(table, "num_embeddings", None)
    if isinstance(tokens, int) and isinstance(places, int) and tokens > places:
        raise ModelError(
            f"Model '{model.architecture.name}': its vocabulary has {places} tokens and the data's tokenizer {tokens}: it is not "
            "the model's. Name the model's own (text.tokenizer), or set model.config.vocab_size for a network that is to be trained"
        )
