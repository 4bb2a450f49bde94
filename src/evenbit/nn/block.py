"""How the parts are put together: one convolution with everything that a method puts around it.

y = BN(conv(binary activation(x)))  [max-pooled before BN in networks without shortcuts]
z = activation(y + shortcut(x))
"""

from __future__ import annotations

import dataclasses

from jaxtyping import Float
from torch import Tensor, nn

from evenbit.nn import fused
from evenbit.nn.activation import BinaryActivation
from evenbit.nn.conv import BinaryConv2d, BinaryLinear
from evenbit.nn.method import Method
from evenbit.nn.refinement import Maxout, RPReLU
from evenbit.nn.weight import RealWeights, WeightBinarizer

# Settings that networks read from their layers, for instance to compute a padding.
SETTINGS: tuple[str, ...] = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
SETTINGS += ("padding_mode", "in_features", "out_features")


def make_activation(channels: int, method: Method) -> nn.Module:
    """The activation after the sum with the shortcut."""
    if method.activation == "rprelu":
        return RPReLU(channels)
    if method.activation == "maxout":
        return Maxout(channels)
    if method.activation == "hardtanh":
        return nn.Hardtanh()
    return nn.ReLU() if method.activation == "relu" else nn.Identity()


def make_binarizer(method: Method) -> WeightBinarizer | RealWeights:
    """The method's weight binarization."""
    if not method.binary_weights:
        return RealWeights()
    return WeightBinarizer(
        standardize=method.weight_standardized,
        clamp=method.weight_clamp,
        scale=method.weight_scale,
        estimator=method.weight_estimator,
    )


def make_conv(
    inputs: int, outputs: int, method: Method, stride: int = 1, kernel: int = 3, groups: int = 1
) -> nn.Sequential:
    """A convolution that keeps the size at stride 1, with the signs before it if the method is binary."""
    padding = kernel // 2
    if not method.binary:
        return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False))
    conv = BinaryConv2d(
        inputs,
        outputs,
        kernel,
        make_binarizer(method),
        stride=stride,
        padding=padding,
        centred=method.two_values,
        groups=groups,
    )
    return nn.Sequential(BinaryActivation(inputs, method), conv)


def make_shortcut(inputs: int, outputs: int, stride: int, even: bool) -> nn.Module:
    """The shortcut around a convolution: average pooling at stride 2, a real 1x1 convolution if the channels change.

    A map whose height or width is odd (not `even`) is subsampled instead of pooled.
    """
    pools = stride == 2 and even
    if inputs != outputs:
        return nn.Sequential(
            nn.AvgPool2d(2) if pools else nn.Identity(),
            nn.Conv2d(inputs, outputs, 1, 1 if pools else stride, bias=False),
            nn.BatchNorm2d(outputs),
        )
    return nn.Identity() if stride == 1 else nn.AvgPool2d(2 if pools else 1, stride)


def finish(y: Tensor, shortcut: Tensor | None, norm: nn.BatchNorm2d, activation: nn.Module) -> Tensor:
    """The steps after a convolution: `activation(norm(y) + shortcut)`."""
    if norm.training and isinstance(activation, RPReLU) and fused.fits(y, *([] if shortcut is None else [shortcut])):
        return fused.norm_rprelu(y, shortcut, norm, activation)
    y = norm(y)
    return activation(y if shortcut is None else y + shortcut)  # type: ignore[no-any-return]


class Stem(nn.Module):
    """The first convolution, real-valued, with normalization and activation.

    Args:
        inputs: Channels C of the images.
        outputs: Channels O.
        method: Decides which activation follows the normalization.
        kernel: Height and width of the kernel.
        stride: 1 or 2.

    Shape:
        `[N, C, H, W]` to `[N, O, H, W]` with an odd kernel and stride 1. With stride 2 to half the size, rounded down
        if the kernel is even, else up.
    """

    def __init__(self, inputs: int, outputs: int, method: Method, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - stride + 1) // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.activation = make_activation(outputs, method)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n o hh ww"]:
        """See the class."""
        return finish(self.conv(x), None, self.norm, self.activation)


def for_vectors(method: Method) -> Method:
    """The method for a layer on vectors, without the parts that take a mean over pixels or cut a map into cells."""
    adjustment = "channel" if method.adjustment == "instance" else method.adjustment
    return dataclasses.replace(
        method, excitation_groups=0, third_moment=False, zero_point_cells=1, adjustment=adjustment
    )


class ResidualConv(nn.Module):
    """One convolution with a shortcut of its own, the unit of binary residual networks.

    A shortcut for each convolution keeps a real-valued path through the whole network (Bi-Real Net, ECCV 2018).
    Where the size changes, the shortcut is a real average pooling, and where the channels change, a 1x1 convolution.

    Args:
        inputs: Channels C of the input.
        outputs: Channels O of the output.
        method: The way to binarize.
        stride: 1 or 2.
        even: Whether the input's height and width are even; an odd map is subsampled instead of pooled.
        kernel: Height and width of the kernel, an odd number.
        groups: Channel groups of the convolution.

    Shape:
        `[N, C, H, W]` to `[N, O, ceil(H / stride), ceil(W / stride)]`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        method: Method,
        stride: int = 1,
        even: bool = True,
        *,
        kernel: int = 3,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv = make_conv(inputs, outputs, method, stride, kernel, groups)
        self.norm = nn.BatchNorm2d(outputs)
        self.shortcut = make_shortcut(inputs, outputs, stride, even)
        self.activation = make_activation(outputs, method)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n o hh ww"]:
        """See the class."""
        return finish(self.conv(x), self.shortcut(x), self.norm, self.activation)


class ResidualPair(nn.Module):
    """Two convolutions; the second gets the shortcut of the first in addition to its own.

    h = activation(BN(conv(x)) + shortcut(x))
    z = activation(BN(conv(h)) + h + shortcut(x))

    Args:
        first: The first convolution.
        second: The second one, whose shortcut is the identity.

    Shape:
        As for `first`.
    """

    def __init__(self, first: ResidualConv, second: ResidualConv) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n o hh ww"]:
        """See the class."""
        shortcut = self.first.shortcut(x)
        h = finish(self.first.conv(x), shortcut, self.first.norm, self.first.activation)
        return finish(self.second.conv(h), h + shortcut, self.second.norm, self.second.activation)


class PlainConv(nn.Module):
    """One 3x3 convolution without shortcut, for VGG-like networks; pooling, if any, comes before the normalization.

    Args:
        inputs: Channels C of the input.
        outputs: Channels O of the output.
        method: The way to binarize.
        pool: Whether to halve the size by max pooling.

    Shape:
        `[N, C, H, W]` to `[N, O, H, W]`, or to half the size, rounded down.
    """

    def __init__(self, inputs: int, outputs: int, method: Method, pool: bool = False) -> None:
        super().__init__()
        self.conv = make_conv(inputs, outputs, method)
        self.pool: nn.Module = nn.MaxPool2d(2) if pool else nn.Identity()
        self.norm = nn.BatchNorm2d(outputs)
        self.activation = make_activation(outputs, method)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n o hh ww"]:
        """See the class."""
        return finish(self.pool(self.conv(x)), None, self.norm, self.activation)


class PlainLinear(nn.Module):
    """One dense layer without shortcut, followed by the normalization.

    Args:
        inputs: Inputs C.
        outputs: Outputs O.
        method: The way to binarize.

    Shape:
        `[N, C]` to `[N, O]`.
    """

    def __init__(self, inputs: int, outputs: int, method: Method) -> None:
        super().__init__()
        self.linear: nn.Module = nn.Linear(inputs, outputs, bias=False)
        if method.binary:
            linear = BinaryLinear(inputs, outputs, make_binarizer(method), centred=method.two_values)
            self.linear = nn.Sequential(BinaryActivation(inputs, for_vectors(method)), linear)
        self.norm = nn.BatchNorm1d(outputs)
        self.activation = make_activation(outputs, method)

    def forward(self, x: Float[Tensor, "n c"]) -> Float[Tensor, "n o"]:
        """See the class."""
        return self.activation(self.norm(self.linear(x)))  # type: ignore[no-any-return]


class BinaryLayer(nn.Module):
    """Replaces a real layer: the signs of the input, the layer with binary weights, and a normalization if needed.

    The settings of the layer that it replaces (`stride`, `in_features`, ...) can be read from it too.

    Args:
        activation: Turns the input into ±1.
        layer: The layer with binary weights.
        norm: The normalization after it, or the identity.
        replaced: The layer that it replaces.

    Shape:
        As the replaced layer.
    """

    def __init__(self, activation: nn.Module, layer: nn.Module, norm: nn.Module, replaced: nn.Module) -> None:
        super().__init__()
        self.activation = activation
        self.layer = layer
        self.norm = norm
        for name in SETTINGS:
            if hasattr(replaced, name):
                setattr(self, name, getattr(replaced, name))

    @property
    def weight(self) -> Tensor:
        """The latent weights."""
        return self.layer.weight  # type: ignore[return-value]

    @property
    def bias(self) -> Tensor | None:
        """What its normalization adds; None if it has none."""
        return getattr(self.norm, "bias", None)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name that the real layer's parameter has)
        """See the class."""
        return self.norm(self.layer(self.activation(input)))  # type: ignore[no-any-return]


class BinaryTokensLayer(BinaryLayer):
    """`BinaryLayer` for a dense layer that was applied along the last axis, `[..., C]` to `[..., O]`.

    The tokens of all images are treated as one batch of vectors.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """See the class."""
        return super().forward(input.reshape(-1, input.shape[-1])).reshape(*input.shape[:-1], -1)


class BinarySequenceLayer(BinaryLayer):
    """`BinaryLayer` for a `Conv1d`, `[N, C, L]` to `[N, O, L']`: sequences are maps of one row."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """See the class."""
        return super().forward(input.unsqueeze(2)).squeeze(2)
