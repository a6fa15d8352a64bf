"""The rows that lints look at."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from pipeline.store.reader import open_results

_QUERIES = {
    "models": "SELECT model_key, name, parent_key, op, kind, params, notes FROM models WHERE model_key IN $models",
    "measurements": """
        SELECT model_key, target, metric, value, low, high FROM measurements
        WHERE model_key IN $models AND coalesce(device, $device) = $device
            AND coalesce(dataset_key, $dataset) = $dataset""",
    "differences": """
        WITH own AS (
            SELECT model_key, metric, position, target, value::DOUBLE AS value,
                   format LIKE '%!%' ESCAPE '!' AND unit = '' AS is_share
            FROM instance_values JOIN metrics USING (metric)
            WHERE model_key IN $models AND dataset_key = $dataset AND coalesce(device, $device) = $device
                AND role = 'quality'
        ), pairs AS (
            SELECT model_key, metric, own.is_share, own.target, other.target AS other, own.value - other.value AS away
            FROM own JOIN own other USING (model_key, metric, position) WHERE own.target <> other.target
        )
        SELECT model_key, metric, is_share, target, other, count(*) AS count, avg(away) AS mean,
               stddev_pop(away) AS deviation, count(*) FILTER (away = 1) AS won, count(*) FILTER (away = -1) AS lost,
               count(*) FILTER (away = 0) AS same, max(abs(away)) AS largest
        FROM pairs WHERE isfinite(away) GROUP BY ALL""",
    "timings": """
        WITH own AS (
            SELECT t.*, root_key FROM timings t JOIN lineage USING (model_key)
            WHERE model_key IN $models AND device = $device AND error IS NULL
        ),
        beside AS (  -- what the base took in the same session
            SELECT own.model_key, evidence_key, target, scenario, batch_size, threads,
                   1000 * quantile_disc(wall_seconds, 0.5) AS p50_ms
            FROM timing_runs base JOIN own USING (evidence_key, target, device, scenario, batch_size, threads)
            WHERE base.model_key = own.root_key AND kept GROUP BY ALL
        )
        SELECT own.model_key, own.target, own.scenario, own.batch_size, own.threads, own.p50_ms, own.p90_ms, own.contended,
               own.drifted, own.foreign_cores, own.evidence_key, base.evidence_key AS base_evidence_key,
               base.p50_ms AS base_p50_ms, beside.p50_ms AS base_beside_ms
        FROM own
        LEFT JOIN beside USING (model_key, evidence_key, target, scenario, batch_size, threads)
        LEFT JOIN timings base ON base.model_key = own.root_key AND NOT base.rough
            AND (base.target, base.device, base.scenario, base.batch_size, base.threads)
                = (own.target, own.device, own.scenario, own.batch_size, own.threads)""",
    "speedups": """
        SELECT model_key, target, relation, scenario, threads, clock, ratio, low, high, verdict, evidence_key
        FROM speedups WHERE model_key IN $models AND device = $device""",
    "answers": """
        WITH own AS (
            SELECT model_key, target, predicted, label FROM predictions
            WHERE model_key IN $models AND dataset_key = $dataset AND split = 'evaluation' AND probabilities IS NOT NULL
        ),
        answer AS (SELECT model_key, target, predicted, count(*) AS n FROM own GROUP BY ALL),
        truth AS (SELECT model_key, target, label, count(*) AS n FROM own GROUP BY ALL),
        top_answer AS (SELECT model_key, target, max(n) / sum(n) AS most_frequent FROM answer GROUP BY ALL),
        top_label AS (SELECT model_key, target, max(n) / sum(n) AS most_frequent_label FROM truth GROUP BY ALL)
        SELECT * FROM top_answer JOIN top_label USING (model_key, target)""",
}


def lint_rows(results: Path, *, models: Collection[str], device: str, dataset: str) -> dict[str, list[dict[str, Any]]]:
    """Return models, measurements, timings, speedups and answers of some models, and how targets differ by instance.

    Args:
        results: the published results.
        models: keys of the models.
        device: the machine that they were measured on; what depends on none counts too.
        dataset: key of the data set that they answered; what depends on none counts too.
    """
    db = open_results(results)
    try:
        rows = {}
        for name, query in _QUERIES.items():
            places = {"device": device, "dataset": dataset}
            values = {"models": list(models)} | {place: key for place, key in places.items() if f"${place}" in query}
            result = db.execute(query, values)
            names = [column[0] for column in result.description or ()]
            rows[name] = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
        return rows
    finally:
        db.close()
