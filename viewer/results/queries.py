"""Queries: the only module of the viewer that knows SQL. Each takes a connection and returns plain data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from pipeline.core.answer_text import AnswerKind
from pipeline.store.documents import json_mapping
from pipeline.store.reader import StoreError, open_results, snapshot_id
from viewer.format.metrics import Better, MetricInfo, MetricRole, Pairing, counts_bytes
from viewer.results.lineage import Node, StepOutcome
from viewer.results.snapshot import (
    Confirmed,
    MetricColumn,
    ModelLint,
    RunStart,
    Setting,
    Snapshot,
    StudiedData,
    identity_of,
)

__all__ = ["StoreError", "instance_values", "load_snapshot", "snapshot_id", "speedups"]

_LEAST_BYTES = 10_000
"""Whole numbers from here on are counts of bytes: no model is that large in kB."""


def load_snapshot(path: Path) -> Snapshot:
    """Read the results as they are now; raises a `StoreError` whose text says what to do."""
    identity = snapshot_id(path)
    db = open_results(path)
    try:
        nodes = _models(db)
        keys = [node.key for node in nodes]
        contexts, metrics = _contexts(db), _metrics(db)
        return Snapshot(
            path=path,
            id=identity,
            nodes=nodes + _steps_without_model(db, set(keys)),
            keys=keys,
            metrics=metrics,
            contexts=contexts,
            columns=_columns(db, keys, contexts, {spec.name for spec in metrics if spec.counts_a_file}),
            recipes=[name for (name,) in db.execute("SELECT DISTINCT recipe FROM runs ORDER BY ALL").fetchall()],
            unfinished=_unfinished(db),
            trouble=_trouble(db),
            lints=_lints(db),
            unsure=_unsure(db),
            datasets=_datasets(db),
            data=_data(db),
            runs=_runs(db),
            runs_of=_grouped(db, "SELECT DISTINCT model_key, run_id FROM steps WHERE job = 'operation' ORDER BY ALL"),
            workspace=_workspace(db),
            confirmed=_confirmed(db),
            recipes_of=_grouped(db, "SELECT model_key, unnest(recipes) FROM models"),
        )
    finally:
        db.close()


def instance_values(path: Path, context: Setting, metric: str) -> dict[str, np.ndarray]:
    """Return model key -> values of a metric by instance, in the order of the evaluation split; NaN: does not count.

    float32 (N,), or bool (N,) where all values of all models are 0 or 1: a fourth of the memory.

    Args:
        path: the results file.
        context: target, machine and data set.
        metric: its name.
    """
    with closing(open_results(path)) as db:
        sets = db.execute(
            "SELECT model_key, max(value_set) FROM value_set"
            " WHERE metric = ? AND target = ? AND device IN ('', ?) AND dataset_key = ? GROUP BY ALL",
            [metric, context.target, context.device, context.dataset_key],
        ).fetchall()
        numbers = sorted(number for _, number in sets)
        rows = db.execute(
            "SELECT value_set, position, value FROM instance_value WHERE value_set IN (SELECT unnest(?::INTEGER[]))",
            [numbers],
        ).fetchnumpy()
    at: np.ndarray = np.searchsorted(numbers, rows["value_set"])
    position = np.asarray(rows["position"])
    values = np.ma.filled(rows["value"].astype(np.float32), np.nan)
    kind = np.bool_ if ((values == 0) | (values == 1)).all() else np.float32
    table: np.ndarray = np.zeros((len(numbers), int(position.max(initial=-1)) + 1), dtype=kind)
    table[at, position] = values
    counts = np.bincount(at, minlength=len(numbers))
    rank = {number: row for row, number in enumerate(numbers)}
    return {key: table[rank[number], : counts[rank[number]]] for key, number in sets}


def speedups(path: Path, context: Setting) -> dict[tuple[str, str, str], tuple[float, float, float]]:
    """Return (model, what it was timed beside, clock) -> speedup, low, high: of one instance on one thread."""
    with closing(open_results(path)) as db:
        rows = db.execute(
            "SELECT model_key, against_key, clock, ratio, low, high FROM speedups"
            " WHERE target = ? AND device = ? AND scenario = 'single_stream' AND batch_size = 1 AND threads = 1"
            " AND relation <> 'itself' AND low IS NOT NULL",
            [context.target, context.device],
        ).fetchall()
    return {(key, against, clock): (ratio, low, high) for key, against, clock, ratio, low, high in rows}


def _workspace(db: duckdb.DuckDBPyConnection) -> str | None:
    rows = db.execute(
        "SELECT config ->> '$.workspace' FROM runs WHERE config ->> '$.import' IS NULL ORDER BY started_at DESC LIMIT 1"
    ).fetchall()
    return None if not rows else str(rows[0][0] or ".bouillon")


def _unsure(db: duckdb.DuckDBPyConnection) -> dict[tuple[str, str, str], frozenset[str]]:
    """Others on the machine lengthen what the wall clock tells, hardly what the processor's does."""
    rows = db.execute(
        "SELECT target, device, model_key, bool_or(rough), bool_or(contended) FROM timings"
        " WHERE scenario = 'single_stream' AND batch_size = 1 AND threads = 1 GROUP BY ALL"
    ).fetchall()
    unsure: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for target, device, key, rough, contended in rows:
        if rough or contended:
            unsure[target, device, "wall"].add(key)
        if rough:
            unsure[target, device, "cpu"].add(key)
    return {clock: frozenset(keys) for clock, keys in unsure.items()}


def _datasets(db: duckdb.DuckDBPyConnection) -> dict[str, frozenset[str]]:
    rows = db.execute(
        "SELECT model_key, list(DISTINCT dataset_key) FROM measurements WHERE coalesce(dataset_key, '') <> '' GROUP BY ALL"
    ).fetchall()
    return {key: frozenset(keys) for key, keys in rows}


def _data(db: duckdb.DuckDBPyConnection) -> dict[str, StudiedData]:
    rows = db.execute("SELECT dataset_key, dataset, task, entry FROM datasets").fetchall()
    return {
        key: StudiedData(name, task, json_mapping(entry or "{}").get("answers") != AnswerKind.NOTHING)
        for key, name, task, entry in rows
    }


def _confirmed(db: duckdb.DuckDBPyConnection) -> dict[tuple[str, str, str, str], Confirmed]:
    """Figures of the first look at each model: the one that no other look at it can have influenced."""
    rows = db.execute(
        "SELECT model_key, target, dataset_key, metric, value, low, high, chosen_value, within_noise, among, look"
        " FROM confirmations WHERE part = ''"
        " QUALIFY rank() OVER (PARTITION BY model_key, target, dataset_key ORDER BY look) = 1"
    ).fetchall()
    return {(key, target, data, metric): Confirmed(*figures) for key, target, data, metric, *figures in rows}


def _runs(db: duckdb.DuckDBPyConnection) -> dict[str, RunStart]:
    rows = db.execute("SELECT run_id, recipe, started_at FROM runs ORDER BY started_at, run_id").fetchall()
    return {run_id: RunStart(run_id, recipe, started_at) for run_id, recipe, started_at in rows}


def _grouped(db: duckdb.DuckDBPyConnection, query: str) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key, value in db.execute(query).fetchall():
        groups[key].append(value)
    return {key: tuple(values) for key, values in groups.items()}


def _models(db: duckdb.DuckDBPyConnection) -> list[Node]:
    rows = db.execute(
        "SELECT model_key, parent_key, name, title, op, kind, params, notes, recipe FROM models"
        " ORDER BY created_at, depth, name"
    ).fetchall()
    seeds = _seeds(db)
    return [
        Node(
            key=key,
            parent=parent,
            name=name,
            title=title,
            op=op,
            kind=kind,
            params=json_mapping(params),
            order=float(order),
            notes={"recipe": recipe, **seeds.get(key, {}), **json_mapping(notes)},
        )
        for order, (key, parent, name, title, op, kind, params, notes, recipe) in enumerate(rows)
    ]


def _seeds(db: duckdb.DuckDBPyConnection) -> dict[str, dict[str, int]]:
    """Model key -> the seed of the recipe that it was made with, as a note; none where several seeds give the same model."""
    rows = db.execute(
        "SELECT model_key, any_value(seed) FROM ("
        " SELECT s.model_key, coalesce(try_cast((r.config ->> '$.recipe.seed') AS BIGINT), 0) AS seed"
        " FROM steps s JOIN runs r USING (run_id) WHERE s.job = 'operation' AND (r.config -> 'recipe') IS NOT NULL"
        ") GROUP BY 1 HAVING count(DISTINCT seed) = 1"
    ).fetchall()
    return {key: {"seed": seed} for key, seed in rows}


def _steps_without_model(db: duckdb.DuckDBPyConnection, model_keys: set[str]) -> list[Node]:
    rows = db.execute(
        "SELECT model_key, parent_key, path, op, kind, params, outcome, coalesce(error, '') FROM steps"
        " WHERE job = 'operation' AND outcome IN ('failed', 'skipped')"
        " QUALIFY row_number() OVER (PARTITION BY model_key ORDER BY finished_at DESC NULLS LAST) = 1"
        " ORDER BY finished_at NULLS LAST, path"
    ).fetchall()
    return [
        Node(
            key=key,
            parent=parent,
            name=path,
            op=op,
            kind=kind,
            params=json_mapping(params),
            outcome=StepOutcome(outcome),
            reason=error,
            order=float(len(model_keys) + order),
        )
        for order, (key, parent, path, op, kind, params, outcome, error) in enumerate(rows)
        if key not in model_keys
    ]


def _trouble(db: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    rows = db.execute(
        "SELECT model_key, job, coalesce(target, ''), coalesce(error, '') FROM steps"
        " WHERE job <> 'operation'"
        " QUALIFY row_number() OVER (PARTITION BY model_key, job, target ORDER BY finished_at DESC NULLS LAST) = 1"
        " AND outcome IN ('failed', 'skipped') ORDER BY ALL"
    ).fetchall()
    failures: dict[str, list[str]] = defaultdict(list)
    for key, job, target, error in rows:
        failures[key].append(f"{job}{f' on {target}' if target else ''}: {error or 'did not run'}")
    return dict(failures)


def _lints(db: duckdb.DuckDBPyConnection) -> dict[str, list[ModelLint]]:
    rows = db.execute(
        "SELECT model_key, lint, coalesce(target, ''), message, advice FROM lints ORDER BY model_key, lint, target, message"
    ).fetchall()
    lints: dict[str, list[ModelLint]] = defaultdict(list)
    for key, *fields in rows:
        lints[key].append(ModelLint(*fields))
    return dict(lints)


def _metrics(db: duckdb.DuckDBPyConnection) -> list[MetricInfo]:
    rows = db.execute(
        "SELECT metric, unit, format, better, is_primary, description, role, pairing FROM metrics"
        " WHERE metric IN (SELECT metric FROM measurements) ORDER BY is_primary DESC, metric"
    ).fetchall()
    declared = _declared(db, {name for name, *_ in rows})
    in_bytes = _in_bytes(db)
    return [
        MetricInfo(
            name,
            "B" if name in in_bytes else unit,
            format_,
            Better(better),
            primary,
            *declared.get(name, (None, None)),
            f"{description}; taken for bytes, as it has no unit" if name in in_bytes else description,
            MetricRole(role),
            Pairing(pairing),
        )
        for name, unit, format_, better, primary, description, role, pairing in rows
    ]


def _in_bytes(db: duckdb.DuckDBPyConnection) -> set[str]:
    """Return the metrics without a unit whose names and values say that they are counts of bytes: "Model Size", 95246447."""
    rows = db.execute(
        "SELECT metric FROM measurements WHERE metric IN"
        " (SELECT metric FROM metrics WHERE unit = '' AND NOT contains(format, '%') AND role IN ('size', 'cost'))"
        " GROUP BY metric HAVING bool_and(value = round(value)) AND max(value) >= ?",
        [_LEAST_BYTES],
    ).fetchall()
    files = [f" ({file})" for (file,) in db.execute("SELECT DISTINCT recipe FROM runs").fetchall()]
    return {name for (name,) in rows if counts_bytes(name, files)}


def _declared(db: duckdb.DuckDBPyConnection, metrics: set[str]) -> dict[str, tuple[float | None, float | None]]:
    """Return the ends of scales that imported files declare; where several do, the widest."""
    rows = db.execute(
        "SELECT content ->> 'name', recipe, try_cast(content ->> 'min' AS DOUBLE), try_cast(content ->> 'max' AS DOUBLE)"
        " FROM import_detail JOIN runs USING (run_id) WHERE part = 'metrics'"
    ).fetchall()
    lows: dict[str, list[float]] = defaultdict(list)
    highs: dict[str, list[float]] = defaultdict(list)
    for name, file, low, high in rows:
        own = f"{name} ({file})"  # of a metric whose name was taken
        metric = own if own in metrics else name
        lows[metric] += [low] if low is not None else []
        highs[metric] += [high] if high is not None else []
    return {metric: (min(lows[metric], default=None), max(highs[metric], default=None)) for metric in {*lows, *highs}}


def _contexts(db: duckdb.DuckDBPyConnection) -> list[Setting]:
    """Contexts by number of numbers, most first; one that holds nothing of its own is not listed.

    Recipes and imported files whose models were measured on no known data set have contexts of their own: nothing says
    that they are about the same.
    """
    rows = db.execute(
        """
        WITH placed AS (
            SELECT recipe, bool_or(coalesce(dataset_key, '') <> '') AS has_data
            FROM models JOIN measurements USING (model_key) GROUP BY ALL
        )
        SELECT coalesce(s.target, ''), coalesce(s.device, ''), coalesce(s.dataset_key, ''), coalesce(s.dataset, ''),
               any_value(d.description), if(has_data, '', m.recipe)
        FROM scoreboard s JOIN models m USING (model_key) JOIN placed ON placed.recipe = m.recipe
        LEFT JOIN devices d USING (device)
        GROUP BY 1, 2, 3, 4, 6 ORDER BY count(*) DESC, 1, 2, 4, 6
        """
    ).fetchall()
    contexts = [
        Setting(target, device, key, name, _device_text(device, description), recipe)
        for target, device, key, name, description, recipe in rows
    ]
    if len({context.recipe for context in contexts}) == 1:  # all there is: it needs no name
        contexts = [replace(context, recipe="") for context in contexts]
    fullest = [c for c in contexts if not any(_covers(other, c) for other in contexts if other != c)]
    return fullest or [Setting("", "", "", "", "")]


def _covers(wide: Setting, narrow: Setting) -> bool:
    pairs = zip(identity_of(wide), identity_of(narrow), strict=True)
    return wide.recipe == narrow.recipe and all(other in ("", own) for own, other in pairs)


def _device_text(device: str, description: str | None) -> str:
    fields = json_mapping(description) if description else {}
    for name in ("cpu", "processor", "name", "model"):
        if isinstance(fields.get(name), str):
            return str(fields[name])
    return device[:8]


def _columns(
    db: duckdb.DuckDBPyConnection, keys: list[str], contexts: list[Setting], counts: Set[str]
) -> dict[Setting, dict[str, MetricColumn]]:
    """Split the measurements by what they depend on; a number that depends on nothing stands in every context.

    Args:
        db: the results.
        keys: of the models, in the order of the rows.
        contexts: what numbers may depend on.
        counts: metrics that have no noise where they depend on nothing.
    """
    rows: dict[str, Any] = db.execute(
        "SELECT model_key, metric, coalesce(target, '') AS target, coalesce(device, '') AS device,"
        " coalesce(dataset_key, '') AS dataset_key, value, low, high FROM measurements"
    ).fetchnumpy()
    row_of = {key: row for row, key in enumerate(keys)}
    at = np.fromiter((row_of[key] for key in rows["model_key"]), dtype=np.int64, count=len(rows["model_key"]))
    groups = _groups(rows)
    columns: dict[Setting, dict[str, MetricColumn]] = {context: {} for context in contexts}
    for (metric, *identity), members in sorted(groups.items(), key=lambda group: -group[0].count("")):
        for context in contexts:
            if all(own in ("", expected) for own, expected in zip(identity, identity_of(context), strict=True)):
                column = columns[context].setdefault(metric, MetricColumn.empty(len(keys)))
                for name in ("value", "low", "high"):
                    getattr(column, name)[at[members]] = np.ma.filled(rows[name][members].astype(float), np.nan)
                column.exact[at[members]] = metric in counts and not any(identity)
    return columns


def _groups(rows: Mapping[str, Any]) -> dict[tuple[str, ...], np.ndarray]:
    names = ("metric", "target", "device", "dataset_key")
    members: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, identity in enumerate(zip(*(rows[name] for name in names), strict=True)):
        members[identity].append(index)
    return {identity: np.array(places) for identity, places in members.items()}


def _unfinished(db: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    rows = db.execute("SELECT run_id FROM runs WHERE finished_at IS NULL ORDER BY started_at DESC, run_id").fetchall()
    return tuple(run_id for (run_id,) in rows)
