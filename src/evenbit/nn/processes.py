"""Batch statistics over all processes of a training, so that their number changes nothing but the speed.

    mean = (1/W) sum over processes of mean_p      var = (1/W) sum over processes of (var_p + (mean_p - mean)²)

for W processes with the same number of images each. Gradients flow through the sums. (The difference of a mean of
squares and a squared mean would need one sum only, but cancels where means are large.)
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed
from torch import Tensor


def over_processes(mean: Tensor, var: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance over all processes, from the mean and variance in this process."""
    pooled = _average(mean)
    return pooled, _average(var + (mean - pooled).square())


def _average(x: Tensor) -> Tensor:
    return _Sum.apply(x) / torch.distributed.get_world_size()  # type: ignore[no-any-return, no-untyped-call]


class _Sum(torch.autograd.Function):
    """The sum over processes. Each process's loss depends on it, so its gradient is the sum of all their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        torch.distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.clone()
        torch.distributed.all_reduce(grad)
        return grad
