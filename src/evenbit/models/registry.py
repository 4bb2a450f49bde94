"""Networks by name: a plain function behind `@register_model`; its name is what users type."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from evenbit.errors import RecipeError, unknown
from evenbit.nn.block import ResidualPair
from evenbit.nn.method import Method, resolve_method

# (method, channels, classes, (height, width)) -> network from normalized images to logits
Builder = Callable[[Method, int, int, tuple[int, int]], nn.Sequential]
_MODELS: dict[str, Builder] = {}


def register_model(builder: Builder) -> Builder:
    """Decorator: makes `builder` available under its name."""
    _MODELS[builder.__name__] = builder
    return builder


def model_names() -> tuple[str, ...]:
    """Names of all registered networks."""
    return tuple(sorted(_MODELS))


def check_size(size: tuple[int, int], least: int) -> None:
    """Raises RecipeError if an image of that height and width is smaller than a network needs."""
    if min(size) < least:
        raise RecipeError(f"images of {size[0]}x{size[1]} are too small for this network; it needs {least}x{least}")


def add_head(layers: nn.Sequential, inputs: int, classes: int) -> nn.Sequential:
    """Adds the mean over the pixels and a dense layer to the logits; returns `layers`."""
    layers.add_module("pool", nn.AdaptiveAvgPool2d(1))
    layers.add_module("flatten", nn.Flatten())
    layers.add_module("head", nn.Linear(inputs, classes))
    return layers


class Normalize(nn.Module):
    """`(x - mean) / std` for each channel, part of the network so that its file takes plain images.

    Args:
        mean: Mean of each channel, in units of [0, 1].
        std: Standard deviation of each channel, in units of [0, 1].

    Shape:
        Images `[N, C, H, W]` in [0, 1] to the same shape.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """See the class."""
        return (x - self.mean) / self.std


def create_model(
    name: str,
    *,
    method: Method | str = "fd",
    channels: int = 3,
    classes: int = 10,
    height: int = 32,
    width: int = 32,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> nn.Module:
    """A fresh network, initialized from torch's global random state.

    Args:
        name: One of `model_names()`.
        method: The way to binarize, or its name.
        channels: Channels of the images.
        classes: Number of logits.
        height: Height of the images.
        width: Width of the images.
        mean: Of the training images for each channel, in units of [0, 1]; 0.5 for each if not given. See
            `evenbit.data.channel_statistics`.
        std: The same for the standard deviation; 0.25 for each if not given.

    Returns:
        A network from images `[N, channels, height, width]` in [0, 1] to logits `[N, classes]`.

    Raises:
        RecipeError: If name or method is unknown, the images are too small for the network, or the method asks for
            shortcuts over two convolutions of a network that has none.
    """
    if name not in _MODELS:
        raise RecipeError(unknown("model", name, model_names()))
    method = resolve_method(method, {}) if isinstance(method, str) else method
    network = _MODELS[name](method, channels, classes, (height, width))
    if method.double_skip and not any(isinstance(module, ResidualPair) for module in network.modules()):
        raise RecipeError(f"the knob 'double_skip' is for residual networks; {name} has no pairs of convolutions")
    normalize = Normalize(mean or (0.5,) * channels, std or (0.25,) * channels)
    return nn.Sequential(OrderedDict(normalize=normalize, **dict(network.named_children())))
