"""A separable network: 3x3 convolutions within each channel, and 1x1 convolutions between channels, both binary.

Howard et al., MobileNets: efficient convolutional neural networks for mobile vision applications, 2017, with a shortcut
for each convolution as in Liu et al., Bi-Real Net, ECCV 2018. Stem and head stay real-valued.
"""

from __future__ import annotations

from torch import nn

from evenbit.models.registry import add_head, check_size, register_model
from evenbit.nn.block import ResidualConv, Stem
from evenbit.nn.method import Method

# Width and stride of each pair of convolutions, for small images: halved three times.
STAGES = (((64, 1), (64, 1)), ((128, 2), (128, 1)), ((256, 2), (256, 1), (256, 1)), ((512, 2), (512, 1)))


@register_model
def mobilenet(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Nine pairs of a depthwise and a 1x1 convolution, widths 64 to 512."""
    check_size(size, 8)
    layers = nn.Sequential()
    layers.add_module("stem", Stem(channels, 32, method))
    inputs = 32
    for stage, pairs in enumerate(STAGES, 1):
        blocks: list[nn.Module] = []
        for width, stride in pairs:
            even = size[0] % 2 == 0 and size[1] % 2 == 0
            blocks.append(ResidualConv(inputs, inputs, method, stride, even, groups=inputs))
            blocks.append(ResidualConv(inputs, width, method, kernel=1))
            size = (-(-size[0] // stride), -(-size[1] // stride))
            inputs = width
        layers.add_module(f"stage{stage}", nn.Sequential(*blocks))
    return add_head(layers, inputs, classes)
