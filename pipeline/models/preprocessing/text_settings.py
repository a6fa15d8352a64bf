"""Settings of texts that follow from a pretrained model: its tokenizer, its longest input, its padding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.models.preprocessing.beside import CONFIG, KEPT_TOGETHER, model_folder, read_json

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer_config.json")


@dataclass(frozen=True, slots=True)
class TextSettings:
    """The settings with which a data set of texts suits a pretrained model."""

    folder: Path | None
    """Where its own tokenizer is, if it brings one."""
    longest: int | None
    """The most tokens that it takes."""
    pad: int | None
    """The token that it takes for padding."""
    decoder: bool
    """Whether its configuration is a decoder's, whose last token that is no padding decides."""


def text_settings(entry: Mapping[str, Any]) -> TextSettings | None:
    """Return a pretrained transformers model's settings of texts; None where there are no files that say anything.

    Raises:
        ModelError: if its files are damaged.
        HubError: if the hub cannot be asked.
    """
    if entry.get("builder") not in KEPT_TOGETHER:
        return None
    folder = model_folder(entry, [CONFIG], _TOKENIZERS)
    if folder is None:
        return None
    config = {**read_json(folder / CONFIG), **(entry.get("config") or {})}
    has_tokenizer = any((folder / name).is_file() for name in _TOKENIZERS[:3])
    limits = [_limit(config), _tokenizer_limit(folder)]
    pad = config.get("pad_token_id")
    return TextSettings(
        folder if has_tokenizer else None,
        min((limit for limit in limits if limit), default=None),
        int(pad) if isinstance(pad, int) and not isinstance(pad, bool) else None,
        "use_cache" in config and not config.get("is_encoder_decoder") and config.get("model_type") not in _ENCODERS,
    )


_ENCODERS = {"bert", "roberta", "electra", "xlm-roberta", "camembert", "ernie", "data2vec-text", "roberta-prelayernorm"}
"""Encoders whose configurations have `use_cache` all the same."""


def _limit(config: Mapping[str, Any]) -> int | None:
    """Positions that a configuration has; those of RoBERTa's family begin after that of padding."""
    result = config.get("max_position_embeddings") or config.get("n_positions")
    if not isinstance(result, int) or result < 1:
        return None
    if config.get("model_type") in _AFTER_PADDING:
        pad = config.get("pad_token_id")
        return result - (pad if isinstance(pad, int) else 1) - 1
    return result


_AFTER_PADDING = {
    "camembert", "data2vec-text", "ibert", "longformer", "luke", "markuplm", "mpnet", "roberta", "roberta-prelayernorm",
    "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip
"""Models whose first position is the one after that of padding (`create_position_ids_from_input_ids` of transformers)."""


def _tokenizer_limit(folder: Path) -> int | None:
    file = folder / "tokenizer_config.json"
    result = read_json(file).get("model_max_length") if file.is_file() else None
    return int(result) if isinstance(result, int | float) and 0 < result < 1 << 30 else None
