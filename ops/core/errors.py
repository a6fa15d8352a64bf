"""ops.core.errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


class OperationError(ValueError):
    """An operation cannot be applied: the message names the layer or value, the problem and the nearest fix."""


class BadParamsError(OperationError):
    """A recipe gives an operation parameters that it does not take."""
