"""A network of dense layers alone, whose hidden ones are binary.

After Hubara et al., Binarized neural networks, NeurIPS 2016. First and last layer stay real-valued.
"""

from __future__ import annotations

from torch import nn

from evenbit.models.registry import register_model
from evenbit.nn.block import PlainLinear, make_activation
from evenbit.nn.method import Method


@register_model
def mlp(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Three hidden layers of 512."""
    inputs = channels * size[0] * size[1]
    stem = nn.Sequential(nn.Linear(inputs, 512, bias=False), nn.BatchNorm1d(512), make_activation(512, method))
    hidden = (PlainLinear(512, 512, method), PlainLinear(512, 512, method))
    return nn.Sequential(nn.Flatten(), stem, *hidden, nn.Linear(512, classes))
