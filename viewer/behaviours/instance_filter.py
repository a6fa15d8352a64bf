"""Which instances the Behaviours page shows, and whether tests apply to them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from viewer.behaviours.measures import ModelAnswers
from viewer.behaviours.queries import Sheet
from viewer.behaviours.statistics import changed_in
from viewer.behaviours.table import Brush, read_brush
from viewer.session.notes import Notes
from viewer.session.state import BehavioursState

__all__ = ["InstanceFilter"]

_CHOSEN = "Instances were chosen by what the models say of them: no test applies."
_FLAGGED = "Instances were chosen by a person who saw the answers: no test applies."
_BY_PLACE = frozenset({"all", "flagged"})


class InstanceFilter:
    """The filters of one drawing of the page."""

    def __init__(
        self,
        sheet: Sheet,
        state: BehavioursState,
        answers: Mapping[str, ModelAnswers],
        ranges: Mapping[str, np.ndarray],
        notes: Notes,
    ) -> None:
        """Take what instances are chosen by.

        Args:
            sheet: the answers of all models.
            state: the visitor's choices.
            answers: of the models on the page, the base first.
            ranges: model key -> what its histogram shows, float (N,).
            notes: flags.
        """
        self._sheet, self._state, self._answers, self._ranges, self._notes = sheet, state, answers, ranges, notes
        self._base, *self._others = answers.values()

    @cached_property
    def mask(self) -> np.ndarray:
        """Instances that pass every filter, bool (N,)."""
        state = self._state
        mask = members_mask(self._sheet, state.class_name, ())
        mask &= members_mask(self._sheet, state.group, tuple(state.groups))
        if state.text:
            mask &= self._sheet.matching(state.text)
        mask &= self._only()
        if self.flip is not None:
            mask &= self._flipped(*self.flip)
        for brush in self.brushes:
            values = self._ranges.get(brush.model)
            if values is not None:
                mask &= (values >= brush.low) & (values <= brush.high)
        return mask

    @cached_property
    def brushes(self) -> list[Brush]:
        """Ranges chosen on histograms."""
        return [brush for text in self._state.brush if (brush := read_brush(text)) is not None]

    @property
    def flip(self) -> tuple[str, str] | None:
        """The change of answer that instances must have: before and after."""
        return (self._state.flip[0], self._state.flip[1]) if len(self._state.flip) == 2 else None  # noqa: PLR2004 - before, after

    @cached_property
    def untested(self) -> str:
        """The reason why no test applies to the instances shown; empty where tests do.

        Instances that were chosen by their outcome differ between the models by that choice alone.
        """
        brushed = any(brush.model in self._answers for brush in self.brushes)
        if brushed or self.flip is not None or self._state.only not in _BY_PLACE:
            return _CHOSEN
        return _FLAGGED if self._state.only == "flagged" else ""

    @cached_property
    def exemplars(self) -> np.ndarray:
        """In how many of the models each answer is not the base's."""
        return changed_in(self._others, self._base)

    def _only(self) -> np.ndarray:
        kind = self._state.only
        if kind == "all":
            return np.ones(self._sheet.size, bool)
        if kind == "exemplars":
            return np.asarray(self.exemplars >= self._state.least)
        if kind == "flagged":
            return self._flagged()
        return self._differing(kind)

    def _flagged(self) -> np.ndarray:
        mask = np.zeros(self._sheet.size, bool)
        mask[self._sheet.positions(list(self._notes.of("instance", self._sheet.dataset_key)))] = True
        for name in self._notes.of("class", self._sheet.dataset_key) if self._sheet.classes else ():
            mask |= members_mask(self._sheet, name, ())
        return mask

    def _of(self) -> list[ModelAnswers]:
        """The models that `only` is about."""
        of = self._state.of
        return [self._answers[of]] if of in list(self._answers)[1:] else self._others

    def _differing(self, kind: str) -> np.ndarray:
        base = self._base
        tests = {
            "changed": lambda model: model.differs(base),
            "broken": lambda model: base.correct & ~model.correct,
            "mended": lambda model: ~base.correct & model.correct,
        }
        mask = np.zeros(self._sheet.size, bool)
        for model in self._of():
            mask |= tests[kind](model)
        return mask

    def _flipped(self, before: str, after: str) -> np.ndarray:
        first, second = self._sheet.code_of(before), self._sheet.code_of(after)
        mask = np.zeros(self._sheet.size, bool)
        for model in self._of():
            mask |= (self._base.predicted == first) & (model.predicted == second)
        return mask


def members_mask(sheet: Sheet, name: str, attributes: tuple[str, ...]) -> np.ndarray:
    """Return the instances of a class (no attributes) or of a group, bool (N,); all of them for no name.

    Args:
        sheet: the answers.
        name: of the class or group.
        attributes: whose values make the groups.
    """
    mask = np.ones(sheet.size, bool)
    if name and (attributes or sheet.classes):
        belongs = sheet.members(attributes)
        mask[:] = False
        if name in belongs.names:
            mask[belongs.instance[belongs.row == belongs.names.index(name)]] = True
    return mask
