"""VGG-Small, the network without shortcuts that papers on binary networks report.

Zhang et al., LQ-Nets, ECCV 2018, after Simonyan and Zisserman, 2015. First convolution and head stay real-valued.
"""

from __future__ import annotations

from torch import nn

from evenbit.errors import RecipeError
from evenbit.models.registry import register_model
from evenbit.nn.block import PlainConv, Stem
from evenbit.nn.method import Method


@register_model
def vgg_small(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Six 3x3 convolutions, widths 128, 128, 256, 256, 512, 512, halved after every second one, and one dense layer."""
    if min(size) < 8:
        raise RecipeError(f"images of {size[0]}x{size[1]} are too small for this network; it needs 8x8")
    return nn.Sequential(
        Stem(channels, 128, method),
        PlainConv(128, 128, method, pool=True),
        PlainConv(128, 256, method),
        PlainConv(256, 256, method, pool=True),
        PlainConv(256, 512, method),
        PlainConv(512, 512, method, pool=True),
        nn.Flatten(),
        nn.Linear(512 * (size[0] // 8) * (size[1] // 8), classes),
    )
