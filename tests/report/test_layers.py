from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from evenbit.nn import METHODS, BinaryActivation
from evenbit.report.layers import observe_layers
from evenbit.train.probes import probe_activations


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (6, 8, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def trained(method: str) -> BinaryActivation:
    """An activation of 8 channels whose parameters are not as they start."""
    torch.manual_seed(1)
    layer = BinaryActivation(8, METHODS[method])
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, 0.2, 0.9)
    for name, buffer in layer.named_buffers():
        if "running" in name:
            nn.init.uniform_(buffer, 0.2, 0.9)
    return layer.eval()


def test_zero_points_of_a_learned_threshold_are_the_threshold(images: torch.Tensor) -> None:
    layer = trained("react")
    (found,) = observe_layers(nn.Sequential(layer), [images / 255]).values()
    assert found.zero_points == pytest.approx(layer.refine.tau.detach().numpy(), abs=1e-4)
    assert found.adjusted
    assert found.window == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize("method", ["fd", "insta", "adabin"])
def test_zero_points_are_where_the_sign_changes_in_the_mean(method: str, images: torch.Tensor) -> None:
    layer = trained(method)
    inputs = images / 255
    (found,) = observe_layers(nn.Sequential(layer), inputs.split(2)).values()
    # In every image and channel u = s a + o; two pixels give s and o, and these the zero point -o / s.
    with torch.no_grad():
        u = layer.before_sign(inputs).flatten(2)
    a = inputs.flatten(2)
    low, high = a.argmin(2, keepdim=True), a.argmax(2, keepdim=True)
    slope = (u.gather(2, high) - u.gather(2, low)) / (a.gather(2, high) - a.gather(2, low))
    points = (a.gather(2, high) - u.gather(2, high) / slope).mean((0, 2))
    assert found.zero_points == pytest.approx(points.numpy(), abs=1e-3)


def test_a_plain_sign_leaves_its_input(images: torch.Tensor) -> None:
    (found,) = observe_layers(nn.Sequential(trained("bireal")), [images / 255 - 0.5]).values()
    assert not found.adjusted
    assert found.before.probe == found.after.probe
    assert found.zero_points == pytest.approx(np.zeros(8), abs=1e-6)


def test_histograms_count_every_value_on_its_side_of_zero(images: torch.Tensor) -> None:
    values = torch.cat([torch.full((1, 1, 1, 30), -1.0), torch.full((1, 1, 1, 70), 2.0)], 3)
    (found,) = observe_layers(nn.Sequential(BinaryActivation(1, METHODS["bnn"])).eval(), [values]).values()
    edges, shares = found.after.edges, found.after.shares
    assert 0 in edges
    assert shares[edges[1:] <= 1e-9].sum() == pytest.approx(0.3)
    assert shares[edges[:-1] >= -1e-9].sum() == pytest.approx(0.7)
    assert found.after.positive == pytest.approx(0.7)


def test_a_constant_channel_has_no_zero_point() -> None:
    values = torch.zeros(2, 2, 3, 3)
    values[:, 1, 0] = 1
    (found,) = observe_layers(nn.Sequential(BinaryActivation(2, METHODS["react"])).eval(), [values]).values()
    assert np.isnan(found.zero_points).tolist() == [True, False]


def test_what_stands_before_the_sign_is_what_a_probe_sees(images: torch.Tensor) -> None:
    model = nn.Sequential(trained("fd"))
    (found,) = observe_layers(model, (images / 255).split(4)).values()
    (probe,) = probe_activations(model, images, 6).values()
    assert found.after.probe.entropy == pytest.approx(probe.entropy)
    assert found.after.probe.share == pytest.approx(probe.share)
    assert not any(part._forward_hooks for part in model.modules())
