"""A small residual net, for small pictures, quick starts and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.models.api import Need, builder
from pipeline.models.builders._small_cnn import DEPTHS, WIDTHS, Sizes, small_cnn

if TYPE_CHECKING:
    from torch import nn


@builder
def residual_cnn(need: Need, *, depths: Sizes = DEPTHS, widths: Sizes = WIDTHS) -> nn.Module:
    """A residual net of basic blocks: `depths` blocks of `widths` channels per stage.

    He et al., "Deep Residual Learning for Image Recognition", 2016, section 4.2 (the nets for CIFAR-10).
    """
    from pipeline.models.builders._networks import ResidualBlock

    return small_cnn(need, ResidualBlock, depths, widths)
