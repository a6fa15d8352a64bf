"""A search: propose chains, run them, note what came out, until the time is up; then compare what was tried.

    outcome = search(SearchRequest(raw, entries, SearchSettings(minutes=30, budget="file_bytes <= 5 MB")), tell=print)

Every chain is run by the ordinary engine into the ordinary workspace and results, so that all that was tried is on the map like
any other model, and what several chains share is made once. The state is in `WORKSPACE/search/` (`study`).

A search may look at a chain at low fidelity first (`scout`): the same steps, the trainings below the first with a part of their
epochs. Its figures stand in results of their own, beside the study, and never among those of real models.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ops.core.registry import nearest
from ops.core.text import cut, show
from pipeline.core.errors import BouillonError
from pipeline.core.extras import install_command
from pipeline.core.keys import canonical_json
from pipeline.delivery.search.bounds import impossible
from pipeline.delivery.search.budget import (
    Bound,
    Goal,
    SearchBudgetError,
    figures_text,
    parse_bounds,
    parse_goals,
    uses_time,
)
from pipeline.delivery.search.chain_runs import ChainRuns, ChainState, scouting
from pipeline.delivery.search.proposer import Proposer, ProposerSettings
from pipeline.delivery.search.space import ChainProposal, SearchSpace
from pipeline.delivery.search.study import SearchStudy, TrialOutcome, opened_study
from pipeline.store.records.run_records import Metric
from pipeline.sweep.config import ConfigError
from pipeline.sweep.prepare import Entries
from pipeline.sweep.reporter import Reporter, SilentReporter

__all__ = ["SearchError", "SearchOutcome", "SearchRequest", "SearchSettings", "check_settings", "search"]

_MOST_RECOGNIZED = 300
"""Chains of a countable space that are looked up in the results before anything is tried."""
_MOST_FAILURES = 20
"""In a row: then something is wrong with all of them."""


class SearchError(BouillonError, ValueError):
    """A search cannot go on: the message says why."""


class SearchSettings(BaseModel):
    """Settings besides the recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    minutes: float = Field(default=30, ge=0, allow_inf_nan=False)
    """Of the search, over all runs of it; 0: say what there is."""
    budget: str = ""
    best: tuple[str, ...] = ("accuracy",)
    trials: int | None = Field(default=None, ge=1)
    """Chains at most."""
    batch: int | None = Field(default=None, ge=1, le=64)
    """Chains that are proposed and run at once; None: the executor's workers."""
    scout: float | None = Field(default=None, gt=0, lt=1)
    """Part of the epochs at low fidelity; None: every chain is run as it is."""
    seed: int = Field(default=0, ge=0)
    sampler: str = Field(default="tpe", pattern="^(tpe|random)$")


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A recipe with open values, and what is looked for."""

    raw: Mapping[str, Any]
    """The composed configuration."""
    entries: Entries
    settings: SearchSettings


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """The end of a search."""

    results: Path
    target: str
    goals: tuple[Goal, ...]
    bounds: tuple[Bound, ...]
    trials: tuple[TrialOutcome, ...]
    """In the order in which they were proposed."""
    seconds: float
    """Wall-clock time, over all runs of the search."""
    is_exhausted: bool = False
    """Whether every chain of the recipe was tried."""
    impossible: tuple[str, ...] = ()
    """Bounds that no chain can keep, with the reason; then nothing was tried."""


def check_settings(words: Mapping[str, Any]) -> SearchSettings:
    """Check what the command line gives.

    Raises:
        ConfigError: for each wrong word, with the nearest.
    """
    try:
        return SearchSettings.model_validate(dict(words))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(problem, words) for problem in error.errors())) from None


def _explain(problem: Mapping[str, Any], words: Mapping[str, Any]) -> str:
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        fields = SearchSettings.model_fields
        return f"search: unknown word '{cut(name)}'.{nearest(name, fields)} Known: {', '.join(fields)}"
    return f"search: {name}: {problem['msg']} (got {show(words[name])})"


def search(request: SearchRequest, *, tell: Callable[[str], None], reporter: Reporter | None = None) -> SearchOutcome:
    """Search until the time is up, the number of trials is reached or everything was tried.

    Args:
        request: what to search.
        tell: takes a line for every chain.
        reporter: receives what happens within runs; None: nobody does.

    Raises:
        BouillonError: for every mistake that needs no computing.
        SearchError: if chain after chain fails.
    """
    try:
        import optuna  # noqa: F401 - told before anything is made
    except ImportError:
        raise SearchError(f"a search needs Optuna: {install_command('search')}") from None
    return _Search(request, tell, reporter or SilentReporter()).run()


class _Search:
    def __init__(self, request: SearchRequest, tell: Callable[[str], None], reporter: Reporter) -> None:
        self._request, self._settings = request, request.settings
        self._tell, self._reporter = tell, reporter
        metrics = _metrics()
        self._goals = parse_goals(self._settings.best, metrics)
        self._bounds = parse_bounds(self._settings.budget, metrics)
        if self._settings.scout is not None and len(self._goals) > 1:
            raise SearchBudgetError(
                "scout: chains are given up at low fidelity by one goal; name one metric under best"
            )
        self._is_timed = uses_time(self._goals, self._bounds)
        self._space = SearchSpace(request.raw["recipe"])
        settings = ProposerSettings(self._directions, self._settings.seed, self._settings.sampler)
        self._proposer = Proposer(self._space, settings)
        first, _ = self._proposer.of_choices(self._space.first_choices())
        self._runs = ChainRuns(request.raw, request.entries, first, bench="smoke" if self._is_timed else "none")
        self._states: dict[str, ChainState | None] = {}

    @property
    def _directions(self) -> tuple[str, ...]:
        return tuple("maximize" if goal.is_maximized else "minimize" for goal in self._goals)

    def _file(self) -> Path:
        """One study for each recipe, data, budget and goal; more minutes or trials go on with it."""
        wishes = self._settings.model_dump(exclude={"minutes", "trials"})
        data = self._runs.identity
        identity = canonical_json({"asked": wishes, "space": self._space.identity, "data": data}).decode()
        digest = hashlib.blake2s(identity.encode(), digest_size=5).hexdigest()
        return self._runs.workspace / "search" / f"{self._runs.name}-{digest}.db"

    def run(self) -> SearchOutcome:
        first, _ = self._proposer.of_choices(self._space.first_choices())
        top = self._runs.figures().get(self._runs.state(first).top, {}) if self._space.has_one_top else {}
        reasons = tuple(impossible(self._bounds, self._space, top))
        if reasons:
            return self._outcome([], 0.0, reasons=reasons)
        with opened_study(self._file(), self._directions) as study:
            self._study: SearchStudy = study
            self._start, self._before = time.monotonic(), study.seconds
            self._recognize()
            if self._settings.minutes:
                self._finish_open()
            is_exhausted = self._try()
            if self._is_timed:
                self._time_the_best()
            return self._outcome([each for _, each in study.finished()], self._seconds(), is_exhausted=is_exhausted)

    def _outcome(
        self,
        trials: Sequence[TrialOutcome],
        seconds: float,
        *,
        is_exhausted: bool = False,
        reasons: tuple[str, ...] = (),
    ) -> SearchOutcome:
        return SearchOutcome(
            self._runs.results,
            self._runs.target,
            self._goals,
            self._bounds,
            tuple(trials),
            seconds,
            is_exhausted,
            reasons,
        )

    def _seconds(self) -> float:
        return self._before + time.monotonic() - self._start

    # ---- what is there already
    def _recognize(self) -> None:
        """Take what earlier runs have made of a countable space: figures that cost nothing more."""
        if self._study.finished() or self._study.open_choices() or self._space.size(_MOST_RECOGNIZED) is None:
            return
        figures = self._runs.figures()
        count = 0
        for choices in self._space.every(_MOST_RECOGNIZED) if figures else ():
            proposal, trial = self._proposer.of_choices(choices)
            state = self._state(proposal)
            if state is None or not self._is_known(figures.get(state.model, {})):
                continue
            outcome = self._judge(proposal, state, figures, 0.0, 0.0)
            self._study.end(self._study.begin(trial), outcome, self._seconds())
            count += 1
        if count:
            self._tell(f"{count} chains are there from earlier runs")

    def _finish_open(self) -> None:
        """Run what was begun when the search was stopped."""
        rest = [(number, *self._proposer.of_choices(choices)) for number, choices in self._study.open_choices()]
        if rest:
            self._run([(number, proposal) for number, proposal, _ in rest])

    # ---- what is new
    def _try(self) -> bool:
        """Try chains until the time is up; return whether none is left."""
        batch = self._settings.batch or self._runs.workers
        while self._seconds() < 60 * self._settings.minutes:
            finished = self._study.finished()
            count = min(batch, (self._settings.trials or math.inf) - len(finished))
            if count <= 0:
                return False
            self._check_failures([each for _, each in finished])
            proposals = self._proposer.propose(
                [trial for trial, _ in finished],
                int(count),
                is_tried=_is_among({each.path for _, each in finished}),
                cost=self._cost,
            )
            if not proposals:
                return True
            self._run([(self._study.begin(trial), proposal) for trial, proposal in proposals])
        return False

    def _check_failures(self, outcomes: Sequence[TrialOutcome]) -> None:
        last = outcomes[-_MOST_FAILURES:]
        if len(last) == _MOST_FAILURES and all(each.reason for each in last):
            raise SearchError(
                f"{len(last)} chains in a row have failed, the last ('{last[-1].path}'): {last[-1].reason}"
            )

    def _cost(self, proposal: ChainProposal) -> float:
        state = self._state(proposal)
        return 0.0 if state is None else state.seconds  # what cannot be planned says so at once

    def _state(self, proposal: ChainProposal) -> ChainState | None:
        try:
            return self._runs.state(proposal)
        except BouillonError:
            return None

    def _run(self, numbered: Sequence[tuple[int, ChainProposal]]) -> None:
        """Run some chains as one recipe, and note how each ended."""
        sound: list[tuple[int, ChainProposal, float | None]] = []
        for number, proposal in numbered:
            try:
                self._runs.state(proposal)
            except BouillonError as error:
                self._end(number, _failure(proposal, str(error)))
                continue
            scout, is_hopeless = self._scouted(proposal)
            if is_hopeless:
                self._end(number, replace(_failure(proposal, ""), scout=scout))
                continue
            sound.append((number, proposal, scout))
        if not sound:
            return
        start, cpu = time.monotonic(), self._runs.cpu_seconds()
        errors = self._runs.run(self._runs.prepared([proposal for _, proposal, _ in sound]), self._reporter)
        figures = self._runs.figures()
        seconds = (time.monotonic() - start) / len(sound)
        cpu_seconds = (self._runs.cpu_seconds() - cpu) / len(sound)
        for number, proposal, scout in sound:
            outcome = self._judge(proposal, self._runs.state(proposal), figures, seconds, cpu_seconds)
            failure = next((text for path, text in errors.items() if f"{proposal.path}/".startswith(f"{path}/")), "")
            if failure:
                outcome = replace(outcome, values=None, reason=failure)
            self._end(number, replace(outcome, scout=scout))

    def _scouted(self, proposal: ChainProposal) -> tuple[float | None, bool]:
        """Look at a chain at low fidelity: the goal's value there, and whether the chain is given up for it."""
        small = scouting(proposal, self._settings.scout) if self._settings.scout is not None else None
        if small is None or self._runs.state(proposal).is_made:
            return None, False
        results = self._file().with_suffix(".scout.duckdb")
        self._runs.run(self._runs.prepared([small], results=results), self._reporter)
        value = self._runs.figures(results).get(self._runs.state(small).model, {}).get(self._goals[0].name)
        if value is None:
            return None, False
        finished = [trial for trial, _ in self._study.finished()]
        return value, self._proposer.is_hopeless(finished, value)

    def _end(self, number: int, outcome: TrialOutcome) -> None:
        self._study.end(number, outcome, self._seconds())
        self._tell(_line(number, outcome, self._goals, self._bounds))

    def _is_known(self, figures: Mapping[str, float]) -> bool:
        return all(goal.name in figures for goal in self._goals) and all(
            bound.metric.metric in figures for bound in self._bounds
        )

    def _judge(
        self,
        proposal: ChainProposal,
        state: ChainState,
        figures: Mapping[str, Mapping[str, float]],
        seconds: float,
        cpu_seconds: float,
    ) -> TrialOutcome:
        own, top = figures.get(state.model, {}), figures.get(state.top, {})
        values = tuple(own.get(goal.name, math.nan) for goal in self._goals)
        excess = {bound.text: bound.excess(own, top) / (abs(bound.bound) or 1.0) for bound in self._bounds}
        unknown = [goal.name for goal, value in zip(self._goals, values, strict=True) if math.isnan(value)]
        unknown += [text for text, value in excess.items() if math.isnan(value)]
        names = {*(goal.name for goal in self._goals), *(bound.metric.metric for bound in self._bounds)}
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

    # ---- the end
    def _time_the_best(self) -> None:
        """Time what may be on the front in a session: until here times were rough."""
        done = [(trial, each) for trial, each in self._study.finished() if each.values is not None]
        keeping = [each for each in done if all(value <= _NEAR for value in each[1].constraints.values())] or done
        proposals = [self._proposer.of_choices(trial.choices)[0] for trial, _ in keeping]
        if proposals and self._seconds() < 60 * self._settings.minutes * 2:
            self._tell(f"timing {len(proposals)} chains in a session")
            self._runs.run(self._runs.prepared(proposals, bench=None), self._reporter)


_NEAR = 0.2
"""Share of a bound by which a rough figure may break it and still be timed in full."""


def _is_among(paths: Set[str]) -> Callable[[ChainProposal], bool]:
    return lambda proposal: proposal.path in paths


def _metrics() -> dict[str, Metric]:
    from pipeline.measure.metrics.compute import identities
    from pipeline.measure.metrics.definitions import metric_records

    identities()  # loads every metric of ours
    return {each.metric: each for each in metric_records()}


def _failure(proposal: ChainProposal, reason: str) -> TrialOutcome:
    return TrialOutcome(proposal.path, "", {}, {}, None, {}, 0.0, 0.0, None, reason)


def _line(number: int, outcome: TrialOutcome, goals: Sequence[Goal], bounds: Sequence[Bound]) -> str:
    if outcome.values is None and not outcome.reason:
        return f"{number + 1:4d}  {outcome.path}: given up at low fidelity"
    if outcome.values is None:
        return f"{number + 1:4d}  {outcome.path}: {outcome.reason.splitlines()[0]}"
    broken = any(value > 0 for value in outcome.constraints.values())
    verdict = "" if not bounds else ", over budget" if broken else ", within budget"
    return f"{number + 1:4d}  {outcome.path}: {figures_text(outcome.figures, outcome.top, goals, bounds)}{verdict}, {outcome.seconds:.0f} s"
