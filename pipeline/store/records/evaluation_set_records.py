"""Evaluation sets beside a data set's own: which name stands for which content. Part of `records`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pipeline.store.records.columns import record_table

__all__ = ["EvaluationSetContent"]


@record_table("evaluation_set", dataset_key="dataset")
@dataclass(frozen=True, slots=True)
class EvaluationSetContent:
    """A set that figures `METRIC @ NAME` are of. One name stands for one content of a data set in one results file."""

    dataset_key: Annotated[str, "Fingerprint of the data set that it stands beside."]
    name: Annotated[str, "Its name in the recipe, and in the names of its metrics."]
    identity: Annotated[str, "Digest of its content: the data, and the corruption or the conditions."]
    definition: Annotated[Mapping[str, Any], "JSON: what the recipe says of it."]
