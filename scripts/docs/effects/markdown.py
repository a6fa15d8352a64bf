"""Tables of effects with what they show."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.docs.effects.claims import claims
from scripts.docs.effects.networks import Network
from scripts.docs.effects.tables import table


def markdown(found: Sequence[Network]) -> str:
    """Return a table per network, and under it what it shows."""
    return "\n\n".join(f"{table(network)}\n\n{claims(network)}".strip() for network in found)
