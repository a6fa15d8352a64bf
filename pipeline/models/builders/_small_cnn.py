"""What the small convolutional networks of our own have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ops.core.tasks.task import TASKS
from pipeline.models.api import ModelError, Need

if TYPE_CHECKING:
    from torch import nn

Sizes = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
DEPTHS, WIDTHS = [1, 1, 1], [16, 32, 64]


def small_cnn(need: Need, block: type[nn.Module], depths: list[int], widths: list[int]) -> nn.Module:
    """Build a `SmallCNN` of `depths` blocks of `widths` channels per stage.

    Raises:
        ModelError: if the data is no pictures to classify, or depths and widths differ in number.
    """
    from pipeline.models.builders._networks import SmallCNN

    if need.picture is None or not TASKS[need.task].has_classes:
        raise ModelError(f"a convolutional network classifies pictures; the data is for {need.task}")
    if len(depths) != len(widths):
        raise ModelError(f"depths and widths: one of each per stage (got {len(depths)} and {len(widths)})")
    if need.pretrained:
        raise ModelError("this network has no pretrained weights; `train` it")
    return SmallCNN(block, channels=need.picture[0], classes=len(need.classes), depths=depths, widths=widths)
