"""The stored class probabilities of whole models, and what they say of two models. NumPy, in blocks that fit the cache.

The unit of storage is 1/1000 of the natural logarithm, in int16. Of two equal rows the divergence is 0, and rounding
changes one by less than 0.1 %, or 2e-6 where it is near 0. Nothing is held: rows come from the store as they are needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import duckdb
import numpy as np

UNKNOWN = np.int16(-32768)
"""Fills the rows of instances for which the model's outputs were not numbers."""
_BLOCK = 32_768
"""Values at a time: they and their temporaries stay in the processor's second cache."""
_SHARE = 4_000_000
"""Values of one model that are worth a thread of their own."""
_ROWS = 2048
"""Rows that DuckDB hands over at a time: as many as it works on."""
_LONGEST = 32_768
"""Largest difference of two stored logarithms."""
_SETS = """
SELECT p.model_key, p.prediction_set, i.size
FROM results.prediction_set p
JOIN results.instance_set i USING (instance_set)
WHERE p.model_key IN (SELECT unnest(?::VARCHAR[])) AND p.target = ? AND p.dataset_key = ? AND p.split = ?
QUALIFY row_number() OVER (PARTITION BY p.model_key ORDER BY p.prediction_set DESC) = 1
"""
_CLASSES = """
SELECT len(log_probabilities) FROM results.prediction
WHERE prediction_set = ? AND log_probabilities IS NOT NULL LIMIT 1
"""
_STREAM = """
SELECT position, log_probabilities FROM results.prediction
WHERE prediction_set = ? AND position >= ? AND position < ?
"""


class LogRows(Protocol):
    """1000 x ln p of one model, int16, in the order of `instances.position`."""

    @property
    def shape(self) -> tuple[int, int]:
        """(instances, classes)."""
        ...

    def blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield the rows from `start` to `stop` in consecutive parts (rows, classes), not to be written to."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LogProbabilities:
    """One model's rows in the store, which must stay open while they are used."""

    db: duckdb.DuckDBPyConnection
    prediction_set: int
    shape: tuple[int, int]

    def blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Read as it is iterated over: 100 MB at once take longer to be given memory than to be read."""
        expected = start
        query = self.db.cursor().sql(_STREAM, params=[self.prediction_set, start, stop])
        for batch in query.to_arrow_reader(_ROWS):
            if not len(batch):
                continue
            assert batch.column(0)[0].as_py() == expected, "predictions are written in the order of their instances"
            expected += len(batch)
            yield _matrix(batch.column(1), self.shape[1])


def log_probabilities(
    db: duckdb.DuckDBPyConnection,
    model_keys: Sequence[str],
    *,
    target: str,
    dataset_key: str,
    split: str = "evaluation",
) -> dict[str, LogProbabilities]:
    """Find the probabilities of models on one target and data set.

    Args:
        db: from `open_results`; it must stay open while they are read.
        model_keys: those without probabilities there are left out of the result.
        target: name of the target.
        dataset_key: key of the data set.
        split: which part of it.
    """
    by_model = {}
    for key, number, size in db.execute(_SETS, [list(model_keys), target, dataset_key, split]).fetchall():
        classes = db.execute(_CLASSES, [number]).fetchall()
        if classes:
            by_model[key] = LogProbabilities(db, number, (size, classes[0][0]))
    return by_model


def kl_divergence(base: LogRows, models: Sequence[LogRows]) -> np.ndarray:
    """Kullback-Leibler divergence of each model from `base`, sum p_base ln(p_base / p_model), per instance.

    Returns float32 (models, instances), in nats; NaN where either is unknown.
    """
    return _divergence(_kl_terms(), base, models)


def js_divergence(base: LogRows, models: Sequence[LogRows]) -> np.ndarray:
    """Jensen-Shannon divergence of each model and `base` per instance, from 0 to ln 2 (Lin 1991).

    Returns float32 (models, instances), in nats; NaN where either is unknown.
    """
    return _divergence(_js_terms(), base, models)


def margin(models: Sequence[LogRows]) -> np.ndarray:
    """Probability of the most likely class less that of the next, of each model per instance; NaN where unknown.

    Returns float32 (models, instances). With one class the margin is its probability.
    """
    exponentials = _exponentials()
    result = np.empty((len(models), models[0].shape[0]), np.float32)

    def part(start: int, stop: int) -> None:
        for at, model in enumerate(models):
            place = start
            for (rows,) in _together([model], start, stop):
                best = np.partition(rows, -2, axis=1)[:, -2:] if rows.shape[1] > 1 else rows
                p = exponentials[best.astype(np.intp) + _LONGEST]
                spread = p.max(axis=1) - p.min(axis=1) if rows.shape[1] > 1 else p[:, 0]
                spread[rows[:, 0] == UNKNOWN] = np.nan
                result[at, place : place + len(rows)] = spread
                place += len(rows)

    _share(part, models[0].shape)
    return result


def all_probabilities(rows: LogRows) -> np.ndarray:
    """All probabilities of a model: float32 (instances, classes); NaN where unknown."""
    exponentials = _exponentials()
    result = np.empty(rows.shape, np.float32)
    place = 0
    for block in rows.blocks(0, rows.shape[0]):
        block_result = result[place : place + len(block)]
        np.take(exponentials, np.add(block, _LONGEST, dtype=np.intp), out=block_result, mode="clip")
        block_result[block[:, 0] == UNKNOWN] = np.nan
        place += len(block)
    return result


# ---- divergences
def _divergence(terms: np.ndarray, base: LogRows, models: Sequence[LogRows]) -> np.ndarray:
    """Sum p f(ln q - ln p) over the classes (Csiszár 1967), f read from a table: logarithms are whole thousandths.

    The tables are of the divergences' general forms, whose terms are never negative: that rounded rows sum to slightly
    more or less than 1 changes the result in second order only.
    """
    exponentials = _exponentials()
    others = [model for model in models if model is not base]
    result = np.zeros((len(models), base.shape[0]), np.float32)
    positions = [at for at, model in enumerate(models) if model is not base]

    def part(start: int, stop: int) -> None:
        first, step = start, _step(base.shape[1])
        # asking for new memory for every block takes as long as the sums themselves
        places, p, scratch = (np.empty((step, base.shape[1]), kind) for kind in (np.intp, np.float32, np.float32))
        for rows, *block in _together([base, *others], start, stop):
            size, last = len(rows), first + len(rows)
            np.add(rows, _LONGEST, out=places[:size], dtype=np.intp)
            np.take(exponentials, places[:size], out=p[:size], mode="clip")
            valid = rows[:, 0] != UNKNOWN
            result[:, first:last] = np.where(valid, np.float32(0), np.float32(np.nan))
            for at, other in zip(positions, block, strict=True):
                np.subtract(other, rows, out=places[:size], dtype=np.intp)
                np.add(places[:size], _LONGEST, out=places[:size])
                np.take(terms, places[:size], out=scratch[:size], mode="clip")
                sums = result[at, first:last]
                np.einsum("ij,ij->i", p[:size], scratch[:size], out=sums)
                sums[~valid | (other[:, 0] == UNKNOWN)] = np.nan
            first = last

    _share(part, base.shape)
    return result


@cache
def _kl_terms() -> np.ndarray:
    """Of ln q - ln p: the terms of sum p ln(p / q) - p + q, over p."""
    away = np.arange(-_LONGEST, _LONGEST + 1) / 1000
    terms: np.ndarray = np.maximum(np.expm1(away) - away, 0).astype(np.float32)
    return terms


@cache
def _js_terms() -> np.ndarray:
    """Of ln q - ln p: the terms of sum (p ln(p / m) + q ln(q / m)) / 2 with m = (p + q) / 2, over p."""
    away = np.arange(-_LONGEST, _LONGEST + 1) / 1000
    half = np.log(2.0)
    from_p, from_q = half - np.logaddexp(0, away), half - np.logaddexp(0, -away)
    terms: np.ndarray = np.maximum((from_p + np.exp(away) * from_q) / 2, 0).astype(np.float32)
    return terms


@cache
def _exponentials() -> np.ndarray:
    """Of a stored logarithm, which is never more than 0, with `_LONGEST` added."""
    table: np.ndarray = np.exp(np.arange(-_LONGEST, 1) / 1000).astype(np.float32)
    return table


# ---- rows
def _share(part: Callable[[int, int], Any], shape: tuple[int, int]) -> None:
    """Call `part` on shares of the rows, on all processors: NumPy and DuckDB let go of the interpreter meanwhile."""
    count, classes = shape
    shares = max(1, min(os.cpu_count() or 1, count * classes // _SHARE))
    ends = [count * at // shares for at in range(shares + 1)]
    if shares == 1:
        part(0, count)
        return
    with ThreadPoolExecutor(shares) as pool:
        list(pool.map(part, ends[:-1], ends[1:]))


def _step(classes: int) -> int:
    return max(1, _BLOCK // max(1, classes))


def _together(models: Sequence[LogRows], start: int, stop: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the same few rows of every model, block after block."""
    step = _step(models[0].shape[1])
    streams = [model.blocks(start, stop) for model in models]
    waiting = [next(stream) for stream in streams] if stop > start else []
    while start < stop:
        size = min(step, *map(len, waiting))
        yield tuple(rows[:size] for rows in waiting)
        start += size
        if start < stop:
            waiting = [
                rows[size:] if len(rows) > size else next(stream) for rows, stream in zip(waiting, streams, strict=True)
            ]


def _matrix(lists: Any, classes: int) -> np.ndarray:
    """An Arrow array of lists as a matrix, without a copy unless some of the lists are NULL.

    From its buffers: `to_numpy` would first import pandas, for a second.
    """
    flat = lists.flatten()
    values = np.frombuffer(flat.buffers()[1], np.int16, len(flat), 2 * flat.offset).reshape(-1, classes)
    if not lists.null_count:
        return values
    bits = np.unpackbits(np.frombuffer(lists.buffers()[0], np.uint8), bitorder="little")
    matrix = np.full((len(lists), classes), UNKNOWN)
    matrix[bits[lists.offset : lists.offset + len(lists)].astype(bool)] = values
    return matrix
