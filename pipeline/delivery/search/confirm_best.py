"""The best of a search on the instances that are set aside: what was chosen of many is partly the luckiest of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.core.errors import BouillonError
from pipeline.core.metric_kinds import MetricRole
from pipeline.delivery.confirmation.confirm import confirm
from pipeline.delivery.confirmation.confirmation_report import confirmation_json, confirmation_text
from pipeline.delivery.search.report import SearchReport
from pipeline.measure.metrics.api import METRICS
from pipeline.store.queries.confirmed import confirmed_values
from pipeline.store.reader import open_results

__all__ = ["confirm_best"]


def confirm_best(
    report: SearchReport, targets: Mapping[str, Mapping[str, Any]]
) -> tuple[str, Mapping[str, Any] | None]:
    """Confirm the best of a search, once: a model that was looked at before is not looked at again.

    Args:
        report: of the search.
        targets: conf/target entries by name.

    Returns:
        What to tell people, with a reason where nothing could be confirmed; and the look for programs, None where there was none.
    """
    outcome, best = report.outcome, report.best
    if best is None:
        return "", None
    with open_results(outcome.results) as db:
        earlier = confirmed_values(db, best.model, outcome.target, outcome.dataset_key)
    if earlier:
        figures = ", ".join(
            f"{each.metric} {METRICS[each.metric].text(each.value)}"
            for each in earlier
            if each.metric in METRICS and METRICS[each.metric].role is MetricRole.QUALITY
        )
        return f"{best.path} was confirmed on {earlier[0].looked_at:%Y-%m-%d}: {figures}", None
    try:
        done = confirm(outcome.results, [best.model], targets, workspace=outcome.workspace, target=outcome.target)
    except BouillonError as error:
        return f"The best is not confirmed: the figure of the best of many is too good on average. {error}", None
    return confirmation_text(done), confirmation_json(done)
