"""Compute every metric that some evidence allows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from pipeline.core.errors import blame
from pipeline.core.user_code import code_of_definition
from pipeline.measure.metrics.api import (
    METRICS,
    Estimate,
    MetricSpec,
    ModelFiles,
    Pairing,
    Predictions,
    Speedups,
    Timings,
)


def identities() -> tuple[str, ...]:
    """Return what figures depend on besides evidence: the metrics by name, a person's own by their code too."""
    codes = {name: code_of_definition(METRICS[name].compute) for name in METRICS}
    return tuple(name if code is None else f"{name} {code}" for name, code in codes.items())


def compute(
    evidence: Predictions | Timings | Speedups | ModelFiles,
    *,
    base: Predictions | None = None,
    names: Collection[str] | None = None,
    failed: dict[str, str] | None = None,
) -> list[tuple[MetricSpec, Estimate]]:
    """Return the metrics (of `names`; default: all that are registered) that apply to `evidence`, with their values.

    Metrics of change are left out without `base`; a metric of timings is computed only for its own scenario. Only metrics
    that are paired by instance keep their rows, one for each instance.

    Args:
        evidence: of one model.
        base: predictions of the base, for metrics of change.
        names: metrics to compute.
        failed: receives name -> reason of the metrics that raise, and the others go on; without it they end the computation.

    Raises:
        UnknownNameError: if a name is not registered, with the nearest that is.
    """
    results = []
    for name in METRICS if names is None else names:
        spec = METRICS[name]
        if not isinstance(evidence, spec.evidence) or (spec.relative and base is None):
            continue
        if isinstance(evidence, Timings) and evidence.scenario is not spec.scenario:
            continue
        try:
            result = spec.compute(evidence, base) if spec.relative else spec.compute(evidence)
            if result is not None:
                results.append((spec, _estimate(result, spec, evidence)))
        except Exception as error:  # boundary: a metric of the user's may raise anything
            if failed is None:
                raise
            failed[name] = blame(error)
    return results


def failure_message(failed: Mapping[str, str]) -> str:
    """Return one line about metrics that failed, by name."""
    problems = "; ".join(f"metric '{name}': {problem}" for name, problem in failed.items())
    return f"{problems}. The other metrics are kept"


def _estimate(
    result: Estimate | float, spec: MetricSpec, evidence: Predictions | Timings | Speedups | ModelFiles
) -> Estimate:
    """The result with rows only where they are the instances': those of one class, say, do not pair two models."""
    estimate = result if isinstance(result, Estimate) else Estimate(result)
    low, high = (None if bound is None else float(bound) for bound in (estimate.low, estimate.high))
    estimate = replace(estimate, value=float(estimate.value), low=low, high=high)
    if estimate.rows is None:
        return estimate
    rows = np.asarray(estimate.rows, np.float32)
    instances = len(evidence.ids) if isinstance(evidence, Predictions) else None
    return replace(estimate, rows=rows if spec.pairing is Pairing.INSTANCES and rows.shape == (instances,) else None)
