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
    convolutions = _convolutions(method, channels, size)
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(_features(size), classes))


@register_model
def vgg_dense(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """The convolutions of `vgg_small`, then two dense layers of 1024 and the last one.

    The network of Hubara et al., Binarized neural networks, NeurIPS 2016.
    """
    convolutions = _convolutions(method, channels, size)
    dense = (PlainLinear(_features(size), 1024, method), PlainLinear(1024, 1024, method))
    return nn.Sequential(*convolutions, nn.Flatten(), *dense, nn.Linear(1024, classes))


def _features(size: tuple[int, int]) -> int:
    """Numbers that the last convolution leaves of an image."""
    return 512 * (size[0] // 8) * (size[1] // 8)


def _convolutions(method: Method, channels: int, size: tuple[int, int]) -> nn.Sequential:
    check_size(size, 8)
    return nn.Sequential(
        Stem(channels, 128, method),
        PlainConv(128, 128, method, pool=True),
        PlainConv(128, 256, method),
        PlainConv(256, 256, method, pool=True),
        PlainConv(256, 512, method),
        PlainConv(512, 512, method, pool=True),
    )
