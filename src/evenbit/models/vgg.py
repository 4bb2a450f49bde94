"""Networks without shortcuts that papers on binary networks report, after Simonyan and Zisserman, 2015.

First convolution and last dense layer stay real-valued.
"""

from __future__ import annotations

from torch import nn

from evenbit.models.registry import check_size, register_model
from evenbit.nn.block import PlainConv, PlainLinear, Stem
from evenbit.nn.method import Method


@register_model
def vgg_small(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Six 3x3 convolutions, widths 128, 128, 256, 256, 512, 512, halved after every second one, and one dense layer.

    VGG-Small of Zhang et al., LQ-Nets, ECCV 2018.
    """
    return _plain(method, channels, classes, size, 128)


@register_model
def vgg_slim(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """`vgg_small` at a quarter of its width, 32 to 128, for small devices and for training on a CPU."""
    return _plain(method, channels, classes, size, 32)


@register_model
def vgg_dense(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """The convolutions of `vgg_small`, then two dense layers of 1024 and the last one.

    The network of Hubara et al., Binarized neural networks, NeurIPS 2016.
    """
    convolutions = _convolutions(method, channels, size, 128)
    dense = (PlainLinear(_features(size, 128), 1024, method), PlainLinear(1024, 1024, method))
    return nn.Sequential(*convolutions, nn.Flatten(), *dense, nn.Linear(1024, classes))


def _plain(method: Method, channels: int, classes: int, size: tuple[int, int], width: int) -> nn.Sequential:
    convolutions = _convolutions(method, channels, size, width)
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(_features(size, width), classes))


def _features(size: tuple[int, int], width: int) -> int:
    """Numbers that the last convolution leaves of an image."""
    return 4 * width * (size[0] // 8) * (size[1] // 8)


def _convolutions(method: Method, channels: int, size: tuple[int, int], width: int) -> nn.Sequential:
    """Two convolutions of `width` filters, two of twice as many and two of four times as many."""
    check_size(size, 8)
    return nn.Sequential(
        Stem(channels, width, method),
        PlainConv(width, width, method, pool=True),
        PlainConv(width, 2 * width, method),
        PlainConv(2 * width, 2 * width, method, pool=True),
        PlainConv(2 * width, 4 * width, method),
        PlainConv(4 * width, 4 * width, method, pool=True),
    )
