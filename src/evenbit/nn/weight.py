"""Weight binarization: turns latent real weights into signs and one scale per filter.

    w̄ = w                                  "plain"
    w̄ = (w - mean(w)) / std(w)             "standardized", per filter
    w̄ <- min(max(w̄, -Q), Q)               "clamped", per filter:  Q = -mean |w̄| ln(2 - 2τ)
                                            the τ-quantile of a Laplace distribution, a constant for the gradient;
                                            with p the progress of training
                                            τ = 0.85 + 0.14 (e^p - 1) / (e - 1), from 0.85 to 0.99
    binary weight = sign(w̄)
    scale         = mean |w̄|                       "mean": XNOR-Net's optimum for min ||w̄ - scale * sign(w̄)||
                    std(w)                          "deviation": AdaBin's distance of its two values
                    2^round(log2 mean |w̄|)         "power_of_two": a shift of bits in hardware
                    1                               "one"

Centring makes the signs of a filter even, so that they carry most information. Dividing by the deviation brings the
weights of all filters to the same range of the estimator's window. Clamping keeps the tails within reach: otherwise
their signs would never change again. The scale of a filter is a constant for the gradient, except for "deviation"; the
batch normalization that follows learns what a gradient would add.

With plain weights, the window of the estimator "clip" needs another remedy. A weight that has left it gets no gradient,
so no image would ever change it again, and with Adam's steps many weights leave it. So after each update, they are
brought back to the edge of the window (Courbariaux et al., BinaryConnect, NeurIPS 2015; Hubara et al., 2016):

    w <- min(max(w, -1), 1)

Sources: Rastegari et al., XNOR-Net, ECCV 2016 (mean); Qin et al., IR-Net, CVPR 2020 (standardization, power of two); Xu
et al., ReCU, ICCV 2021 (clamping); Tu et al., AdaBin, ECCV 2022 (deviation).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from evenbit.errors import CaptureError, RecipeError, unknown
from evenbit.nn.ops import is_exporting
from evenbit.nn.sign import Sign

SCALES = ("one", "mean", "deviation", "power_of_two")
# A filter with a smaller deviation counts as constant; rounding in float32 sums of equal weights leaves less.
EPSILON = 1e-7


class WeightBinarizer(nn.Module):
    """Turns latent weights into signs and scales; see the module's docstring for the formulas.

    Args:
        standardize: Whether to centre and scale each filter first.
        clamp: Whether to clamp the tails of each filter.
        scale: One of `SCALES`.
        estimator: Gradient estimator of the sign.

    Shape:
        Weight `[O, ...]`; the signs have the same shape, the scales are `[O]`.

    Raises:
        RecipeError: If the scale is unknown.
    """

    def __init__(self, *, standardize: bool, scale: str, estimator: str, clamp: bool = False) -> None:
        super().__init__()
        if scale not in SCALES:
            raise RecipeError(unknown("scale", scale, SCALES))
        self.standardize = standardize
        self.clamp = clamp
        self.scale = scale
        self.sign = Sign(estimator, keep_progress=clamp)

    def forward(self, weight: Float[Tensor, "o ..."]) -> tuple[Float[Tensor, "o ..."], Float[Tensor, " o"]]:
        """Signs and scales of `weight`."""
        rows = self.normalized(weight)
        return self.sign(rows).view_as(weight), self._scale(rows.detach(), weight)

    def normalized(self, weight: Float[Tensor, "o ..."]) -> Float[Tensor, "o k"]:
        """w̄, a row for each filter."""
        rows = weight.flatten(1)
        if self.standardize:
            rows = rows - rows.mean(1, keepdim=True)
            rows = rows / (rows.std(1, keepdim=True, correction=0) + EPSILON)
        if self.clamp:
            tau = 0.85 + 0.14 * torch.expm1(self.sign.progress) / math.expm1(1)
            quantile = -rows.abs().mean(1, keepdim=True) * torch.log(2 - 2 * tau)
            quantile = quantile.detach()
            rows = rows.clamp(-quantile, quantile)
        return rows

    @torch.no_grad()
    def keep_within_reach(self, weight: Tensor) -> None:
        """Brings plain latent weights that have left the window of "clip" back to its edge, in place."""
        if not self.standardize and self.sign.estimator == "clip":
            weight.clamp_(-1, 1)

    def _scale(self, rows: Float[Tensor, "o k"], weight: Float[Tensor, "o ..."]) -> Float[Tensor, " o"]:
        if self.scale == "one":
            return rows.new_ones(len(rows))
        if self.scale == "deviation":
            return weight.flatten(1).std(1, correction=0)
        mean = rows.abs().mean(1)
        return torch.exp2(torch.log2(mean).round()) if self.scale == "power_of_two" else mean

    def extra_repr(self) -> str:
        """Shown by print(module)."""
        return f"standardize={self.standardize}, scale={self.scale}" + ", clamp=True" * self.clamp


class RealWeights(nn.Module):
    """Used in place of a `WeightBinarizer` in the first of two steps of training: keeps the weights as they are.

    Raises:
        CaptureError: When exported, since a network with real weights has no 1-bit form.

    Source: Martinez et al., Training binary neural networks with real-to-binary convolutions, ICLR 2020.
    """

    def forward(self, weight: Float[Tensor, "o ..."]) -> tuple[Float[Tensor, "o ..."], Float[Tensor, " o"]]:
        """`weight` and ones."""
        if is_exporting():
            raise CaptureError("the weights are real; first train the second step, with knobs.binary_weights = true")
        return weight, weight.new_ones(len(weight))

    def normalized(self, weight: Float[Tensor, "o ..."]) -> Float[Tensor, "o k"]:
        """`weight`, a row for each filter."""
        return weight.flatten(1)
