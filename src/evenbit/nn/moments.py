"""Mean and variance of a batch, from those of its parts, and their running values.

mean = E[mean_i]            var = E[var_i + (mean_i - mean)²]            for parts i of equal size
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def pooled(mean: Tensor, var: Tensor, axes: tuple[int, ...] = (0,)) -> tuple[Tensor, Tensor]:
    """Mean and variance over `axes`, along which lie those of parts of equal size; the axes stay, with size 1."""
    centre = mean.mean(axes, keepdim=True)
    return centre, (var + (mean - centre) ** 2).mean(axes, keepdim=True)


@torch.no_grad()
def track(norm: Any, mean: Tensor, var: Tensor, count: int, momentum: float) -> None:
    """Moves `running_mean` and `running_var` of a normalization towards those of a batch.

    Args:
        norm: The normalization.
        mean: Of the batch, `[C]`.
        var: Likewise.
        count: Values that each variance is of, which makes it the unbiased one, as torch keeps it; 0 leaves it.
        momentum: Share of the batch in the new values.
    """
    norm.running_mean.lerp_(mean.float(), momentum)
    norm.running_var.lerp_((var * (count / (count - 1) if count > 1 else 1)).float(), momentum)
