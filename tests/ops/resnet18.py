"""ResNet-18 as torchvision builds it, with modules where it has modules: their operations are counted too."""

from itertools import pairwise

from torch import Tensor, nn

from ops.core.model import Architecture
from ops.core.operation import TorchModel


class Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, hidden: Tensor) -> Tensor:
        inside = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(hidden)))))
        return self.relu(inside + (hidden if self.downsample is None else self.downsample(hidden)))


class ResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        widths = [64, 64, 128, 256, 512]
        stages = pairwise(widths)
        self.layers = nn.Sequential(
            *(nn.Sequential(Block(b, a, 1 if a == 64 else 2), Block(a, a, 1)) for b, a in stages)
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, 1000)

    def forward(self, pixel_values: Tensor) -> Tensor:
        hidden = self.layers(self.maxpool(self.relu(self.bn1(self.conv1(pixel_values)))))
        return self.fc(self.avgpool(hidden).flatten(1))


def resnet18(side: int = 224) -> TorchModel:
    classes = tuple(map(str, range(1000)))
    inputs = {"pixel_values": ("float32", (3, side, side))}
    return TorchModel(ResNet18().eval(), Architecture("resnet18", "", {}, "image-classification", classes, inputs))
