"""Residual networks with a shortcut for each convolution, in the forms used on small images and on ImageNet.

He et al., Deep residual learning for image recognition, CVPR 2016; a shortcut for each convolution from Liu et al.,
Bi-Real Net, ECCV 2018. Stem and head stay real-valued.
"""

from __future__ import annotations

import itertools

from torch import nn

from evenbit.models.registry import add_head, check_size, register_model
from evenbit.nn.block import ResidualConv, ResidualPair, Stem
from evenbit.nn.method import Method


def residual_network(
    method: Method,
    channels: int,
    classes: int,
    size: tuple[int, int],
    widths: tuple[int, ...],
    convs: int | tuple[int, ...],
    *,
    stem: tuple[int, int] = (3, 1),
    stem_pool: bool = False,
) -> nn.Sequential:
    """Stem, one stage for each width with `convs` convolutions, global mean, head; a stage after the first halves.

    Args:
        method: The way to binarize.
        channels: Channels of the images.
        classes: Number of logits.
        size: Height and width of the images.
        widths: Channels of each stage.
        convs: Convolutions of each stage, an even number.
        stem: Kernel and stride of the first convolution.
        stem_pool: Whether a max pooling that halves follows it.
    """
    check_size(size, 2 ** (len(widths) - 1) * stem[1] * (2 if stem_pool else 1))
    layers = nn.Sequential()
    layers.add_module("stem", Stem(channels, widths[0], method, *stem))
    if stem[1] == 2:
        size = (size[0] // 2, size[1] // 2) if stem[0] % 2 == 0 else (-(-size[0] // 2), -(-size[1] // 2))
    if stem_pool:
        layers.add_module("stem_pool", nn.MaxPool2d(3, 2, 1))
        size = (-(-size[0] // 2), -(-size[1] // 2))
    inputs = widths[0]
    counts = (convs,) * len(widths) if isinstance(convs, int) else convs
    for stage, (width, count) in enumerate(zip(widths, counts, strict=True), 1):
        stride = 1 if stage == 1 else 2
        blocks: list[ResidualConv] = []
        for _ in range(count):
            even = size[0] % 2 == 0 and size[1] % 2 == 0
            blocks.append(ResidualConv(inputs, width, method, stride, even))
            size = (-(-size[0] // stride), -(-size[1] // stride))
            inputs, stride = width, 1
        pairs = zip(blocks[::2], blocks[1::2], strict=True)
        layers.add_module(
            f"stage{stage}", nn.Sequential(*(itertools.starmap(ResidualPair, pairs) if method.double_skip else blocks))
        )
    return add_head(layers, inputs, classes)


@register_model
def resnet8(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Three stages of 2 convolutions, widths 16, 32, 64: for very small images."""
    return residual_network(method, channels, classes, size, (16, 32, 64), 2)


@register_model
def resnet20(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Three stages of 6 convolutions, widths 16, 32, 64 (CIFAR form)."""
    return residual_network(method, channels, classes, size, (16, 32, 64), 6)


@register_model
def resnet20_wide(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """`resnet20` at twice its width: 32, 64, 128."""
    return residual_network(method, channels, classes, size, (32, 64, 128), 6)


@register_model
def resnet18(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Four stages of 4 convolutions, widths 64 to 512, with the 3x3 stem of small images (CIFAR form)."""
    return residual_network(method, channels, classes, size, (64, 128, 256, 512), 4)


@register_model
def resnet34(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Four stages of 6, 8, 12 and 6 convolutions, widths 64 to 512, with the 3x3 stem of small images (CIFAR form)."""
    return residual_network(method, channels, classes, size, (64, 128, 256, 512), (6, 8, 12, 6))


@register_model
def resnet18_imagenet(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Four stages of 4 convolutions, widths 64 to 512, with the 7x7 stem of large images (ImageNet form)."""
    return residual_network(method, channels, classes, size, (64, 128, 256, 512), 4, stem=(7, 2), stem_pool=True)
