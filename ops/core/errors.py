"""Errors that a person can mend have one base class: their text is one line with the place, the problem and the fix."""

from __future__ import annotations


class BouillonError(Exception):
    """A mistake or an obstacle that the person can do something about, said in one line per problem."""


class OperationError(BouillonError, ValueError):
    """An operation cannot be applied: the message names the layer or value, the problem and the nearest fix."""


class BadParamsError(OperationError):
    """A recipe gives an operation parameters that it does not take."""
