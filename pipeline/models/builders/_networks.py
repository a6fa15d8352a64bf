"""Small convolutional networks for pictures of a few dozen pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around which the input goes unchanged, or projected where the shape changes."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Identity() if (before, stride) == (after, 1) else _projection(before, after, stride)
        self.relu2 = nn.ReLU()

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H / stride, W / stride)."""
        inside = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(hidden)))))
        result: Tensor = self.relu2(inside + self.shortcut(hidden))
        return result


def _projection(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))


class SeparableBlock(nn.Module):
    """A 3x3 convolution of each channel by itself, then a 1x1 convolution across channels."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(before, before, 3, stride=stride, padding=1, groups=before, bias=False)
        self.norm1 = nn.BatchNorm2d(before)
        self.relu1 = nn.ReLU()
        self.pointwise = nn.Conv2d(before, after, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.relu2 = nn.ReLU()

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H / stride, W / stride)."""
        hidden = self.relu1(self.norm1(self.depthwise(hidden)))
        result: Tensor = self.relu2(self.norm2(self.pointwise(hidden)))
        return result


class SmallCNN(nn.Module):
    """A 3x3 stem, stages of blocks (each stage but the first halves the sides), the mean over the sides, a classifier."""

    def __init__(
        self, block: type[nn.Module], *, channels: int, classes: int, depths: Sequence[int], widths: Sequence[int]
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        stages, before = [], widths[0]
        for number, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            strides = [2 if number else 1] + [1] * (depth - 1)
            stages.append(
                nn.Sequential(*(block(before if not at else width, width, s) for at, s in enumerate(strides)))
            )
            before = width
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(before, classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(N, channels, H, W) -> logits (N, classes)."""
        hidden = self.pool(self.stages(self.stem(pixel_values)))
        logits: Tensor = self.classifier(torch.flatten(hidden, 1))
        return logits
