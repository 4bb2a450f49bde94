"""Losses.

    labels         L = - sum_k q_k log softmax(z)_k                 q: one-hot, smoothed
    distillation   L = T² KL(softmax(teacher / T) || softmax(z / T))
    total          (1 - d) labels + d distillation

Sources: Szegedy et al., Rethinking the Inception architecture, CVPR 2016 (smoothing); Hinton et al., Distilling the
knowledge in a neural network, 2015.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def label_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Mean cross-entropy; logits `[N, K]`, labels `[N]`."""
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def distillation_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean divergence from the teacher's softened distribution; both `[N, K]`."""
    divergence = F.kl_div(
        F.log_softmax(logits / temperature, 1),
        F.log_softmax(teacher / temperature, 1),
        reduction="batchmean",
        log_target=True,
    )
    return divergence * temperature**2
