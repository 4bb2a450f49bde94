"""Weight binarization: latent real weights to signs and one scale a filter.

    w̄ = w                                  "plain"
    w̄ = (w - mean(w)) / std(w)             "standardized", per filter
    binary weight = sign(w̄)
    scale         = mean |w̄|  per filter   (XNOR-Net's optimum for min ||w̄ - scale * sign(w̄)||), or 1

Centring makes the signs of a filter even, which carries most information; dividing by the deviation keeps all
filters inside the estimator's window. The scale is a constant for the gradient: what it would add is learned
by the batch normalization that follows.

Sources: Rastegari et al., XNOR-Net, ECCV 2016 (scale); Qin et al., IR-Net, CVPR 2020 (standardization).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from evenbit.nn.sign import Sign

# Deviation of a filter below which it counts as constant; float32 sums of equal weights leave less than this.
EPSILON = 1e-7


class WeightBinarizer(nn.Module):
    """Latent weights to signs and scales; see the module's page for the formulas.

    Args:
        standardize: Centre and scale each filter first.
        scaled: Give each filter the scale `mean |w̄|` instead of 1.
        estimator: Gradient estimator of the sign.

    Shape:
        Weight `[O, ...]`; the signs have the same shape, the scales are `[O]`.
    """

    def __init__(self, *, standardize: bool, scaled: bool, estimator: str) -> None:
        super().__init__()
        self.standardize = standardize
        self.scaled = scaled
        self.sign = Sign(estimator)

    def forward(self, weight: Float[Tensor, "o ..."]) -> tuple[Float[Tensor, "o ..."], Float[Tensor, " o"]]:
        """Signs and scales of `weight`."""
        rows = weight.flatten(1)
        if self.standardize:
            rows = rows - rows.mean(1, keepdim=True)
            rows = rows / (rows.std(1, keepdim=True, correction=0) + EPSILON)
        scale = rows.detach().abs().mean(1) if self.scaled else rows.new_ones(len(rows))
        return self.sign(rows).view_as(weight), scale

    def extra_repr(self) -> str:
        """Shown by print(module)."""
        return f"standardize={self.standardize}, scaled={self.scaled}"
