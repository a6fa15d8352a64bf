"""The state of a search: a study of Optuna's in a file of the workspace, so that a search that was stopped goes on.

A proposal is in the file before anything of it runs, and its outcome after the results have been published: after a kill it
is run again, and all that was made is found by its key.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from pipeline.core.errors import BouillonError
from pipeline.delivery.search.proposer import FinishedTrial, frozen, quiet

if TYPE_CHECKING:
    import optuna

__all__ = ["SearchStudy", "StudyError", "TrialOutcome"]

_NAME = "search"


class StudyError(BouillonError, ValueError):
    """A study cannot be opened: the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """Outcome of a trial."""

    path: str
    """Of the chain's last step."""
    model: str
    """Its key; empty where it has none."""
    figures: Mapping[str, float]
    """Metric -> value."""
    top: Mapping[str, float]
    """Likewise of the model at the top of the chain."""
    values: tuple[float, ...] | None
    constraints: Mapping[str, float]
    seconds: float
    """Wall-clock seconds that it took; of several at once each its part."""
    cpu_seconds: float
    reason: str = ""
    """Why it has no values."""


class SearchStudy:
    """One search. To be used by one process at a time."""

    def __init__(self, file: Path, directions: Sequence[str]) -> None:
        """Open or make the study of a file.

        Raises:
            StudyError: if another process has it, or it is none.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(file.with_suffix(".lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise StudyError(f"{file}: this search is running already, in another process") from None
        try:
            with quiet():
                if not file.is_file():
                    _make(file, directions)
                self._study = _load(file)
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._study._storage.remove_session()
        self._lock.release()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds that the search has taken so far, over all of its runs."""
        return float(self._study.user_attrs.get("spent", 0.0))

    def finished(self) -> list[tuple[FinishedTrial, TrialOutcome]]:
        """Return what has ended, in the order of the proposals."""
        return [(_trial(each), _outcome(each)) for each in self._study.trials if each.state.is_finished()]

    def open_choices(self) -> list[tuple[int, dict[str, Any]]]:
        """Return what was begun and has not ended: numbers and choices."""
        return [(each.number, dict(each.params)) for each in self._study.trials if not each.state.is_finished()]

    def begin(self, trial: FinishedTrial) -> int:
        """Write a proposal down; return its number."""
        import optuna

        template = frozen(trial)
        template.state = optuna.trial.TrialState.RUNNING
        template.datetime_complete = None
        with quiet():
            self._study.add_trial(template)
        return len(self._study.trials) - 1

    def end(self, number: int, outcome: TrialOutcome, seconds: float) -> None:
        """Write down how a proposal ended.

        Args:
            number: as `begin` gave it.
            outcome: of its run.
            seconds: wall-clock time of the search so far.
        """
        import optuna

        (at,) = [each for each in self._study.trials if each.number == number]
        states = optuna.trial.TrialState
        with quiet():
            trial = optuna.trial.Trial(self._study, at._trial_id)
            for name in ("path", "model", "seconds", "cpu_seconds", "reason"):
                trial.set_user_attr(name, getattr(outcome, name))
            trial.set_user_attr("figures", _plain(outcome.figures))
            trial.set_user_attr("top", _plain(outcome.top))
            for name, value in outcome.constraints.items():
                if name not in trial.constraints:
                    trial.set_constraint(name, value)
            if outcome.values is None:
                self._study.tell(number, state=states.FAIL)
            else:
                self._study.tell(number, list(outcome.values))
            self._study.set_user_attr("spent", seconds)


@contextmanager
def opened_study(file: Path, directions: Sequence[str]) -> Iterator[SearchStudy]:
    """Have a study for the length of a block."""
    study = SearchStudy(file, directions)
    try:
        yield study
    finally:
        study.close()


def _make(file: Path, directions: Sequence[str]) -> None:
    """Make the file whole or not at all."""
    import optuna

    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".new-", suffix=".db")
    os.close(descriptor)
    storage = optuna.storages.RDBStorage(f"sqlite:///{name}")
    optuna.create_study(storage=storage, study_name=_NAME, directions=list(directions))
    storage.engine.dispose()
    Path(name).replace(file)


def _load(file: Path) -> optuna.Study:
    import optuna

    try:
        return optuna.load_study(storage=optuna.storages.RDBStorage(f"sqlite:///{file}"), study_name=_NAME)
    except Exception as error:  # noqa: BLE001 - SQLAlchemy's and SQLite's own kinds
        raise StudyError(
            f"{file}: cannot be read ({type(error).__name__}). Move it away to begin the search anew"
        ) from None


def _plain(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}


def _trial(each: optuna.trial.FrozenTrial) -> FinishedTrial:
    values = tuple(each.values) if each.values is not None and each.state.name == "COMPLETE" else None
    return FinishedTrial(dict(each.params), dict(each.distributions), values, dict(each.constraints))


def _outcome(each: optuna.trial.FrozenTrial) -> TrialOutcome:
    own, trial = each.user_attrs, _trial(each)
    return TrialOutcome(
        path=own.get("path", ""),
        model=own.get("model", ""),
        figures=own.get("figures", {}),
        top=own.get("top", {}),
        values=trial.values,
        constraints=trial.constraints,
        seconds=own.get("seconds", 0.0),
        cpu_seconds=own.get("cpu_seconds", 0.0),
        reason=own.get("reason", ""),
    )
