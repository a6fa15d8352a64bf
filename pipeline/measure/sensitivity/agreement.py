"""How far cheap figures agree with measured ones: estimates with damage, and layers' times with the whole model's."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.store.records.run_records import Sensitivity, SensitivityTime

__all__ = ["additivity", "score_agreement"]

_FEWEST = 3


def score_agreement(rows: Sequence[Sensitivity]) -> dict[str, float] | None:
    """Return Spearman's rank correlation of estimate and measured kl over layers and candidates, and the share of its time.

    None where fewer than three layers have both, or all of them have one value.
    """
    from scipy.stats import spearmanr

    both = [row for row in rows if row.score is not None and row.kl is not None]
    scores, damages = [row.score for row in both], [row.kl for row in both]
    if len(both) < _FEWEST or len(set(scores)) == 1 or len(set(damages)) == 1:
        return None
    exact = sum(row.seconds for row in both)
    return {
        "rank_correlation": float(spearmanr(scores, damages).statistic),
        "pairs": len(both),
        "cost_share": sum(row.score_seconds for row in both) / exact if exact else 0.0,
    }


def additivity(rows: Sequence[SensitivityTime]) -> dict[str, tuple[float, float, float]]:
    """Return, by candidate, what sampled layers save by their own times, and the whole model by each: sum and standard error."""
    result: dict[str, tuple[float, float, float]] = {}
    for label in dict.fromkeys(row.candidate for row in rows):
        sample = [row for row in rows if row.candidate == label and row.whole_seconds is not None]
        if sample:
            whole = sum(row.whole_seconds or 0.0 for row in sample)
            error = sum((row.whole_se or 0.0) ** 2 for row in sample) ** 0.5
            result[label] = sum(row.saved_seconds for row in sample), whole, error
    return result
