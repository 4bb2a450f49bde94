"""Group excitation: each group of channels moves its quantization zero points to suit the image.

    m = mean of â over H, W                        N x C
    h = relu(W1 m + b1)                            N x (groups * hidden), within groups
    e = gate(W2 h)                                 N x C, within groups
        softsign(x) = x / (1 + |x|), or sigmoid(x) = 1 / (1 + exp(-x))
    zero point of channel c in image n moves by -e[n, c]:  sign(â + e - α E[â³])

The shift is added, since a positive factor before the sign changes no bit. W1 and W2 are block diagonal: the channels
of a group share `hidden` units, so the cost is `2 C hidden` weights. W2 starts at zero, so at first the shift is the
same for every image. The softsign is made of exactly rounded operations, so it gives the same bits on every machine;
tanh does not. The sigmoid is taken from Xue et al., Self-distribution binary neural networks, 2021, the most similar
method; it can only raise values.

The third moment of the channel in this image may be used as well (evenbit/nn/third_moment.py). The mean of a channel
says how far its values lie from the zero point, and the excitation uses the means of the whole group. The third moment
says how uneven the two sides of the zero point are, which the mean does not tell, and each channel uses only its own.

Either can be frozen: replaced by its mean over some images, a constant that folds into the threshold.

At run time, they cost two means of a map, two tiny products, and one threshold per channel and image.

Source: part 2 of Liu and Chen, Feature distribution guided binary neural networks, Control and Decision 39(6),
2024. The abstract names it; groups, gate and place are this project's choice.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from evenbit.errors import RecipeError
from evenbit.nn.ops import is_exporting
from evenbit.nn.third_moment import ThirdMoment

FREEZING_IMAGES = 5000  # how many training images, the first ones, commands use to freeze excitations


class GroupExcitation(nn.Module):
    """The shift `e` of each channel's zero point; see the module's docstring for the formula.

    Args:
        channels: Channels C.
        groups: Number of channel groups; must divide C.
        hidden: Hidden units of each group.
        gate: "softsign" or "sigmoid".

    Shape:
        `[N, C, H, W]` to `[N, C, 1, 1]`.

    Raises:
        RecipeError: If the groups do not divide C.
    """

    def __init__(self, channels: int, groups: int, hidden: int, gate: str = "softsign") -> None:
        super().__init__()
        if channels % groups:
            raise RecipeError(f"{channels} channels do not divide into {groups} groups of the excitation")
        self.squeeze = nn.Conv2d(channels, groups * hidden, 1, groups=groups)
        self.excite = nn.Conv2d(groups * hidden, channels, 1, groups=groups, bias=False)
        self.bound = F.softsign if gate == "softsign" else torch.sigmoid
        nn.init.zeros_(self.excite.weight)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c 1 1"]:
        """See the class."""
        return self.gate(x.mean((2, 3), keepdim=True))

    def gate(self, mean: Float[Tensor, "n c 1 1"]) -> Float[Tensor, "n c 1 1"]:
        """The shift from the channels' means."""
        if is_exporting():
            return self.bound(self.excite(F.relu(self.squeeze(mean))))
        # For such small maps, a convolution costs much more than a product with a block diagonal matrix.
        hidden = F.relu(F.linear(mean.flatten(1), _block_diagonal(self.squeeze), self.squeeze.bias))
        return self.bound(F.linear(hidden, _block_diagonal(self.excite)))[..., None, None]


def _block_diagonal(conv: nn.Conv2d) -> Tensor:
    """The weights of a 1x1 convolution in groups as one matrix."""
    return torch.block_diag(*conv.weight.flatten(1).chunk(conv.groups))  # type: ignore[no-untyped-call,no-any-return]


class FrozenShift(nn.Module):
    """The same shift for every image.

    Args:
        shift: Shift of each channel, `[C]`.

    Shape:
        `[N, C, H, W]` to `[1, C, 1, 1]`.
    """

    shift: Tensor

    def __init__(self, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("shift", shift[:, None, None])

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "1 c 1 1"]:
        """See the class."""
        return self.shift[None]


def excitations(model: nn.Module) -> dict[str, GroupExcitation | ThirdMoment]:
    """The modules whose zero points depend on the image, by name."""
    return {name: part for name, part in model.named_modules() if isinstance(part, GroupExcitation | ThirdMoment)}


@torch.no_grad()
def freeze_excitation(model: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """A copy of a network in which every excitation is its mean over some images.

    Args:
        model: The network, in eval mode.
        batches: Images `[N, C, H, W]` as the network takes them; at least one.
    """
    frozen = copy.deepcopy(model)
    layers = excitations(frozen)
    sums = dict.fromkeys(layers, torch.zeros(()))
    counts = dict.fromkeys(layers, 0)  # of images, each as often as the layer saw it

    def add(name: str, e: Tensor) -> None:
        sums[name] = sums[name] + e.double().sum((0, 2, 3)).cpu()
        counts[name] += len(e)

    for batch in batches:
        handles = [
            part.register_forward_hook(lambda part, inputs, e, name=name: add(name, e)) for name, part in layers.items()
        ]
        frozen(batch)
        for handle in handles:
            handle.remove()
    for name, part in layers.items():
        parent, _, key = name.rpartition(".")
        shift = (sums[name] / counts[name]).to(next(part.parameters()))
        setattr(frozen.get_submodule(parent), key, FrozenShift(shift).eval())
    return frozen
