"""Feature refinement: small learned corrections of the zero point and of the real-valued path.

    zero point         b = sign(x - τ_ck)                     τ starts at 0; k is the cell of the map in which x lies
    real-valued path   RPReLU(v) = prelu(v - γ_c) + ζ_c       prelu(u) = u if u >= 0 else slope_c * u

    real-valued path   Maxout(v) = a_c v if v >= 0 else a_c s_c v      instead, from AdaBin

The first is the last correction of the zero point, after distribution adjustment and group excitation. The map may be
cut into rows and columns of cells, each with a zero point of its own: what a channel shows in the middle of an image
and what it shows at its edge lie differently, and the third moment and the excitation only know the image as a whole.
The pixel (y, x) of a map of H x W pixels lies in row `floor(y * cells / H)` and column `floor(x * cells / W)` of the
cells, as `evenbit.ops.AddMap` says. The second reshapes and moves the distribution that the next layer's sign and the
shortcut see. At run time, τ is part of the threshold, or of a map that is added before it, and γ is part of the
preceding bias.

Sources: part 3 of Liu and Chen, Feature distribution guided binary neural networks, Control and Decision 39(6), 2024,
in the form of Liu et al., ReActNet (RSign and RPReLU), ECCV 2020; Maxout from Tu et al., AdaBin, ECCV 2022. The cells
are this project's (docs/method.md).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ZeroPoint(nn.Module):
    """`x - τ`, with learned τ that start at 0 (ReActNet's RSign without its sign).

    Args:
        channels: Channels C.
        cells: Into how many rows and columns the map is cut; each cell of a channel has its own τ. With 1, there is one
            τ for each channel.

    Attributes:
        tau: The zero points: `[C]`, or `[C, cells, cells]` if there are several cells.

    Shape:
        `[N, C, H, W]`, or `[N, C]` with a single cell, and the same for the output.
    """

    def __init__(self, channels: int, cells: int = 1) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.zeros(channels, *(cells, cells) * (cells > 1)))

    @property
    def has_cells(self) -> bool:
        """Whether a channel has several zero points."""
        return self.tau.dim() > 1

    def forward(self, x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n c *size"]:
        """See the class."""
        if not self.has_cells:
            return x - self.tau.view(-1, *(1,) * (x.dim() - 2))
        rows, columns = (torch.arange(size, device=x.device) * self.tau.shape[1] // size for size in x.shape[2:])
        return x - self.tau[:, rows[:, None], columns]


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
