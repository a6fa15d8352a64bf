"""From rows of questions on contexts to instances: windows of contexts, or answers to write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.datasets.api import DataError, Split
from pipeline.datasets.division import limited
from pipeline.datasets.readers.extractive_qa import Question, WindowReader, parsed, windowed
from pipeline.datasets.readers.generative_qa import INPUTS, WrittenReader, encoded_questions
from pipeline.datasets.readers.text import inputs_of, lengths_of
from pipeline.datasets.splits import SplitInstances
from pipeline.datasets.tabular.rows import Records, attributes_of, groups_of, splits_of

if TYPE_CHECKING:
    from pipeline.datasets.tabular.by_task import Rules

__all__ = ["check_padding", "extractive_questions", "question_columns", "written_questions"]


def _split_questions(rules: Rules, records: Records) -> tuple[list[Question], Sequence[str], dict[Split, np.ndarray]]:
    """The questions, their groups and splits. Those on one context stay in one split: none is both trained on and judged."""
    columns = rules.columns
    texts, contexts = records.texts(columns.question), records.texts(columns.context)
    answers = records.columns[columns.answers]
    questions = [parsed(*one) for one in zip(texts, contexts, answers, records.places, strict=True)]
    groups = groups_of(records, columns) if columns.group else contexts
    splits = splits_of(records, columns=columns, shares=rules.shares, groups=groups)
    return questions, groups, limited(splits, np.zeros(len(records), np.int64), rules.limits)


def _check_answers(questions: Sequence[Question], rows: np.ndarray, places: Sequence[str]) -> None:
    """Refuse answers of training questions that are not in the context: models would learn that there is none."""
    for row in rows:
        one = questions[row]
        if one.answers and one.start < 0:
            raise DataError(
                f"{places[row]}: the context does not hold the answer '{one.answers[0][:40]}', and extractive models learn where "
                "it stands; mend the row, or remove it"
            )


def extractive_questions(rules: Rules, records: Records, tokenizer: Path, key: str, folder: Path) -> SplitInstances:
    """Return questions whose answers stand in their contexts; in training each window is an instance."""
    columns = rules.columns
    questions, groups, splits = _split_questions(rules, records)
    _check_answers(questions, splits["train"], records.places)
    windows, names = windowed(questions, rules.text, tokenizer=tokenizer, key=key, folder=folder)
    number = windows["question"]
    heads = np.unique(number, return_index=True)[1]
    of_window = [int(one) for one in number]
    evaluated = np.isin(number, splits["evaluation"])
    part = np.arange(len(number)) - heads[number]
    ids = [
        records.ids[question] if whole else f"{records.ids[question]}#{index}"
        for question, whole, index in zip(of_window, evaluated, part, strict=True)
    ]
    return SplitInstances(
        ids=np.array(ids, object),
        labels=[(questions[question].answers or ("",))[0] for question in of_window],
        strata=np.zeros(len(number), np.int64),
        splits={
            "train": np.flatnonzero(np.isin(number, splits["train"])),
            "calibration": np.flatnonzero(np.isin(number, splits["calibration"])),
            "evaluation": heads[splits["evaluation"]],
        },
        classes=(),
        inputs=inputs_of({name: windows[name] for name in names}),
        reader=WindowReader(questions, windows, names, rules.text, tokenizer),
        lengths=lengths_of(windows),
        attributes={
            name: [values[question] for question in of_window]
            for name, values in attributes_of(records, columns).items()
        },
        groups=[groups[question] for question in of_window],
    )


def written_questions(rules: Rules, records: Records, tokenizer: Path, key: str, folder: Path) -> SplitInstances:
    """Return questions whose answers a model writes, each an instance."""
    questions, groups, splits = _split_questions(rules, records)
    tokens = encoded_questions(questions, rules.text, tokenizer=tokenizer, key=key, folder=folder)
    evaluated = np.zeros(len(questions), bool)
    evaluated[splits["evaluation"]] = True
    shapes = zip(INPUTS, ("input_ids", "attention_mask", "answers"), strict=True)
    return SplitInstances(
        ids=np.array(records.ids, object),
        labels=[(one.answers or ("",))[0] for one in questions],
        strata=np.zeros(len(questions), np.int64),
        splits=splits,
        classes=(),
        inputs=inputs_of({name: tokens[of] for name, of in shapes}),
        reader=WrittenReader(questions, tokens, evaluated, rules.text, tokenizer),
        lengths=lengths_of(tokens),
        attributes=attributes_of(records, rules.columns),
        groups=groups,
    )


def check_padding(rules: Rules) -> None:
    """Refuse a padding that windows and written answers do not have."""
    if rules.text.padding == "longest":
        raise DataError(
            f"text.padding: `longest` does not apply to {rules.task}, whose texts are padded to max_length; leave it out, or "
            "lower text.max_length"
        )


def question_columns(rules: Rules) -> list[str]:
    """Return the columns that questions need."""
    return [rules.columns.question, rules.columns.context, rules.columns.answers]
