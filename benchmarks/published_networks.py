"""Networks of papers that no package which this project needs has, in torch, at any width and depth.

Howard et al., Searching for MobileNetV3, 2019 (`MobileNetV3`). Tan and Le, EfficientNet, 2019, in its form for devices
without squeeze-and-excitation and with ReLU6 (`EfficientNetLite`). Huang et al., Densely connected convolutional
networks, 2017 (`DenseNet`). Ding et al., RepVGG, 2021 (`RepVGG`). Ma et al., ShuffleNet V2, 2018 (`ShuffleNetV2`).
Choi et al., Temporal convolution for real-time keyword spotting on mobile devices, 2019 (`TCResNet`). Ronneberger et
al., U-Net, 2015, with padding and normalization as it is used today (`UNet`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Bottleneck(NamedTuple):
    """A row of a table of MobileNetV3: kernel, channels inside, channels, gate, hard-swish or ReLU, stride."""

    kernel: int
    inside: int
    channels: int
    gate: bool
    swish: bool
    stride: int


SMALL = tuple(
    Bottleneck(*row)
    for row in (
        (3, 16, 16, True, False, 2),
        (3, 72, 24, False, False, 2),
        (3, 88, 24, False, False, 1),
        (5, 96, 40, True, True, 2),
        (5, 240, 40, True, True, 1),
        (5, 240, 40, True, True, 1),
        (5, 120, 48, True, True, 1),
        (5, 144, 48, True, True, 1),
        (5, 288, 96, True, True, 2),
        (5, 576, 96, True, True, 1),
        (5, 576, 96, True, True, 1),
    )
)
# Expansion, kernel, stride, channels and number of the blocks of each stage of EfficientNet-Lite0.
LITE0 = (
    *((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3)),
    *((6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)),
)
DENSENET121 = (6, 12, 24, 16)  # layers of each block
SHUFFLENET_1X = (116, 232, 464)  # channels of each stage
SHUFFLENET_DEPTHS = (4, 8, 4)  # units of each stage
TC_RESNET8 = (16, 24, 32, 48)  # channels of the stem and of each block
REPVGG_A0 = ((2, 48), (4, 96), (14, 192), (1, 1280))  # blocks and channels of each stage


def convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: type[nn.Module] | None = nn.ReLU
) -> nn.Sequential:
    """A convolution, its normalization and perhaps an activation."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), *([act(inplace=True)] if act else []))  # type: ignore[call-arg]


class Gate(nn.Module):
    """Squeeze-and-excitation with a hard sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(8, channels // 4)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.squeeze, self.excite = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)
        self.relu, self.gate = nn.ReLU(inplace=True), nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """A factor for each channel, times the map."""
        return x * self.gate(self.excite(self.relu(self.squeeze(self.pool(x)))))


class Inverted(nn.Module):
    """1x1 up, depthwise, perhaps a gate, 1x1 down, and a shortcut where the sizes allow it."""

    def __init__(
        self, inputs: int, inside: int, outputs: int, kernel: int, stride: int, act: type[nn.Module], gate: bool
    ) -> None:
        super().__init__()
        parts = [] if inside == inputs else [convolution(inputs, inside, 1, act=act)]
        parts.append(convolution(inside, inside, kernel, stride, inside, act))
        if gate:
            parts.append(nn.Sequential(Gate(inside)))
        self.body = nn.Sequential(*parts, convolution(inside, outputs, 1, act=None))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return x + self.body(x) if self.shortcut else self.body(x)


class MobileNetV3(nn.Sequential):
    """MobileNetV3-small, or what another table says."""

    def __init__(self, channels: int = 3, classes: int = 1000, rows: Sequence[Bottleneck] = SMALL) -> None:
        body, inputs = [convolution(channels, 16, 3, 2, act=nn.Hardswish)], 16
        for kernel, inside, outputs, gate, swish, stride in rows:
            act = nn.Hardswish if swish else nn.ReLU
            body.append(nn.Sequential(Inverted(inputs, inside, outputs, kernel, stride, act, gate)))
            inputs = outputs
        wide = 6 * inputs
        hidden = nn.Sequential(nn.Linear(wide, 1024), nn.Hardswish(inplace=True), nn.Dropout(0.2))
        super().__init__(
            *body,
            convolution(inputs, wide, 1, act=nn.Hardswish),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), hidden, nn.Linear(1024, classes)),
        )


class EfficientNetLite(nn.Sequential):
    """EfficientNet-Lite0, or what another table says."""

    def __init__(
        self, channels: int = 3, classes: int = 1000, stages: Sequence[tuple[int, int, int, int, int]] = LITE0
    ) -> None:
        body: list[nn.Module] = [convolution(channels, 32, 3, 2, act=nn.ReLU6)]
        inputs = 32
        for expansion, kernel, stride, outputs, blocks in stages:
            for index in range(blocks):
                step = 1 if index else stride
                body.append(Inverted(inputs, expansion * inputs, outputs, kernel, step, nn.ReLU6, gate=False))
                inputs = outputs
        body += [convolution(inputs, 4 * inputs, 1, act=nn.ReLU6), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*body, nn.Dropout(0.2), nn.Linear(4 * inputs, classes))


class DenseLayer(nn.Module):
    """Normalization and ReLU come before each convolution; what it makes is joined to what it reads."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), nn.Conv2d(inputs, 4 * growth, 1, bias=False)),
            *(nn.BatchNorm2d(4 * growth), nn.ReLU(inplace=True)),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return torch.cat([x, self.body(x)], 1)


class DenseNet(nn.Sequential):
    """DenseNet-121, or another one: blocks of dense layers, and transitions that halve channels and sizes."""

    def __init__(
        self, channels: int = 3, classes: int = 1000, blocks: Sequence[int] = DENSENET121, growth: int = 32
    ) -> None:
        inputs = 2 * growth
        stem = nn.Conv2d(channels, inputs, 7, 2, 3, bias=False)
        body: list[nn.Module] = [stem, nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
        for index, layers in enumerate(blocks):
            if index:
                body += [nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)]
                body += [nn.Conv2d(inputs, inputs // 2, 1, bias=False), nn.AvgPool2d(2)]
                inputs //= 2
            body += [DenseLayer(inputs + growth * layer, growth) for layer in range(layers)]
            inputs += growth * layers
        body += [nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*body, nn.Linear(inputs, classes))


class RepVGGBlock(nn.Module):
    """As it is trained: 3x3, 1x1 and, where the sizes allow it, identity, each normalized, and a ReLU of their sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs))
        self.narrow = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.identity = nn.BatchNorm2d(inputs) if inputs == outputs and stride == 1 else None
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y = self.wide(x) + self.narrow(x)
        return self.act(y if self.identity is None else y + self.identity(x))

    @torch.no_grad()
    def fused(self) -> nn.Sequential:
        """As it is used: one 3x3 convolution with a bias, and a ReLU."""
        wide = self.wide[0]
        made = nn.Conv2d(wide.in_channels, wide.out_channels, 3, wide.stride, 1)
        narrow = nn.functional.pad(self.narrow[0].weight, [1] * 4)
        branches = [(wide.weight, self.wide[1]), (narrow, self.narrow[1])]
        if self.identity is not None:
            branches.append((nn.init.dirac_(torch.empty_like(wide.weight)), self.identity))
        made.weight.zero_()
        made.bias.zero_()
        for weight, norm in branches:
            scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            made.weight += weight * scale[:, None, None, None]
            made.bias += norm.bias - norm.running_mean * scale
        return nn.Sequential(made, nn.ReLU(inplace=True))


class RepVGG(nn.Sequential):
    """RepVGG-A0, or another one, as it is trained; `fused` gives the form that is used."""

    def __init__(self, channels: int = 3, classes: int = 1000, stages: Sequence[tuple[int, int]] = REPVGG_A0) -> None:
        inputs = stages[0][1]
        body: list[nn.Module] = [RepVGGBlock(channels, inputs, 2)]
        for blocks, outputs in stages:
            for index in range(blocks):
                body.append(RepVGGBlock(inputs, outputs, 1 if index else 2))
                inputs = outputs
        super().__init__(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))

    def fused(self) -> nn.Sequential:
        """The same network with one convolution a block."""
        return nn.Sequential(*(part.fused() if isinstance(part, RepVGGBlock) else part for part in self))


class Shuffle(nn.Module):
    """A unit of ShuffleNetV2: half of the channels goes around, or all are halved in size; then both are shuffled."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        enters = inputs if stride > 1 else half
        self.through = nn.Sequential(
            convolution(enters, half, 1),
            convolution(half, half, 3, stride, half, act=None),
            convolution(half, half, 1),
        )
        self.around = None
        if stride > 1:
            parts = (convolution(inputs, inputs, 3, stride, inputs, act=None), convolution(inputs, half, 1))
            self.around = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        around, through = x.chunk(2, dim=1) if self.around is None else (self.around(x), x)
        x = torch.cat((around, self.through(through)), dim=1)
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


class ShuffleNetV2(nn.Sequential):
    """ShuffleNetV2 1.0x, or another one."""

    def __init__(
        self,
        channels: int = 3,
        classes: int = 1000,
        widths: Sequence[int] = SHUFFLENET_1X,
        depths: Sequence[int] = SHUFFLENET_DEPTHS,
        wide: int = 1024,
    ) -> None:
        inputs = 24
        body: list[nn.Module] = [convolution(channels, inputs, 3, 2), nn.MaxPool2d(3, 2, 1)]
        for outputs, depth in zip(widths, depths, strict=True):
            for index in range(depth):
                body.append(Shuffle(inputs, outputs, 1 if index else 2))
                inputs = outputs
        body += [convolution(inputs, wide, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*body, nn.Linear(wide, classes))


class Temporal(nn.Module):
    """A block of TC-ResNet: two convolutions along time, and a shortcut of one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv1d(inputs, outputs, 9, 2, 4, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()),
            *(nn.Conv1d(outputs, outputs, 9, 1, 4, bias=False), nn.BatchNorm1d(outputs)),
        )
        shortcut = (nn.Conv1d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm1d(outputs), nn.ReLU())
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return torch.relu(self.body(x) + self.shortcut(x))


class TCResNet(nn.Sequential):
    """TC-ResNet8, or another one: keywords by the coefficients of a second of sound, which are its channels."""

    def __init__(self, coefficients: int = 40, classes: int = 12, widths: Sequence[int] = TC_RESNET8) -> None:
        body: list[nn.Module] = [nn.Conv1d(coefficients, widths[0], 3, padding=1, bias=False)]
        body += [Temporal(inputs, outputs) for inputs, outputs in pairwise(widths)]
        super().__init__(*body, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(widths[-1], classes))


class UNet(nn.Module):
    """A class for each pixel: maps are halved, then doubled by transposed convolutions and joined with those before."""

    def __init__(self, channels: int = 3, classes: int = 21, widths: Sequence[int] = (32, 64, 128, 256)) -> None:
        super().__init__()
        self.down = nn.ModuleList(self._pair(*ends) for ends in pairwise((channels, *widths)))
        self.halve = nn.MaxPool2d(2)
        above = list(pairwise(widths[::-1]))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(inputs, outputs, 2, 2) for inputs, outputs in above)
        self.up = nn.ModuleList(self._pair(2 * outputs, outputs) for _, outputs in above)
        self.head = nn.Conv2d(widths[0], classes, 1)

    @staticmethod
    def _pair(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(convolution(inputs, outputs, 3), convolution(outputs, outputs, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of each pixel."""
        maps = []
        for index, pair in enumerate(self.down):
            x = pair(self.halve(x) if index else x)
            maps.append(x)
        for enlarge, pair, before in zip(self.enlarge, self.up, maps[-2::-1], strict=True):
            x = pair(torch.cat([before, enlarge(x)], 1))
        return self.head(x)
