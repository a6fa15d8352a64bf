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
        WHERE model_key IN $models AND coalesce(device, $device) = $device""",
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
        WITH given AS (
            SELECT model_key, target, predicted, count(*) AS n FROM predictions
            WHERE model_key IN $models AND split = 'evaluation' AND probabilities IS NOT NULL GROUP BY ALL
        ),
        wanted AS (
            SELECT model_key, target, label, count(*) AS n FROM predictions
            WHERE model_key IN $models AND split = 'evaluation' AND probabilities IS NOT NULL GROUP BY ALL
        ),
        given_most AS (SELECT model_key, target, max(n) / sum(n) AS most_frequent FROM given GROUP BY ALL),
        wanted_most AS (SELECT model_key, target, max(n) / sum(n) AS most_frequent_label FROM wanted GROUP BY ALL)
        SELECT * FROM given_most JOIN wanted_most USING (model_key, target)""",
}


def lint_rows(results: Path, *, models: Collection[str], device: str) -> dict[str, list[dict[str, Any]]]:
    """Return models, measurements, timings, speedups and answers of some models, as measured on one machine."""
    db = open_results(results)
    try:
        rows = {}
        for name, query in _QUERIES.items():
            values = {"models": list(models)} | ({"device": device} if "$device" in query else {})
            result = db.execute(query, values)
            names = [column[0] for column in result.description or ()]
            rows[name] = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
        return rows
    finally:
        db.close()
