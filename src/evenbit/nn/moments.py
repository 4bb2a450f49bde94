"""Mean and variance of a batch, computed from the means and variances of its parts, and their running values.

mean = E[mean_i]            var = E[var_i + (mean_i - mean)²]            for parts i of equal size
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def pooled(mean: Tensor, var: Tensor, axes: tuple[int, ...] = (0,)) -> tuple[Tensor, Tensor]:
    """Mean and variance over `axes`, from those of parts of equal size along these axes, which stay with size 1."""
    centre = mean.mean(axes, keepdim=True)
    return centre, (var + (mean - centre) ** 2).mean(axes, keepdim=True)


def count_batch(norm: Any) -> float:
    """Counts one more batch of a normalization, and gives its weight in the running values.

    That is `momentum`; if it is None, all batches weigh the same, as torch's `update_bn` wants.
    """
    if norm.num_batches_tracked is None:  # nothing is tracked
        return 0.0
    norm.num_batches_tracked.add_(1)
    return float(1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum)


@torch.no_grad()
def track(norm: Any, mean: Tensor, var: Tensor, count: int, momentum: float) -> None:
    """Moves `running_mean` and `running_var` of a normalization, if it has them, towards the values of a batch.

    Args:
        norm: The normalization.
        mean: Mean of the batch, `[C]`.
        var: Variance of the batch, `[C]`.
        count: Number of values behind each variance, to make the variance unbiased as in torch; 0 leaves it as it is.
        momentum: Weight of the batch in the new running values.
    """
    if norm.running_mean is None:
        return
    norm.running_mean.lerp_(mean.to(norm.running_mean), momentum)
    norm.running_var.lerp_((var * (count / (count - 1) if count > 1 else 1)).to(norm.running_var), momentum)
