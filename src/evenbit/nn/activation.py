"""Binary activation: a real map to ±1, through the parts a method has in front of its sign.

a -> distribution adjustment -> + group excitation -> - τ (refinement) -> sign
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from evenbit.nn import fused
from evenbit.nn.distribution import DistributionAdjustment
from evenbit.nn.excitation import GroupExcitation
from evenbit.nn.method import Method
from evenbit.nn.refinement import ZeroPoint
from evenbit.nn.sign import Sign


class BinaryActivation(nn.Module):
    """The ±1 of a real map, as `method` makes them.

    Args:
        channels: Channels C.
        method: Its `adjustment`, `excitation_groups`, `zero_point` and `estimator` are used.

    Shape:
        `[N, C, H, W]` to ±1 of the same shape; `[N, C]` too where there is no excitation.
    """

    def __init__(self, channels: int, method: Method) -> None:
        super().__init__()
        self.adjust: nn.Module = nn.Identity()
        self.excite: GroupExcitation | None = None
        self.refine: nn.Module = nn.Identity()
        if method.adjustment != "none":
            self.adjust = DistributionAdjustment(channels, method.adjustment, method.adjustment_groups)
        if method.excitation_groups:
            self.excite = GroupExcitation(channels, method.excitation_groups, method.excitation_hidden)
        if method.zero_point:
            self.refine = ZeroPoint(channels)
        self.sign = Sign(method.estimator)

    def forward(self, x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n c *size"]:
        """See the class."""
        if self.training and self.sign.estimator in fused.WINDOWS and fused.fits(x):
            pixels = x.shape[2] * x.shape[3]
            return fused.adjusted_sign(
                x, self.sign.estimator, lambda mean, var: self._affine(mean, var, pixels), tuple(self.parameters())
            )
        x = self.adjust(x)
        if self.excite is not None:
            x = x + self.excite(x)
        return self.sign(self.refine(x))  # type: ignore[no-any-return]

    def _affine(self, mean: Tensor, var: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
        """What stands before the sign, as `scale * x + offset` with both `[N, C]`."""
        scale, offset = torch.ones_like(mean), torch.zeros_like(mean)
        if isinstance(self.adjust, DistributionAdjustment):
            scale, offset = self.adjust.affine(mean, var, pixels)
        if self.excite is not None:
            adjusted = scale * mean + offset
            offset = offset + self.excite.gate(adjusted[..., None, None]).flatten(1)
        if isinstance(self.refine, ZeroPoint):
            offset = offset - self.refine.tau
        return scale, offset
