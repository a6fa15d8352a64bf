"""Kinds of metrics, as the engine registers them, the store keeps them and the viewer reads them."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["TIMED_UNITS", "Better", "MetricRole", "Pairing", "counts_a_file"]

TIMED_UNITS = frozenset({"ms", "s", "1/s", "x"})
"""Units of costs that a clock told."""


class Better(StrEnum):
    """The direction in which a metric improves."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


class MetricRole(StrEnum):
    """The question that a metric answers. The order of the members is that in which people see metrics."""

    QUALITY = "quality"
    """How good the answers are."""
    COST = "cost"
    """Time, memory, energy and arithmetic of running the model."""
    SIZE = "size"
    """Room that the model takes."""
    CHANGE = "change"
    """How the answers differ from the base's."""
    OTHER = "other"
    """None of these, or unknown: a figure of an imported file."""


class Pairing(StrEnum):
    """The observations that two models share, so that their difference is known better than from two intervals."""

    NONE = "none"
    """Nothing is shared: the interval of a difference follows from the two intervals."""
    INSTANCES = "instances"
    """Both models answered the same instances: the value is the mean of one number per instance."""
    WALL_TIME = "wall_time"
    """Both models ran in turn in one session: single stream, by wall-clock time."""
    CPU_TIME = "cpu_time"
    """Both models ran in turn in one session: single stream, by CPU time."""


def counts_a_file(role: MetricRole, unit: str) -> bool:
    """Whether a metric without runtime, machine and data has no noise: bytes, parameters, operations; no imported time."""
    return role is MetricRole.SIZE or (role is MetricRole.COST and unit not in TIMED_UNITS)
