"""Queries for what models answered: predictions as arrays, pages of instances as rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any

import duckdb
import numpy as np

from pipeline.store.reader import open_results
from viewer.behaviour import Answers, Members, members

__all__ = ["SEPARATOR", "Instance", "Sheet", "open_sheet"]

_NEVER = np.array([-32768, -32767], np.int16).view(np.uint16)
"""What the store writes for probabilities below 6e-15."""
SEPARATOR = " × "  # noqa: RUF001 - the sign for crossings
"""Between the values of crossed attributes."""


@dataclass(frozen=True, slots=True)
class Instance:
    """What is known of an instance without opening the data set."""

    position: int
    id: str
    label: str
    attributes: Mapping[str, str]
    answers: Mapping[str, str]
    """Model key -> its answer."""


@dataclass
class Sheet:
    """The answers of all models on one target and data set, read when first asked for and kept."""

    db: duckdb.DuckDBPyConnection
    dataset_key: str
    dataset: str
    task: str
    entry: Mapping[str, Any]
    classes: tuple[str, ...]
    target: str
    split: str
    size: int
    instance_set: int
    sets: Mapping[str, int]
    """Model key -> its predictions' number in the store."""
    lock: RLock = field(default_factory=RLock)
    _answers: dict[str, Answers] = field(default_factory=dict)
    _probabilities: dict[str, np.ndarray | None] = field(default_factory=dict)
    _members: dict[tuple[str, ...], Members] = field(default_factory=dict)
    _codes: dict[str, int] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    """Code of an answer -> the answer."""

    def load(self, keys: Sequence[str]) -> None:
        """Read the answers of several models in one go."""
        with self.lock:
            wanted = [key for key in keys if key in self.sets and key not in self._answers]
            if wanted:
                self._read(wanted)

    def answers(self, key: str) -> Answers:
        """One model's answers."""
        self.load([key])
        return self._answers[key]

    def members(self, attributes: Sequence[str]) -> Members:
        """Rows of the table: classes (no attributes), the values of one attribute, or the crossing of two."""
        wanted = tuple(attributes)
        with self.lock:
            if wanted not in self._members:
                self._members[wanted] = members(self._values(wanted), whole=() if wanted else self.classes)
            return self._members[wanted]

    def attributes(self) -> list[str]:
        """Names of the attributes that groups can be made of."""
        some = "SELECT attributes FROM instance WHERE instance_set = ? LIMIT 1000"
        query = f"SELECT DISTINCT unnest(map_keys(attributes)) AS name FROM ({some}) ORDER BY 1"
        with self.lock:
            return [name for (name,) in self.db.execute(query, [self.instance_set]).fetchall()]

    def matching(self, text: str) -> np.ndarray:
        """True for instances whose id, label, an attribute or any answer contains the text: bool (N,)."""
        query = """
            SELECT DISTINCT position FROM (
                SELECT position FROM instance WHERE instance_set = $set AND (contains(lower(instance_id), $text)
                    OR contains(lower(label), $text)
                    OR list_bool_or(list_transform(map_values(attributes), lambda value: contains(lower(value), $text))))
                UNION ALL
                SELECT position FROM prediction WHERE prediction_set IN (SELECT unnest($sets)) AND contains(lower(predicted), $text)
            )"""
        values = {"set": self.instance_set, "text": text.lower(), "sets": list(self.sets.values())}
        found = np.zeros(self.size, bool)
        with self.lock:
            found[np.asarray(self.db.execute(query, values).fetchnumpy()["position"], np.int64)] = True
        return found

    def positions(self, ids: Sequence[str]) -> np.ndarray:
        """Places of instances by their ids, int64; unknown ids are left out."""
        query = "SELECT position FROM instance WHERE instance_set = ? AND instance_id IN (SELECT unnest(?::VARCHAR[]))"
        with self.lock:
            found = self.db.execute(query, [self.instance_set, list(ids)]).fetchnumpy()["position"]
        return np.asarray(found, np.int64)

    def page(self, positions: Sequence[int], keys: Sequence[str]) -> list[Instance]:
        """The instances at some positions, in that order, with the answers of some models."""
        query = """
            SELECT i.position, i.instance_id, i.label, i.attributes, list(p.prediction_set), list(p.predicted)
            FROM instance i
            LEFT JOIN prediction p ON p.position = i.position AND p.prediction_set IN (SELECT unnest($sets::INTEGER[]))
            WHERE i.instance_set = $set AND i.position IN (SELECT unnest($positions::INTEGER[]))
            GROUP BY ALL"""
        model_of = {self.sets[key]: key for key in keys if key in self.sets}
        values = {"set": self.instance_set, "positions": [int(at) for at in positions], "sets": list(model_of)}
        with self.lock:
            rows = self.db.execute(query, values).fetchall()
        found = {
            position: Instance(
                position, name, label, dict(attributes or {}),
                {model_of[at]: text for at, text in zip(sets, texts, strict=True) if at is not None},
            )
            for position, name, label, attributes, sets, texts in rows
        }  # fmt: skip
        return [found[int(at)] for at in positions if int(at) in found]

    def _read(self, keys: Sequence[str]) -> None:
        """Answers are compared as numbers: texts become codes, encoded by Arrow faster than SQL can join."""
        query = """
            SELECT prediction_set, position, predicted, confidence, label_probability, correct, score
            FROM prediction WHERE prediction_set IN (SELECT unnest($sets::INTEGER[]))"""
        table = self.db.sql(query, params={"sets": [self.sets[key] for key in keys]}).to_arrow_table()
        numbers, positions = (table[name].to_numpy() for name in ("prediction_set", "position"))
        encoded = table["predicted"].combine_chunks().dictionary_encode()
        codes = np.array([self._code(text) for text in encoded.dictionary.to_pylist()], np.int32)
        columns = {
            "predicted": codes[encoded.indices.to_numpy()],
            "correct": table["correct"].to_numpy(),
            **{name: _floats(table[name]) for name in ("confidence", "label_probability", "score")},
        }
        for key in keys:
            rows = np.flatnonzero(numbers == self.sets[key])
            if not np.array_equal(positions[rows], np.arange(len(rows))):
                rows = rows[np.argsort(positions[rows], kind="stable")]
            own = {name: values[rows] for name, values in columns.items()}
            self._answers[key] = Answers(**own, probabilities=partial(self._probabilities_of, key))

    def _code(self, text: str) -> int:
        if text not in self._codes:
            self._codes[text] = len(self.texts)
            self.texts.append(text)
        return self._codes[text]

    def _probabilities_of(self, key: str) -> np.ndarray | None:
        with self.lock:
            if key not in self._probabilities:
                if len(self._probabilities) > 5:  # noqa: PLR2004 - 200 MB each at 50,000 x 1,000
                    self._probabilities.pop(next(iter(self._probabilities)))
                self._probabilities[key] = self._read_probabilities(key)
            return self._probabilities[key]

    def _read_probabilities(self, key: str) -> np.ndarray | None:
        query = "SELECT position, log_probabilities FROM prediction WHERE prediction_set = $set"
        table = self.db.sql(query, params={"set": self.sets[key]}).to_arrow_table()
        column = table["log_probabilities"].combine_chunks()
        if column.null_count or not len(column):
            return None
        # there are 65,536 different values: looking an exponential up is faster than computing it
        exponentials = np.exp(np.arange(1 << 16, dtype=np.uint16).view(np.int16).astype(np.float32) / 1000)
        exponentials[_NEVER] = 0
        places = column.flatten().to_numpy(zero_copy_only=False).view(np.uint16)
        found: np.ndarray = exponentials[places].reshape(len(column), -1)
        positions = table["position"].to_numpy()
        in_order = np.array_equal(positions, np.arange(len(positions)))  # sorting in SQL would move every list
        return found if in_order else found[np.argsort(positions)]

    def _values(self, attributes: tuple[str, ...]) -> list[str]:
        if not attributes:
            query = "SELECT label FROM instance WHERE instance_set = ? ORDER BY position"
            return [label for (label,) in self.db.execute(query, [self.instance_set]).fetchall()]
        columns = []
        for name in attributes:
            query = "SELECT coalesce(attributes[?], '(none)') FROM instance WHERE instance_set = ? ORDER BY position"
            columns.append([value for (value,) in self.db.execute(query, [name, self.instance_set]).fetchall()])
        return [SEPARATOR.join(parts) for parts in zip(*columns, strict=True)]


def open_sheet(path: Path, *, target: str = "", dataset_key: str = "") -> Sheet | None:
    """Open the predictions on a target and data set, or those of most models; None if there are none.

    Raises:
        StoreError: if the results cannot be read.
    """
    db = open_results(path)
    query = """
        SELECT s.target, s.dataset_key, s.split, s.instance_set, t.size, d.name, d.task, d.classes, d.entry,
               list(s.model_key ORDER BY s.prediction_set), list(s.prediction_set ORDER BY s.prediction_set)
        FROM (
            SELECT * FROM prediction_set
            QUALIFY row_number() OVER (PARTITION BY model_key, target, dataset_key, split ORDER BY prediction_set DESC) = 1
        ) s
        JOIN instance_set t USING (instance_set)
        JOIN dataset d ON d.dataset_key = s.dataset_key
        GROUP BY ALL
        ORDER BY any_value(s.target = ?) DESC, any_value(s.dataset_key = ?) DESC, count(*) DESC, any_value(s.target)
        LIMIT 1"""
    rows = db.execute(query, [target, dataset_key]).fetchall()
    if not rows:
        db.close()
        return None
    found = rows[0]
    return Sheet(
        db=db, target=found[0], dataset_key=found[1], split=found[2], instance_set=found[3], size=found[4],
        dataset=found[5], task=found[6], classes=tuple(found[7]), entry=json.loads(found[8]),
        sets=dict(zip(found[9], found[10], strict=True)),
    )  # fmt: skip


def _floats(column: Any) -> np.ndarray:
    """An Arrow column of floats, its NULLs as NaN."""
    return np.asarray(column.to_numpy(), np.float32)
