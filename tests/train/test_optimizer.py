"""Muon against torch's for matrices, and which weights it updates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from evenbit.models import create_model
from evenbit.nn import latent_weights
from evenbit.train.optimizer import COEFFICIENTS, ITERATIONS, STEP, Optimizer, make_optimizer, orthogonal
from evenbit.train.recipe import Recipe, load_recipe

RATE, DECAY, STEPS = 0.03, 0.1, 4


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def muon(weights: list[nn.Parameter]) -> Optimizer:
    alike: dict[torch.Size, list[nn.Parameter]] = {}
    for weight in weights:
        alike.setdefault(weight.shape, []).append(weight)
    groups = [{"params": same, "weight_decay": DECAY, "muon": True} for same in alike.values()]
    return Optimizer(groups, RATE)


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (1, 9), (5, 5)])
def test_it_makes_the_steps_of_torch(shape: tuple[int, int]) -> None:
    ours, theirs = (nn.Parameter(seeded(*shape)) for _ in range(2))
    # A step of torch is 0.2 times the rate, and the rate multiplies the decay too.
    rate, decay = RATE * STEP / 0.2, DECAY * 0.2 / STEP
    optimizers = muon([ours]), torch.optim.Muon([theirs], rate, decay, adjust_lr_fn="match_rms_adamw")
    for step in range(STEPS):
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = seeded(*shape, seed=step + 1)
            optimizer.step()
    moved = (theirs - seeded(*shape)).abs().max()
    assert float(moved.detach()) > 0.02
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-2 * float(moved.detach()))  # theirs is in bfloat16


@pytest.mark.parametrize("shape", [(8, 30), (30, 8)])
def test_singular_values_become_about_one_and_vectors_stay(shape: tuple[int, int]) -> None:
    matrix = seeded(*shape).double()
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ orthogonal(matrix[None])[0] @ right.T
    values = turned.diagonal()
    assert float(values.min()) > 0.65
    assert float(values.max()) < 1.25
    torch.testing.assert_close(turned, torch.diag(values), rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(64, 576), (300, 40)])
@pytest.mark.parametrize("smallest", [1.0, 1e-2, 1e-4])
def test_it_is_the_iteration_to_rounding(shape: tuple[int, int], smallest: float) -> None:
    left, values, right = torch.linalg.svd(seeded(*shape), full_matrices=False)
    matrix = (left * torch.logspace(0, math.log10(smallest), len(values)) @ right)[None]
    x = matrix.double() / matrix.double().norm()
    for _ in range(ITERATIONS):
        a, b, c = COEFFICIENTS
        x = a * x + (b * x @ x.mT + c * (x @ x.mT) @ (x @ x.mT)) @ x
    torch.testing.assert_close(orthogonal(matrix), x.float(), rtol=0, atol=1e-4)


def test_weights_that_share_a_batch_do_not_mix() -> None:
    shapes = [(4, 3, 3, 3), (8, 27), (4, 3, 3, 3), (6, 5)]
    together, alone = ([nn.Parameter(seeded(*shape, seed=i)) for i, shape in enumerate(shapes)] for _ in range(2))
    optimizers = [muon(together), *(muon([weight]) for weight in alone)]
    for weights in (together, alone):
        for i, weight in enumerate(weights):
            weight.grad = seeded(*weight.shape, seed=10 + i)
    for optimizer in optimizers:
        optimizer.step()
    for weight, other, shape in zip(together, alone, shapes, strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-5, atol=1e-6)
        assert weight.shape == shape


def test_a_weight_without_gradient_stays() -> None:
    weight = nn.Parameter(seeded(3, 4))
    muon([weight]).step()
    assert torch.equal(weight, seeded(3, 4))


def by_muon(network: nn.Module, recipe: Recipe) -> set[str]:
    optimizer = make_optimizer(recipe, network)
    return {name for name, weight in network.named_parameters() if optimizer.state_names(weight) == ("momentum",)}


def test_it_updates_convolutions_and_binary_layers() -> None:
    network = create_model("resnet8", method="fd")
    names = by_muon(network, load_recipe(None, {}))
    latent = {id(weight) for weight in latent_weights(network)}
    assert {name for name, weight in network.named_parameters() if id(weight) in latent} < names
    assert "stem.conv.weight" in names
    assert not [name for name in names if "excite" in name or "head" in name or "bias" in name]
    assert by_muon(network, load_recipe(None, {"optimizer": "adamw"})) == set()


def test_it_leaves_layers_in_groups_alone() -> None:
    network = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1), nn.Conv2d(4, 4, 3, groups=2))
    assert by_muon(network, load_recipe(None, {})) == {"1.weight"}
