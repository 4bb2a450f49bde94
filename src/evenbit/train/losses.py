"""Losses.

    labels         L = - sum_k c_k q_k log softmax(z)_k             q: one-hot, smoothed; c: 1, or N / (K N_k), for N
                                                                    training images in K classes, N_k of them in class k
    distillation   L = T² KL(softmax(teacher / T) || softmax(z / T))
    attention      L = mean over stages of || a / ||a|| - b / ||b|| ||²        a, b: mean over channels of the squared
                                                                              maps of the network and the teacher
    balance        L = mean over layers and channels of (p - t)²               p: share of +1, t: its target
    total          (1 - d) labels + d distillation + w attention + v balance

Sources: Szegedy et al., Rethinking the Inception architecture, CVPR 2016 (smoothing); Hinton et al., Distilling the
knowledge in a neural network, 2015; Zagoruyko and Komodakis, Paying more attention to attention, ICLR 2017, and for
binary networks Martinez et al., Training binary neural networks with real-to-binary convolutions, ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from evenbit.data.augment import Mixed


def label_loss(
    logits: Tensor, labels: Tensor, smoothing: float, weights: Tensor | None = None, mixed: Mixed | None = None
) -> Tensor:
    """Mean cross-entropy; logits `[N, K]`, labels `[N]`, weights of the classes `[K]`.

    A mixed image counts with both of its labels, weighted by the shares of the two images.
    """
    if weights is None and mixed is None:
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)

    # Torch's own mean divides by the sum of the batch's weights, so an image's weight would depend on its batch.
    def each(targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, weights, reduction="none", label_smoothing=smoothing)

    if mixed is None:
        return each(labels).mean()
    return (mixed.share * each(labels) + (1 - mixed.share) * each(labels[mixed.partner])).mean()


def distillation_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean KL divergence from the teacher's softened distribution; both logits `[N, K]`."""
    divergence = F.kl_div(
        F.log_softmax(logits / temperature, 1),
        F.log_softmax(teacher / temperature, 1),
        reduction="batchmean",
        log_target=True,
    )
    return divergence * temperature**2


def attention_loss(maps: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Distance between two networks' attention; one map `[N, C, H, W]` per stage, equal in height and width."""
    distances = [(_attention(a) - _attention(b)).square().sum(1).mean() for a, b in zip(maps, teacher, strict=True)]
    return torch.stack(distances).mean()


def balance_loss(shares: Sequence[Tensor], target: float) -> Tensor:
    """Mean squared distance of the shares of +1 from a target; for each layer the shares `[C]` of its channels."""
    return torch.stack([(share - target).square().mean() for share in shares]).mean()


def _attention(x: Tensor) -> Tensor:
    return F.normalize(x.float().square().mean(1).flatten(1))
