"""Layers with binary weights for binary inputs.

    conv    y[o] = scale[o] * (x ⊛ sign(w̄[o])),  padded with +1
    linear  y[o] = scale[o] * (x · sign(w̄[o]))
    centred layers add mean(w[o]) times the same sum with ones in place of the signs (AdaBin)

with w̄ and scale from `evenbit.nn.weight`. The inputs are the ±1 of `evenbit.nn.activation`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from evenbit.nn import fused
from evenbit.nn.ops import convolve_padded, is_exporting, pair
from evenbit.nn.weight import RealWeights, WeightBinarizer


class BinaryConv2d(nn.Module):
    """Convolution of a ±1 map with ±1 weights, padded with +1.

    Borders are +1 in training too, so that the exported bits are the trained bits: a border of zeros would be a
    third value that packed words cannot hold.

    Args:
        in_channels: Channels C of the input.
        out_channels: Filters O.
        kernel_size: Height and width of the kernel; like the other sizes, one number if both are equal.
        binarizer: How the latent weights become signs and scales.
        stride: Vertical and horizontal step.
        padding: Rows added above and below, columns left and right.
        centred: Whether each filter takes the two values `mean(w) ± scale` instead of `± scale` (AdaBin).
        groups: Number of channel groups; C and O are multiples of it.
        dilation: Vertical and horizontal step from one tap of the kernel to the next.

    Shape:
        `[N, C, H, W]` of ±1 to `[N, O, H', W']`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        binarizer: WeightBinarizer | RealWeights,
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        centred: bool = False,
        groups: int = 1,
        dilation: int | tuple[int, int] = 1,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *pair(kernel_size)))
        self.binarizer = binarizer
        self.stride = pair(stride)
        self.padding = pair(padding)
        self.centred = centred and isinstance(binarizer, WeightBinarizer)  # real weights have their mean already
        self.groups = groups
        self.dilation = pair(dilation)
        nn.init.kaiming_normal_(self.weight)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n o hh ww"]:
        """See the class."""
        signs, scale = self.binarizer(self.weight)
        middle = self.weight.mean((1, 2, 3)) if self.centred else None
        if self.training and self._can_fuse(x):
            return fused.binary_conv(x, signs, scale, self.stride, self.padding)
        if self.training:
            # Scaling the weights instead of the map gives the same sum except for rounding, and costs less.
            values = signs * scale[:, None, None, None]
            if middle is not None:
                values = values + middle[:, None, None, None]
            return convolve_padded(x, values, self.stride, self.padding, self.groups, self.dilation)
        y = self._convolve(x, signs) * scale[:, None, None]
        if middle is not None:
            y = y + self._convolve(x, torch.ones_like(signs)) * middle[:, None, None]
        return y  # type: ignore[no-any-return]

    def _can_fuse(self, x: Tensor) -> bool:
        outputs, inputs = self.weight.shape[:2]
        whole = inputs % fused.BLOCK == 0 and outputs % fused.BLOCK == 0
        plain = self.groups == 1 and self.dilation == (1, 1) and not self.centred
        plain = plain and isinstance(self.binarizer, WeightBinarizer) and self.binarizer.scale != "deviation"
        return whole and plain and self.weight[0].numel() <= fused.MAX_FAN_IN and fused.takes(x)

    def _convolve(self, x: Tensor, signs: Tensor) -> Tensor:
        """Whole numbers, as the engine computes them."""
        if is_exporting():
            return torch.ops.evenbit.binary_conv2d(x, signs, self.stride, self.padding, self.dilation, self.groups)  # type: ignore[no-any-return]
        return convolve_padded(x, signs, self.stride, self.padding, self.groups, self.dilation)

    def extra_repr(self) -> str:
        """Shown by print(module)."""
        outputs, inputs, *kernel = self.weight.shape
        size = f"{inputs * self.groups}, {outputs}, kernel_size={tuple(kernel)}"
        steps = f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}"
        return f"{size}, {steps}, groups={self.groups}"


class BinaryLinear(nn.Module):
    """Dense layer of ±1 inputs and ±1 weights, without bias (a normalization follows).

    Args:
        in_features: Inputs C.
        out_features: Outputs O.
        binarizer: How the latent weights become signs and scales.
        centred: As for `BinaryConv2d`.

    Shape:
        `[N, C]` of ±1 to `[N, O]`.
    """

    def __init__(
        self, in_features: int, out_features: int, binarizer: WeightBinarizer | RealWeights, *, centred: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.binarizer = binarizer
        self.centred = centred and isinstance(binarizer, WeightBinarizer)  # real weights have their mean already
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, "n c"]) -> Float[Tensor, "n o"]:
        """See the class."""
        signs, scale = self.binarizer(self.weight)
        middle = self.weight.mean(1) if self.centred else None
        if self.training:
            values = signs * scale[:, None]
            return F.linear(x, values if middle is None else values + middle[:, None])
        y = self._product(x, signs) * scale
        return y if middle is None else y + self._product(x, torch.ones_like(signs)) * middle  # type: ignore[no-any-return]

    def _product(self, x: Tensor, signs: Tensor) -> Tensor:
        """Whole numbers, as the engine computes them."""
        if not is_exporting():
            return F.linear(x, signs)
        y = torch.ops.evenbit.binary_conv2d(x[..., None, None], signs[..., None, None], (1, 1), (0, 0), (1, 1), 1)
        return y.flatten(1)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """Shown by print(module)."""
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}"


def keep_latent_weights_within_reach(module: nn.Module) -> None:
    """To be called after each update of the weights; see `WeightBinarizer.keep_within_reach`."""
    for child in module.modules():
        if isinstance(child, BinaryConv2d | BinaryLinear) and isinstance(child.binarizer, WeightBinarizer):
            child.binarizer.keep_within_reach(child.weight)


def latent_weights(module: nn.Module) -> list[nn.Parameter]:
    """The real-valued weights in `module` that are binarized on use.

    Only their signs carry information, not their sizes, so optimizers treat them separately (nearly no weight decay).
    """
    return [child.weight for child in module.modules() if isinstance(child, BinaryConv2d | BinaryLinear)]
