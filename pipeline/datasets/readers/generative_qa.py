"""Generative question answering: answers that a model writes, token by token.

As Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", JMLR 2020, put
SQuAD: `question: ... context: ...` goes in, the answer comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.errors import reason
from pipeline.core.json_text import parse_json
from pipeline.datasets.api import Answers, DataError, Decoding
from pipeline.datasets.array_cache import derived_arrays
from pipeline.datasets.reader import Arrays
from pipeline.datasets.readers.extractive_qa import Question
from pipeline.datasets.readers.settings import Text
from pipeline.datasets.readers.tokenizers import as_arrays, open_tokenizer, write_tokenizer
from pipeline.datasets.splits import SplitDataset

_CHUNK = 1000
_IGNORED = -100
INPUTS = ("input_ids", "attention_mask", "decoder_input_ids")


def prompt(question: str, context: str) -> str:
    """The text that a model is given for a question."""
    return f"question: {question.strip()} context: {context}"


@dataclass(frozen=True, slots=True)
class WrittenReader:
    """Rows are questions. In training, the model is given the accepted answer's tokens before the one it is to write."""

    questions: Sequence[Question]
    tokens: Mapping[str, np.ndarray]
    """Arrays of `encoded_questions`."""
    evaluated: np.ndarray
    """bool (N,): questions of the evaluation split, whose answers a model must not see."""
    text: Text
    tokenizer: Path

    def read(self, rows: np.ndarray, noise: np.random.Generator | None) -> tuple[Arrays, Arrays]:
        """As `Reader.read`; text is not augmented."""
        answers = self.tokens["answers"][rows].astype(np.int64)
        inputs = {name: self.tokens[name][rows].astype(np.int64) for name in INPUTS[:2]}
        values = np.full_like(answers, self.decoding.pad)
        values[:, 0] = self.decoding.start
        training = ~self.evaluated[rows]
        values[training, 1:] = np.where(answers[training, :-1] >= 0, answers[training, :-1], self.decoding.pad)
        return {**inputs, INPUTS[2]: values}, {"answer_tokens": answers}

    def show(self, row: int) -> Mapping[str, Any]:
        """As `Reader.show`."""
        one = self.questions[row]
        return {"question": one.question, "context": one.context, "answers": list(one.answers)}

    def write_settings(self, folder: Path) -> dict[str, Any]:
        """As `RowReader.write_settings`."""
        longest, special = self.text.longest, self.tokens["special"].tolist()
        tokens = write_tokenizer(self.tokenizer, folder, longest=longest, length=longest)
        fields = list(self.write_row(0, folder))
        return {"fields": fields, **tokens, "answer_tokens": self.text.answer_tokens, "special": special}

    def write_row(self, row: int, folder: Path) -> dict[str, str]:
        """As `RowReader.write_row`."""
        return {"question": self.questions[row].question, "context": self.questions[row].context}

    @property
    def decoding(self) -> Decoding:
        """How its tokenizer's answers begin and end."""
        start, end, pad = self.tokens["special"].tolist()
        return Decoding(start, end, pad)


def encoded_questions(
    questions: Sequence[Question], text: Text, *, tokenizer: Path, key: str, folder: Path
) -> dict[str, np.ndarray]:
    """Tokens of each question and of its first answer; kept in the cache folder under `key`.

    Returns:
        int32 `input_ids` and `attention_mask` (N, text.max_length), the context cut off at its end; `answers`
        (N, text.answer_tokens) with the end token last, -100 behind it; `special` (3,): start, end and padding token.

    Args:
        questions: with their contexts and answers.
        text: how texts become tokens: lengths and the longest answer.
        tokenizer: its folder.
        key: names questions, settings and tokenizer.
        folder: the data folder.
    """

    def make() -> dict[str, np.ndarray]:
        encoder = open_tokenizer(tokenizer)
        special = _special(encoder, tokenizer)
        parts = [
            _encoded(encoder, questions[start : start + _CHUNK], text, special)
            for start in range(0, len(questions), _CHUNK)
        ]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return {**joined, "special": np.array(special, np.int32)}

    return derived_arrays(folder, f"written-{key[:32]}", make)


def _encoded(
    encoder: Any, questions: Sequence[Question], text: Text, special: tuple[int, int, int]
) -> dict[str, np.ndarray]:
    limits = {"padding": "max_length", "truncation": True}
    prompts = encoder([prompt(one.question, one.context) for one in questions], max_length=text.longest, **limits)
    first = [(one.answers or ("",))[0] for one in questions]
    plain = encoder(first, add_special_tokens=False, truncation=True, max_length=text.answer_tokens - 1)["input_ids"]
    answers = np.full((len(questions), text.answer_tokens), _IGNORED, np.int32)
    for row, tokens in enumerate(plain):
        answers[row, : len(tokens) + 1] = [*tokens, special[1]]
    return {**as_arrays(prompts, INPUTS[:2]), "answers": answers}


def _special(encoder: Any, tokenizer: Path) -> tuple[int, int, int]:
    """Start, end and padding token. Models that do not start from padding say so in their configuration."""
    if encoder.eos_token_id is None:
        raise DataError(f"{tokenizer}: the tokenizer has no end token; set eos_token in its tokenizer_config.json")
    config = tokenizer / "config.json"
    try:
        settings = parse_json(config.read_bytes()) if config.exists() else {}
    except ValueError as error:
        raise DataError(f"{config}: damaged or no JSON ({reason(error)})") from None
    start = (settings if isinstance(settings, Mapping) else {}).get("decoder_start_token_id")
    return encoder.pad_token_id if start is None else int(start), encoder.eos_token_id, encoder.pad_token_id


class WrittenSet(SplitDataset):
    """A `GenerativeDataset`: rows are questions."""

    @property
    def decoding(self) -> Decoding:
        """As `GenerativeDataset.decoding`."""
        return self._reader.decoding

    def answers(self, outputs: Arrays) -> Answers:
        """As `GenerativeDataset.answers`."""
        texts = self._encoder.batch_decode(outputs["tokens"].tolist(), skip_special_tokens=True)
        return Answers(tuple(text.strip() for text in texts), np.arange(len(texts)))

    def references(self) -> tuple[tuple[str, ...], ...]:
        """As `QuestionDataset.references`."""
        return tuple(self._reader.questions[row].answers or ("",) for row in self._rows("evaluation"))

    @cached_property
    def _encoder(self) -> Any:
        return open_tokenizer(self._reader.tokenizer)

    @property
    def _reader(self) -> WrittenReader:
        reader = self._all.reader
        assert isinstance(reader, WrittenReader), "the only reader that this class is opened with"
        return reader
