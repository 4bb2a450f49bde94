"""Residual networks with a shortcut over two convolutions, the form that 8-bit engines run fastest.

He et al., Deep residual learning for image recognition, CVPR 2016; the wide ones after Zagoruyko and Komodakis, Wide
residual networks, BMVC 2016. With a shortcut for each convolution, as binary networks need it (`resnet`), an 8-bit
engine pays twice as many additions for little accuracy, so these are the rivals that binary networks are measured by.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from evenbit.models.registry import add_head, check_size, register_model
from evenbit.models.resnet import size_after_stem, stages
from evenbit.nn.block import Stem, finish, make_activation, make_conv, make_shortcut
from evenbit.nn.method import Method

PATCH = (4, 2)  # kernel and stride of a stem that halves the image


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with one shortcut: `activation(BN(conv(activation(BN(conv(x))))) + shortcut(x))`.

    Args:
        inputs: Channels C of the input.
        outputs: Channels O of the output.
        method: The way to binarize.
        stride: 1 or 2.
        even: Whether the input's height and width are even; an odd map is subsampled instead of pooled.

    Shape:
        `[N, C, H, W]` to `[N, O, ceil(H / stride), ceil(W / stride)]`.
    """

    def __init__(self, inputs: int, outputs: int, method: Method, stride: int, even: bool) -> None:
        super().__init__()
        self.conv1 = make_conv(inputs, outputs, method, stride)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.activation1 = make_activation(outputs, method)
        self.conv2 = make_conv(outputs, outputs, method)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = make_shortcut(inputs, outputs, stride, even)
        self.activation2 = make_activation(outputs, method)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n o hh ww"]:
        """See the class."""
        h = finish(self.conv1(x), None, self.norm1, self.activation1)
        return finish(self.conv2(h), self.shortcut(x), self.norm2, self.activation2)


def _basic(
    method: Method,
    channels: int,
    classes: int,
    size: tuple[int, int],
    widths: tuple[int, ...],
    blocks: int,
    stem: tuple[int, int] = (3, 1),
) -> nn.Sequential:
    """A stem of that kernel and stride, a stage of `blocks` blocks for each width, global mean, head."""
    check_size(size, 2 ** (len(widths) - 1) * stem[1])
    layers = nn.Sequential()
    layers.add_module("stem", Stem(channels, widths[0], method, *stem))
    made = stages(BasicBlock, method, size_after_stem(size, *stem), widths, (blocks,) * len(widths))
    for stage, stack in enumerate(made, 1):
        layers.add_module(f"stage{stage}", nn.Sequential(*stack))
    return add_head(layers, widths[-1], classes)


@register_model
def basic8(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Three stages of one block, widths 16, 32, 64."""
    return _basic(method, channels, classes, size, (16, 32, 64), 1)


@register_model
def basic20_half(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Three stages of three blocks, widths 8, 16, 32."""
    return _basic(method, channels, classes, size, (8, 16, 32), 3)


@register_model
def basic20(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """ResNet-20 of He et al.: three stages of three blocks, widths 16, 32, 64."""
    return _basic(method, channels, classes, size, (16, 32, 64), 3)


@register_model
def basic20_wider(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """`basic20` at one and a half times its width: 24, 48, 96."""
    return _basic(method, channels, classes, size, (24, 48, 96), 3)


@register_model
def basic20_wide(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """`basic20` at twice its width: 32, 64, 128."""
    return _basic(method, channels, classes, size, (32, 64, 128), 3)


@register_model
def basic14_wide(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Three stages of two blocks, widths 32, 64, 128: the shape of WRN-16-2."""
    return _basic(method, channels, classes, size, (32, 64, 128), 2)


@register_model
def patch14(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Three stages of two blocks, widths 16, 32, 64, after a stem that halves the image: four times fewer pixels."""
    return _basic(method, channels, classes, size, (16, 32, 64), 2, PATCH)


@register_model
def patch14_wider(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """`patch14` at one and a half times its width: 24, 48, 96."""
    return _basic(method, channels, classes, size, (24, 48, 96), 2, PATCH)


@register_model
def patch14_wide(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """`patch14` at twice its width: 32, 64, 128."""
    return _basic(method, channels, classes, size, (32, 64, 128), 2, PATCH)


@register_model
def patch10(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Two stages of two blocks, widths 64 and 128, after a stem that halves the image."""
    return _basic(method, channels, classes, size, (64, 128), 2, PATCH)
