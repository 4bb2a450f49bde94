from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
import torch.nn.functional as F
from torch import nn

from evenbit.errors import RecipeError
from evenbit.nn import (
    BinaryActivation,
    BinaryConv2d,
    BinaryLinear,
    DistributionAdjustment,
    GroupExcitation,
    RPReLU,
    WeightBinarizer,
    ZeroPoint,
    freeze_excitation,
    latent_weights,
    resolve_method,
    set_progress,
)
from evenbit.nn.block import make_binarizer
from evenbit.nn.synchronized import synchronize
from evenbit.nn.weight import RealWeights


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def binarizer(*, standardize: bool = True, scale: str = "mean") -> WeightBinarizer:
    return WeightBinarizer(standardize=standardize, scale=scale, estimator="clip")


def test_weights_become_signs_and_mean_magnitudes() -> None:
    weight = torch.tensor([[1.0, -3.0], [0.5, 0.0]])
    signs, scale = binarizer(standardize=False)(weight)
    assert signs.tolist() == [[1, -1], [1, 1]]
    assert scale.tolist() == [2, 0.25]


def test_standardized_weights_are_centred_first() -> None:
    weight = torch.tensor([[1.0, 2.0, 3.0, 10.0]])
    signs, scale = binarizer()(weight)
    assert signs.tolist() == [[-1, -1, -1, 1]]
    w = (weight - 4) / weight.std(correction=0)
    assert scale.item() == pytest.approx(w.abs().mean().item(), rel=1e-5)


def test_scales_can_be_powers_of_two() -> None:
    weight = torch.tensor([[1.0, -3.0], [0.5, 0.0], [5.0, 7.0], [-0.7, 0.7]])  # mean magnitudes 2, 1/4, 6, 0.7
    _, scale = binarizer(standardize=False, scale="power_of_two")(weight)
    assert scale.tolist() == [2, 0.25, 8, 0.5]  # log2 6 = 2.58 and log2 0.7 = -0.51 are rounded
    with pytest.raises(RecipeError, match="unknown scale 'half'"):
        binarizer(scale="half")


def test_unscaled_weights_have_scale_one() -> None:
    assert binarizer(scale="one")(torch.randn(3, 5))[1].tolist() == [1, 1, 1]


def test_gradient_reaches_the_latent_weights_through_the_window() -> None:
    weight = torch.tensor([[0.5, -2.0]], requires_grad=True)
    signs, _ = binarizer(standardize=False)(weight)
    (signs * torch.tensor([3.0, 5.0])).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[3, 0]]


def test_conv_pads_with_plus_one() -> None:
    conv = BinaryConv2d(3, 4, 3, binarizer(standardize=False, scale="one"), padding=1)
    x = torch.where(torch.randn(2, 3, 5, 6) > 0, 1.0, -1.0)
    signs = torch.where(conv.weight >= 0, 1.0, -1.0)
    expected = F.conv2d(F.pad(x, (1, 1, 1, 1), value=1.0), signs)
    assert torch.equal(conv(x), expected)
    assert conv(x).shape == (2, 4, 5, 6)
    # With an odd number of +-1 terms no sum is 0; a border of zeros would give even numbers there.
    assert torch.all(conv(x) % 2 == 1)


@pytest.mark.parametrize(("kernel", "padding", "dilation"), [(3, 2, 2), ((3, 1), (1, 0), (3, 1)), (2, (4, 1), (1, 3))])
def test_a_dilated_conv_pads_with_plus_one(
    kernel: int | tuple[int, int], padding: int | tuple[int, int], dilation: int | tuple[int, int]
) -> None:
    conv = BinaryConv2d(
        4, 6, kernel, binarizer(standardize=False, scale="one"), padding=padding, groups=2, dilation=dilation
    )
    x = torch.where(torch.randn(2, 4, 7, 6) > 0, 1.0, -1.0)
    (up, left), results = conv.padding, []
    for forward in (
        conv,
        lambda x: F.conv2d(
            F.pad(x, (left, left, up, up), value=1.0), conv.binarizer(conv.weight)[0], dilation=dilation, groups=2
        ),
    ):
        conv.zero_grad()
        y = forward(x)
        (y * torch.arange(y.numel()).view_as(y).sin()).sum().backward()
        assert conv.weight.grad is not None
        results.append((y, conv.weight.grad.clone()))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_linear_is_the_scaled_product_of_signs() -> None:
    linear = BinaryLinear(7, 3, binarizer(standardize=False))
    x = torch.where(torch.randn(4, 7) > 0, 1.0, -1.0)
    expected = x @ torch.where(linear.weight >= 0, 1.0, -1.0).T * linear.weight.abs().mean(1)
    assert torch.allclose(linear(x), expected)


def test_latent_weights_are_those_of_binary_layers() -> None:
    conv, linear = BinaryConv2d(1, 1, 1, binarizer()), BinaryLinear(1, 1, binarizer())
    module = torch.nn.Sequential(conv, torch.nn.Conv2d(1, 1, 1), linear)
    assert [id(w) for w in latent_weights(module)] == [id(conv.weight), id(linear.weight)]


@pytest.mark.parametrize(("axes", "over"), [("channel", (0, 2, 3)), ("instance", (2, 3))])
def test_adjustment_normalizes_over_its_axes(axes: str, over: tuple[int, ...]) -> None:
    y = DistributionAdjustment(6, axes)(torch.randn(8, 6, 5, 5) * 3 + 2)
    assert torch.allclose(y.mean(over), torch.zeros(()), atol=1e-5)
    assert torch.allclose(y.var(over, correction=0), torch.ones(()), atol=1e-3)


def test_adjustment_by_group_shares_statistics_in_a_group() -> None:
    y = DistributionAdjustment(6, "group", groups=2)(torch.randn(8, 6, 5, 5) * 3 + torch.arange(6.0)[:, None, None])
    groups = y.reshape(8, 2, -1)
    assert torch.allclose(groups.mean((0, 2)), torch.zeros(2), atol=1e-5)
    assert not torch.allclose(y.mean((0, 2, 3)), torch.zeros(6), atol=1e-1)


@pytest.mark.parametrize("axes", ["channel", "group", "instance"])
def test_adjustment_uses_running_statistics_at_test_time(axes: str) -> None:
    layer = DistributionAdjustment(4, axes, groups=2)
    for _ in range(200):
        layer(torch.randn(16, 4, 12, 12) * 2 + 5)
    layer.eval()
    with torch.no_grad():
        layer.weight.fill_(3)
        layer.bias.fill_(-1)
    x = torch.randn(2, 4, 4, 4)
    assert torch.allclose(layer(x), 3 * (x - 5) / 2 - 1, atol=0.3)
    assert torch.equal(layer(x)[:1], layer(x[:1]))  # no image depends on another


def test_adjustment_says_what_is_wrong() -> None:
    with pytest.raises(RecipeError, match="unknown axes 'row'"):
        DistributionAdjustment(4, "row")
    with pytest.raises(RecipeError, match="6 channels do not divide into 4 groups"):
        DistributionAdjustment(6, "group", groups=4)


def test_excitation_starts_static_and_stays_within_its_groups() -> None:
    layer = GroupExcitation(8, groups=2, hidden=3)
    x = torch.rand(2, 8, 3, 3)
    assert torch.equal(layer(x), torch.zeros(2, 8, 1, 1))
    torch.nn.init.normal_(layer.excite.weight)
    torch.nn.init.ones_(layer.squeeze.bias)
    e = layer(x)
    assert e.abs().max() < 1
    changed = x.clone()
    changed[:, :4] += 1  # the first group
    assert torch.equal(layer(changed)[:, 4:], e[:, 4:])
    assert not torch.equal(layer(changed)[:, :4], e[:, :4])


def test_excitation_by_hand() -> None:
    layer = GroupExcitation(2, groups=1, hidden=1)
    with torch.no_grad():
        layer.squeeze.weight.copy_(torch.tensor([2.0, -1.0]).view(1, 2, 1, 1))
        layer.squeeze.bias.fill_(0.5)
        layer.excite.weight.copy_(torch.tensor([1.0, -3.0]).view(2, 1, 1, 1))
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 1.0]]]])  # means 2 and 0.5
    h = 2 * 2 - 0.5 + 0.5
    assert layer(x).flatten().tolist() == pytest.approx([h / (1 + h), -3 * h / (1 + 3 * h)])


def test_refinement_by_hand() -> None:
    zero_point = ZeroPoint(2)
    torch.nn.init.constant_(zero_point.tau, 0.5)
    assert zero_point(torch.tensor([[1.0, 0.0]])).tolist() == [[0.5, -0.5]]
    cells = ZeroPoint(1, 2)
    with torch.no_grad():
        cells.tau.copy_(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    # Three rows: the middle one lies in the upper cells, as 1 * 2 // 3 = 0. Four columns: two for each cell.
    assert (-cells(torch.zeros(1, 1, 3, 4))).flatten().tolist() == [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4]
    act = RPReLU(1)
    with torch.no_grad():
        act.gamma.fill_(1)
        act.zeta.fill_(10)
    assert act(torch.tensor([[3.0], [-3.0]])).tolist() == [[12.0], [9.0]]


def test_binary_activation_adds_its_parts_before_the_sign() -> None:
    layer = BinaryActivation(4, resolve_method("fd", {})).eval()
    assert layer.excite is not None
    torch.nn.init.constant_(layer.refine.tau, 0.25)
    torch.nn.init.ones_(layer.excite.excite.weight)
    torch.nn.init.constant_(layer.moment.alpha, 0.5)
    x = torch.randn(3, 4, 5, 5)
    a = layer.adjust(x)
    moment = (a**3).mean((2, 3), keepdim=True)
    expected = torch.where(a + (layer.excite(a) - 0.5 * moment) - 0.25 >= 0, 1.0, -1.0)
    assert torch.equal(layer(x), expected)


def test_frozen_excitation_is_its_mean_over_images() -> None:
    layer = BinaryActivation(8, resolve_method("fd", {}))
    assert isinstance(layer.excite, GroupExcitation)
    torch.nn.init.normal_(layer.excite.excite.weight)
    torch.nn.init.normal_(layer.moment.alpha)
    model = torch.nn.Sequential(layer).eval()
    images = torch.randn(10, 8, 3, 3)
    frozen = freeze_excitation(model, images.split(3))
    found = frozen[0].excite(images) - frozen[0].moment(images)
    adjusted = layer.adjust(images)
    torch.testing.assert_close(found, (layer.excite(adjusted) - layer.moment(adjusted)).mean(0, keepdim=True))
    assert isinstance(layer.excite, GroupExcitation)  # the network itself is as it was
    x = torch.randn(4, 8, 3, 3)
    expected = torch.where(layer.adjust(x) + found - layer.refine.tau[:, None, None] >= 0, 1.0, -1.0)
    torch.testing.assert_close(frozen(x), expected)


def test_frozen_excitation_of_a_layer_that_is_called_twice_is_the_mean_over_both_calls() -> None:
    layer = BinaryActivation(8, resolve_method("fd", {"third_moment": False}))
    assert isinstance(layer.excite, GroupExcitation)
    torch.nn.init.normal_(layer.excite.excite.weight)
    model = torch.nn.Sequential(layer, torch.nn.BatchNorm2d(8), layer).eval()
    seen: list[torch.Tensor] = []
    layer.excite.register_forward_hook(lambda part, inputs, e: seen.append(e.mean((0, 2, 3))))
    frozen = freeze_excitation(model, [torch.randn(6, 8, 3, 3)])
    assert len(seen) == 2
    torch.testing.assert_close(frozen[0].excite.shift.flatten(), torch.stack(seen).mean(0))


@pytest.mark.parametrize("axes", ["channel", "group", "instance"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_adjustment_in_other_precisions(axes: str, dtype: torch.dtype) -> None:
    adjust = DistributionAdjustment(8, axes, 2).to(dtype)
    adjust(torch.randn(4, 8, 3, 3, dtype=dtype))
    assert adjust.running_mean.dtype == dtype
    assert adjust.running_mean.abs().max() > 0


def test_real_weights_are_not_centred_again() -> None:
    conv = BinaryConv2d(4, 4, 3, RealWeights(), centred=True)
    x = torch.randn(1, 4, 5, 5)
    assert torch.allclose(conv(x), F.conv2d(x, conv.weight), atol=1e-5)
    linear = BinaryLinear(4, 4, RealWeights(), centred=True)
    assert torch.allclose(linear(x[0, 0, :, :4]), F.linear(x[0, 0, :, :4], linear.weight), atol=1e-5)


def test_the_progress_that_scales_depend_on_is_part_of_the_state() -> None:
    method = resolve_method("recu", {})
    one, other = (nn.Sequential(BinaryConv2d(4, 4, 3, make_binarizer(method))) for _ in range(2))
    set_progress(one, 0.9)
    other.load_state_dict(one.state_dict())
    x = torch.randn(1, 4, 5, 5).sign()
    assert torch.equal(one.eval()(x), other.eval()(x))
    assert not any("progress" in name for name in BinaryActivation(4, method).state_dict())


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize(
    "settings", [{}, {"affine": False}, {"track_running_stats": False}, {"momentum": None}], ids=str
)
def test_synchronized_normalization_is_torchs(settings: dict[str, Any]) -> None:
    norm = nn.BatchNorm2d(4, **settings)
    network = nn.Sequential(copy.deepcopy(norm))
    calls: list[int] = []
    network[0].register_forward_hook(lambda *_: calls.append(1))
    synchronize(network)
    for scale in (1, 2):
        x = 1000 + scale * torch.randn(8, 4, 5, 5)
        assert torch.allclose(network(x), norm(x), atol=2e-3)
    assert torch.allclose(network.eval()(x), norm.eval()(x), atol=2e-3)
    assert len(calls) == 3
