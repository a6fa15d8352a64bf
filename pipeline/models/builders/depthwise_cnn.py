"""A small net of depthwise separable convolutions, for small pictures and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.models.api import Need, builder
from pipeline.models.builders._small_cnn import DEPTHS, WIDTHS, Sizes, small_cnn

if TYPE_CHECKING:
    from torch import nn


@builder
def depthwise_cnn(need: Need, *, depths: Sizes = DEPTHS, widths: Sizes = WIDTHS) -> nn.Module:
    """A net of depthwise separable convolutions: `depths` blocks of `widths` channels per stage.

    Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", 2017, section 3.
    """
    from pipeline.models.builders._networks import SeparableBlock

    return small_cnn(need, SeparableBlock, depths, widths)
