"""What came out of a chain, against the goals and the budget of a search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pipeline.core.metric_kinds import MetricRole
from pipeline.delivery.search.budget import Bound, Goal, figures_text
from pipeline.delivery.search.chain_runs import ChainState
from pipeline.delivery.search.space import ChainProposal
from pipeline.delivery.search.study import TrialOutcome
from pipeline.store.records.run_records import Metric

__all__ = ["Judge", "failure"]


class Judge:
    """Judges chains."""

    def __init__(self, goals: Sequence[Goal], bounds: Sequence[Bound]) -> None:
        self._goals, self._bounds = goals, bounds

    def is_known(self, figures: Mapping[str, float]) -> bool:
        """Whether figures of a model have all that is asked for."""
        return all(metric.metric in figures for metric in self._metrics)

    def unmeasured(self, top: Mapping[str, float]) -> list[str]:
        """Return what is asked for and was not measured of the model at the top; what compares with it, it need not have."""
        return [each.metric for each in self._metrics if each.metric not in top and each.role != MetricRole.CHANGE]

    def outcome(
        self,
        proposal: ChainProposal,
        state: ChainState,
        figures: Mapping[str, Mapping[str, float]],
        seconds: float,
        cpu_seconds: float,
    ) -> TrialOutcome:
        """Return the outcome of a chain that was run.

        Args:
            proposal: the chain.
            state: of it.
            figures: model -> metric -> value.
            seconds: wall-clock seconds that it took.
            cpu_seconds: processor time.
        """
        own, top = figures.get(state.model, {}), figures.get(state.top, {})
        values = tuple(own.get(goal.name, math.nan) for goal in self._goals)
        excess = {bound.text: bound.excess(own, top) / (abs(bound.bound) or 1.0) for bound in self._bounds}
        unknown = [goal.name for goal, value in zip(self._goals, values, strict=True) if math.isnan(value)]
        unknown += [text for text, value in excess.items() if math.isnan(value)]
        names = {metric.metric for metric in self._metrics}
        return TrialOutcome(
            path=proposal.path,
            model=state.model,
            figures={name: own[name] for name in sorted(names & own.keys())},
            top={name: top[name] for name in sorted(names & top.keys())},
            values=None if unknown else values,
            constraints={} if unknown else excess,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            reason=f"not measured: {', '.join(unknown)}" if unknown else "",
        )

    def line(self, number: int, outcome: TrialOutcome) -> str:
        """Return a line on a chain that has ended.

        Args:
            number: of the proposal, from 0.
            outcome: its.
        """
        begin = f"{number + 1:4d}  {outcome.path}"
        if outcome.values is None:
            return f"{begin}: {outcome.reason.splitlines()[0]}"
        broken = any(value > 0 for value in outcome.constraints.values())
        verdict = "" if not self._bounds else ", over budget" if broken else ", within budget"
        figures = figures_text(outcome.figures, outcome.top, self._goals, self._bounds)
        return f"{begin}: {figures}{verdict}, {outcome.seconds:.0f} s"

    @property
    def _metrics(self) -> list[Metric]:
        return [*(goal.metric for goal in self._goals), *(bound.metric for bound in self._bounds)]


def failure(proposal: ChainProposal, reason: str) -> TrialOutcome:
    """Return the outcome of a chain without figures."""
    return TrialOutcome(proposal.path, "", {}, {}, None, {}, 0.0, 0.0, reason)
