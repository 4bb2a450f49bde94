"""Networks whose batch statistics cover all processes of a training (`evenbit.nn.processes`).

torch's own SyncBatchNorm needs a GPU and knows nothing of the distribution adjustment.
"""

from __future__ import annotations

import torch
import torch.distributed
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from evenbit.nn.activation import BinaryActivation
from evenbit.nn.distribution import DistributionAdjustment
from evenbit.nn.moments import count_batch, track
from evenbit.nn.processes import over_processes


def synchronize(network: nn.Module) -> None:
    """Makes every batch statistic in `network` cover all processes."""
    for module in network.modules():
        if isinstance(module, BinaryActivation | DistributionAdjustment):
            module.synchronized = True
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(module, name, SynchronizedBatchNorm.of(child))


class SynchronizedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalization with the statistics of all processes while training.

    Shape:
        `[N, C]` or `[N, C, H, W]`, and the same for the output.
    """

    @classmethod
    def of(cls, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> SynchronizedBatchNorm:
        """The same normalization, with the same parameters, buffers and hooks."""
        new = cls.__new__(cls)
        new.__dict__.update(norm.__dict__)
        return new

    def forward(self, x: Float[Tensor, "n c *size"]) -> Float[Tensor, "n c *size"]:
        """See the class."""
        if not self.training:
            mean, var = self.running_mean, self.running_var
            return F.batch_norm(x, mean, var, self.weight, self.bias, training=mean is None, eps=self.eps)
        axes = (0, *range(2, x.dim()))
        wide = x.float()  # under autocast, sums over a batch would be rounded to bfloat16
        var, mean = torch.var_mean(wide, axes, correction=0)
        mean, var = over_processes(mean, var)
        count = torch.distributed.get_world_size() * x.numel() // x.shape[1]
        track(self, mean, var, count, count_batch(self))
        scale = torch.rsqrt(var + self.eps) * (1 if self.weight is None else self.weight)
        offset = (0 if self.bias is None else self.bias) - mean * scale
        spread = (..., *(None,) * (x.dim() - 2))
        return (wide * scale[spread] + offset[spread]).to(x.dtype)
