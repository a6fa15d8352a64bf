"""From a table's rows to a data set of its task."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from ops.core.registry import Registry, UnknownNameError
from ops.core.tasks.classification import TableClassification
from ops.core.tasks.extractive_qa import ExtractiveQuestionAnswering
from ops.core.tasks.generative_qa import GenerativeQuestionAnswering
from ops.core.tasks.image_classification import ImageClassification
from ops.core.tasks.multi_label import ImageMultiLabel, TableMultiLabel, TextMultiLabel
from ops.core.tasks.regression import ImageRegression, TableRegression, TextRegression
from ops.core.tasks.task import TASKS
from ops.core.tasks.text_classification import TextClassification
from pipeline.core.download.checksums import content_digest
from pipeline.core.errors import nearest_path
from pipeline.core.keys import digest
from pipeline.core.user_code import code_of_definition
from pipeline.datasets.api import DataError, Split
from pipeline.datasets.paths import check_regular, readable, targets_outside
from pipeline.datasets.reader import Reader
from pipeline.datasets.readers.decoding import Decoder
from pipeline.datasets.readers.extractive_qa import QuestionSet
from pipeline.datasets.readers.features import FeatureReader
from pipeline.datasets.readers.generative_qa import WrittenSet
from pipeline.datasets.readers.image_files import PictureReader, source_of
from pipeline.datasets.readers.settings import Columns, Features, Picture, Shares, Targets, Text
from pipeline.datasets.readers.text import TextReader, inputs_of, lengths_of, tokenised
from pipeline.datasets.readers.tokenizers import tokenizer_digest, tokenizer_folder
from pipeline.datasets.splits import SplitDataset, SplitInstances, fingerprint
from pipeline.datasets.tabular.outcomes import (
    Outcomes,
    OutcomesOf,
    class_outcomes,
    label_outcomes,
    number_outcomes,
    numbers_of,
    tolerances_of,
)
from pipeline.datasets.tabular.questions import (
    check_padding,
    extractive_questions,
    question_columns,
    written_questions,
)
from pipeline.datasets.tabular.rows import Records, attributes_of, groups_of

_ATTRIBUTES_VERSION = 2
_VERSION = 3
_CLASSIFICATION_VERSION = 4  # the order of classes
_TARGETS, _FEATURES = Targets(), Features()


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
    targets: Targets = _TARGETS
    features: Features = _FEATURES

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
        if TASKS[self.task].reads_texts and self.text.tokenizer is None:
            raise DataError(f"text.tokenizer: {self.task} needs one, a folder or a Hugging Face hub id")
        READINGS[self.task].check(self)
        if self.shares.evaluation + self.shares.calibration >= 1:
            raise DataError("shares: evaluation and calibration together leave nothing to train on")

    def identity(self) -> dict[str, Any]:
        """JSON-ready: all that decides what models see, but for the tokenizer, which counts by content."""
        task = TASKS[self.task]
        part = "picture" if task.reads_pictures else "text" if task.reads_texts else "features"
        settings = {"picture": self.picture.identity, "text": self.text.identity, "features": self.features.model_dump}
        code = code_of_definition(READINGS[self.task].load)  # ours have versions
        return {
            "task": self.task,
            "columns": self.columns.identity(),
            "shares": self.shares.model_dump(),
            "classes": self.classes,
            "limits": dict(self.limits),
            part: settings[part](),
            **({} if self.targets == _TARGETS else {"targets": self.targets.model_dump()}),
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
    if not task.reads_texts:
        return reading.kind(
            name=name,
            task=task.name,
            fingerprint=fingerprint(name, version=version, content=content, **rules.identity(), **_groups(rules)),
            load=lambda: reading.load(rules, read()),
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


def _instances(
    rules: Rules, records: Records, outcomes: Outcomes, inputs: Mapping[str, Any], reader: Reader, **more: Any
) -> SplitInstances:
    notes = more.pop("notes", tuple)
    return SplitInstances(
        ids=np.array(records.ids, object),
        labels=outcomes.labels,
        strata=outcomes.strata,
        splits=outcomes.splits,
        classes=outcomes.classes,
        inputs=inputs,
        reader=reader,
        attributes=attributes_of(records, rules.columns),
        groups=groups_of(records, rules.columns),
        order=outcomes.order,
        tolerances=tolerances_of(outcomes.targets),
        notes=lambda: (*outcomes.notes, *notes()),
        **more,
    )


def _pictures(rules: Rules, records: Records, root: Path, decoder: Decoder, outcomes_of: OutcomesOf) -> SplitInstances:
    outcomes, picture = outcomes_of(rules, records), rules.picture
    form = picture.form()
    sources = records.columns[rules.columns.image]
    reader = PictureReader(
        sources, root, outcomes.targets, form, picture.geometry(), picture.flip, decoder, outcomes.facts or {}
    )
    notes = partial(_notes_on_pictures, sources, root, reader, len(records))
    return _instances(rules, records, outcomes, form.inputs, reader, notes=notes)


def _notes_on_pictures(sources: Sequence[Any], root: Path, reader: PictureReader, count: int) -> list[str]:
    return [*_notes_on_places(sources, root), *reader.notes(np.arange(count))]


def _texts(
    rules: Rules, records: Records, tokenizer: Path, key: str, folder: Path, *, outcomes_of: OutcomesOf
) -> SplitInstances:
    texts = list(zip(*(records.texts(column) for column in rules.text_columns()), strict=True))
    outcomes = outcomes_of(rules, records)
    tokens = tokenised(texts, rules.text, tokenizer=tokenizer, key=key, folder=folder)
    reader = TextReader(texts, tokens, outcomes.targets, rules.text, tokenizer, outcomes.facts or {})
    return _instances(rules, records, outcomes, inputs_of(tokens), reader, lengths=lengths_of(tokens))


def _rows(rules: Rules, records: Records, outcomes_of: OutcomesOf) -> SplitInstances:
    names = rules.columns.features
    values = np.stack([numbers_of(records, name) for name in names], axis=1)
    outcomes = outcomes_of(rules, records)
    reader = FeatureReader.of(
        values,
        names,
        outcomes.splits["train"],
        outcomes.targets,
        standardise=rules.features.standardise,
        facts=outcomes.facts,
    )
    return _instances(rules, records, outcomes, reader.inputs, reader)


def _check_texts(rules: Rules) -> None:
    count = len(rules.text_columns())
    if count not in (1, 2):
        raise DataError(f"columns.text: name one column, or two for pairs (got {count})")


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


def _reading(inputs: str, outcomes_of: OutcomesOf, outcome_columns: Callable[[Rules], list[str]]) -> Reading:
    """Return how rows of `pictures`, `texts` or `rows` are read that have such outcomes."""
    columns: dict[str, Callable[[Rules], list[str]]] = {
        "pictures": lambda rules: [rules.columns.image],
        "texts": Rules.text_columns,
        "rows": lambda rules: list(rules.columns.features),
    }
    loads: dict[str, Callable[..., SplitInstances]] = {"pictures": _pictures, "texts": _texts, "rows": _rows}
    checks: dict[str, Callable[[Rules], None]] = {
        "texts": _check_texts,
        "rows": lambda rules: _check_features(rules, outcome_columns(rules)),
    }
    return Reading(
        lambda rules: [*columns[inputs](rules), *outcome_columns(rules)],
        partial(loads[inputs], outcomes_of=outcomes_of),
        check=checks.get(inputs, lambda rules: None),
    )


def _check_features(rules: Rules, outcomes: Sequence[str]) -> None:
    if not rules.columns.features:
        raise DataError(f"columns.features: {rules.task} needs the names of the columns that models see")
    for name in rules.columns.features:
        if name in outcomes:
            raise DataError(f"columns.features: '{name}' is what models are to tell; leave it out")


for _inputs, _class, _labels, _numbers in (
    ("pictures", ImageClassification, ImageMultiLabel, ImageRegression),
    ("texts", TextClassification, TextMultiLabel, TextRegression),
    ("rows", TableClassification, TableMultiLabel, TableRegression),
):
    READINGS.add(_class.name, _reading(_inputs, class_outcomes, lambda rules: [rules.columns.label]))
    READINGS.add(
        _labels.name,
        _reading(_inputs, label_outcomes, lambda rules: list(rules.columns.labels or [rules.columns.label])),
    )
    READINGS.add(
        _numbers.name,
        _reading(_inputs, number_outcomes, lambda rules: list(rules.columns.targets or [rules.columns.label])),
    )
READINGS.add(
    ExtractiveQuestionAnswering.name,
    Reading(question_columns, extractive_questions, QuestionSet, check=check_padding),
)
READINGS.add(
    GenerativeQuestionAnswering.name, Reading(question_columns, written_questions, WrittenSet, check=check_padding)
)


def _check_task(name: str) -> str:
    try:
        READINGS[name]
    except UnknownNameError as error:
        raise PydanticCustomError("unknown_task", "{message}", {"message": str(error)}) from None
    return name


TaskName = Annotated[str, AfterValidator(_check_task)]
"""The name of a task that tables can be read for."""
