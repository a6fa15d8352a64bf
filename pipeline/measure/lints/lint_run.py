"""Lints of the models of a run, from what its results say."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.environment import device_id
from pipeline.core.keys import Key
from pipeline.measure.lints.check import Evidence, run_lints
from pipeline.measure.lints.overlap import calibration_overlap
from pipeline.store.queries.lint_rows import lint_rows
from pipeline.store.records.run_records import Lint

if TYPE_CHECKING:
    from pipeline.datasets.api import Dataset


def lint_run(
    results: Path, models: Collection[Key], data: Dataset, *, run_id: str
) -> tuple[list[Lint], tuple[str, ...]]:
    """Return the lints of models as measured on this machine and data set, and sentences about what could not be looked at.

    Args:
        results: the published results.
        models: keys of the models.
        data: the data set that the models answered, whose splits may overlap.
        run_id: of the run that asks.
    """
    from pipeline.datasets.api import DataError

    rows = lint_rows(results, models=models, device=device_id(), dataset=data.fingerprint)
    notices: list[str] = []
    try:
        overlap = calibration_overlap(data)
    except (DataError, OSError) as error:  # jobs that read such an instance have failed; the rest is worth showing
        overlap = None
        notices.append(f"Whether calibration and evaluation overlap is not known: {error}")
    failed: dict[str, str] = {}
    findings = run_lints(Evidence(**rows), run_id=run_id, at=datetime.now(UTC), overlap=overlap, failed=failed)
    notices += [f"lint '{name}' failed: {problem}. The other lints are kept" for name, problem in failed.items()]
    return findings, tuple(notices)
