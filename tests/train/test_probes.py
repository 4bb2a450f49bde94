from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from evenbit.models import create_model
from evenbit.nn import METHODS, BinaryActivation
from evenbit.train.probes import measure_bit_balance


def images_with_shares(*ones: int) -> torch.Tensor:
    """Four images of one pixel; of channel c, `ones[c]` are white and the others black."""
    images = torch.zeros(4, len(ones), 1, 1, dtype=torch.uint8)
    for channel, count in enumerate(ones):
        images[:count, channel] = 255
    return images


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_balance_by_hand_whatever_the_batches(batch_size: int) -> None:
    # sign(x - 1/2) of channels that are white in 2, 1 and 4 of 4 images: shares of +1 are 1/2, 1/4 and 1.
    layer = BinaryActivation(3, METHODS["react"])
    nn.init.constant_(layer.refine.tau, 0.5)
    found = measure_bit_balance(nn.Sequential(layer).eval(), images_with_shares(2, 1, 4), batch_size)
    quarter = -(1 / 4 * math.log2(1 / 4) + 3 / 4 * math.log2(3 / 4))
    assert found["0"].deviation == pytest.approx((0 + 1 / 4 + 1 / 2) / 3)
    assert found["0"].entropy == pytest.approx((1 + quarter + 0) / 3)


def test_every_binary_activation_is_measured_and_none_in_a_float_network() -> None:
    images = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    for method, layers in (("fd", 6), ("float", 0)):
        shape = {"channels": 1, "classes": 2, "height": 8, "width": 8}
        model = create_model("resnet8", method=METHODS[method], mean=(0.5,), std=(0.25,), **shape).eval()
        found = measure_bit_balance(model, images, 2)
        assert len(found) == layers
        assert all(0 <= balance.deviation <= 0.5 and 0 <= balance.entropy <= 1 for balance in found.values())
        assert not any(module._forward_hooks for module in model.modules())
