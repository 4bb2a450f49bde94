"""A zero point that follows the image: the third moment of each channel.

    m = mean of x³ over H, W                       N x C
    zero point of channel c in image n             α_c m[n, c]

The third moment depends on mean, variance and skewness, so it tells how the distribution of a channel in this image
differs from the channel's usual distribution. α is learned and starts at 0, so at first the zero point is the same for
every image.

Source: Lee et al., INSTA-BNN: binary neural network with instance-aware threshold, ICCV 2023.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ThirdMoment(nn.Module):
    """The zero point `α E[x³]`, see the module's docstring.

    Args:
        channels: Channels C.

    Shape:
        `[N, C, H, W]` to `[N, C, 1, 1]`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c 1 1"]:
        """See the class."""
        return self.alpha[:, None, None] * (x * x * x).mean((2, 3), keepdim=True)

    def of_moments(
        self, mean: Float[Tensor, "n c"], var: Float[Tensor, "n c"], third: Float[Tensor, "n c"]
    ) -> Float[Tensor, "n c"]:
        """The same from mean, variance and third central moment over H, W: `E[x³] = third + 3 mean var + mean³`."""
        return self.alpha * (third + mean * torch.addcmul(3 * var, mean, mean))
