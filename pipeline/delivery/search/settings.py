"""Settings of a search besides its recipe, as the command line gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ops.core.registry import nearest
from ops.core.text import cut, show
from pipeline.measure.metrics.quality import accuracy
from pipeline.sweep.config import ConfigError

__all__ = ["SearchSettings", "check_settings"]


class SearchSettings(BaseModel):
    """Settings besides the recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    minutes: float = Field(default=30, ge=0, allow_inf_nan=False)
    """Of the search, over all runs of it; 0: say what there is."""
    budget: str = ""
    best: tuple[str, ...] = (accuracy.__name__,)
    trials: int | None = Field(default=None, ge=1)
    """Chains at most."""
    batch: int | None = Field(default=None, ge=1, le=64)
    """Chains that are proposed and run at once; None: the executor's workers."""
    seed: int = Field(default=0, ge=0)
    sampler: str = Field(default="tpe", pattern="^(tpe|random)$")
    confirm: bool = True
    """Whether the best is measured on the instances that are set aside, where some are."""


def check_settings(words: Mapping[str, Any]) -> SearchSettings:
    """Check what the command line gives.

    Raises:
        ConfigError: for each wrong word, with the nearest.
    """
    try:
        return SearchSettings.model_validate(dict(words))
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(problem, words) for problem in error.errors())) from None


def _explain(problem: Mapping[str, Any], words: Mapping[str, Any]) -> str:
    name = str(problem["loc"][0])
    if problem["type"] == "extra_forbidden":
        fields = SearchSettings.model_fields
        return f"search: unknown word '{cut(name)}'.{nearest(name, fields)} Known: {', '.join(fields)}"
    return f"search: {name}: {problem['msg']} (got {show(words[name])})"
