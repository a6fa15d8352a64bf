"""Compute every metric that some evidence allows."""

from __future__ import annotations

from collections.abc import Collection

from pipeline.core.errors import blame
from pipeline.core.user_code import code_of_definition
from pipeline.measure.metrics.api import METRICS, Estimate, MetricSpec, ModelFiles, Predictions, Speedups, Timings


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

    Metrics of change are left out without `base`; a metric of timings is computed only for its own scenario. A metric that
    raises is noted in `failed`, name -> why, and the others go on; without `failed` it ends the computation.

    Raises:
        UnknownNameError: if a name is not registered, with the nearest that is.
    """
    found = []
    for name in METRICS if names is None else names:
        spec = METRICS[name]
        if not isinstance(evidence, spec.evidence) or (spec.relative and base is None):
            continue
        if isinstance(evidence, Timings) and evidence.scenario is not spec.scenario:
            continue
        try:
            result = spec.compute(evidence, base) if spec.relative else spec.compute(evidence)
            if result is not None:
                found.append((spec, result if isinstance(result, Estimate) else Estimate(float(result))))
        except Exception as error:  # boundary: a metric of the user's may raise anything
            if failed is None:
                raise
            failed[name] = blame(error)
    return found
