"""Documents as windows of tokens: every token but the first is judged once, after as much as a window holds before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets.api import DataError, Split
from pipeline.datasets.array_cache import derived_arrays
from pipeline.datasets.reader import Arrays
from pipeline.datasets.readers.settings import Text
from pipeline.datasets.readers.tokenizers import open_tokenizer, write_tokenizer
from pipeline.datasets.splits import SplitDataset

INPUTS = ("input_ids", "attention_mask")
TARGETS = ("next_tokens", "token_bytes", "token_kinds")
KINDS = ("start of a word", "inside a word", "number", "punctuation", "space", "special")
"""What tokens are, by the number that `token_kinds` holds."""
_START, _INSIDE, _NUMBER, _PUNCTUATION, _SPACE, _SPECIAL = range(len(KINDS))
_IGNORED = -100
_CHUNK = 200
_FEWEST = 2
"""Tokens of a document: the first is given, and there must be one to judge."""


@dataclass(frozen=True, slots=True)
class DocumentReader:
    """Rows are windows."""

    documents: Sequence[str]
    windows: Mapping[str, np.ndarray]
    """Arrays of `windowed_documents`."""
    text: Text
    tokenizer: Path
    """Its folder."""

    def read(self, rows: np.ndarray, noise: np.random.Generator | None) -> tuple[Arrays, Arrays]:
        """As `Reader.read`; text is not augmented."""
        inputs = {name: self.windows[name][rows].astype(np.int64) for name in INPUTS}
        return inputs, {name: self.windows[name][rows].astype(np.int64) for name in TARGETS}

    def show(self, row: int) -> Mapping[str, Any]:
        """As `Reader.show`."""
        return {"text": self.documents[self.windows["document"][row]]}

    def write_settings(self, folder: Path) -> dict[str, Any]:
        """As `RowReader.write_settings`."""
        longest = self.text.longest
        tokens = write_tokenizer(self.tokenizer, folder, longest=longest, length=longest, padded=False)
        window = {"window": longest, "stride": self.text.stride, "document_tokens": self.text.most_tokens}
        return {"fields": ["text"], **tokens, **window}

    def write_row(self, row: int, folder: Path) -> dict[str, str]:
        """As `RowReader.write_row`."""
        return {"text": self.documents[self.windows["document"][row]]}


def windowed_documents(
    documents: Sequence[str], places: Sequence[str], text: Text, *, tokenizer: Path, key: str, folder: Path
) -> dict[str, np.ndarray]:
    """Cut documents into windows of `max_length` tokens that share `stride`; kept in the cache folder under `key`.

    Returns:
        Arrays with one row per window, those of a document beside each other: int32 `input_ids` and `attention_mask`
        (W, max_length); of the token that follows each place, where the window is the one that judges it, `next_tokens`
        (W, max_length), else -100, `token_bytes`, the bytes of its text in UTF-8, and `token_kinds`, a place in `KINDS`;
        `document` (W,); and `cut` (1,), how many documents have more than `document_tokens` tokens.

    Args:
        documents: their texts.
        places: where each comes from, for messages.
        text: how texts become tokens: lengths, the windows' overlap.
        tokenizer: its folder.
        key: names documents, settings and tokenizer.
        folder: the data folder.

    Raises:
        DataError: a document is empty, or has no token to judge; or windows do not move on.
    """
    if text.stride >= text.longest:
        raise DataError(
            f"text.stride: windows of {text.longest} tokens (text.max_length) cannot share {text.stride}; lower it"
        )

    def make() -> dict[str, np.ndarray]:
        encoder = open_tokenizer(tokenizer, padding=False)
        pad = next((each for each in (encoder.pad_token_id, encoder.eos_token_id) if each is not None), 0)
        rows: list[dict[str, np.ndarray]] = []
        numbers: list[int] = []
        cut = 0
        for start in range(0, len(documents), _CHUNK):
            chunk = list(documents[start : start + _CHUNK])
            encoding = encoder(chunk, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False)
            for offset, document in enumerate(chunk):
                tokens = np.array(encoding["input_ids"][offset], np.int32)
                if not document.strip() or len(tokens) < _FEWEST:
                    raise DataError(
                        f"{places[start + offset]}: the document "
                        + (
                            "is empty"
                            if not document.strip()
                            else "is a single token, after which nothing is to be judged"
                        )
                        + "; remove the row"
                    )
                spans, special = encoding["offset_mapping"][offset], encoding["special_tokens_mask"][offset]
                sizes, kinds = described_tokens(document, spans, special)
                cut += len(tokens) > text.most_tokens
                most = slice(text.most_tokens)
                parts = _windows(
                    {"input_ids": tokens[most], "token_bytes": sizes[most], "token_kinds": kinds[most]}, text, pad
                )
                rows += parts
                numbers += [start + offset] * len(parts)
        joined = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        return {**joined, "document": np.array(numbers, np.int32), "cut": np.array([cut])}

    return derived_arrays(folder, f"documents-{key[:32]}", make)


def _windows(described: Mapping[str, np.ndarray], text: Text, pad: int) -> list[dict[str, np.ndarray]]:
    """Cut a document into windows; `described` has its tokens, and the bytes and the kind of each: (tokens,)."""
    tokens, length, shared = described["input_ids"], text.longest, text.stride
    following = {"next_tokens": tokens, **{name: described[name] for name in TARGETS[1:]}}
    windows, reach = [], 1
    for start in range(0, max(1, len(tokens) - shared), length - shared):
        end = min(start + length, len(tokens))
        row: dict[str, np.ndarray] = {
            "input_ids": np.full(length, pad, np.int32),
            "attention_mask": np.zeros(length, np.int32),
            "next_tokens": np.full(length, _IGNORED, np.int32),
            "token_bytes": np.zeros(length, np.int32),
            "token_kinds": np.zeros(length, np.int8),
        }
        row["input_ids"][: end - start] = tokens[start:end]
        row["attention_mask"][: end - start] = 1
        place = slice(reach - 1 - start, end - 1 - start)
        for name, values in following.items():
            row[name][place] = values[reach:end]
        reach = end
        windows.append(row)
    return windows


def described_tokens(
    document: str, spans: Sequence[tuple[int, int]], special: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return of each token how many bytes of the document it stands for, and what it is: int32 and int8 (tokens,).

    A token stands for all from the end of those before it to its own end, so that the bytes of all tokens are those of
    the text up to the last. Of a character in several tokens the first has the bytes.

    Args:
        document: the text.
        spans: first character of each token and the one behind it, as the tokenizer says.
        special: 1 for tokens that stand for no text.
    """
    sizes, kinds = np.zeros(len(spans), np.int32), np.zeros(len(spans), np.int8)
    reached = 0
    for index, ((start, end), is_special) in enumerate(zip(spans, special, strict=True)):
        if is_special:
            kinds[index] = _SPECIAL
            continue
        piece = document[reached:end]
        sizes[index] = len(piece.encode("utf-8", "surrogatepass"))
        kinds[index] = _kind(document, min(reached, start), end)
        reached = max(reached, end)
    return sizes, kinds


def _kind(document: str, start: int, end: int) -> int:
    piece = document[start:end]
    visible = piece.strip()
    if not visible:
        return _SPACE
    if any(character.isdigit() for character in visible):
        return _NUMBER
    if not any(character.isalnum() for character in visible):
        return _PUNCTUATION
    follows = piece[0].isalnum() and start > 0 and document[start - 1].isalnum()
    return _INSIDE if follows else _START


class DocumentSet(SplitDataset):
    """Rows are windows; in the evaluation split a document is an instance, and has all its windows beside each other."""

    @property
    def notes(self) -> tuple[str, ...]:
        """As `SplitDataset.notes`."""
        cut = int(self._documents.windows["cut"][0])
        most = self._documents.text.most_tokens
        if not cut:
            return ()
        return (f"{cut} documents are longer than {most} tokens and are read up to there (text.document_tokens)",)

    @property
    def vocabulary(self) -> int:
        """Number of tokens that the tokenizer has."""
        return len(self._encoder)

    def first_choices(self, choices: np.ndarray) -> tuple[str, ...]:
        """Return the text of a model's first choices for each document of the evaluation split.

        Args:
            choices: int (rows, max_length), a token for each place of all windows.
        """
        rows = self._expanded(self._rows("evaluation"), "evaluation")
        places = self._documents.windows["next_tokens"][rows] >= 0
        numbers = self._documents.windows["document"][rows]
        heads = np.unique(numbers, return_index=True)[1]
        ordered = np.sort(heads)
        parts = [
            np.concatenate([choices[row][places[row]] for row in range(first, last)])
            for first, last in zip(ordered, [*ordered[1:], len(rows)], strict=True)
        ]
        return tuple(
            self._encoder.decode(part.tolist(), skip_special_tokens=False, clean_up_tokenization_spaces=False)
            for part in parts
        )

    @cached_property
    def _encoder(self) -> Any:
        return open_tokenizer(self._documents.tokenizer, padding=False)

    @property
    def _documents(self) -> DocumentReader:
        reader = self._all.reader
        assert isinstance(reader, DocumentReader), "the only reader that this class is opened with"
        return reader

    def _expanded(self, rows: np.ndarray, split: Split) -> np.ndarray:
        if split != "evaluation" or not len(rows):
            return rows
        documents = self._documents.windows["document"]
        numbers = documents[rows]
        begin, end = np.searchsorted(documents, numbers, "left"), np.searchsorted(documents, numbers, "right")
        return np.concatenate([np.arange(*window) for window in zip(begin, end, strict=True)])
