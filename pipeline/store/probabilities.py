"""The stored class probabilities of whole models, and what they say of two models. NumPy, in blocks that fit the cache.

The unit of storage is 1/1000 of the natural logarithm, in int16. Rows are normalised again before use, so that the
divergence of two equal rows is 0, and rounding changes a divergence by less than 0.1 %, or 2e-6 where it is near 0.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

UNKNOWN = np.int16(-32768)
"""Fills the rows of instances for which the model's outputs were not numbers."""
_BLOCK = 262_144
"""Values at a time."""
_SETS = """
SELECT model_key, prediction_set
FROM results.prediction_set
WHERE model_key IN (SELECT unnest(?::VARCHAR[])) AND target = ? AND dataset_key = ? AND split = ?
QUALIFY row_number() OVER (PARTITION BY model_key ORDER BY prediction_set DESC) = 1
"""


@dataclass(frozen=True, slots=True)
class LogProbabilities:
    """1000 x ln p of one model, int16, in the order of `instances.position`.

    Kept in the pieces in which DuckDB returned them: to copy 100 MB takes as long as to read them.
    """

    starts: tuple[int, ...]
    pieces: tuple[np.ndarray, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """(instances, classes)."""
        return self.starts[-1] + len(self.pieces[-1]), self.pieces[0].shape[1]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop`, which must not exceed the number of instances."""
        at = bisect_right(self.starts, start) - 1
        offset = start - self.starts[at]
        rows = self.pieces[at][offset : offset + stop - start]
        missing = stop - start - len(rows)
        return np.concatenate([rows, self.rows(stop - missing, stop)]) if missing else rows


def log_probabilities(
    db: duckdb.DuckDBPyConnection,
    model_keys: Sequence[str],
    *,
    target: str,
    dataset_key: str,
    split: str = "evaluation",
) -> dict[str, LogProbabilities]:
    """Read the probabilities of models on one target and data set; `db` comes from `open_results`.

    Models that have none there are left out.
    """
    found = db.execute(_SETS, [list(model_keys), target, dataset_key, split]).fetchall()
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda number: _read(db.cursor(), number), [number for _, number in found])
        return {key: model for (key, _), model in zip(found, read, strict=True) if model is not None}


def kl_divergence(base: LogProbabilities, models: Sequence[LogProbabilities]) -> np.ndarray:
    """Kullback-Leibler divergence of each model from `base`, sum p_base ln(p_base / p_model), per instance.

    Returns float64 (models, instances), in nats; NaN where either is unknown.
    """

    def row(p: np.ndarray, log_p: np.ndarray, _: np.ndarray, log_q: np.ndarray) -> np.ndarray:
        difference: np.ndarray = np.einsum("ij,ij->i", p, np.subtract(log_p, log_q, out=log_q))
        return difference

    return _compare(row, base, models)


def js_divergence(base: LogProbabilities, models: Sequence[LogProbabilities]) -> np.ndarray:
    """Jensen-Shannon divergence of each model and `base` per instance, from 0 to ln 2 (Lin 1991).

    Returns float64 (models, instances), in nats; NaN where either is unknown.
    """

    def row(p: np.ndarray, log_p: np.ndarray, q: np.ndarray, log_q: np.ndarray) -> np.ndarray:
        log_mean = np.log((p + q) / 2)
        from_q = np.einsum("ij,ij->i", q, np.subtract(log_q, log_mean, out=log_q))
        mean: np.ndarray = (np.einsum("ij,ij->i", p, np.subtract(log_p, log_mean, out=log_mean)) + from_q) / 2
        return mean

    return _compare(row, base, models)


def margin(models: Sequence[LogProbabilities]) -> np.ndarray:
    """Probability of the most likely class less that of the next, of each model per instance; NaN where unknown.

    Returns float64 (models, instances). With one class the margin is its probability.
    """
    result = np.empty((len(models), models[0].shape[0]))

    def block(part: slice) -> None:
        for at, model in enumerate(models):
            p, _, unknown = _normalised(model.rows(part.start, part.stop))
            best = np.sort(np.partition(p, -2, axis=1)[:, -2:]) if p.shape[1] > 1 else np.pad(p, ((0, 0), (1, 0)))
            result[at, part] = best[:, 1] - best[:, 0]
            result[at, part][unknown] = np.nan

    _run(block, models[0].shape)
    return result


def _compare(row: Callable[..., np.ndarray], base: LogProbabilities, models: Sequence[LogProbabilities]) -> np.ndarray:
    """Apply `row` to (p, ln p) of the base and of every model, block by block."""
    result = np.empty((len(models), base.shape[0]))

    def block(part: slice) -> None:
        p, log_p, unknown = _normalised(base.rows(part.start, part.stop))
        for at, model in enumerate(models):
            q, log_q, unknown_too = _normalised(model.rows(part.start, part.stop))
            result[at, part] = row(p, log_p, q, log_q)
            result[at, part][unknown | unknown_too] = np.nan

    _run(block, base.shape)
    return result


def _run(block: Callable[[slice], Any], shape: tuple[int, int]) -> None:
    """Call `block` on every part of the rows, on all processors: NumPy lets go of the interpreter meanwhile."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(block, _parts(*shape)))


def _parts(count: int, classes: int) -> Iterator[slice]:
    step = max(1, _BLOCK // max(1, classes))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def _normalised(milli: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return p, ln p (float32), and which rows are unknown."""
    logs = milli.astype(np.float32)
    logs *= np.float32(0.001)
    p = np.exp(logs)
    total = p.sum(axis=1, keepdims=True)
    p /= total
    logs -= np.log(total)
    return p, logs, milli[:, 0] == UNKNOWN


def _read(db: duckdb.DuckDBPyConnection, prediction_set: int) -> LogProbabilities | None:
    query = "SELECT position, log_probabilities FROM results.prediction WHERE prediction_set = ?"
    batches = db.sql(query, params=[prediction_set]).to_arrow_table().to_batches()
    found = [(batch.column(0)[0].as_py(), batch.column(1)) for batch in batches]
    classes = max((len(lists.flatten()) // max(1, len(lists) - lists.null_count) for _, lists in found), default=0)
    if not classes:
        return None
    pieces = {start: _piece(lists, classes) for start, lists in sorted(found, key=lambda item: item[0])}
    return LogProbabilities(tuple(pieces), tuple(pieces.values()))


def _piece(lists: Any, classes: int) -> np.ndarray:
    """An Arrow array of lists as a matrix, without a copy unless some of the lists are NULL."""
    values: np.ndarray = lists.flatten().to_numpy().reshape(-1, classes)
    if not lists.null_count:
        return values
    piece = np.full((len(lists), classes), UNKNOWN)
    piece[lists.is_valid().to_numpy(zero_copy_only=False)] = values
    return piece
