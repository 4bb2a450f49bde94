"""A network of inverted residuals for small images, a rival of binary networks in 8 bits.

Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks, CVPR 2018.
"""

from __future__ import annotations

import itertools

from jaxtyping import Float
from torch import Tensor, nn

from evenbit.errors import RecipeError
from evenbit.models.registry import add_head, check_size, register_model
from evenbit.nn.block import Stem
from evenbit.nn.method import Method

EXPANSION = 6
# Width and stride of each block, for small images: halved twice.
BLOCKS = ((16, 1), (16, 1), (24, 1), (24, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1))
LAST = 256  # channels before the mean over the pixels


class InvertedResidual(nn.Module):
    """`x + BN(project(relu6(BN(depthwise(relu6(BN(expand(x))))))))`, the shortcut only where the shape stays.

    Args:
        inputs: Channels C of the input.
        outputs: Channels O of the output.
        stride: 1 or 2.

    Shape:
        `[N, C, H, W]` to `[N, O, ceil(H / stride), ceil(W / stride)]`.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = EXPANSION * inputs
        self.body = nn.Sequential(
            *_conv(inputs, inner, 1),
            *_conv(inner, inner, 3, stride, groups=inner),
            *_conv(inner, outputs, 1)[:-1],
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n o hh ww"]:
        """See the class."""
        return x + self.body(x) if self.residual else self.body(x)  # type: ignore[no-any-return]


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU6()]


@register_model
def mobilenet_v2(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
    """Ten inverted residuals, widths 16 to 64; only in float, since bits do not suit its narrow maps."""
    if method.binary:
        raise RecipeError("mobilenet_v2 is only for the method float; for a binary one, use mobilenet or resnet20")
    check_size(size, 4)
    layers = nn.Sequential()
    layers.add_module("stem", Stem(channels, BLOCKS[0][0], method))
    widths = [BLOCKS[0][0], *(width for width, _ in BLOCKS)]
    blocks = [
        InvertedResidual(inputs, outputs, stride)
        for (inputs, outputs), (_, stride) in zip(itertools.pairwise(widths), BLOCKS, strict=True)
    ]
    layers.add_module("blocks", nn.Sequential(*blocks))
    layers.add_module("last", nn.Sequential(*_conv(widths[-1], LAST, 1)))
    return add_head(layers, LAST, classes)
