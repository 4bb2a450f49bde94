"""Binary activation: turns a real map into ±1, through the parts that a method puts before its sign.

a -> distribution adjustment -> + group excitation - third moment -> two values -> - τ (refinement) -> sign

Each method uses some of these parts.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from evenbit.nn import fused
from evenbit.nn.distribution import EPSILON, DistributionAdjustment
from evenbit.nn.excitation import FrozenShift, GroupExcitation
from evenbit.nn.method import Method
from evenbit.nn.moments import pooled
from evenbit.nn.processes import over_processes
from evenbit.nn.refinement import ZeroPoint
from evenbit.nn.sign import Sign
from evenbit.nn.third_moment import ThirdMoment
from evenbit.nn.two_values import TwoValues


class BinaryActivation(nn.Module):
    """Turns a real map into ±1, in the way of a method.

    Args:
        channels: Channels C.
        method: Says which parts come before the sign.

    Attributes:
        guided: Whether `share` is kept while training.
        share: The expected share of +1 of each channel `[C]` in the last batch, differentiable: Φ(m / s), as for a
            normal distribution, with m and s the mean and deviation of the values before the sign.

    Shape:
        `[N, C, H, W]` to ±1 of the same shape; `[N, C]` too where there is neither excitation nor a cut into cells.
    """

    def __init__(self, channels: int, method: Method) -> None:
        super().__init__()
        self.adjust: nn.Module = nn.Identity()
        self.excite: GroupExcitation | FrozenShift | None = None
        self.moment: ThirdMoment | FrozenShift | None = None
        self.values: nn.Module = nn.Identity()
        self.refine: nn.Module = nn.Identity()
        if method.adjustment != "none":
            self.adjust = DistributionAdjustment(channels, method.adjustment, method.adjustment_groups)
        if method.excitation_groups:
            self.excite = GroupExcitation(
                channels, method.excitation_groups, method.excitation_hidden, method.excitation_gate
            )
        if method.third_moment:
            self.moment = ThirdMoment(channels)
        if method.two_values:
            self.values = TwoValues()
        if method.zero_point:
            self.refine = ZeroPoint(channels, method.zero_point_cells)
        self.sign = Sign(method.estimator)
        self.guided = False
        self.synchronized = False  # whether `share` is over the images of all processes, see evenbit.nn.synchronized
        self.share: Tensor | None = None
        self._can_fuse = method.estimator in fused.WINDOWS

    def forward(self, x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n c *size"]:
        """See the class."""
        if self.training and self._can_fuse and fused.fits(x) and not self._cells_forbid(x):
            pixels = x.shape[2] * x.shape[3]
            y, share = fused.adjusted_sign(
                x,
                self.sign.estimator,
                lambda mean, var, third: self._affine(mean, var, third, pixels),
                tuple(parameter for parameter in self.parameters() if parameter.requires_grad),
                moments=self._moments(),
            )
            self.share = share if self.guided else None
            return y
        u = self.before_sign(x)
        if self.training and self.guided:
            var, mean = torch.var_mean(u.transpose(0, 1).flatten(1), 1, correction=0)
            if self.synchronized:
                mean, var = over_processes(mean, var)
            self.share = _share(mean, var)
        return self.sign(u)  # type: ignore[no-any-return]

    def take_share(self) -> Float[Tensor, " c"]:
        """Returns `share` and drops it, since it keeps the whole autograd graph of the batch in memory."""
        assert self.share is not None
        share, self.share = self.share, None
        return share

    def before_sign(self, x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n c *size"]:
        """The values whose sign is taken."""
        x = self.adjust(x)
        if self.excite is not None and self.moment is not None:
            x = x + (self.excite(x) - self.moment(x))
        elif self.excite is not None:
            x = x + self.excite(x)
        elif self.moment is not None:
            x = x - self.moment(x)
        return self.refine(self.values(x))  # type: ignore[no-any-return]

    def _cells_forbid(self, x: Tensor) -> bool:
        """Whether zero points for each cell need torch's own operations.

        The moments of a whole image do not tell the share of +1 there, and with more cells than pixels, the kernels
        would spend their time on empty cells.
        """
        if not isinstance(self.refine, ZeroPoint) or not self.refine.has_cells:
            return False
        return self.guided or self.refine.tau.shape[1] > min(x.shape[2:])

    def _moments(self) -> int:
        """How many moments of x `_affine` needs."""
        if isinstance(self.moment, ThirdMoment):
            return 3
        return 2 * (self.guided or isinstance(self.adjust, DistributionAdjustment) or self.excite is not None)

    def _affine(self, mean: Tensor, var: Tensor, third: Tensor, pixels: int) -> tuple[Tensor, Tensor, Tensor]:
        """`before_sign` as `scale * x + offset`, from the moments of x, and `share`; see `evenbit.nn.fused.Affine`."""
        scale, offset = torch.ones_like(mean), torch.zeros_like(mean)
        if isinstance(self.adjust, DistributionAdjustment):
            scale, offset = self.adjust.affine(mean, var, pixels)
        adjusted = scale * mean + offset
        if isinstance(self.excite, GroupExcitation):
            offset = offset + self.excite.gate(adjusted[..., None, None]).flatten(1)
        elif self.excite is not None:
            offset = offset + self.excite.shift.flatten()
        if isinstance(self.moment, ThirdMoment):
            square = scale * scale
            offset = offset - self.moment.of_moments(adjusted, square * var, square * scale * third)
        elif self.moment is not None:
            offset = offset - self.moment.shift.flatten()
        if isinstance(self.values, TwoValues):
            scale, offset = scale / self.values.distance, (offset - self.values.middle) / self.values.distance
        if isinstance(self.refine, ZeroPoint):
            tau = self.refine.tau
            offset = offset[:, None, None] - tau.permute(1, 2, 0) if self.refine.has_cells else offset - tau
        if not self.guided:
            return scale, offset, mean.new_zeros(mean.shape[1])
        centre, spread = pooled(scale * mean + offset, scale**2 * var)
        return scale, offset, _share(centre.squeeze(0), spread.squeeze(0))


def _share(mean: Tensor, var: Tensor) -> Tensor:
    """The share of a normal distribution that lies at or above 0."""
    return torch.special.ndtr(mean * torch.rsqrt(var + EPSILON))  # type: ignore[no-any-return]
