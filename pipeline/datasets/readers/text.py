"""Text classification: tokens of one text, or of a pair, padded to one length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.datasets.array_cache import derived_arrays
from pipeline.datasets.reader import Arrays, targets_at
from pipeline.datasets.readers.settings import Text
from pipeline.datasets.readers.tokenizers import as_arrays, input_names, open_tokenizer, write_tokenizer

_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class TextReader:
    """Tokenised texts, in memory or mapped."""

    texts: Sequence[Sequence[str]]
    """The one or two texts of each instance, as written."""
    tokens: Mapping[str, np.ndarray]
    """Input name -> int32 (N, length)."""
    labels: np.ndarray | Arrays
    """Numbers of classes, or the targets by name."""
    text: Text
    tokenizer: Path
    """Its folder."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the task's program must know besides the inputs."""

    def read(self, rows: np.ndarray, noise: np.random.Generator | None) -> tuple[Arrays, Arrays]:
        """As `Reader.read`; text is not augmented."""
        inputs = {name: array[rows].astype(np.int64) for name, array in self.tokens.items()}
        return inputs, targets_at(self.labels, rows)

    def show(self, row: int) -> Mapping[str, Any]:
        """As `Reader.show`."""
        return self._row(row)

    def write_settings(self, folder: Path) -> dict[str, Any]:
        """As `RowReader.write_settings`."""
        length = self.tokens["input_ids"].shape[1]
        tokens = write_tokenizer(self.tokenizer, folder, longest=self.text.longest, length=length)
        return {"fields": list(self._row(0)), **tokens, **self.facts}

    def write_row(self, row: int, folder: Path) -> dict[str, str]:
        """As `RowReader.write_row`."""
        return self._row(row)

    def _row(self, row: int) -> dict[str, str]:
        return dict(zip(("text", "text_pair"), self.texts[row], strict=False))


def tokenised(
    texts: Sequence[Sequence[str]], text: Text, *, tokenizer: Path, key: str, folder: Path
) -> dict[str, np.ndarray]:
    """Input name -> int32 (N, max_length), cut off and padded; kept in the cache folder under `key`.

    Args:
        texts: per instance its text, or its pair of texts.
        text: how texts become tokens: length and padding.
        tokenizer: its folder.
        key: names texts, settings and tokenizer.
        folder: the data folder.
    """

    def make() -> dict[str, np.ndarray]:
        encoder = open_tokenizer(tokenizer)
        names = input_names(encoder, text)
        parts = []
        for start in range(0, len(texts), _CHUNK):
            columns = [list(column) for column in zip(*texts[start : start + _CHUNK], strict=True)]
            encoding = encoder(
                *columns, padding="max_length", truncation=True, max_length=text.longest, return_token_type_ids=True
            )
            parts.append(as_arrays(encoding, names))
        tokens = {name: np.concatenate([part[name] for part in parts]) for name in names}
        return _trimmed(tokens) if text.padding == "longest" else tokens

    return derived_arrays(folder, f"text-{key[:32]}", make)


def _trimmed(tokens: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Cut off the columns, at either end, in which no text has a token."""
    used = np.flatnonzero(tokens["attention_mask"].any(axis=0))
    first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
    return {name: np.ascontiguousarray(array[:, first:last]) for name, array in tokens.items()}


def inputs_of(tokens: Mapping[str, np.ndarray]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """As `Dataset.inputs`."""
    return {name: ("int64", array.shape[1:]) for name, array in tokens.items()}


def lengths_of(tokens: Mapping[str, np.ndarray]) -> np.ndarray:
    """int64 (N,): how many tokens of each row are not padding."""
    lengths: np.ndarray = tokens["attention_mask"].sum(axis=1, dtype=np.int64)
    return lengths
