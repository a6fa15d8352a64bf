"""Queries for what models answered: predictions as arrays, pages of instances as rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import duckdb
import numpy as np

from pipeline.core.answer_text import AnswerKind, answer_numbers, normalized
from pipeline.store.documents import json_mapping
from pipeline.store.reader import log_probabilities, open_results
from viewer.behaviours.measures import Measure, ModelAnswers
from viewer.behaviours.statistics import Members, members

__all__ = ["SEPARATOR", "Instance", "Sheet", "open_sheet"]

_KEPT = 64 << 20
"""Bytes of measured values that are kept."""
_MOST_COMPUTED = 500
T = TypeVar("T")
SEPARATOR = " × "  # noqa: RUF001 - the sign for crossings
"""Between the values of crossed attributes."""


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as the store knows it, without the data set."""

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
    store: str
    """The store's own name, which stays what it is when the file is moved."""
    task: str
    classes: tuple[str, ...]
    target: str
    split: str
    size: int
    instance_set: int
    sets: Mapping[str, int]
    """Model key -> its predictions' number in the store."""
    tolerances: tuple[float, ...] = ()
    """Of numbers that are estimated, how far off one may be and still be right."""
    answers_hold: str = ""
    """`labels` or `numbers`, as the data set's entry says; else classes where there are any, or texts."""
    lock: RLock = field(default_factory=RLock)
    _answers: dict[str, ModelAnswers] = field(default_factory=dict)
    _values: dict[tuple[str, str, str], np.ndarray] = field(default_factory=dict)
    _members: dict[tuple[str, ...], Members] = field(default_factory=dict)
    _computed: dict[tuple[str, ...], Any] = field(default_factory=dict)
    _codes: dict[str, int] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    """Code of an answer -> the answer, as one of the models wrote it."""

    @property
    def answer_kind(self) -> AnswerKind:
        """Return what answers hold."""
        usual = AnswerKind.CLASS if self.classes else AnswerKind.TEXT
        if self.answers_hold not in (AnswerKind.LABELS, AnswerKind.NUMBERS):
            return usual
        kind = AnswerKind(self.answers_hold)
        return usual if kind is AnswerKind.NUMBERS and not self.tolerances else kind

    def load(self, keys: Sequence[str]) -> None:
        """Read the answers of several models in one go."""
        with self.lock:
            missing = [key for key in keys if key in self.sets and key not in self._answers]
            if missing:
                self._read(missing)

    def answers(self, key: str) -> ModelAnswers:
        """One model's answers."""
        self.load([key])
        return self._answers[key]

    def values(self, measure: Measure, keys: Sequence[str], base: str) -> dict[str, np.ndarray]:
        """Model key -> float32 (N,): a measure of models beside a base, which is computed once.

        Args:
            measure: the measure.
            keys: models.
            base: key of the base.
        """
        with self.lock:
            cached = {key: (measure.name, key, base) for key in keys}
            missing = [key for key, place in cached.items() if place not in self._values]
            if missing:
                if measure.needs == "probabilities":
                    self._find_rows([*missing, base])
                results = measure.compute([self.answers(key) for key in missing], self.answers(base))
                others = [place for place in self._values if place not in cached.values()]
                room = max(0, _KEPT // (4 * max(1, self.size)) - len(cached))
                for place in others[: max(0, len(others) - room)]:  # the oldest
                    del self._values[place]
                self._values |= {
                    cached[key]: np.asarray(each, np.float32) for key, each in zip(missing, results, strict=True)
                }
            return {key: self._values[place] for key, place in cached.items()}

    def members(self, attributes: Sequence[str]) -> Members:
        """Rows of the table: classes (no attributes), the values of one attribute, or the crossing of two."""
        names = tuple(attributes)
        with self.lock:
            if names not in self._members:
                self._members[names] = members(self._labels(names), whole=() if names else self.classes)
            return self._members[names]

    def computed(self, name: tuple[str, ...], compute: Callable[[], T]) -> T:
        """Return what follows from the answers alone: computed when it is first asked for, and kept."""
        with self.lock:
            if name not in self._computed:
                while len(self._computed) >= _MOST_COMPUTED:
                    del self._computed[next(iter(self._computed))]
                self._computed[name] = compute()
            value: T = self._computed[name]
            return value

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
        mask = np.zeros(self.size, bool)
        with self.lock:
            mask[np.asarray(self.db.execute(query, values).fetchnumpy()["position"], np.int64)] = True
        return mask

    def positions(self, ids: Sequence[str]) -> np.ndarray:
        """Places of instances by their ids, int64; unknown ids are left out."""
        query = "SELECT position FROM instance WHERE instance_set = ? AND instance_id IN (SELECT unnest(?::VARCHAR[]))"
        with self.lock:
            positions = self.db.execute(query, [self.instance_set, list(ids)]).fetchnumpy()["position"]
        return np.asarray(positions, np.int64)

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
        instances = {
            position: Instance(
                position,
                name,
                label,
                dict(attributes or {}),
                {model_of[at]: text for at, text in zip(sets, texts, strict=True) if at is not None},
            )
            for position, name, label, attributes, sets, texts in rows
        }
        return [instances[int(at)] for at in positions if int(at) in instances]

    def _read(self, keys: Sequence[str]) -> None:
        """Answers are compared as numbers. DuckDB gives them and arrays at once: Arrow would be imported for it first."""
        sets = {"sets": [self.sets[key] for key in keys]}
        rows = "FROM prediction WHERE prediction_set IN (SELECT unnest($sets::INTEGER[]))"
        distinct = f"SELECT DISTINCT predicted {rows} ORDER BY predicted"
        texts = [text for (text,) in self.db.execute(distinct, sets).fetchall()]
        coded = {"texts": texts, "codes": [self._code(text) for text in texts]}
        query = f"""
            SELECT prediction_set, position, code, confidence, label_probability, correct, score
            FROM (SELECT * EXCLUDE log_probabilities {rows})
            JOIN (SELECT unnest($texts::VARCHAR[]) AS predicted, unnest($codes::INTEGER[]) AS code) USING (predicted)"""
        columns: dict[str, Any] = self.db.execute(query, sets | coded).fetchnumpy()
        for key in keys:
            own = np.flatnonzero(columns["prediction_set"] == self.sets[key])
            places = columns["position"][own]

            def column(name: str, own: np.ndarray = own, places: np.ndarray = places) -> np.ndarray:
                """In the order of the instances; NULLs, which DuckDB masks, are NaN."""
                values = columns[name][own]
                column = np.empty(self.size, values.dtype)
                column[places] = np.ma.filled(values, np.nan) if values.dtype.kind == "f" else values
                return column

            codes = column("code")
            numbers, error = self._estimates(codes)
            self._answers[key] = ModelAnswers(
                predicted=codes,
                confidence=column("confidence"),
                label_probability=column("label_probability"),
                correct=column("correct"),
                score=column("score"),
                numbers=numbers,
                error=error,
            )

    def _estimates(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
        """Numbers and errors of answers that hold numbers, from the codes of their texts."""
        if self.answer_kind is not AnswerKind.NUMBERS:
            return None, None
        numbers = self._in_tolerances([self.texts[code] for code in codes])
        away = np.abs(numbers - self._in_tolerances([label or "" for label in self._column("label", [])]))
        return numbers, away.max(axis=1).astype(np.float32)

    def _in_tolerances(self, texts: Sequence[str]) -> np.ndarray:
        count = len(self.tolerances)
        rows = [answer_numbers(text) for text in texts]
        numbers = np.array([row if len(row) == count else [np.nan] * count for row in rows], np.float64)
        scaled: np.ndarray = numbers.reshape(-1, count) / np.array(self.tolerances)
        return scaled

    def _find_rows(self, keys: Sequence[str]) -> None:
        """Look for the probabilities of all classes: only for measures that need them."""
        missing = [key for key in keys if self.answers(key).rows is None]
        fetched = log_probabilities(
            self.db, missing, target=self.target, dataset_key=self.dataset_key, split=self.split
        )
        for key, rows in fetched.items():
            self._answers[key] = replace(self._answers[key], rows=rows)

    def code_of(self, text: str) -> int:
        """Return the code of an answer that some model gave; -1 of any other."""
        return self._codes.get(self._same(text), -1)

    def ids(self, positions: np.ndarray) -> list[str]:
        """Ids of instances, in the order of their places.

        Args:
            positions: int (n,).
        """
        query = """
            SELECT instance_id FROM instance
            WHERE instance_set = ? AND position IN (SELECT unnest(?::INTEGER[])) ORDER BY position"""
        with self.lock:
            return [name for (name,) in self.db.execute(query, [self.instance_set, positions.tolist()]).fetchall()]

    def _code(self, text: str) -> int:
        same = self._same(text)
        if same not in self._codes:
            self._codes[same] = len(self.texts)
            self.texts.append(text)
        return self._codes[same]

    def _same(self, text: str) -> str:
        """Names of classes and numbers are what they are; written answers are compared as the metrics do it."""
        return normalized(text) if self.answer_kind is AnswerKind.TEXT else text

    def _labels(self, attributes: tuple[str, ...]) -> list[str | None]:
        """The class or group of each instance; None where it lacks a value, and so is in no group."""
        if not attributes:
            return self._column("label", [])
        columns = [self._column("nullif(attributes[?], '')", [name]) for name in attributes]
        return [None if None in parts else SEPARATOR.join(map(str, parts)) for parts in zip(*columns, strict=True)]

    def _column(self, expression: str, values: Sequence[str]) -> list[str | None]:
        query = f"SELECT {expression} AS found FROM instance WHERE instance_set = ? ORDER BY position"
        return [value for (value,) in self.db.execute(query, [*values, self.instance_set]).fetchall()]


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
    row = rows[0]
    ((store,),) = db.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchall()
    return Sheet(
        db=db,
        store=store,
        target=row[0],
        dataset_key=row[1],
        split=row[2],
        instance_set=row[3],
        size=row[4],
        dataset=row[5],
        task=row[6],
        classes=tuple(row[7]),
        sets=dict(zip(row[9], row[10], strict=True)),
        tolerances=_tolerances(row[8]),
        answers_hold=str(json_mapping(row[8] or "{}").get("answers", "")),
    )


def _tolerances(entry: str | None) -> tuple[float, ...]:
    """Read what a data set's entry says of tolerances; results may be anybody's: what makes no sense is none."""
    try:
        values = tuple(float(value) for value in json_mapping(entry or "{}").get("tolerances", ()))
    except (TypeError, ValueError):
        return ()
    return values if all(value > 0 for value in values) else ()
