"""Extractive question answering: windows over long contexts, and the way back from logits to answers.

As in Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019, section
4.2: a window that does not hold the answer is trained to point at its first token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.core.json_text import parse_json
from pipeline.datasets.api import Answers, DataError, Split
from pipeline.datasets.array_cache import derived_arrays
from pipeline.datasets.reader import Arrays
from pipeline.datasets.readers.settings import Text
from pipeline.datasets.readers.tokenizers import as_arrays, input_names, open_tokenizer, write_tokenizer
from pipeline.datasets.splits import SplitDataset

_CHUNK = 500


class Question(NamedTuple):
    """A question on a context."""

    question: str
    context: str
    answers: tuple[str, ...]
    """Accepted answers; none if the context does not hold one."""
    start: int
    """Where the first answer begins in the context, in characters; -1 if there is none."""


def parsed(question: str, context: str, answers: Any, place: str) -> Question:
    """Read the answers in any of the forms that `Columns.answers` describes.

    Raises:
        DataError: if they have none of these forms, or the stated place of an answer does not hold it.
    """
    if isinstance(answers, str) and answers.lstrip().startswith(("[", "{")):
        try:
            answers = parse_json(answers)
        except ValueError as error:
            raise DataError(f"{place}: the answers look like JSON but are not ({error})") from None
    starts: list[int] = []
    if isinstance(answers, Mapping):
        starts = [int(start) for start in answers.get("answer_start", [])]
        answers = answers.get("text", [])
    texts = [answers] if isinstance(answers, str) else [] if answers is None else answers
    if not isinstance(texts, list | tuple | np.ndarray) or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{place}: answers must be a text, a list of texts, or {{text: [...], answer_start: [...]}}")
    texts = [text for text in texts if text]
    if not texts:
        return Question(question, context, (), -1)
    start = starts[0] if starts else context.find(texts[0])
    if starts and context[start : start + len(texts[0])] != texts[0]:
        raise DataError(f"{place}: the context does not hold '{texts[0][:40]}' at character {start}")
    return Question(question, context, tuple(texts), start)


@dataclass(frozen=True, slots=True)
class WindowReader:
    """Rows are windows."""

    questions: Sequence[Question]
    windows: Mapping[str, np.ndarray]
    """Arrays of `windowed`."""
    names: tuple[str, ...]
    text: Text
    tokenizer: Path
    """Its folder."""

    @property
    def unanswerable(self) -> bool:
        """Whether some context does not hold an answer to its question."""
        return any(not one.answers for one in self.questions)

    def read(self, rows: np.ndarray, noise: np.random.Generator | None) -> tuple[Arrays, Arrays]:
        """As `Reader.read`; text is not augmented."""
        inputs = {name: self.windows[name][rows].astype(np.int64) for name in self.names}
        ends = ("start_positions", "end_positions")
        return inputs, {end: self.windows[end][rows].astype(np.int64) for end in ends}

    def show(self, row: int) -> Mapping[str, Any]:
        """As `Reader.show`."""
        one = self.questions[self.windows["question"][row]]
        return {"question": one.question, "context": one.context, "answers": list(one.answers)}

    def write_settings(self, folder: Path) -> dict[str, Any]:
        """As `RowReader.write_settings`."""
        longest = self.text.longest
        tokens = write_tokenizer(self.tokenizer, folder, longest=longest, length=longest, stride=self.text.stride)
        return {
            "fields": list(self.write_row(0, folder)),
            **tokens,
            "answer_tokens": self.text.answer_tokens,
            "unanswerable": self.unanswerable,
        }

    def write_row(self, row: int, folder: Path) -> dict[str, str]:
        """As `RowReader.write_row`."""
        one = self.questions[self.windows["question"][row]]
        return {"question": one.question, "context": one.context}


def windowed(
    questions: Sequence[Question], text: Text, *, tokenizer: Path, key: str, folder: Path
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Cut each question's context into windows of `max_length` tokens; kept in the cache folder under `key`.

    Returns:
        Arrays with one row per window, and the names of those that are inputs: the inputs int32 (W, length); `question`
        (W,) its question's number; `spans` (W, length, 2) where each token lies in the context, -1 outside it;
        `start_positions` and `end_positions` (W,), 0 where the window does not hold the answer.

    Args:
        questions: with their contexts.
        text: how texts become tokens: lengths, padding, the windows' overlap.
        tokenizer: its folder.
        key: names questions, settings and tokenizer.
        folder: the data folder.

    Raises:
        DataError: a question leaves no room for its context in a window.
    """

    def make() -> dict[str, np.ndarray]:
        encoder = open_tokenizer(tokenizer)
        names = input_names(encoder, text)
        _check_room(encoder, questions, text)
        parts = [
            _encoded(encoder, questions[start : start + _CHUNK], text, names) | {"first": np.array([start])}
            for start in range(0, len(questions), _CHUNK)
        ]
        for part in parts:
            part["question"] += part.pop("first")[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    windows = derived_arrays(folder, f"questions-{key[:32]}", make)
    return windows, tuple(name for name in ("input_ids", "attention_mask", "token_type_ids") if name in windows)


def _check_room(encoder: Any, questions: Sequence[Question], text: Text) -> None:
    """Refuse what the tokenizer would answer with a crash: a question that leaves no room to move on in the context."""
    room = text.longest - encoder.num_special_tokens_to_add(pair=True) - text.stride
    for start in range(0, len(questions), _CHUNK):
        chunk = [one.question.strip() for one in questions[start : start + _CHUNK]]
        lengths = [len(tokens) for tokens in encoder(chunk, add_special_tokens=False)["input_ids"]]
        longest = int(np.argmax(lengths))
        if lengths[longest] >= room:
            raise DataError(
                f"the question '{chunk[longest][:60]}' has {lengths[longest]} tokens; with text.max_length {text.longest} and "
                f"text.stride {text.stride} it may have {max(0, room - 1)}. Raise max_length or lower stride"
            )


def _encoded(encoder: Any, questions: Sequence[Question], text: Text, names: Sequence[str]) -> dict[str, np.ndarray]:
    encoding = encoder(
        [one.question.strip() for one in questions],
        [one.context for one in questions],
        truncation="only_second",
        max_length=text.longest,
        stride=text.stride,
        padding="max_length",
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )
    spans = np.asarray(encoding["offset_mapping"], np.int32)
    in_context = np.array([[part == 1 for part in window.sequence_ids] for window in encoding.encodings])
    spans[~in_context] = -1
    question = np.asarray(encoding["overflow_to_sample_mapping"], np.int32)
    starts, ends = positions(spans, *_characters(questions)[:, question])
    return {
        **as_arrays(encoding, names),
        "spans": spans,
        "question": question,
        "start_positions": starts,
        "end_positions": ends,
    }


def _characters(questions: Sequence[Question]) -> np.ndarray:
    """int64 (2, questions): where the first answer begins and ends; -1 where there is none."""
    places = [(one.start, one.start + len(one.answers[0])) if one.start >= 0 else (-1, -1) for one in questions]
    return np.array(places, np.int64).T


def positions(spans: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tokens (W,) that cover characters `starts` to `ends` (W,); both 0 where a window does not hold all of them.

    Args:
        spans: (W, length, 2), the first and the end character of each token in the context; -1 outside of it.
        starts: (W,), the answer's first character; negative without an answer.
        ends: (W,), the character behind the answer.
    """
    in_context = spans[:, :, 0] >= 0
    first = np.argmax(in_context & (spans[:, :, 1] > starts[:, None]), axis=1)
    covers = in_context & (spans[:, :, 0] < ends[:, None])
    last = spans.shape[1] - 1 - np.argmax(covers[:, ::-1], axis=1)
    rows = np.arange(len(spans))
    whole = (starts >= 0) & in_context[rows, first] & in_context[rows, last]
    whole &= (spans[rows, first, 0] <= starts) & (spans[rows, last, 1] >= ends)
    return np.where(whole, first, 0).astype(np.int32), np.where(whole, last, 0).astype(np.int32)


class QuestionSet(SplitDataset):
    """A `QuestionDataset`: rows are windows, and in the evaluation split the first window stands for its question."""

    def answers(self, outputs: Arrays) -> Answers:
        """As `QuestionDataset.answers`: the best span of all windows of a question.

        A window's best span is that of the highest start plus end logit among spans of at most `text.answer_tokens`
        tokens of the context. Where the data has questions without an answer, the first token competes (as in Rajpurkar
        et al., "Know What You Don't Know: Unanswerable Questions for SQuAD", 2018).
        """
        heads = self._rows("evaluation")
        rows = self._expanded(heads, "evaluation")
        starts, ends = outputs["start_logits"], outputs["end_logits"]
        if len(starts) != len(rows):
            raise DataError(f"{len(starts)} rows of outputs for {len(rows)} windows of the evaluation split")
        spans = self._windows.windows["spans"][rows]
        scores, first, last = best_spans(starts, ends, spans[:, :, 0] >= 0, self._windows.text.answer_tokens)
        numbers = self._windows.windows["question"][rows]
        order = np.lexsort((-scores, numbers))  # windows of each question in order of merit
        best = order[np.unique(numbers[order], return_index=True)[1]]
        texts = [
            self._windows.questions[numbers[row]].context[spans[row, first[row], 0] : spans[row, last[row], 1]]
            for row in best
        ]
        if self._windows.unanswerable:
            null = np.minimum.reduceat(starts[:, 0] + ends[:, 0], np.unique(numbers, return_index=True)[1])
            texts = [
                "" if nothing > score else text for nothing, score, text in zip(null, scores[best], texts, strict=True)
            ]
        return Answers(tuple(texts), best)

    def references(self) -> tuple[tuple[str, ...], ...]:
        """As `QuestionDataset.references`."""
        numbers = self._windows.windows["question"][self._rows("evaluation")]
        return tuple(self._windows.questions[number].answers or ("",) for number in numbers)

    @property
    def _windows(self) -> WindowReader:
        reader = self._all.reader
        assert isinstance(reader, WindowReader), "the only reader that this class is opened with"
        return reader

    def _expanded(self, rows: np.ndarray, split: Split) -> np.ndarray:
        if split != "evaluation":
            return rows
        questions = self._windows.windows["question"]
        numbers = questions[rows]
        begin, end = np.searchsorted(questions, numbers, "left"), np.searchsorted(questions, numbers, "right")
        return np.concatenate([np.arange(*window) for window in zip(begin, end, strict=True)]) if len(rows) else rows


def best_spans(
    starts: np.ndarray, ends: np.ndarray, allowed: np.ndarray, longest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each window: the highest score of a span of up to `longest` allowed tokens, its first and its last token.

    Args:
        starts: logits of the first token, (W, length); those that are not a number never win.
        ends: logits of the last token, likewise.
        allowed: bool (W, length), the tokens that an answer may have.
        longest: the most tokens of an answer.

    Returns:
        Three arrays (W,); the score is -inf where no span is allowed.
    """
    starts, ends = (np.where(allowed & ~np.isnan(logits), logits, -np.inf) for logits in (starts, ends))
    rows = np.arange(len(starts))
    score, first, last = np.full(len(rows), -np.inf), np.zeros(len(rows), int), np.zeros(len(rows), int)
    for further in range(min(longest, starts.shape[1])):
        sums = starts[:, : starts.shape[1] - further] + ends[:, further:]
        at = sums.argmax(axis=1)
        better = sums[rows, at] > score
        score = np.where(better, sums[rows, at], score)
        first, last = np.where(better, at, first), np.where(better, at + further, last)
    return score, first, last
