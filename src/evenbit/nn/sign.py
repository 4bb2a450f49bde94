"""The sign of binary networks: its forward is a step, its gradient an estimate.

    forward    sign(x) = +1 if x >= 0 else -1
    backward   dL/dx   = dL/dsign * g(x)

The derivative of the step is 0 almost everywhere, so each estimator replaces it by another function `g`. Estimators
differ in the window of `x` that still learns, and in how this window changes during training. Since a positive factor
on `x` changes no sign, the scale of `x` matters only to `g`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from evenbit.errors import RecipeError, unknown
from evenbit.nn.ops import is_exporting  # the module also registers torch.ops.evenbit

Derivative = Callable[[Tensor, Tensor], Tensor]


def clip(x: Tensor, progress: Tensor) -> Tensor:
    """Straight-through estimator, clipped: `g(x) = 1 if |x| <= 1 else 0`.

    The derivative of `hardtanh(x) = clip(x, -1, 1)`.

    Source: Hubara et al., Binarized neural networks, NeurIPS 2016.
    """
    return (x.abs() <= 1).to(x.dtype)


def polynomial(x: Tensor, progress: Tensor) -> Tensor:
    """Triangle: `g(x) = max(0, 2 - 2|x|)`.

    The derivative of the piecewise quadratic `2x - x|x|` on [-1, 1], which lies closer to the step than hardtanh.

    Source: Liu et al., Bi-Real Net, ECCV 2018.
    """
    return (2 - 2 * x.abs()).clamp(min=0)


def ede(x: Tensor, progress: Tensor) -> Tensor:
    """Error decay estimator: `g(x) = k t (1 - tanh(t x)^2)`.

    `g` is the derivative of `k tanh(t x)`. `t` goes from 0.1 to 10 on a log scale with the progress of training, and
    `k = max(1 / t, 1)`: at first the window is so wide that everything learns, at the end the function is nearly the
    step.

    Source: Qin et al., Forward and backward information retention for accurate binary neural networks (IR-Net),
    CVPR 2020.
    """
    t = 10 ** (2 * progress - 1)
    k = (1 / t).clamp(min=1)
    return k * t * (1 - torch.tanh(t * x) ** 2)


def reste(x: Tensor, progress: Tensor) -> Tensor:
    """Rectified straight-through estimator: `g(x) = (1/o) |x|^(1/o - 1)` on [-1.5, 1.5], 0 outside.

    `g` is the derivative of the power function `sign(x) |x|^(1/o)`, which is the identity at `o = 1` and tends to the
    step as `o` grows. `o` goes from 1 to 3 with the progress of training, which trades the error of the estimate
    against the stability of the gradient. The derivative is unbounded near 0, so on [-0.1, 0.1] it is replaced by the
    slope of the chord, `0.1^(1/o - 1)`.

    Source: Wu et al., Estimator meets equilibrium perspective: a rectified straight through estimator for binary
    neural networks training, ICCV 2023.
    """
    o = 1 + 2 * progress
    chord = 0.1 ** (1 / o - 1)
    inner = x.abs().clamp(min=0.1) ** (1 / o - 1) / o
    return torch.where(x.abs() < 0.1, chord, inner) * (x.abs() <= 1.5)


def identity(x: Tensor, progress: Tensor) -> Tensor:
    """Plain straight-through estimator: `g(x) = 1`.

    Source: Bengio et al., Estimating or propagating gradients through stochastic neurons, 2013.
    """
    return torch.ones_like(x)


ESTIMATORS: dict[str, Derivative] = {f.__name__: f for f in (clip, polynomial, ede, reste, identity)}
"""The gradient estimators by name. Each computes g(x) from x and the progress of training, which goes from 0 to 1."""


class Sign(nn.Module):
    """`sign(x)`, with the gradient given by an estimator.

    Args:
        estimator: A key of `ESTIMATORS`.
        keep_progress: Whether the progress of training is part of the state that `state_dict` gives, since more than
            the gradient depends on it.

    Shape:
        Any, and the same for the output.

    Raises:
        RecipeError: If the estimator is unknown.
    """

    progress: Tensor

    def __init__(self, estimator: str, *, keep_progress: bool = False) -> None:
        super().__init__()
        if estimator not in ESTIMATORS:
            raise RecipeError(unknown("gradient estimator", estimator, ESTIMATORS))
        self.estimator = estimator
        self.register_buffer("progress", torch.zeros(()), persistent=keep_progress)

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """See the class."""
        if is_exporting():
            return torch.ops.evenbit.sign(x)  # type: ignore[no-any-return]
        return _Sign.apply(x, self.progress, self.estimator)  # type: ignore[no-any-return, no-untyped-call]

    def extra_repr(self) -> str:
        """Shown by print(module)."""
        return self.estimator


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, progress: Tensor, estimator: str) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x, progress)
        ctx.estimator = estimator
        return 2 * (x >= 0).to(x.dtype) - 1

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[no-untyped-def]
        x, progress = ctx.saved_tensors
        return grad * ESTIMATORS[ctx.estimator](x, progress), None, None


def set_progress(module: nn.Module, fraction: float) -> None:
    """Tells every estimator in `module` how far training has come, from 0 to 1."""
    for child in module.modules():
        if isinstance(child, Sign):
            child.progress.fill_(fraction)
