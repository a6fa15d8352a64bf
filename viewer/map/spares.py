"""Things that are made ahead of the visit that needs them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Spares"]

T = TypeVar("T")


class Spares(Generic[T]):
    """A few things that nobody uses yet. Each is given away once, so that visitors share nothing."""

    def __init__(self, make: Callable[[], T], most: int = 2) -> None:
        self._make = make
        self._most = most
        self._made: deque[T] = deque()

    def take(self) -> T:
        """Return a spare one; a new one if there is none."""
        try:
            return self._made.popleft()
        except IndexError:
            return self._make()

    def fill(self) -> None:
        """Make as many as are kept."""
        while len(self._made) < self._most:
            self._made.append(self._make())
