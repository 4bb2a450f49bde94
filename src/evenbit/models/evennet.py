"""Networks made for the engine: what is cheap there is used, what is dear there is left out.

Measured op by op (docs/performance.md), a binary convolution of 64 channels and more runs at 60 % or more of what the
CPU can do, one of 16 channels at a third of it. A pass over a value of a real map takes as long as about fifty binary
multiply-adds. Most bytes that are not bits are real convolutions. From that these rules follow:

- Few pixels and many channels. The stem is a 4x4 convolution of stride 2, so the largest maps have a quarter of the
  pixels, and the widest maps are the smallest.
- Three stages, each of twice the width of the one before. Between them there is one real 1x1 convolution, on the
  smaller map.
- All convolutions take about the same time, since each stage has four times the weights and a quarter of the pixels of
  the one before. One of the last stage takes 74 KB, though, one of the first stage 5 KB, so deeper networks have more
  convolutions in the first two stages than in the last one.
- Two shortcuts: every second convolution also gets the input of the one before (`ResidualPair`), which costs one
  addition.

With two stages of widths 64 and 128, a network that takes as long as `evennet_s` is 3.5 points less accurate after four
epochs on CIFAR-10, on held-out images (docs/front.md).

Sources: the shortcut for each convolution from Liu et al., Bi-Real Net, ECCV 2018; networks chosen by their measured
time from Bannink et al., Larq Compute Engine, MLSys 2021.
"""

from __future__ import annotations

import dataclasses

from torch import nn

from evenbit.models.registry import register_model
from evenbit.models.resnet import residual_network
from evenbit.nn.method import Method


def evennet(
    method: Method,
    channels: int,
    classes: int,
    size: tuple[int, int],
    widths: tuple[int, ...],
    convs: int | tuple[int, ...],
) -> nn.Sequential:
    """A network by these rules with other stages; the arguments are those of `residual_network`."""
    paired = dataclasses.replace(method, double_skip=True)
    return residual_network(paired, channels, classes, size, widths, convs, stem=(4, 2))


@register_model
def evennet_s(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Three stages of 4 convolutions, widths 32, 64 and 128."""
    return evennet(method, channels, classes, size, (32, 64, 128), 4)


@register_model
def evennet_m(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Three stages of 2 convolutions, widths 64, 128 and 256."""
    return evennet(method, channels, classes, size, (64, 128, 256), 2)


@register_model
def evennet_l(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Three stages of 4, 4 and 2 convolutions, widths 64, 128 and 256."""
    return evennet(method, channels, classes, size, (64, 128, 256), (4, 4, 2))


@register_model
def evennet_xl(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Three stages of 8, 8 and 4 convolutions, widths 64, 128 and 256."""
    return evennet(method, channels, classes, size, (64, 128, 256), (8, 8, 4))
