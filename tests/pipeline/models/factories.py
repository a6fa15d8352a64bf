"""Networks of a person's own, for the builder `python`."""

from torch import nn

LIMIT = 3


def linear(width=4, *, classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, width), nn.ReLU(), nn.Linear(width, classes))


def lazy():
    """Layers that take their shape from their first input."""
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(3))


def fitting(need, width):
    return linear(width, classes=len(need.classes))


def anything(**settings):
    return linear(**settings)


def half():
    return linear().half()


def nothing():
    return "a string"


def needy(width):
    return linear(width)
