"""What the pages that look inside models share: which models are on the page, and messages to change them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from viewer.results.notes import Kind, Notes
from viewer.session.session import Session

__all__ = ["MOST", "ComparedModels", "add_model", "compared_models", "drop_model", "flag", "set_base"]

MOST = 60
_SUGGESTED = 4


class ComparedModels:
    """The models on a page: the base first, then the others in the order they were picked."""

    def __init__(self, session: Session, able: Collection[str]) -> None:
        """`able` are the models that have what the page shows."""
        forest, state = session.results.forest, session.state
        picked = [key for key in state.selected if key in session.results.row]
        self.suggested = not picked
        if not picked:
            known = [key for key in forest.preorder if key in able]
            roots = [key for key in known if forest.depth(key) == 0] or known
            below = [key for key in known if roots and forest.root(key) == forest.root(roots[0])]
            picked = below[:_SUGGESTED]
        asked = state.base if state.base in session.results.row else ""
        with_base = picked if not asked or asked in picked else [asked, *picked]
        self.unable = [key for key in with_base if key not in able]
        found = [key for key in with_base if key in able]
        # the chosen one, else the one nearest to a root
        self.base = asked if asked in found else min(found, key=forest.depth, default="")
        self.models = [self.base, *(key for key in found if key != self.base)][:MOST] if found else []

    @property
    def others(self) -> list[str]:
        """Without the base."""
        return self.models[1:]


def compared_models(session: Session, able: Collection[str]) -> ComparedModels:
    """Return the models that a page shows."""
    return ComparedModels(session, able)


def add_model(session: Session, shown: ComparedModels, message: Mapping[str, Any]) -> None:
    """Put one more model on the page."""
    for key in session.known([str(message.get("value"))]):
        session.state.pick([*shown.models, *shown.unable, key])


def drop_model(session: Session, shown: ComparedModels, message: Mapping[str, Any]) -> None:
    """Take a model from the page."""
    key = str(message.get("key"))
    left = [other for other in (*shown.models, *shown.unable) if other != key]
    session.state.pick(left)
    if session.state.base == key:
        session.state.change({"base": ""})


def set_base(session: Session, shown: ComparedModels, message: Mapping[str, Any]) -> None:
    """Compare with another model."""
    for key in session.known([str(message.get("value"))]):
        session.state.pick([*shown.models, *shown.unable])
        session.state.change({"base": key})


def flag(
    session: Session, notes: Notes, message: Mapping[str, Any], *, kinds: Sequence[Kind], dataset_key: str = ""
) -> None:
    """Put a flag with a note on something, or take it away; only on `kinds`. Instances and classes are of a data set."""
    kind = next((known for known in kinds if known == message.get("kind_of")), None)
    if kind is None:
        return
    about, where = str(message.get("about")), dataset_key if kind in ("instance", "class") else ""
    try:
        if "why" in message:
            notes.add(kind, about, str(message["why"]), dataset_key=where)
        else:
            notes.remove(kind, about, dataset_key=where)
    except OSError as error:
        session.send("flash", f"The note cannot be written: {error.strerror} ({notes.path})")
