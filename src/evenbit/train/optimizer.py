"""The optimizer: Muon for the weights of convolutions and binary layers, AdamW for everything else.

Adam scales each weight's step by itself. Muon treats the weights of a layer as one matrix, a row for each filter, and
takes a step in which every direction counts alike: it replaces the singular values of the mean gradient by ones. Rare
directions, which one strong direction would drown, are learned from the first epochs on. With W the weights `[O, K]`
(K = inputs times kernel), G their gradient, η the learning rate, λ the weight decay and μ = 0.95:

    M <- μ M + (1 - μ) G
    W <- (1 - η λ) W - η s √max(O, K) orthogonal(μ M + (1 - μ) G)

    orthogonal(U S Vᵀ) ≈ U Vᵀ        five steps of   X <- (a I + b X Xᵀ + c (X Xᵀ)²) X   from X / ||X||

The factor √max(O, K) makes the root mean square of a step about η s, whatever the shape, so that one learning rate
serves both. Adam's steps have about 0.2 η late in training and 1 η at its beginning; s = 0.5 is between them. With 0.2,
networks that are trained for a few hundred steps learned less than with Adam.

Layers in groups, whose filters read different inputs, the dense layers of real networks, and vectors keep AdamW.

Sources: Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024 (the iteration and its
coefficients); Liu et al., Muon is scalable for LLM training, 2025 (the factor); Loshchilov and Hutter, Decoupled weight
decay regularization, ICLR 2019 (AdamW).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from evenbit.nn import latent_weights
from evenbit.nn.conv import BinaryConv2d, BinaryLinear
from evenbit.nn.refinement import ZeroPoint
from evenbit.train.recipe import Recipe

# A shift that the next normalization removes has no gradient, only rounding errors of about 1e-8; other gradients are
# 1e-5 and more. With a smaller ε, Adam would scale these errors up to full steps in random directions.
ADAM_EPSILON = 1e-6
STEP = 0.5  # s
MOMENTUM = 0.95  # μ
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # a, b, c
ITERATIONS = 5
SMALLEST_NORM = 1e-7  # a smaller gradient is left as it is


class Optimizer(torch.optim.AdamW):
    """AdamW, but Muon for some groups.

    Args:
        groups: Groups of parameters as in torch; those of Muon have a true value of `muon`, and weights of one shape.
        rate: Learning rate.
    """

    def __init__(self, groups: list[dict[str, Any]], rate: float) -> None:
        super().__init__(groups, lr=rate, eps=ADAM_EPSILON, fused=True)
        self._by_muon = {id(weight) for group in groups if group["muon"] for weight in group["params"]}

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Updates the parameters that have a gradient; those of Muon have none afterwards, so AdamW passes them by."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            if group["muon"]:
                self._muon(group)
        super().step()
        return loss

    def state_names(self, parameter: nn.Parameter) -> tuple[str, ...]:
        """Names of what is remembered of a parameter after a step."""
        return ("momentum",) if id(parameter) in self._by_muon else ("step", "exp_avg", "exp_avg_sq")

    def _muon(self, group: dict[str, Any]) -> None:
        """Updates weights of one shape by their gradients, orthogonalized in one batch of matrices."""
        weights = [(weight, weight.grad) for weight in group["params"] if weight.grad is not None]
        if not weights:
            return
        directions = []
        for weight, gradient in weights:
            state = self.state[weight]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(weight)
            state["momentum"].lerp_(gradient, 1 - MOMENTUM)
            directions.append(gradient.lerp(state["momentum"], MOMENTUM).flatten(1))
            weight.grad = None
        stacked = torch.stack(directions)
        steps = orthogonal(stacked) * (STEP * max(stacked.shape[1:]) ** 0.5)
        for (weight, _), step in zip(weights, steps, strict=True):
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.sub_(group["lr"] * step.view_as(weight))


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices `[B, O, K]` with about the singular vectors of those given, and all singular values about 1.

    The iteration is chosen for speed: singular values end between 0.7 and 1.2, and those that are far smaller than the
    largest one need not have arrived. Each step multiplies X by a polynomial Q of its Gram matrix G = X Xᵀ, and all of
    these commute. So the steps are made with square matrices as small as the shorter side, G <- Q² G and P <- Q P, and
    X is multiplied once at the end. That needs float32: with the rounding of bfloat16, G loses the small directions.
    """
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else matrices.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=SMALLEST_NORM)
    gram = x @ x.mT
    turn = factor = _factor(gram)
    for _ in range(ITERATIONS - 1):
        gram = factor @ (factor @ gram)
        factor = _factor(gram)
        turn = factor @ turn
    turned: Tensor = turn @ x
    return turned if wide else turned.mT


def _factor(gram: Tensor) -> Tensor:
    """Q = a I + b G + c G²."""
    a, b, c = COEFFICIENTS
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=-2, dim2=-1).add_(a)
    return factor


def make_optimizer(recipe: Recipe, network: nn.Module) -> Optimizer:
    """The optimizer of a run: a group for each weight decay, and for Muon one for each shape, too."""
    groups: dict[tuple[float, torch.Size | None], list[nn.Parameter]] = {}
    latent = {id(weight) for weight in latent_weights(network)}
    whole = {id(weight) for weight in _of_whole_layers(network)}
    zero_points = {id(module.tau) for module in network.modules() if isinstance(module, ZeroPoint)}
    for parameter in network.parameters():
        if id(parameter) in latent:
            decay = recipe.latent_weight_decay
        else:
            decays = parameter.dim() > 1 and id(parameter) not in zero_points
            decay = recipe.weight_decay if decays else 0.0
        by_muon = recipe.optimizer == "muon" and id(parameter) in whole
        groups.setdefault((decay, parameter.shape if by_muon else None), []).append(parameter)
    return Optimizer(
        [{"params": p, "weight_decay": decay, "muon": shape is not None} for (decay, shape), p in groups.items()],
        recipe.learning_rate,
    )


def _of_whole_layers(network: nn.Module) -> list[Tensor]:
    """Weights of convolutions and binary layers whose filters all read the same inputs."""
    layers = (BinaryConv2d, BinaryLinear, nn.Conv1d, nn.Conv2d)
    return [
        layer.weight for layer in network.modules() if isinstance(layer, layers) and getattr(layer, "groups", 1) == 1
    ]
