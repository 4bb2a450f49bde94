"""Feature distribution adjustment: sets the mean and variance of a feature before its sign.

    â = γ_c (a - μ) / sqrt(σ² + ε) + β_c

While training, μ and σ² are taken over

    channel    N, H, W of each channel                      (μ, σ² of shape C)
    group      N, H, W and the channels of each group       (one value per group)
    instance   H, W of each channel in each image           (N x C)

At test time, their running means are used, so the adjustment folds into one threshold per channel, whatever the axes.
The location decides which side of the sign a value falls on, hence how even the bits are; the scale changes no bit, but
decides how many values lie inside the gradient window of the estimator.

Source: part 1 of Liu and Chen, Feature distribution guided binary neural networks, Control and Decision 39(6),
2024. The paper's abstract names the adjustment; axes, momentum and the learned γ, β are this project's choice.
"""

from __future__ import annotations

import torch
import torch.distributed
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from evenbit.errors import RecipeError, unknown
from evenbit.nn.moments import pooled, track
from evenbit.nn.processes import over_processes

AXES = ("channel", "group", "instance")
EPSILON = 1e-5
MOMENTUM = 0.1


class DistributionAdjustment(nn.Module):
    """Moves the distribution of each channel; see the module's docstring for the formula.

    Args:
        channels: Channels C.
        axes: One of `AXES`: which values share a mean and a variance.
        groups: Number of channel groups for the axes "group"; must divide C.

    Shape:
        `[N, C, H, W]` or `[N, C]`, and the same for the output.

    Raises:
        RecipeError: If the axes are unknown or the groups do not divide C.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, axes: str = "channel", groups: int = 4) -> None:
        super().__init__()
        if axes not in AXES:
            raise RecipeError(unknown("axes", axes, AXES))
        if axes == "group" and channels % groups:
            raise RecipeError(f"{channels} channels do not divide into {groups} groups of the adjustment")
        self.axes = axes
        self.synchronized = False  # whether the axes go over the images of all processes, see evenbit.nn.synchronized
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n c *size"]:
        """See the class."""
        if not self.training or (self.axes == "channel" and not self.synchronized):
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, self.training, MOMENTUM, EPSILON
            )
        maps = x.flatten(2) if x.dim() > 2 else x[..., None]
        if self.axes == "instance" and maps.shape[2] == 1:
            raise RecipeError("the axes 'instance' need maps of more than one pixel")
        var, mean = torch.var_mean(maps, dim=2, correction=0)
        scale, offset = self.affine(mean, var, maps.shape[2])
        spread = (..., *(None,) * (x.dim() - 2))
        return x * scale[spread] + offset[spread]

    def affine(self, mean: Float[Tensor, "n c"], var: Float[Tensor, "n c"], pixels: int) -> tuple[Tensor, Tensor]:
        """The adjustment in training as `scale * x + offset`, from the moments of each image's channels.

        Args:
            mean: Mean of each channel over the pixels of each image.
            var: Variance around that mean.
            pixels: Number of pixels of an image.

        Returns:
            Scale and offset, `[N, C]`. The running statistics are updated.
        """
        n, c = mean.shape
        if self.axes != "instance":
            rows = mean if self.axes == "channel" else mean.view(n, self.groups, -1)
            axes = (0,) if self.axes == "channel" else (0, 2)
            centre, spread = pooled(rows, var.view_as(rows), axes)
            if self.synchronized:
                centre, spread = over_processes(centre, spread)
            mean, var = (t.expand_as(rows).reshape(n, c) for t in (centre, spread))
        count = n * pixels if self.axes == "channel" else 0
        if self.synchronized:
            count *= torch.distributed.get_world_size()
        track(self, mean.detach().mean(0), var.detach().mean(0), count, MOMENTUM)
        scale = self.weight * torch.rsqrt(var + EPSILON)
        return scale, self.bias - mean * scale

    def extra_repr(self) -> str:
        """Shown by print(module)."""
        return f"{len(self.weight)}, axes={self.axes}" + (f", groups={self.groups}" * (self.axes == "group"))
