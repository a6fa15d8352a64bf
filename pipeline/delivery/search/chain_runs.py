"""Runs of proposed chains by the ordinary engine, into the ordinary workspace and results; and what a chain would cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ops.core.params import not_finite
from pipeline.core import environment
from pipeline.core.keys import Key
from pipeline.delivery.search.space import ChainProposal, tree_of
from pipeline.engine.jobs import Failed
from pipeline.plan.planner import make_plan
from pipeline.plan.recipe import parse
from pipeline.plan.steps import Plan
from pipeline.store.errors import NoResultsError
from pipeline.store.queries.scores import scores
from pipeline.store.queries.step_costs import StepCost, step_costs
from pipeline.sweep.config import ConfigError, check_config
from pipeline.sweep.preflight import gather
from pipeline.sweep.prepare import Entries, Prepared, prepare
from pipeline.sweep.preprocessing import settle_preprocessing
from pipeline.sweep.reporter import Reporter
from pipeline.sweep.run import run

__all__ = ["ChainRuns", "ChainState"]

_WORK = ("epochs", "samples")
"""Parameters that the time of an operation grows with."""
_UNKNOWN = 1.0
"""Seconds of a step of which nothing is known."""


@dataclass(frozen=True, slots=True)
class ChainState:
    """State of a chain in the workspace."""

    model: Key
    """Of its last step."""
    top: Key
    seconds: float
    """Expected of what is missing."""
    is_made: bool
    """Whether every model of it is there."""


class ChainRuns:
    """Runs chains of one recipe."""

    def __init__(self, raw: Mapping[str, Any], entries: Entries, first: ChainProposal, *, bench: str | None) -> None:
        """Check and plan a first chain.

        Args:
            raw: the composed configuration; its recipe has open values.
            entries: those that recipes can name.
            first: any chain of the recipe.
            bench: the conf/bench entry that chains are run with; None: that of the configuration.

        Raises:
            BouillonError: for every mistake that needs no computing, one line each.
        """
        self._raw, self._entries, self._bench = dict(raw), entries, bench
        self._first = self.prepared([first])
        self.results: Path = self._first.config.results
        self.workspace: Path = self._first.config.workspace
        self.target = next(iter(self._first.targets))
        self.workers = self._first.config.executor.workers
        self.name = self._first.plan.recipe.name
        self.dataset_key = self._first.data.fingerprint
        self.identity = f"{self.dataset_key} {self.target}"
        """Of what figures are of: the data and the runtime."""
        self._costs: list[StepCost] | None = None
        self._plans: dict[str, Plan] = {}

    def prepared(
        self, proposals: Sequence[ChainProposal], *, bench: str | None = "", results: Path | None = None
    ) -> Prepared:
        """Plan some chains as one recipe.

        Args:
            proposals: the chains.
            bench: in the place of the usual; None: that of the configuration.
            results: likewise.

        Raises:
            BouillonError: for every mistake that needs no computing, one line each.
        """
        raw = {**self._raw, "recipe": self.recipe(proposals)}
        name = self._bench if bench == "" else bench
        if name is not None:
            raw["bench"] = dict(self._entries["bench"][name])
        if results is not None:
            raw["results"] = results
        odd = not_finite(raw)
        if odd is not None:
            raise ConfigError(f"{odd[0]}: must be a finite number (got {odd[1]})")
        return prepare(check_config(raw), self._entries)

    def recipe(self, proposals: Sequence[ChainProposal]) -> dict[str, Any]:
        """Return some chains as a recipe that anybody can run."""
        return {**self._raw["recipe"], "tree": tree_of(proposals)}

    def state(self, proposal: ChainProposal) -> ChainState:
        """Return what is there of a chain, without running anything.

        Raises:
            BouillonError: if the chain cannot be run.
        """
        plan = self._plan(proposal)
        steps = plan.by_key()
        key = plan.aliases.get(proposal.path) or next(each.key for each in plan.steps if each.path == proposal.path)
        line = [steps[key]]
        while (parent := line[-1].parent) is not None:
            line.append(steps[parent])
        present = self._first.artifacts.present(each.key for each in line)
        seconds = sum(self._seconds(each.op, each.params) for each in line if each.key not in present)
        return ChainState(key, line[-1].key, seconds, all(each.key in present for each in line))

    def run(self, prepared: Prepared, reporter: Reporter) -> dict[str, str]:
        """Run chains; return path -> error of the operations that failed."""
        result = run(prepared, reporter)
        self._costs = None
        if len(result.absent) == len(prepared.targets):
            raise ConfigError(next(iter(result.absent.values())))
        return {
            job.path: end.error for job, end in result.outcomes if isinstance(end, Failed) and job.stage == "operation"
        }

    def figures(self, results: Path | None = None) -> dict[str, dict[str, float]]:
        """Return model -> metric -> value, on the recipe's first target and this machine; as published."""
        try:
            table = scores(results or self.results, self.target, environment.device_id(), self.dataset_key)
        except NoResultsError:
            return {}
        return {
            model: {metric: score.value for metric, score in own.items() if math.isfinite(score.value)}
            for model, own in table.items()
        }

    def cpu_seconds(self) -> float:
        """Return the processor time of all that was made into the results so far, in seconds."""
        return sum(each.cpu_seconds for each in self._known_costs())

    def _plan(self, proposal: ChainProposal) -> Plan:
        plan = self._plans.get(proposal.path)
        if plan is None:
            recipe, first = parse(self.recipe([proposal])), self._first
            settled = settle_preprocessing(first.config, recipe, self._entries)
            plan = make_plan(recipe, gather(settled.config, recipe, first.data, settled.entries))
            self._plans[proposal.path] = plan
        return plan

    def _seconds(self, op: str, params: Mapping[str, Any]) -> float:
        """Expected seconds of a step and of what is measured of its model: by its operation, and how much it is asked to do."""
        alike = [each for each in self._known_costs() if each.job == "operation" and each.op == op]
        others = [each for each in self._known_costs() if each.job != "operation"]
        models = max(1, len({each.model for each in others}))
        evidence = sum(each.cpu_seconds for each in others) / models
        rates = [each.cpu_seconds / _work(each.params) for each in alike]
        return evidence + (median(rates) * _work(params) if rates else _UNKNOWN * _work(params))

    def _known_costs(self) -> list[StepCost]:
        if self._costs is None:
            try:
                self._costs = step_costs(self.results)
            except NoResultsError:
                self._costs = []
        return self._costs


def _work(params: Mapping[str, Any]) -> float:
    product = 1.0
    for name in _WORK:
        value = params.get(name)
        if isinstance(value, int | float) and value > 0:
            product *= value
    return product
