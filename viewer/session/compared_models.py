"""The models that are compared: the same on every page, each with a letter and a colour; and the messages that change them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from viewer.format.palette import MISSING, SERIES
from viewer.results.names import unique_names
from viewer.results.search import search_models
from viewer.session.choices import choices
from viewer.session.notes import Kind, Notes, read_tags
from viewer.session.proposals import Proposal, proposals
from viewer.session.session import VisitorSession

__all__ = [
    "MOST",
    "ComparedModel",
    "ComparedModels",
    "add_model",
    "compared_models",
    "drop_model",
    "flag",
    "matching_models",
    "models_on_rail",
    "proposed_models",
    "set_base",
]

MOST = 60
_SUGGESTED = 4
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class ComparedModel:
    """A model on the rail."""

    key: str
    letter: str
    """A, B, ..., Z, AA, AB: unique."""
    color: str
    """CSS; the models after the eighth share one."""
    name: str
    """The shortest that no other compared model has."""
    is_base: bool
    is_pinned: bool = False
    """Whether a person made it the base; else it is so as long as none stands nearer to a root."""


def models_on_rail(session: VisitorSession, proposed: Sequence[Proposal] | None = None) -> list[ComparedModel]:
    """Return the models that a person chose, or those that are proposed where none is; the first ones of very many.

    A base that was not chosen stands before them. Letters and colours follow that order, whatever else a page sorts by.

    Args:
        session: the visitor's.
        proposed: what `proposed_models` returns, where that is known already.
    """
    state, row = session.state, session.results.row
    keys = [key for key in state.selected if key in row]
    if not keys:
        keys = [each.key for each in (proposed_models(session) if proposed is None else proposed)]
    base = state.base if state.base in row else ""
    if base and base not in keys:
        keys = [base, *keys]
    keys = keys[:MOST]
    of_all = session.results.base_of(keys, base) if keys else ""
    names = unique_names(session.results.forest, keys)
    return [
        ComparedModel(
            key, _letter(at), SERIES[at] if at < len(SERIES) else MISSING, names[key], key == of_all, key == base
        )
        for at, key in enumerate(keys)
    ]


def _letter(at: int) -> str:
    more, last = divmod(at, len(_LETTERS))
    return (_letter(more - 1) if more else "") + _LETTERS[last]


def proposed_models(session: VisitorSession) -> list[Proposal]:
    """Return what is worth a look before a person has chosen models."""
    state, results = session.state, session.results
    base = state.base if state.base in results.row else ""
    return proposals(results, choices(results).metric("goal", state), state.filters, base)


class ComparedModels:
    """The models on a page: the base first, then the others in the order they were picked."""

    def __init__(self, session: VisitorSession, able: Collection[str]) -> None:
        """`able` are the models that have what the page shows."""
        forest, state = session.results.forest, session.state
        selection = [key for key in state.selected if key in session.results.row]
        if not selection:
            selection = [each.key for each in proposed_models(session) if each.key in able]
        if not selection:
            candidates = [key for key in forest.preorder if key in able]
            roots = [key for key in candidates if forest.depth(key) == 0] or candidates
            below = [key for key in candidates if roots and forest.root(key) == forest.root(roots[0])]
            selection = below[:_SUGGESTED]
        preference = state.base if state.base in session.results.row else ""
        with_base = selection if not preference or preference in selection else [preference, *selection]
        self.unable = [key for key in with_base if key not in able]
        able_models = [key for key in with_base if key in able]
        # the chosen one, else the one nearest to a root
        self.base = preference if preference in able_models else min(able_models, key=forest.depth, default="")
        self.models = [self.base, *(key for key in able_models if key != self.base)][:MOST] if able_models else []

    @property
    def others(self) -> list[str]:
        """Without the base."""
        return self.models[1:]


def compared_models(session: VisitorSession, able: Collection[str]) -> ComparedModels:
    """Return the models that a page shows."""
    return ComparedModels(session, able)


def matching_models(session: VisitorSession, text: str) -> list[str]:
    """Return the keys of all steps that match every word of a text, best first: by names, facts, experiments and tags."""
    if not text.strip():
        return []
    results, notes = session.results, Notes(session.path).about_models()

    def facts(key: str) -> list[str]:
        return results.experiments.words(key) + [f"tag={tag}" for note in notes.get(key, []) for tag in note.tags]

    return search_models(results.forest, text.strip(), results.text.name, facts)


def add_model(session: VisitorSession, message: Mapping[str, Any]) -> None:
    """Put one more model on the rail."""
    for key in session.known_models([str(message.get("key"))]):
        session.state.pick([*session.state.selected, key])


def drop_model(session: VisitorSession, message: Mapping[str, Any]) -> None:
    """Take a model from the rail."""
    key = str(message.get("key"))
    session.state.pick([other for other in session.state.selected if other != key])
    if session.state.base == key:
        session.state.change({"base": ""})


def set_base(session: VisitorSession, message: Mapping[str, Any]) -> None:
    """Pin a model on the rail as the base, or take its pin away: then the one nearest to a root is it again."""
    for key in session.known_models([str(message.get("key"))]):
        session.state.change({"base": "" if key == session.state.base else key})


def flag(
    session: VisitorSession, notes: Notes, message: Mapping[str, Any], *, kinds: Sequence[Kind], dataset_key: str = ""
) -> None:
    """Put a flag with a note on something, or take it away; only on `kinds`. Instances and classes are of a data set.

    Args:
        session: the visitor's.
        notes: the file of notes; where it cannot be written, the visitor is told.
        message: `kind_of`, `about` and, to put a flag, `why` and `tags`.
        kinds: those of the page; others are ignored.
        dataset_key: key of the data set, for instances and classes.
    """
    kind = next((each for each in kinds if each == message.get("kind_of")), None)
    if kind is None:
        return
    about, where = str(message.get("about")), dataset_key if kind in ("instance", "class") else ""
    try:
        if "why" in message:
            tags = read_tags(str(message.get("tags", "")))
            notes.add(kind, about, str(message["why"]), dataset_key=where, tags=tags, who=session.user)
        else:
            notes.remove(kind, about, dataset_key=where, who=session.user)
    except OSError as error:
        session.send("flash", f"The note cannot be written: {error.strerror} ({notes.path})")
