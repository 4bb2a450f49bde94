"""How even the bits are, measured in a network's binary activations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from evenbit.nn import BinaryActivation


@dataclass(frozen=True)
class BitBalance:
    """Balance of one layer's bits.

    With p_c the share of +1 among the bits of channel c, over images and pixels:

        deviation = mean_c |p_c - 1/2|                                    0 = even, 1/2 = constant
        entropy   = mean_c -(p_c log2 p_c + (1 - p_c) log2 (1 - p_c))     1 = even, 0 = constant, in bits

    Attributes:
        deviation: See above.
        entropy: See above.
    """

    deviation: float
    entropy: float


@torch.inference_mode()
def measure_bit_balance(model: nn.Module, images: Tensor, batch_size: int) -> dict[str, BitBalance]:
    """Balance of every `BinaryActivation` in `model`, by module path; empty for a real-valued network.

    Args:
        model: In eval mode.
        images: uint8, `[N, C, H, W]`, on the model's device; at least one.
        batch_size: Images of one pass.
    """
    ones: dict[str, Tensor] = {}  # +1 of each channel, counted in integers, hence exactly
    bits: dict[str, int] = {}  # bits of each channel

    def count(name: str, output: Tensor) -> None:
        others = [axis for axis in range(output.dim()) if axis != 1]
        ones[name] = ones.get(name, 0) + (output > 0).sum(others)
        bits[name] = bits.get(name, 0) + output.numel() // output.shape[1]

    handles = [
        module.register_forward_hook(lambda module, inputs, output, name=name: count(name, output))
        for name, module in model.named_modules()
        if isinstance(module, BinaryActivation)
    ]
    try:
        if handles:
            for batch in torch.split(images, batch_size):
                model(batch.float() / 255)
    finally:
        for handle in handles:
            handle.remove()
    return {name: _balance(ones[name].cpu().double() / bits[name]) for name in ones}


def _balance(share: Tensor) -> BitBalance:
    """Balance from the share of +1 in each channel."""
    entropy = -(torch.xlogy(share, share) + torch.xlogy(1 - share, 1 - share)) / math.log(2)
    return BitBalance(deviation=float((share - 0.5).abs().mean()), entropy=float(entropy.mean()))
