"""The models on the pages that look inside models, and the messages that change them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from viewer.notes.notes import Kind, Notes, read_tags
from viewer.session.session import VisitorSession

__all__ = ["MOST", "ComparedModels", "add_model", "compared_models", "drop_model", "flag", "set_base"]

MOST = 60
_SUGGESTED = 4


class ComparedModels:
    """The models on a page: the base first, then the others in the order they were picked."""

    def __init__(self, session: VisitorSession, able: Collection[str]) -> None:
        """`able` are the models that have what the page shows."""
        forest, state = session.results.forest, session.state
        selection = [key for key in state.selected if key in session.results.row]
        self.suggested = not selection
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


def add_model(session: VisitorSession, compared: ComparedModels, message: Mapping[str, Any]) -> None:
    """Put one more model on the page."""
    for key in session.known_models([str(message.get("value"))]):
        session.state.pick([*compared.models, *compared.unable, key])


def drop_model(session: VisitorSession, compared: ComparedModels, message: Mapping[str, Any]) -> None:
    """Take a model from the page."""
    key = str(message.get("key"))
    remaining = [other for other in (*compared.models, *compared.unable) if other != key]
    session.state.pick(remaining)
    if session.state.base == key:
        session.state.change({"base": ""})


def set_base(session: VisitorSession, compared: ComparedModels, message: Mapping[str, Any]) -> None:
    """Compare with another model."""
    for key in session.known_models([str(message.get("value"))]):
        session.state.pick([*compared.models, *compared.unable])
        session.state.change({"base": key})


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
