"""Proposals: a sampler of Optuna proposes, and of its proposals the one whose steps are mostly there is run first.

Every call builds a study in memory from what was tried and seeds the sampler by how much that is: the same answers lead to the
same proposals, whether a search was stopped in between or not. Optuna models which values do well (the tree-structured Parzen
estimator: Bergstra and others, 2011; of several goals Ozaki and others, 2022); what a proposal costs, it does not know. Of
several most the cheapest is taken, most of the time: below a model that is there, a further step costs seconds where another
beginning costs a training.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline.delivery.search.space import ChainProposal, SearchSpace

if TYPE_CHECKING:
    import optuna

__all__ = ["FinishedTrial", "Proposer", "ProposerSettings", "frozen", "quiet"]

_STARTUP = 5
"""Trials before the sampler models anything; fewer than Optuna's ten, since each costs a model."""
_DRAWS = 8
"""Of which the cheapest is taken."""
_EVERY = 4
"""Of so many proposals one is the sampler's first draw, whatever it costs: what looks dear is tried, too."""
_MOST_MISSES = 24
"""Draws in a row that were tried before: then what is left of a countable space is gone through."""
_COUNTABLE = 5_000


@dataclass(frozen=True, slots=True)
class FinishedTrial:
    """A proposal and its outcome."""

    choices: Mapping[str, Any]
    distributions: Mapping[str, Any]
    """Optuna's, by the names of the choices."""
    values: tuple[float, ...] | None
    """Of the goals; None: it failed."""
    constraints: Mapping[str, float] = field(default_factory=dict)
    """Bound -> by how much it is broken, divided by a scale; at most 0 where it is kept."""


@dataclass(frozen=True, slots=True)
class ProposerSettings:
    """Settings of a proposer."""

    directions: tuple[str, ...]
    """`maximize` or `minimize`, of each goal."""
    seed: int = 0
    sampler: str = "tpe"
    """`tpe`, or `random`."""
    is_thrifty: bool = True
    """Whether costs count."""


class Proposer:
    """Proposes chains of a space."""

    def __init__(self, space: SearchSpace, settings: ProposerSettings) -> None:
        self._space, self._settings = space, settings
        self._is_countable: bool | None = None

    def propose(
        self,
        finished: Sequence[FinishedTrial],
        count: int,
        *,
        is_tried: Callable[[ChainProposal], bool],
        cost: Callable[[ChainProposal], float],
    ) -> list[tuple[FinishedTrial, ChainProposal]]:
        """Return what to try next: at most `count`, none where all is tried; each as a trial without values, and its chain.

        Args:
            finished: what was tried, in that order.
            count: how many at once.
            is_tried: whether a chain was tried already.
            cost: seconds that a chain takes, of its steps that are not there.
        """
        number = len(finished)
        with quiet():
            study = self._study(finished)
            draws: dict[str, tuple[FinishedTrial, ChainProposal]] = {}
            misses = 0
            most = max(_DRAWS, count) if self._settings.is_thrifty else count
            while len(draws) < most and misses < _MOST_MISSES:
                trial = study.ask()
                proposal = self._space.propose(trial)
                if proposal.path in draws or is_tried(proposal):
                    misses += 1
                    continue
                draws[proposal.path] = FinishedTrial(dict(trial.params), dict(trial.distributions), None), proposal
            if not draws:
                draws = {each[1].path: each for each in self._rest(is_tried)}
        return self._select(list(draws.values()), number, count, cost)

    def _select(
        self,
        draws: list[tuple[FinishedTrial, ChainProposal]],
        number: int,
        count: int,
        cost: Callable[[ChainProposal], float],
    ) -> list[tuple[FinishedTrial, ChainProposal]]:
        """Of some most those to run: the first as it comes at times, else by cost, ties as draws."""
        result: list[tuple[FinishedTrial, ChainProposal]] = []
        for at in range(min(count, len(draws))):
            costs = [cost(proposal) for _, proposal in draws] if self._settings.is_thrifty else [0.0] * len(draws)
            is_first = (number + at) % _EVERY == 0
            best = 0 if is_first else min(range(len(draws)), key=lambda place: (costs[place], place))
            result.append(draws.pop(best))
        return result

    def _rest(self, is_tried: Callable[[ChainProposal], bool]) -> Iterator[tuple[FinishedTrial, ChainProposal]]:
        """Yield the rest of a countable space, which a sampler does not find any more."""
        if self._is_countable is None:
            self._is_countable = self._space.size(_COUNTABLE) is not None
        for choices in self._space.every(_COUNTABLE) if self._is_countable else ():
            proposal, trial = self.of_choices(choices)
            if not is_tried(proposal):
                yield trial, proposal

    def of_choices(self, choices: Mapping[str, Any]) -> tuple[ChainProposal, FinishedTrial]:
        """Return the chain of some choices, and it as a trial without values."""
        import optuna

        with quiet():
            trial = optuna.trial.FixedTrial(dict(choices))
            proposal = self._space.propose(trial)
        return proposal, FinishedTrial(dict(trial.params), dict(trial.distributions), None)

    def _study(self, finished: Sequence[FinishedTrial]) -> optuna.Study:
        import optuna

        seed = int.from_bytes(
            hashlib.blake2s(f"{self._settings.seed} {len(finished)}".encode(), digest_size=4).digest(), "little"
        )
        sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=seed)
        if self._settings.sampler == "tpe":
            sampler = optuna.samplers.TPESampler(
                seed=seed, multivariate=True, group=True, n_startup_trials=_STARTUP, constant_liar=True
            )
        study = optuna.create_study(directions=list(self._settings.directions), sampler=sampler)
        study.add_trials([frozen(each) for each in finished])
        return study


def frozen(trial: FinishedTrial) -> optuna.trial.FrozenTrial:
    """Return a trial as Optuna has it."""
    import optuna

    states = optuna.trial.TrialState
    return optuna.trial.create_trial(
        state=states.FAIL if trial.values is None else states.COMPLETE,
        values=None if trial.values is None else list(trial.values),
        params=dict(trial.choices),
        distributions=dict(trial.distributions),
        constraints=dict(trial.constraints),
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's log, and its notes that some of what is used here may still change."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
