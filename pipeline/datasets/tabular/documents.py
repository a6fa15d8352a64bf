"""Rows of a table that are documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.datasets.api import DataError, Split
from pipeline.datasets.division import limited
from pipeline.datasets.readers.documents import INPUTS, DocumentReader, windowed_documents
from pipeline.datasets.readers.text import inputs_of, lengths_of
from pipeline.datasets.splits import SplitInstances
from pipeline.datasets.tabular.rows import Records, attributes_of, groups_of, splits_of

if TYPE_CHECKING:
    from pipeline.datasets.tabular.by_task import Rules

_SHOWN = 40


def read_documents(rules: Rules, records: Records, tokenizer: Path, key: str, folder: Path) -> SplitInstances:
    """Return windows as rows, and in the evaluation split documents as instances.

    A limit counts documents there, and windows in the other splits, which are spread over their documents.

    Args:
        rules: how the table is to be read.
        records: its rows.
        tokenizer: its folder.
        key: names rows, settings and tokenizer.
        folder: the data folder.

    Raises:
        DataError: as `windowed_documents`.
    """
    texts = records.texts(rules.text_columns()[0])
    windows = windowed_documents(texts, records.places, rules.text, tokenizer=tokenizer, key=key, folder=folder)
    number = windows["document"]
    of_window = [int(one) for one in number]
    heads = np.unique(number, return_index=True)[1]
    part = np.arange(len(number)) - heads[number]
    columns = rules.columns
    groups = groups_of(records, columns)
    splits = splits_of(records, columns=columns, shares=rules.shares, groups=groups)
    evaluated = np.isin(number, splits["evaluation"])
    ids = [
        records.ids[document] if whole else f"{records.ids[document]}#{index}"
        for document, whole, index in zip(of_window, evaluated, part, strict=True)
    ]
    attributes = attributes_of(records, columns)
    strata = _strata(attributes, len(records))[number]
    rows: dict[Split, np.ndarray] = {
        "train": np.flatnonzero(np.isin(number, splits["train"])),
        "calibration": np.flatnonzero(np.isin(number, splits["calibration"])),
        "evaluation": heads[splits["evaluation"]],
    }
    return SplitInstances(
        ids=np.array(ids, object),
        labels=[_beginning(texts[document]) for document in of_window],
        strata=strata,
        splits=limited(rows, strata, rules.limits),
        classes=(),
        inputs=inputs_of({name: windows[name] for name in INPUTS}),
        reader=DocumentReader(texts, windows, rules.text, tokenizer),
        lengths=lengths_of(windows),
        attributes={name: [values[document] for document in of_window] for name, values in attributes.items()},
        groups=[groups[document] for document in of_window],
    )


def check_documents(rules: Rules) -> None:
    """Refuse settings that documents have no use for.

    Raises:
        DataError: naming the parameter.
    """
    if len(rules.text_columns()) != 1:
        raise DataError(f"columns.text: name the one column of the documents (got {len(rules.text_columns())})")
    if rules.text.padding == "longest":
        raise DataError(
            f"text.padding: `longest` does not apply to {rules.task}, whose windows have max_length tokens; leave it out"
        )


def _strata(attributes: Mapping[str, Sequence[str]], count: int) -> np.ndarray:
    """Documents with the same attributes: limits keep their proportions."""
    if not attributes:
        return np.zeros(count, np.int64)
    rows = list(zip(*attributes.values(), strict=True))
    order = {row: index for index, row in enumerate(sorted(set(rows)))}
    return np.array([order[row] for row in rows], np.int64)


def _beginning(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
