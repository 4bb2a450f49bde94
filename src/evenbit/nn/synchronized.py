"""Networks whose batch statistics are those of all processes of a training (`evenbit.nn.processes`).

torch's own SyncBatchNorm needs a GPU and knows nothing of the distribution adjustment.
"""

from __future__ import annotations

import torch
import torch.distributed
from jaxtyping import Float
from torch import Tensor, nn

from evenbit.nn.distribution import DistributionAdjustment
from evenbit.nn.moments import track
from evenbit.nn.processes import over_processes


def synchronize(network: nn.Module) -> None:
    """Makes every batch statistic in `network` one over all processes."""
    for module in network.modules():
        if isinstance(module, DistributionAdjustment):
            module.synchronized = True
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, SynchronizedBatchNorm2d.of(child))


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization with the statistics of all processes while training.

    Shape:
        `[N, C, H, W]`, and the same for the output.
    """

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> SynchronizedBatchNorm2d:
        """The same normalization, with the same parameters and buffers."""
        new = cls(norm.num_features, norm.eps, norm.momentum)
        new._parameters, new._buffers = norm._parameters, norm._buffers
        return new.train(norm.training)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """See the class."""
        if not self.training:
            return super().forward(x)
        mean, var = over_processes(x.mean((0, 2, 3)), x.square().mean((0, 2, 3)))
        count = torch.distributed.get_world_size() * x.numel() // x.shape[1]
        track(self, mean, var, count, self.momentum or 0.0)
        scale = self.weight * torch.rsqrt(var + self.eps)
        return x * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]
