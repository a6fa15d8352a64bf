"""A search: propose chains, run them, note what came out, until the time is up; then compare what was tried.

    outcome = search(SearchRequest(raw, entries, SearchSettings(minutes=30, budget="file_bytes <= 5 MB")), tell=print)

Every chain is run by the ordinary engine into the ordinary workspace and results, so that all that was tried is on the map like
any other model, and what several chains share is made once. The state is in `WORKSPACE/search/` (`study`).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ops.core.registry import nearest
from pipeline.core.errors import BouillonError
from pipeline.core.extras import install_command
from pipeline.core.keys import canonical_json
from pipeline.delivery.search.bounds import impossible
from pipeline.delivery.search.budget import (
    Bound,
    Goal,
    parse_bounds,
    parse_goals,
)
from pipeline.delivery.search.chain_runs import ChainRuns, ChainState
from pipeline.delivery.search.judge import Judge, failure
from pipeline.delivery.search.proposer import Proposer, ProposerSettings
from pipeline.delivery.search.settings import SearchSettings
from pipeline.delivery.search.space import ChainProposal, SearchSpace
from pipeline.delivery.search.study import SearchStudy, TrialOutcome, opened_study
from pipeline.store.records.run_records import Metric
from pipeline.sweep.prepare import Entries
from pipeline.sweep.reporter import Reporter, SilentReporter

__all__ = ["SearchError", "SearchOutcome", "SearchRequest", "search"]

_MOST_RECOGNIZED = 300
"""Chains of a countable space that are looked up in the results before anything is tried."""
_MOST_FAILURES = 20
"""In a row: then something is wrong with all of them."""


class SearchError(BouillonError, ValueError):
    """A search cannot go on: the message says why."""


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
    workspace: Path
    target: str
    dataset_key: str
    """Of the data that figures are of."""
    goals: tuple[Goal, ...]
    bounds: tuple[Bound, ...]
    trials: tuple[TrialOutcome, ...]
    """In the order in which they were proposed, by the figures that the results have at the end."""
    seconds: float
    """Wall-clock time, over all runs of the search."""
    is_exhausted: bool = False
    """Whether every chain of the recipe was tried."""
    impossible: tuple[str, ...] = ()
    """Bounds that no chain can keep, with the reason; then nothing was tried."""


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
        self._judge = Judge(self._goals, self._bounds)
        self._space = SearchSpace(request.raw["recipe"])
        settings = ProposerSettings(self._directions, self._settings.seed, self._settings.sampler)
        self._proposer = Proposer(self._space, settings)
        first, _ = self._proposer.of_choices(self._space.first_choices())
        self._runs = ChainRuns(request.raw, request.entries, first, bench="none")

    @property
    def _directions(self) -> tuple[str, ...]:
        return tuple("maximize" if goal.is_maximized else "minimize" for goal in self._goals)

    def _file(self) -> Path:
        """One study for each recipe, data, budget and goal; more minutes or trials go on with it."""
        wishes = self._settings.model_dump(exclude={"minutes", "trials", "confirm"})
        data = self._runs.identity
        first, _ = self._proposer.of_choices(self._space.first_choices())
        model = self._runs.state(first).model  # of the architecture, seed and weights that chains begin with
        identity = canonical_json(
            {"asked": wishes, "space": self._space.identity, "data": data, "model": model}
        ).decode()
        digest = hashlib.blake2s(identity.encode(), digest_size=5).hexdigest()
        return self._runs.workspace / "search" / f"{self._runs.name}-{digest}.db"

    def run(self) -> SearchOutcome:
        with opened_study(self._file(), self._directions) as study:
            self._study: SearchStudy = study
            self._start, self._before = time.monotonic(), study.seconds
            reasons = tuple(impossible(self._bounds, self._space, self._figures_of_top()))
            if reasons:
                return self._outcome(reasons=reasons)
            self._recognize()
            if self._settings.minutes:
                self._restore()
                self._finish_open()
            is_exhausted = self._try()
            return self._outcome(is_exhausted=is_exhausted)

    def _outcome(self, *, is_exhausted: bool = False, reasons: tuple[str, ...] = ()) -> SearchOutcome:
        return SearchOutcome(
            results=self._runs.results,
            workspace=self._runs.workspace,
            target=self._runs.target,
            dataset_key=self._runs.dataset_key,
            goals=self._goals,
            bounds=self._bounds,
            trials=tuple(self._judged_anew()),
            seconds=self._seconds(),
            is_exhausted=is_exhausted,
            impossible=reasons,
        )

    def _judged_anew(self) -> Iterator[TrialOutcome]:
        """Yield what was tried by the figures that the results have now: those of an earlier run may be others."""
        figures = self._runs.figures()
        for trial, each in self._study.finished():
            proposal, _ = self._proposer.of_choices(trial.choices)
            state = None if each.values is None else self._state(proposal)
            if state is None:
                yield each
                continue
            yield self._judge.outcome(proposal, state, figures, each.seconds, each.cpu_seconds)

    def _seconds(self) -> float:
        return self._before + time.monotonic() - self._start

    # ---- what is there already
    def _figures_of_top(self) -> dict[str, float]:
        """Return figures of the model that all chains begin with; it is made first, so that what cannot be is said at once."""
        if not self._space.has_one_top:
            return {}
        first, _ = self._proposer.of_choices(self._space.first_choices())
        top = ChainProposal(first.steps[:1])
        key = self._runs.state(first).top
        figures = self._runs.figures().get(key, {})
        if self._judge.unmeasured(figures) and self._settings.minutes:
            errors = self._runs.run(self._runs.prepared([top]), self._reporter)
            if errors:
                raise SearchError(f"every chain begins with '{top.path}', which fails: {next(iter(errors.values()))}")
            figures = self._runs.figures().get(key, {})
            absent = self._judge.unmeasured(figures)
            if absent:
                raise SearchError(
                    f"'{absent[0]}' is not measured of these models.{nearest(absent[0], figures)} "
                    f"Measured: {', '.join(sorted(figures))}"
                )
        return figures

    def _restore(self) -> None:
        """Put what an earlier run of this search has tried into the results, where they do not have it (any more)."""
        figures = self._runs.figures()
        missing = []
        for trial, each in self._study.finished():
            proposal, _ = self._proposer.of_choices(trial.choices)
            state = None if each.values is None else self._state(proposal)
            if state is not None and not self._judge.is_known(figures.get(state.model, {})):
                missing.append(proposal)
        if missing:
            self._tell(f"{len(missing)} chains of this search are not in {self._runs.results}: they are put there")
            self._runs.run(self._runs.prepared(missing), self._reporter)

    def _recognize(self) -> None:
        """Take what earlier runs have made of a countable space: figures that cost nothing more."""
        if self._study.finished() or self._study.open_choices() or self._space.size(_MOST_RECOGNIZED) is None:
            return
        figures = self._runs.figures()
        count = 0
        for choices in self._space.every(_MOST_RECOGNIZED) if figures else ():
            proposal, trial = self._proposer.of_choices(choices)
            state = self._state(proposal)
            if state is None or not self._judge.is_known(figures.get(state.model, {})):
                continue
            outcome = self._judge.outcome(proposal, state, figures, 0.0, 0.0)
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
        sound: list[tuple[int, ChainProposal]] = []
        for number, proposal in numbered:
            try:
                self._runs.state(proposal)
            except BouillonError as error:
                self._end(number, failure(proposal, str(error)))
                continue
            sound.append((number, proposal))
        if not sound:
            return
        start, cpu = time.monotonic(), self._runs.cpu_seconds()
        errors = self._runs.run(self._runs.prepared([proposal for _, proposal in sound]), self._reporter)
        figures = self._runs.figures()
        seconds = (time.monotonic() - start) / len(sound)
        cpu_seconds = (self._runs.cpu_seconds() - cpu) / len(sound)
        for number, proposal in sound:
            state = self._runs.state(proposal)
            outcome = self._judge.outcome(proposal, state, figures, seconds, cpu_seconds)
            problem = next((text for path, text in errors.items() if f"{proposal.path}/".startswith(f"{path}/")), "")
            self._end(number, replace(outcome, values=None, reason=problem) if problem else outcome)

    def _end(self, number: int, outcome: TrialOutcome) -> None:
        self._study.end(number, outcome, self._seconds())
        self._tell(self._judge.line(number, outcome))


def _is_among(paths: Set[str]) -> Callable[[ChainProposal], bool]:
    return lambda proposal: proposal.path in paths


def _metrics() -> dict[str, Metric]:
    from pipeline.measure.metrics.compute import identities
    from pipeline.measure.metrics.definitions import metric_records

    identities()  # loads every metric of ours
    return {each.metric: each for each in metric_records()}
