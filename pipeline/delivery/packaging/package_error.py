"""The error of packages."""

from __future__ import annotations

from pipeline.core.errors import BouillonError

__all__ = ["PackageError"]


class PackageError(BouillonError, ValueError):
    """A package cannot be made or used: the message names it, the problem and what to do."""
