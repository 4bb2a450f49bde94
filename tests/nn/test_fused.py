"""The fused kernels of a CPU against torch's own operations, values and gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evenbit.nn import BinaryActivation, BinaryConv2d, RPReLU, _training, freeze_excitation, fused, resolve_method
from evenbit.nn.block import finish, make_binarizer
from evenbit.nn.ops import convolve_padded

SIZES = [(3, 16, 5, 7), (2, 3, 4, 4), (4, 300, 2, 2), (2, 64, 1, 1), (5, 40, 8, 8)]
KNOBS = [
    {},
    {"estimator": "clip"},
    {"estimator": "identity"},
    {"adjustment": "none"},
    {"adjustment": "none", "excitation_groups": 0},
    {"adjustment": "group", "excitation_groups": 0},
    {"adjustment": "instance"},
    {"zero_point": False, "excitation_groups": 2},
    {"zero_point_cells": 3},
    {"zero_point_cells": 4, "third_moment": False, "adjustment": "none", "excitation_groups": 0},
    {"two_values": True},
    {"excitation_gate": "sigmoid"},
    {"third_moment": False},
    {"third_moment": False, "adjustment": "none"},
    {"third_moment": False, "adjustment": "none", "excitation_groups": 0},
]


def channels_last(*size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*size, generator=generator) * 1.5 + 0.3
    return x.to(memory_format=torch.channels_last)


def plain(module: nn.Module, monkeypatch: pytest.MonkeyPatch, *inputs: torch.Tensor) -> torch.Tensor:
    with monkeypatch.context() as patch:
        patch.setattr(fused, "fits", lambda *maps: False)
        return module(*inputs)


def randomize(module: nn.Module) -> None:
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.2, 0.5)


def assert_same(one: nn.Module, other: nn.Module, inputs: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs, gradients of inputs and parameters, and buffers are the same but for rounding."""
    copies = [x.clone().requires_grad_() for x in inputs]
    inputs = [x.requires_grad_() for x in inputs]
    y, expected = one(*inputs), plain(other, monkeypatch, *copies)
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
    weight = channels_last(*y.shape, seed=2)
    (y * weight).sum().backward()
    (expected * weight).sum().backward()
    for x, twin in zip(inputs, copies, strict=True):
        torch.testing.assert_close(x.grad, twin.grad, rtol=2e-3, atol=2e-4)
    for (name, p), q in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=2e-3, atol=2e-3, msg=lambda text, name=name: f"{name}: {text}")
    for (name, b), c in zip(one.named_buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(b, c, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


# Maps of one pixel have no statistics of an instance.
CASES = [(knobs, size) for knobs in KNOBS for size in SIZES if knobs.get("adjustment") != "instance" or size[2] > 1]


@pytest.mark.parametrize(("knobs", "size"), CASES, ids=str)
def test_binary_activation(knobs, size, monkeypatch):
    if size[1] % 4 and (knobs.get("excitation_groups", 4) or knobs.get("adjustment") == "group"):
        knobs = {**knobs, "excitation_groups": 1, "adjustment_groups": 3}
    module = BinaryActivation(size[1], resolve_method("fd", knobs))
    randomize(module)
    assert_same(module, copy.deepcopy(module), [channels_last(*size)], monkeypatch)


def test_a_frozen_excitation_still_shifts(monkeypatch):
    module = BinaryActivation(8, resolve_method("fd", {}))
    randomize(module)
    x = channels_last(6, 8, 5, 5)
    frozen = freeze_excitation(nn.Sequential(module).eval(), [x])[0].train()
    assert_same(frozen, copy.deepcopy(frozen), [x], monkeypatch)


def test_more_cells_than_pixels_are_left_to_torch(monkeypatch):
    module = BinaryActivation(8, resolve_method("fd", {"zero_point_cells": 5}))
    monkeypatch.setattr(fused, "adjusted_sign", lambda *_, **__: pytest.fail("took the kernels"))
    assert module(channels_last(2, 8, 9, 4)).shape == (2, 8, 9, 4)


def test_expected_shares_with_cells_are_those_of_the_pixels():
    module = BinaryActivation(8, resolve_method("fd", {"zero_point_cells": 3}))
    randomize(module)
    module.guided = True
    share = (module(channels_last(3, 8, 9, 9)) > 0).float().mean((0, 2, 3))
    torch.testing.assert_close(module.share.detach(), share, rtol=0, atol=0.06)


def test_expected_shares(monkeypatch):
    module = BinaryActivation(8, resolve_method("fd", {}))
    randomize(module)
    module.guided = True
    twin = copy.deepcopy(module)
    x = channels_last(6, 8, 9, 9)
    module(x)
    plain(twin, monkeypatch, x)
    torch.testing.assert_close(module.share, twin.share, rtol=1e-4, atol=1e-5)
    bits = plain(twin, monkeypatch, x) > 0
    torch.testing.assert_close(module.share, bits.float().mean((0, 2, 3)), rtol=0, atol=0.06)
    weight = torch.linspace(-1, 1, 8)
    (module.share @ weight).backward()
    (twin.share @ weight).backward()
    for p, q in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=2e-3, atol=1e-4)


class Finish(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.activation = nn.BatchNorm2d(channels), RPReLU(channels)

    def forward(self, y: torch.Tensor, shortcut: torch.Tensor | None = None) -> torch.Tensor:
        return finish(y, shortcut, self.norm, self.activation)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("shortcut", [True, False])
def test_norm_and_rprelu(size, shortcut, monkeypatch):
    module = Finish(size[1])
    randomize(module)
    inputs = [channels_last(*size), *([channels_last(*size, seed=3)] * shortcut)]
    assert_same(module, copy.deepcopy(module), inputs, monkeypatch)


def test_running_statistics_without_momentum_are_those_of_all_batches() -> None:
    module = Finish(16)
    module.norm.momentum = None
    batches = [channels_last(4, 16, 5, 5, seed=seed) for seed in range(3)]
    for batch in batches:
        module(batch)
    assert module.norm.num_batches_tracked == 3
    mean = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    torch.testing.assert_close(module.norm.running_mean, mean, rtol=1e-4, atol=1e-5)


def test_a_graph_that_is_retained_gives_the_same_gradient_again() -> None:
    module = BinaryActivation(16, resolve_method("fd", {}))
    x = channels_last(2, 16, 4, 4).requires_grad_()
    y = module(x).square().sum() + module(x).sum()
    first = torch.autograd.grad(y, x, retain_graph=True)
    assert torch.equal(*first, *torch.autograd.grad(y, x))


def test_the_gradient_of_a_deviation_as_scale_does_not_depend_on_the_layout() -> None:
    conv = BinaryConv2d(16, 16, 3, make_binarizer(resolve_method("fd", {"weight_scale": "deviation"})), padding=1)
    x = channels_last(2, 16, 5, 5).sign()
    weight = torch.linspace(-1, 1, 16)[:, None, None]
    gradients = [torch.autograd.grad((conv(each) * weight).sum(), conv.weight)[0] for each in (x, x.contiguous())]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(threads, monkeypatch):
    results = []
    for count in (1, threads):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)  # torch's own sums stay the same
        module = nn.Sequential(BinaryActivation(16, resolve_method("fd", {})), Finish(16))
        randomize(module)
        x = channels_last(29, 16, 6, 6).requires_grad_()
        module(x).square().sum().backward()
        results.append([x.grad, *(p.grad for p in module.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_only_maps_that_fit_are_taken():
    x = channels_last(2, 4, 3, 3)
    assert fused.fits(x)
    assert not fused.fits(x.double())
    assert not fused.fits(x.contiguous())
    assert not fused.fits(x[:, :, 0, 0])


@pytest.mark.parametrize("stride", [(1, 1), (2, 1)])
@pytest.mark.parametrize(
    ("channels", "outputs", "size", "kernel"), [(16, 32, (5, 7), (3, 3)), (48, 16, (2, 1), (1, 3))]
)
def test_a_binary_convolution_is_the_padded_convolution(
    stride: tuple[int, int], channels: int, outputs: int, size: tuple[int, int], kernel: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = signs(torch.randn(3, channels, *size, generator=generator)).to(memory_format=torch.channels_last)
    w = signs(torch.randn(outputs, channels, *kernel, generator=generator))
    scale = torch.rand(outputs, generator=generator) + 0.5
    padding = (kernel[0] // 2, kernel[1] // 2)
    results = []
    for convolve in (
        lambda x, w: fused.binary_conv(x, w, scale, stride, padding),
        lambda x, w: convolve_padded(x, w * scale[:, None, None, None], stride, padding),
    ):
        x, w = (t.detach().requires_grad_() for t in (x, w))
        y = convolve(x, w)
        (y * torch.arange(y.numel()).view_as(y).sin()).sum().backward()
        results.append((y, x.grad, w.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(results[0][0] / scale[:, None, None], (results[0][0] / scale[:, None, None]).round())


def test_under_autocast_a_compiled_border_is_0_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    # Compiled code adds the border everywhere.
    x, w = signs(channels_last(2, 64, 6, 6)), channels_last(16, 64, 3, 3, seed=1)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with torch.autocast("cpu", torch.bfloat16):
        y, inside = convolve_padded(x, w, (1, 1), (1, 1)), F.conv2d(x, w, padding=1)
    assert torch.equal(y[:, :, 1:-1, 1:-1], inside[:, :, 1:-1, 1:-1])
    assert not torch.equal(y, inside)


def test_under_autocast_a_binary_convolution_is_exact_but_for_bfloat16() -> None:
    x, w = signs(channels_last(4, 16, 6, 6)), signs(channels_last(32, 16, 3, 3, seed=1))
    scale, weight = torch.rand(32) + 0.5, channels_last(4, 32, 6, 6, seed=2)
    results = []
    for enabled in (False, True):
        inputs = [t.detach().requires_grad_() for t in (x, w)]
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = fused.binary_conv(*inputs, scale, (1, 1), (1, 1))
        (y * weight).sum().backward()
        results.append((y, *(t.grad for t in inputs)))
    exact, rounded = results
    assert torch.equal(exact[0].bfloat16(), rounded[0])
    for a, b in zip(exact[1:], rounded[1:], strict=True):
        assert b.dtype == torch.float32
        assert 0 < (a - b).norm() < 1e-2 * a.norm()  # 8 bits of mantissa


def test_under_autocast_a_shortcut_of_bfloat16_is_taken() -> None:
    module = Finish(8)
    randomize(module)
    y, shortcut = channels_last(4, 8, 5, 5), channels_last(4, 8, 5, 5, seed=3).bfloat16()
    expected = module(y, shortcut.float())
    assert not fused.fits(y, shortcut)
    with torch.autocast("cpu", torch.bfloat16):
        assert fused.fits(y, shortcut)
        assert torch.equal(module(y, shortcut), expected)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_maps_of_bfloat16_give_the_results_of_float32_rounded(size: tuple[int, ...]) -> None:
    # The kernels compute in float32 whatever the maps are of, so only their results are rounded.
    knobs = {"excitation_groups": 1, "adjustment_groups": 3} if size[1] % 4 else {"zero_point_cells": min(size[2:])}
    before, after = BinaryActivation(size[1], resolve_method("fd", knobs)), Finish(size[1])
    x, y, shortcut, weight = (channels_last(*size, seed=seed).bfloat16() for seed in range(4))
    for module, inputs in ((before, [x]), (after, [y, shortcut]), (after, [y])):
        randomize(module)
        results = []
        for dtype in (torch.float32, torch.bfloat16):
            twin, maps = copy.deepcopy(module), [map_.to(dtype, copy=True).requires_grad_() for map_ in inputs]
            with torch.autocast("cpu", torch.bfloat16):
                assert fused.fits(*maps)
                result = twin(*maps)
            assert result.dtype == dtype
            (result * weight).sum().backward()
            gradients = {name: p.grad for name, p in twin.named_parameters()}
            results.append((result, *(map_.grad for map_ in maps), gradients, dict(twin.named_buffers())))
        (*exact, gradients, buffers), (*rounded, own_gradients, own_buffers) = results
        assert torch.equal(exact[0].bfloat16(), rounded[0])
        for a, b in zip(exact[1:], rounded[1:], strict=True):
            assert (a - b).norm() < 1e-2 * a.norm()
        for name, gradient in gradients.items():
            torch.testing.assert_close(own_gradients[name], gradient, rtol=2e-2, atol=2e-2)
        for name, buffer in buffers.items():
            assert torch.equal(own_buffers[name], buffer)


def test_bfloat16_is_rounded_as_torch_rounds_it() -> None:
    bits = torch.randint(-(2**31), 2**31, (4096,), generator=torch.Generator().manual_seed(0)).int()
    values = bits.view(torch.float32)
    edges = [torch.inf, -torch.inf, torch.nan, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, 3.4e38, -1e-45]
    values[: len(edges)] = torch.tensor(edges)
    zeros, ones, results = torch.zeros(1, 1, 4096), torch.ones(4096).numpy(), torch.empty(1, 1, 4096).bfloat16()
    map_ = zeros.bfloat16().view(torch.int16).numpy()
    # 0 * 1 + 0 * 1 + b for each channel
    _training.norm_backward(map_, map_, ones, ones, values.numpy(), results.view(torch.int16).numpy(), 1)
    torch.testing.assert_close(results.flatten(), values.bfloat16(), rtol=0, atol=0, equal_nan=True)


def signs(x: Tensor) -> Tensor:
    return torch.where(x >= 0, 1.0, -1.0)
