"""Looks at confirmation splits: when, by which question, and what was found. Part of `records`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pipeline.store.records.columns import Int32, record_table


@record_table("confirmation_look", key="look_id", recorded=False, dataset_key="dataset")
@dataclass(frozen=True, slots=True)
class ConfirmationLook:
    """One look at the confirmation split of a data set. Written before the split is opened: a look that fails counts."""

    look_id: Annotated[str, "Identifies the look."]
    dataset_key: Annotated[str, "Fingerprint of the data set whose confirmation split was looked at."]
    looked_at: Annotated[datetime, "When, UTC."]
    question: Annotated[str, "Digest of the models, the metric and the runtime: looks with one digest ask the same."]
    models: Annotated[Sequence[str], "List of model_key of the models that were looked at, the chosen ones."]
    metric: Annotated[str, "The metric of quality that models are chosen by first."]
    among: Annotated[Int32, "Models with that figure under the same conditions: those that were chosen among."]
    target: Annotated[str, "The runtime."]
    device: Annotated[str, "The machine that looked."]
    instances: Annotated[int, "Instances of the confirmation split."]


@record_table("confirmation_figure", look_id="confirmation_look", model_key="model", base_key="model")
@dataclass(frozen=True, slots=True)
class ConfirmationFigure:
    """A figure of one model on the confirmation split, beside the one that it was chosen by."""

    look_id: Annotated[str, "The look."]
    model_key: Annotated[str, "The model."]
    metric: Annotated[str, "The metric; of a class or group `correct`, the share of right answers."]
    part: Annotated[str, "Empty for the whole split; class NAME, or ATTRIBUTE VALUE of a group."]
    value: Annotated[float, "The confirmed value, in the unit of the metric."]
    low: Annotated[float | None, "Lower end of its 95 % interval, if known."]
    high: Annotated[float | None, "Upper end of its 95 % interval, if known."]
    count: Annotated[int | None, "Instances behind it, if known."]
    chosen_value: Annotated[float | None, "The value on the evaluation split, which the choice was made by."]
    chosen_low: Annotated[float | None, "Lower end of its 95 % interval, if known."]
    chosen_high: Annotated[float | None, "Upper end of its 95 % interval, if known."]
    change: Annotated[float | None, "The confirmed value less the chosen one."]
    change_low: Annotated[float | None, "Lower end of its 95 % interval, from the two (MOVER: other instances)."]
    change_high: Annotated[float | None, "Upper end of its 95 % interval."]
    base_key: Annotated[str | None, "The base of its tree, which answered the same instances; NULL for a base."]
    base_change: Annotated[float | None, "The model's value less the base's on the confirmation split."]
    base_change_low: Annotated[float | None, "Lower end of its 95 % interval, paired by instance."]
    base_change_high: Annotated[float | None, "Upper end of its 95 % interval."]
