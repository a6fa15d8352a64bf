"""A stand-in for a block that was taken out of a network."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Passing(nn.Module):
    """Passes its first argument on, in the form in which the block gave its result."""

    def __init__(self, width: int, block: nn.Module) -> None:
        """Take how many values the block returned (0: a tensor by itself), and what it says of itself.

        A network may ask its blocks for a kind of attention or a number, and asks what stands in their place too.
        """
        super().__init__()
        for name, value in vars(block).items():
            if not name.startswith("_") and isinstance(value, str | int | float):
                setattr(self, name, value)
        self.width = width

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor | tuple[Tensor | None, ...]:
        """Return `hidden_states`, and None for each further value."""
        if not self.width:
            return hidden_states
        return (hidden_states, *[None] * (self.width - 1))

    def extra_repr(self) -> str:
        """The width."""
        return f"width={self.width}"
