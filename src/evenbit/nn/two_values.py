"""Two values instead of ±1, for activations and for weights.

    activations    x̂ = (x - β) / α,  b = α sign(x̂) + β            α, β learned, one pair per layer
    weights        v = α_o sign(w̄) + β_o                          β_o = mean(w_o), α_o = std(w_o), for each filter

The convolution of the two is made of convolutions of signs, with s = sign(x̂):

    b ⊛ v = α (α_o (s ⊛ sign(w̄)) + β_o (s ⊛ 1)) + β sum(v)

The batch normalization that follows cancels the factor α and the constant β sum(v). So of the two values of the
activations, only two effects remain: their middle β is a zero point, and their distance α sets the gradient window. Of
the two values of the weights, the second convolution remains, with a kernel of ones.

Source: Tu et al., AdaBin: improving binary neural networks with adaptive binary sets, ECCV 2022.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class TwoValues(nn.Module):
    """`(x - β) / α` with one learned α and β; they start at 1 and 0.

    Shape:
        Any, and the same for the output.
    """

    def __init__(self) -> None:
        super().__init__()
        self.middle = nn.Parameter(torch.zeros(()))
        self.distance = nn.Parameter(torch.ones(()))

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """See the class."""
        return (x - self.middle) / self.distance
