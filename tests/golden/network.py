"""The network of the golden checkpoints: every kind of layer of the packaged networks, in few bytes."""

from __future__ import annotations

from torch import nn

from evenbit.models.registry import add_head
from evenbit.nn.block import ResidualConv, Stem
from evenbit.nn.method import Method
from evenbit.train.checkpoint import Task

NAME = "golden"
TASK = Task(("cat", "dog", "eel"), 3, 8, 8, (0.5, 0.25, 0.5), (0.25, 0.5, 0.25))


def golden(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """A stem, two convolutions with shortcuts of which the second halves, and a head."""
    layers = nn.Sequential()
    layers.add_module("stem", Stem(channels, 8, method))
    layers.add_module(
        "stage1", nn.Sequential(ResidualConv(8, 8, method, 1, True), ResidualConv(8, 16, method, 2, True))
    )
    return add_head(layers, 16, classes)
