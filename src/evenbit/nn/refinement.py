"""Feature refinement: small learned corrections of the zero point and of the real-valued path.

    zero point         b = sign(x - τ_c)                      τ starts at 0
    real-valued path   RPReLU(v) = prelu(v - γ_c) + ζ_c       prelu(u) = u if u >= 0 else slope_c * u

    real-valued path   Maxout(v) = a_c v if v >= 0 else a_c s_c v      instead, from AdaBin

The first is the last correction of the zero point, after distribution adjustment and group excitation. The second
reshapes and moves the distribution that the next layer's sign and the shortcut see. At run time, τ is part of the
threshold and γ is part of the preceding bias.

Sources: part 3 of Liu and Chen, Feature distribution guided binary neural networks, Control and Decision 39(6), 2024,
in the form of Liu et al., ReActNet (RSign and RPReLU), ECCV 2020; Maxout from Tu et al., AdaBin, ECCV 2022.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ZeroPoint(nn.Module):
    """`x - τ`, with one learned τ per channel that starts at 0 (ReActNet's RSign without its sign).

    Shape:
        `[N, C, H, W]` or `[N, C]`, and the same for the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n c *size"]:
        """See the class."""
        return x - self.tau.view(-1, *(1,) * (x.dim() - 2))


class RPReLU(nn.Module):
    """`prelu(v - γ) + ζ` with slope, γ and ζ learned for each channel; they start at 0.25, 0 and 0.

    Shape:
        `[N, C, H, W]` or `[N, C]`, and the same for the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.slope = nn.Parameter(torch.full((channels,), 0.25))
        self.zeta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n c *size"]:
        """See the class."""
        spread = (-1, *(1,) * (x.dim() - 2))
        return F.prelu(x - self.gamma.view(spread), self.slope) + self.zeta.view(spread)


class Maxout(nn.Module):
    """A slope for each side of 0, both learned for each channel: `a v if v >= 0 else a s v`, from a = 1, s = 0.25.

    Shape:
        `[N, C, H, W]` or `[N, C]`, and the same for the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.slope = nn.Parameter(torch.full((channels,), 0.25))

    def forward(self, x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n c *size"]:
        """See the class."""
        return F.prelu(x, self.slope) * self.scale.view(-1, *(1,) * (x.dim() - 2))
