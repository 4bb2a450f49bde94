from __future__ import annotations

import pytest
import torch
from torch import nn

import evenbit
from evenbit.nn import METHODS, BinaryActivation, BinaryLayer, RPReLU, resolve_method
from evenbit.nn.conversion.fit import _best_signs, _middle, _set_zero_points, fit


class Block(nn.Module):
    """Two convolutions with a shortcut around each, and a layer that is applied to vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.relu0 = nn.ReLU()
        self.conv1 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(8, 12, 3, stride=2, padding=1)  # without a normalization
        self.relu2 = nn.ReLU()
        self.hidden = nn.Linear(12, 10)
        self.head = nn.Linear(10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu0(self.stem(x))
        x = self.relu1(self.norm1(self.conv1(x)) + x)
        x = self.relu2(self.conv2(x)).mean((2, 3))
        return self.head(self.hidden(x))  # type: ignore[no-any-return]


@pytest.fixture
def real() -> nn.Module:
    torch.manual_seed(0)
    network = Block()
    network.norm1.running_var.fill_(0.3)
    return network


def images() -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.rand(96, 3, 1, 1, generator=draw) * torch.rand(96, 3, 8, 8, generator=draw)


def logits_error(network: nn.Module, real: nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        wanted = real.eval()(x)
        return float((network.eval()(x) - wanted).square().mean() / wanted.var(0).mean())


def test_a_zero_point_lies_between_two_clusters() -> None:
    values = torch.tensor([[0.0, 0, 0, 0, 0, 0, 1, 1, 9, 9], [-3.0, -3, -3, 5, 5, 5, 5, 5, 5, 5]])
    assert torch.allclose(_middle(values), torch.tensor([(0.25 + 9) / 2, 1.0]))
    assert _middle(torch.full((1, 5), 2.0)).item() == 2  # a constant channel has no two values


@torch.no_grad()
def test_all_cells_start_with_the_zero_point_of_the_map() -> None:
    whole, cut = (BinaryActivation(4, resolve_method("fd", {"zero_point_cells": cells})) for cells in (1, 2))
    values = torch.randn(8, 4, 6, 6, generator=torch.Generator().manual_seed(0)) + 1
    for activation in (whole, cut):
        _set_zero_points(activation, (values,))
    assert whole.refine.tau.abs().min() > 0
    assert torch.equal(cut.refine.tau, whole.refine.tau[:, None, None].expand(-1, 2, 2))


def test_signs_that_made_the_target_are_found() -> None:
    draw = torch.Generator().manual_seed(0)
    bits = torch.randn(500, 20, generator=draw).sign()
    true = torch.randn(6, 20, generator=draw).sign()
    target = 0.3 * bits @ true.T
    start = true.clone()
    start[:, ::5] *= -1
    covariance = bits.T @ bits / 500 - torch.outer(bits.mean(0), bits.mean(0))
    cross = (target - target.mean(0)).T @ bits / 500
    assert torch.equal(_best_signs(start, covariance, cross), true)


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.binary])
def test_every_method_comes_closer_to_the_real_network(real: nn.Module, method: str) -> None:
    before = {name: tensor.clone() for name, tensor in real.state_dict().items()}
    network = evenbit.binarize(real, images()[:1], method=method).network
    plain = logits_error(network, real, images())
    fit(network, real, images())
    error = logits_error(network, real, images())
    assert error < (0.3 if METHODS[method].zero_point else 0.95) < plain
    assert all(torch.equal(tensor, before[name]) for name, tensor in real.state_dict().items())
    assert network.training is real.training


def test_statistics_are_those_of_what_is_read_and_scales_are_the_best(real: nn.Module) -> None:
    network = evenbit.binarize(real, images()[:1]).network
    fit(network, real, images())
    read: dict[str, torch.Tensor] = {}
    network.norm1.register_forward_hook(lambda module, inputs, output: read.update(y=inputs[0], z=output))
    real.norm1.register_forward_hook(lambda module, inputs, output: read.update(wanted=output))
    with torch.no_grad():
        network.eval()(images())
        real.eval()(images())
    assert torch.allclose(network.norm1.running_mean, read["y"].mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(network.norm1.running_var, read["y"].var((0, 2, 3), correction=0), rtol=1e-4)
    # Of a regression, what is left is uncorrelated with what it is made of. (All 64 pixels of a map are looked at.)
    left = read["wanted"] - read["z"]
    assert torch.allclose(left.mean((0, 2, 3)), torch.zeros(8), atol=1e-4)
    assert torch.allclose((left * read["y"]).mean((0, 2, 3)), torch.zeros(8), atol=1e-2)


def test_the_negative_half_of_a_relu_stays_closed_and_bits_are_of_both_kinds(real: nn.Module) -> None:
    network = evenbit.binarize(real, images()[:1]).network
    fit(network, real, images())
    assert all(not module.slope.any() for module in network.modules() if isinstance(module, RPReLU))
    shares: list[torch.Tensor] = []
    for module in network.modules():
        if isinstance(module, BinaryActivation):
            module.register_forward_hook(lambda module, inputs, bits: shares.append((bits > 0).float().mean()))
    with torch.no_grad():
        network.eval()(images())
    assert len(shares) == sum(isinstance(module, BinaryLayer) for module in network.modules()) == 3
    assert all(0.05 < share < 0.95 for share in shares)


def test_a_gate_that_is_not_0_at_first_does_not_move_the_zero_points(real: nn.Module) -> None:
    shares = []
    for gate in ("softsign", "sigmoid"):
        method = evenbit.nn.resolve_method("sdbnn", {"excitation_gate": gate, "adjustment": "channel"})
        network = evenbit.binarize(real, images()[:1], method=method).network
        fit(network, real, images())
        bits: list[torch.Tensor] = []
        first = next(module for module in network.modules() if isinstance(module, BinaryActivation))
        first.register_forward_hook(lambda module, inputs, output, bits=bits: bits.append(output > 0))
        with torch.no_grad():
            network.eval()(images())
        shares.append(bits[0].float().mean().item())
    assert shares[0] == pytest.approx(shares[1], abs=1e-3)


def test_what_cannot_be_chosen_stays(real: nn.Module) -> None:
    method = evenbit.nn.resolve_method("fd", {"binary_weights": False})  # the first of two steps of training
    network = evenbit.binarize(real, images()[:1], method=method).network
    fit(network, real, images())
    assert torch.equal(network.conv1.weight, real.conv1.weight)
    assert logits_error(network, real, images()) < 0.3


def test_layers_may_be_called_with_names() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.conv = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1)
            self.norm, self.last = nn.BatchNorm2d(8), nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            features = self.norm(input=self.conv(input=self.stem(x).relu()))
            return self.last(input=features.mean((2, 3)))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    real = Named().eval()
    network = evenbit.binarize(real, images()[:1]).network
    before = logits_error(network, real, images())
    fit(network, real, images())
    assert logits_error(network, real, images()) < before


class Pixels(nn.Module):
    """Dense layers of each pixel, as tokens or as 1x1 convolutions of the same weights."""

    def __init__(self, *, tokens: bool) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.tokens, sizes = tokens, ((3, 12), (12, 20), (20, 8))
        make = nn.Linear if tokens else nn.Conv2d
        self.stem, self.up, self.down = (make(*size, *(() if tokens else (1,))) for size in sizes)
        for layer in (self.stem, self.up, self.down):
            layer.weight = nn.Parameter(torch.randn(layer.weight.shape[:2], generator=draw).view_as(layer.weight))
            nn.init.zeros_(layer.bias)
        self.head = nn.Linear(8, 4)
        nn.init.orthogonal_(self.head.weight, generator=draw)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(2).transpose(1, 2) if self.tokens else x
        x = self.down(nn.functional.hardtanh(self.up(nn.functional.hardtanh(self.stem(x)))))
        return self.head(x.mean(1) if self.tokens else x.mean((2, 3)))  # type: ignore[no-any-return]


def test_tokens_are_fitted_as_the_pixels_of_a_map_are() -> None:
    fitted = {}
    for tokens in (False, True):
        real = Pixels(tokens=tokens)
        network = evenbit.binarize(real, images()[:1], method="react").network
        plain = logits_error(network, real, images())
        fit(network, real, images())
        assert logits_error(network, real, images()) < 0.3 < plain
        fitted[tokens] = network
    for name in ("up", "down"):
        ours, theirs = (getattr(fitted[tokens], name) for tokens in (True, False))
        assert (ours.weight.sign() == theirs.weight.sign().view_as(ours.weight)).float().mean() > 0.97
        torch.testing.assert_close(ours.norm.weight, theirs.norm.weight, rtol=0.02, atol=1e-3)
        assert (ours.weight.sign() == getattr(Pixels(tokens=True), name).weight.sign()).float().mean() < 0.97


class Halves(nn.Module):
    """A dilated convolution of two groups, or two of one group that do the same."""

    def __init__(self, *, grouped: bool) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 1, bias=False)
        self.stem.weight = nn.Parameter(torch.randn(8, 3, 1, 1, generator=draw))
        weight = torch.randn(6, 4, 3, 3, generator=draw)
        parts = (weight,) if grouped else weight.chunk(2)
        self.convs = nn.ModuleList(
            nn.Conv2d(8 // len(parts), len(part), 3, 1, 2, 2, 2 // len(parts), bias=False) for part in parts
        )
        for conv, part in zip(self.convs, parts, strict=True):
            conv.weight = nn.Parameter(part.clone())
        self.head = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = nn.functional.hardtanh(self.stem(x - 0.25)).chunk(len(self.convs), 1)
        made = [conv(part) for conv, part in zip(self.convs, parts, strict=True)]
        return self.head(torch.cat(made, 1).mean((2, 3)))  # type: ignore[no-any-return]


def test_a_convolution_with_groups_is_fitted_as_one_for_each_group() -> None:
    signs = []
    for grouped in (True, False):
        real = Halves(grouped=grouped)
        network = evenbit.binarize(real, images()[:1], method="bnn", also=("convs.*",)).network
        fit(network, real, images())
        signs.append(torch.cat([conv.weight.sign() for conv in network.convs]))
    # A sign that makes next to no difference may be chosen by rounding.
    assert (signs[0] == signs[1]).float().mean() > 0.97
    assert (signs[0] == Halves(grouped=True).convs[0].weight.sign()).float().mean() < 0.9
