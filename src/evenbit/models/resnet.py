"""Residual networks with a shortcut for each convolution, in the forms used on small images and on ImageNet.

He et al., Deep residual learning for image recognition, CVPR 2016; a shortcut for each convolution from Liu et al.,
Bi-Real Net, ECCV 2018. Stem and head stay real-valued.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

from torch import nn

from evenbit.models.registry import add_head, check_size, register_model
from evenbit.nn.block import ResidualConv, ResidualPair, Stem
from evenbit.nn.method import Method

Block = TypeVar("Block", bound=nn.Module)


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
    """Stem, one stage of `convs` convolutions per width, global mean, head; stages after the first halve the map.

    Args:
        method: The way to binarize.
        channels: Channels of the images.
        classes: Number of logits.
        size: Height and width of the images.
        widths: Channels of each stage.
        convs: Convolutions of each stage, an even number.
        stem: Kernel and stride of the first convolution.
        stem_pool: Whether a max pooling that halves the map follows the stem.
    """
    check_size(size, 2 ** (len(widths) - 1) * stem[1] * (2 if stem_pool else 1))
    layers = nn.Sequential()
    layers.add_module("stem", Stem(channels, widths[0], method, *stem))
    size = size_after_stem(size, *stem)
    if stem_pool:
        layers.add_module("stem_pool", nn.MaxPool2d(3, 2, 1))
        size = (-(-size[0] // 2), -(-size[1] // 2))
    counts = (convs,) * len(widths) if isinstance(convs, int) else convs
    for stage, blocks in enumerate(stages(ResidualConv, method, size, widths, counts), 1):
        pairs = zip(blocks[::2], blocks[1::2], strict=True)
        layers.add_module(
            f"stage{stage}", nn.Sequential(*(itertools.starmap(ResidualPair, pairs) if method.double_skip else blocks))
        )
    return add_head(layers, widths[-1], classes)


def size_after_stem(size: tuple[int, int], kernel: int, stride: int) -> tuple[int, int]:
    """Height and width of the map that a stem of stride 1 or 2 makes of images of a size."""
    if stride == 1:
        return size
    return (size[0] // 2, size[1] // 2) if kernel % 2 == 0 else (-(-size[0] // 2), -(-size[1] // 2))


def stages(
    block: Callable[[int, int, Method, int, bool], Block],
    method: Method,
    size: tuple[int, int],
    widths: Sequence[int],
    counts: Sequence[int],
) -> list[list[Block]]:
    """The blocks of each stage, of which those after the first begin with one that halves the map.

    Args:
        block: Makes a block from its inputs, outputs, method, stride, and whether height and width of its map are even.
        method: The way to binarize.
        size: Height and width of the map that the first stage reads; it has as many channels as that stage.
        widths: Channels of each stage.
        counts: Blocks of each stage.
    """
    made: list[list[Block]] = []
    inputs = widths[0]
    for width, count in zip(widths, counts, strict=True):
        stride = 2 if made else 1
        made.append([])
        for _ in range(count):
            even = size[0] % 2 == 0 and size[1] % 2 == 0
            made[-1].append(block(inputs, width, method, stride, even))
            size = (-(-size[0] // stride), -(-size[1] // stride))
            inputs, stride = width, 1
    return made


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
