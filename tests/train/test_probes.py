from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from evenbit.errors import RecipeError
from evenbit.models import create_model
from evenbit.nn import METHODS, BinaryActivation, BinaryConv2d, Sign, WeightBinarizer, set_progress
from evenbit.train import Result
from evenbit.train.probes import WeightProbe, gradient_window, means, probe_activations, probe_run


def images_with_shares(*ones: int) -> torch.Tensor:
    """Four images of one pixel; of channel c, `ones[c]` are white and the others black."""
    images = torch.zeros(4, len(ones), 1, 1, dtype=torch.uint8)
    for channel, count in enumerate(ones):
        images[:count, channel] = 255
    return images


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_bits_by_hand_whatever_the_batches(batch_size: int) -> None:
    # sign(x - 1/2) of channels that are white in 2, 1 and 4 of 4 images: shares of +1 are 1/2, 1/4 and 1.
    layer = BinaryActivation(3, METHODS["react"])
    nn.init.constant_(layer.refine.tau, 0.5)
    found = probe_activations(nn.Sequential(layer).eval(), images_with_shares(2, 1, 4), batch_size)["0"]
    quarter = -(1 / 4 * math.log2(1 / 4) + 3 / 4 * math.log2(3 / 4))
    assert found.share == (0.5, 0.25, 1)
    assert found.balance == pytest.approx((0 + 1 / 4 + 1 / 2) / 3)
    assert found.spread == pytest.approx(torch.tensor([0.5, 0.25, 1]).std(correction=0).item())
    assert found.entropy == pytest.approx((1 + quarter + 0) / 3)
    # u is ±1/2 in every channel: its deviation from ±1/2 is 0, its means are 0, -1/4 and 1/2.
    assert found.error == pytest.approx(0)
    assert found.zero_point[:2] == pytest.approx((0, 0.25 / math.sqrt(0.25 - 0.0625)))
    assert found.displacement == pytest.approx(found.zero_point[1])  # the third channel is constant


def test_window_and_error_by_hand() -> None:
    # u = x: 0 three times and 1 once. The triangle 2 - 2|u| is 2 and 0 there; a tenth of its largest is 0.2.
    layer = BinaryActivation(1, METHODS["bireal"])
    found = probe_activations(nn.Sequential(layer).eval(), images_with_shares(1), 4)["0"]
    assert found.window == 0.75
    assert found.error == pytest.approx(1 - (1 / 4) ** 2 / (1 / 4))


def test_the_window_of_each_estimator_by_hand() -> None:
    windows = {"clip": 1, "polynomial": 0.9, "identity": math.inf, "reste": 1.5}
    for estimator, window in windows.items():
        assert gradient_window(Sign(estimator)) == pytest.approx(window, abs=1e-3)
    # 1 - tanh(t x)^2 is a tenth at t x = artanh(sqrt(0.9)); t goes from 0.1 to 10.
    late = Sign("ede")
    set_progress(late, 1.0)
    assert gradient_window(Sign("ede")) == pytest.approx(10 * math.atanh(0.9**0.5), abs=1e-3)
    assert gradient_window(late) == pytest.approx(0.1 * math.atanh(0.9**0.5), abs=1e-3)


def test_every_binary_activation_is_measured_and_none_in_a_float_network() -> None:
    images = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    for method, layers in (("fd", 6), ("float", 0)):
        shape = {"channels": 1, "classes": 2, "height": 8, "width": 8}
        model = create_model("resnet8", method=METHODS[method], mean=(0.5,), std=(0.25,), **shape).eval()
        found = probe_activations(model, images, 2)
        assert len(found) == layers
        assert all(0 <= probe.balance <= 0.5 and 0 <= probe.entropy <= 1 for probe in found.values())
        assert not any(module._forward_hooks for module in model.modules())


def test_flips_and_errors_of_weights_by_hand() -> None:
    conv = BinaryConv2d(1, 1, 2, WeightBinarizer(standardize=False, scale="mean", estimator="clip"))
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, -1.0, 2.0, 4.0]).view(1, 1, 2, 2))
        probe = WeightProbe(nn.Sequential(conv))
        conv.weight[0, 0, 0, 0] = -1
    assert probe.look() == {"0": {"error": pytest.approx(1 - 2**2 / (22 / 4)), "flips": 0.25}}
    assert probe.look()["0"]["flips"] == 0


def test_means() -> None:
    assert means({"a": {"x": 1.0, "y": 2.0}, "b": {"x": 2.0, "y": 0.0}}) == {"x": 1.5, "y": 1.0}
    assert means({}) == {}


def test_a_run_is_probed(train_tiny: Callable[..., Result], tmp_path: Path) -> None:
    result = train_tiny(tmp_path / "fd", epochs=1)
    found = probe_run(result.folder, data_root=None, images=1000)
    assert found["means"]["balance"] == pytest.approx(result.metrics["balance"], abs=1e-6)
    assert {len(layer["share"]) for layer in found["layers"].values()} == {16, 32, 64}
    assert 0 <= result.metrics["weight_flips"] <= 1
    assert set(result.metrics["layers"]) == set(found["layers"])
    assert found["weights"] == result.metrics["weights"]
    with pytest.raises(RecipeError, match="number of images should be at least 1, but is 0"):
        probe_run(result.folder, data_root=None, images=0)
    with pytest.raises(RecipeError, match="has no binary activations"):
        probe_run(train_tiny(tmp_path / "float", method="float", epochs=1).folder, data_root=None, images=10)
