"""From a table's rows to a data set of its task."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from ops.core.registry import Registry, UnknownNameError
from ops.core.tasks.extractive_qa import ExtractiveQuestionAnswering
from ops.core.tasks.generative_qa import GenerativeQuestionAnswering
from ops.core.tasks.image_classification import ImageClassification
from ops.core.tasks.language_modeling import LanguageModeling
from ops.core.tasks.task import TASKS
from ops.core.tasks.text_classification import TextClassification
from pipeline.core.download.checksums import content_digest
from pipeline.core.errors import nearest_path
from pipeline.core.keys import digest
from pipeline.core.user_code import code_of_definition
from pipeline.datasets.api import DataError, Split
from pipeline.datasets.class_order import ClassOrder, lookalikes, order_of
from pipeline.datasets.paths import check_regular, readable, targets_outside
from pipeline.datasets.readers.decoding import Decoder
from pipeline.datasets.readers.documents import DocumentSet
from pipeline.datasets.readers.extractive_qa import Question, QuestionSet, WindowReader, parsed, windowed
from pipeline.datasets.readers.generative_qa import INPUTS, WrittenReader, WrittenSet, encoded_questions
from pipeline.datasets.readers.image_files import PictureReader, source_of
from pipeline.datasets.readers.settings import Columns, Picture, Shares, Text
from pipeline.datasets.readers.text import TextReader, inputs_of, lengths_of, tokenised
from pipeline.datasets.readers.tokenizers import tokenizer_digest, tokenizer_folder
from pipeline.datasets.splits import SplitDataset, SplitInstances, fingerprint, limited
from pipeline.datasets.tabular.documents import check_documents, read_documents
from pipeline.datasets.tabular.rows import Records, attributes_of, groups_of, splits_of

_ATTRIBUTES_VERSION = 2
_VERSION = 3
_CLASSIFICATION_VERSION = 4  # the order of classes


@dataclass(frozen=True, slots=True)
class Rules:
    """How a table is to be read, whatever it comes from."""

    task: TaskName
    columns: Columns
    text: Text
    picture: Picture
    shares: Shares
    classes: Sequence[str] | None
    limits: Mapping[Split, int | None]

    def column_names(self) -> list[str]:
        """Names of the columns to read."""
        columns = self.columns
        also = [name for name in (columns.id, columns.split, columns.group) if name]
        return list(dict.fromkeys([*READINGS[self.task].columns(self), *also, *columns.attributes]))

    def text_columns(self) -> list[str]:
        """The one or two columns of a text."""
        text = self.columns.text
        return [text] if isinstance(text, str) else text

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            DataError: naming the parameter.
        """
        if not TASKS[self.task].reads_pictures and self.text.tokenizer is None:
            raise DataError(f"text.tokenizer: {self.task} needs one, a folder or a Hugging Face hub id")
        READINGS[self.task].check(self)
        if self.shares.evaluation + self.shares.calibration >= 1:
            raise DataError("shares: evaluation and calibration together leave nothing to train on")

    def identity(self) -> dict[str, Any]:
        """JSON-ready: all that decides what models see, but for the tokenizer, which counts by content."""
        part = "picture" if TASKS[self.task].reads_pictures else "text"
        code = code_of_definition(READINGS[self.task].load)  # ours have versions
        return {
            "task": self.task,
            "columns": self.columns.model_dump(),
            "shares": self.shares.model_dump(),
            "classes": self.classes,
            "limits": dict(self.limits),
            part: self.picture.identity() if part == "picture" else self.text.identity(),
            **({} if code is None else {"reading_code": code}),
        }


def dataset_of(
    name: str, rules: Rules, *, content: str, read: Callable[[], Records], folder: Path, root: Path
) -> SplitDataset:
    """Open a data set whose rows `read` gives when they are asked for; `content` is the digest of their files.

    Relative picture paths start at `root`.

    Args:
        name: that of the data set's kind.
        rules: settings of the data set.
        content: digest of the files.
        read: reads the rows; called when instances are first needed, or for the paths of pictures.
        folder: the data folder, for tokenizers and derived arrays.
        root: where relative paths of pictures start.
    """
    task, reading = TASKS[rules.task], READINGS[rules.task]
    version = _CLASSIFICATION_VERSION if task.has_classes else _VERSION
    if task.reads_pictures:
        content = _with_pictures(rules, content, read, folder, root)
        decoding = Decoder(rules.picture.bits, rules.picture.background)
        identity = fingerprint(
            name, version=version, content=content, decoding=decoding.identity, **rules.identity(), **_groups(rules)
        )
        return reading.kind(
            name=name,
            task=task.name,
            fingerprint=identity,
            load=lambda: reading.load(rules, read(), root, decoding),
            is_own=task.has_classes,
        )
    tokenizer = tokenizer_folder(str(rules.text.tokenizer), folder)
    content = digest({"what": "table and tokenizer", "files": [content, tokenizer_digest(tokenizer, folder)]})
    identity = fingerprint(name, version=version, content=content, **rules.identity(), **_groups(rules))
    made_of = {**rules.identity(), "limits": None, "shares": None, "classes": None}
    key = digest({"what": "tokens", "version": _VERSION, "content": content, "rules": made_of})
    return reading.kind(
        name=name,
        task=task.name,
        fingerprint=identity,
        load=lambda: reading.load(rules, read(), tokenizer, key, folder),
        is_own=task.has_classes,
    )


def _groups(rules: Rules) -> dict[str, int]:
    """The version of how attributes are read, where there are any."""
    return {"attributes_version": _ATTRIBUTES_VERSION} if rules.columns.attributes else {}


def _with_pictures(rules: Rules, content: str, read: Callable[[], Records], folder: Path, root: Path) -> str:
    """Add the content of the picture files that a table names; pictures inside the table are part of it already."""
    records = read()
    values = records.columns[rules.columns.image]
    if not isinstance(values, list):  # read piece by piece: a table that holds the pictures themselves
        return content
    names: set[str] = set()
    for value, place in zip(values, records.places, strict=True):
        source = source_of(value)
        if not source:
            raise DataError(f"{place}: '{rules.columns.image}' is empty")
        if isinstance(source, str):
            names.add(source)
    if not names:
        return content
    for name in sorted(names):
        _check_picture(root / name, root)
    pictures = content_digest(root, sorted(names), folder / "hashes")
    return digest({"what": "table and pictures", "files": [content, pictures]})


def _notes_on_places(sources: Sequence[Any], root: Path) -> list[str]:
    """Say how many pictures of a table lie outside of the folder where its paths start."""
    if not isinstance(sources, list):  # read piece by piece: a table that holds the pictures themselves
        return []
    names = dict.fromkeys(name for value in sources if isinstance(name := source_of(value), str) and name)
    targets = list(targets_outside((root / name for name in names), root))
    if not targets:
        return []
    return [
        f"{len(targets)} of {len(names)} pictures lie outside of {root} (picture.root), the first is {readable(str(targets[0]))}, "
        "and are read"
    ]


def _check_picture(file: Path, root: Path) -> None:
    if not os.path.lexists(file):
        raise DataError(
            f"{readable(str(file))}: there is no such picture; paths start at {root} (picture.root){nearest_path(file)}"
        )
    check_regular(file)


def _classes(rules: Rules, records: Records) -> tuple[list[str], np.ndarray, ClassOrder]:
    """The label of each row, its number as int64, and the order of the classes."""
    column = rules.columns.label
    names = records.labels(column)
    numbers = records.are_numbers(column)
    order = order_of(names, setting=rules.classes, data=records.orders.get(column), numbers=numbers)
    return names, np.array(order.numbers(names, records.places), np.int64), order


def _pictures(rules: Rules, records: Records, root: Path, decoder: Decoder) -> SplitInstances:
    names, labels, order = _classes(rules, records)
    picture = rules.picture
    form = picture.form()
    splits = splits_of(records, columns=rules.columns, shares=rules.shares, groups=groups_of(records, rules.columns))
    sources = records.columns[rules.columns.image]
    reader = PictureReader(sources, root, labels, form, picture.geometry(), picture.flip, decoder)
    return SplitInstances(
        ids=np.array(records.ids, object),
        labels=names,
        strata=labels,
        splits=limited(splits, labels, rules.limits),
        classes=order.classes,
        inputs=form.inputs,
        reader=reader,
        attributes=attributes_of(records, rules.columns),
        order=order,
        notes=lambda: (
            *lookalikes(order.classes),
            *_notes_on_places(sources, root),
            *reader.notes(np.arange(len(records))),
        ),
    )


def _texts(rules: Rules, records: Records, tokenizer: Path, key: str, folder: Path) -> SplitInstances:
    texts = list(zip(*(records.texts(column) for column in rules.text_columns()), strict=True))
    names, labels, order = _classes(rules, records)
    tokens = tokenised(texts, rules.text, tokenizer=tokenizer, key=key, folder=folder)
    splits = splits_of(records, columns=rules.columns, shares=rules.shares, groups=groups_of(records, rules.columns))
    return SplitInstances(
        ids=np.array(records.ids, object),
        labels=names,
        strata=labels,
        splits=limited(splits, labels, rules.limits),
        classes=order.classes,
        inputs=inputs_of(tokens),
        reader=TextReader(texts, tokens, labels, rules.text, tokenizer),
        lengths=lengths_of(tokens),
        attributes=attributes_of(records, rules.columns),
        order=order,
        notes=lambda: tuple(lookalikes(order.classes)),
    )


def _split_questions(rules: Rules, records: Records) -> tuple[list[Question], dict[Split, np.ndarray]]:
    """Questions on one context stay in one split, so that no context is both trained on and judged."""
    columns = rules.columns
    texts, contexts = records.texts(columns.question), records.texts(columns.context)
    answers = records.columns[columns.answers]
    questions = [parsed(*one) for one in zip(texts, contexts, answers, records.places, strict=True)]
    groups = groups_of(records, columns) if columns.group else contexts
    splits = splits_of(records, columns=columns, shares=rules.shares, groups=groups)
    return questions, limited(splits, np.zeros(len(records), np.int64), rules.limits)


def _check_answers(questions: Sequence[Question], rows: np.ndarray, places: Sequence[str]) -> None:
    """Refuse answers of training questions that are not in the context: models would learn that there is none."""
    for row in rows:
        one = questions[row]
        if one.answers and one.start < 0:
            raise DataError(
                f"{places[row]}: the context does not hold the answer '{one.answers[0][:40]}', and extractive models learn where "
                "it stands; mend the row, or remove it"
            )


def _questions(rules: Rules, records: Records, tokenizer: Path, key: str, folder: Path) -> SplitInstances:
    columns = rules.columns
    questions, splits = _split_questions(rules, records)
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
    )


def _written(rules: Rules, records: Records, tokenizer: Path, key: str, folder: Path) -> SplitInstances:
    questions, splits = _split_questions(rules, records)
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
    )


def _check_texts(rules: Rules) -> None:
    count = len(rules.text_columns())
    if count not in (1, 2):
        raise DataError(f"columns.text: name one column, or two for pairs (got {count})")


def _check_padding(rules: Rules) -> None:
    if rules.text.padding == "longest":
        raise DataError(
            f"text.padding: `longest` does not apply to {rules.task}, whose texts are padded to max_length; leave it out, or "
            "lower text.max_length"
        )


def _question_columns(rules: Rules) -> list[str]:
    return [rules.columns.question, rules.columns.context, rules.columns.answers]


@dataclass(frozen=True, slots=True)
class Reading:
    """How the rows of a table become instances of a task."""

    columns: Callable[[Rules], list[str]]
    """Names of the columns that the task needs."""
    load: Callable[..., SplitInstances]
    """Takes the rules and the records, and of pictures their root and decoder, of texts the tokenizer, key and folder."""
    kind: type[SplitDataset] = SplitDataset
    check: Callable[[Rules], None] = lambda rules: None
    """Refuses what does not go together."""


READINGS: Registry[Reading] = Registry("task for tables")
"""Task -> how tables of it are read: a newcomer's row goes here, or a plug-in adds it."""
READINGS.add(ImageClassification.name, Reading(lambda rules: [rules.columns.image, rules.columns.label], _pictures))
READINGS.add(
    TextClassification.name,
    Reading(lambda rules: [*rules.text_columns(), rules.columns.label], _texts, check=_check_texts),
)
READINGS.add(
    ExtractiveQuestionAnswering.name, Reading(_question_columns, _questions, QuestionSet, check=_check_padding)
)
READINGS.add(GenerativeQuestionAnswering.name, Reading(_question_columns, _written, WrittenSet, check=_check_padding))
READINGS.add(
    LanguageModeling.name,
    Reading(lambda rules: rules.text_columns(), read_documents, DocumentSet, check=check_documents),
)


def _check_task(name: str) -> str:
    try:
        READINGS[name]
    except UnknownNameError as error:
        raise PydanticCustomError("unknown_task", "{message}", {"message": str(error)}) from None
    return name


TaskName = Annotated[str, AfterValidator(_check_task)]
"""The name of a task that tables can be read for."""
