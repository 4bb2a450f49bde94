"""What a zero point could follow besides the third moment: variants of `fd`, in short trainings.

    python benchmarks/excitations.py [VARIANT...] [--seeds 0,1,2] [--data-root FOLDER]

Each variant (all without names) is a ResNet-8, trained for four epochs on nine tenths of CIFAR-10's training images.
Its accuracy on the others is kept in results/excitations.json. The table is in docs/results.md. What is done is not
repeated; an interrupted run goes on.

With â the adjusted map of the layer, m, v and M its mean, variance and third moment over the pixels of a channel in one
image, C channels, α, κ and p learned from 0 on, g the group excitation of `fd` (four groups of a hidden unit each) and
net(x) = softsign(W2 relu(W1 x + b)) with C / 4 hidden units and W2 from 0 on, the bits are the signs of `â - τ` plus

    insta           - α M
    fd              g(m) - α M
    all             net(m of all channels) - α M
    moments         net(m, log v, M of all channels) - α M
    thirds          net(softsign(M) of all channels) - α M
    product         - α (1 + net(m of all channels)) M
    quadrants       net(means of each quarter of the image, of all channels) - α M
    rows            net(means of each quarter of the rows, of all channels), for each quarter of the rows - α M
    local           - κ (mean over 5x5 pixels around each) - α M
    cells           - κ (mean over the 4x4 cells into which the image is cut, each pixel that of its cell) - α M
    place           p, for each of 4x4 cells, interpolated between them - α M
    blocks          p, for each of 4x4 cells, each pixel that of its cell - α M
    finer           p, for each of 8x8 cells, each pixel that of its cell + g(m) - α M
    quarters        p, for each of 2x2 cells, each pixel that of its cell + g(m) - α M
    lines           p, for each quarter of the rows, and another for each quarter of the columns + g(m) - α M
    dither          p, for each of 2x2 neighbours, repeated over the map, from a spread of ±3/8 on + g(m) - α M

where the p of all but the last are added to the map before its adjustment. Then there are

    stem            fd, with the p of `blocks` added once, to the map that the stem writes
    float           the network with real weights and activations
    float_blocks    the same, with the p of `blocks` added before each convolution

and other networks, as their names say, with `fd`; those that end in _cells with its knob `zero_point_cells = 4`.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evenbit.models.registry import register_model
from evenbit.models.resnet import resnet8
from evenbit.nn.activation import BinaryActivation
from evenbit.nn.block import ResidualConv
from evenbit.nn.method import Method
from origin import ROOT, origin
from short_training import held_out_accuracy

KEPT = ROOT / "results/excitations.json"
RUNS = ROOT / "runs/excitations"
CELLS = 4
WINDOW = 5


class Net(nn.Module):
    """softsign(W2 relu(W1 x + b)) from `inputs` numbers to `outputs`."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(inputs, hidden)
        self.excite = nn.Linear(hidden, outputs, bias=False)
        nn.init.zeros_(self.excite.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.softsign(self.excite(F.relu(self.squeeze(x))))


class OfMoments(BinaryActivation):
    """The shift is computed from the moments of all channels; none of the group excitation that it replaces."""

    inputs = 1  # numbers of each channel that the network reads

    def __init__(self, channels: int, method: Method) -> None:
        super().__init__(channels, method)
        self.excite = self.moment = None  # `shift` has both
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.net = Net(self.inputs * channels, channels // 4, channels)

    def shift(self, mean: Tensor, var: Tensor, third: Tensor) -> Tensor:
        """From mean, variance and third moment `[N, C]`."""
        return self.net(self.read(mean, var, third)) - self.alpha * third

    def read(self, mean: Tensor, var: Tensor, third: Tensor) -> Tensor:
        """What the network reads."""
        return mean

    def before_sign(self, x: Tensor) -> Tensor:
        x = self.adjust(x)
        var, mean = torch.var_mean(x, (2, 3), correction=0)
        return self.refine(x + self.shift(mean, var, (x * x * x).mean((2, 3)))[..., None, None])

    def _moments(self) -> int:
        return 3

    def _affine(self, mean: Tensor, var: Tensor, third: Tensor, pixels: int) -> tuple[Tensor, Tensor, Tensor]:
        scale, offset = self.adjust.affine(mean, var, pixels)
        mean, var, third = scale * mean + offset, scale**2 * var, scale**3 * third
        shift = self.shift(mean, var, third + 3 * mean * var + mean**3)
        return scale, offset + shift - self.refine.tau, mean.new_zeros(mean.shape[1])


class All(OfMoments):
    """Reads the means."""


class Moments(OfMoments):
    """Reads three moments."""

    inputs = 3

    def read(self, mean: Tensor, var: Tensor, third: Tensor) -> Tensor:
        return torch.cat([mean, torch.log(var + 1e-3), F.softsign(third)], 1)


class Thirds(OfMoments):
    """Reads the third moments."""

    def read(self, mean: Tensor, var: Tensor, third: Tensor) -> Tensor:
        return F.softsign(third)


class Product(OfMoments):
    """Scales the third moment's part."""

    def shift(self, mean: Tensor, var: Tensor, third: Tensor) -> Tensor:
        return -self.alpha * (1 + self.net(mean)) * third


class Quadrants(BinaryActivation):
    """Reads the means of each quarter of the image."""

    def __init__(self, channels: int, method: Method) -> None:
        super().__init__(channels, method)
        self._can_fuse = False  # the kernels compute the moments of the whole image only
        self.excite = None
        self.net = Net(4 * channels, channels // 4, channels)

    def before_sign(self, x: Tensor) -> Tensor:
        x = self.adjust(x)
        means = F.adaptive_avg_pool2d(x, 2).flatten(1)
        return self.refine(x + self.net(means)[..., None, None] - self.moment(x))


class Rows(BinaryActivation):
    """A shift for each quarter of the rows, from the means of all of them."""

    def __init__(self, channels: int, method: Method) -> None:
        super().__init__(channels, method)
        self._can_fuse = False
        self.excite = None
        self.net = Net(CELLS * channels, channels // 4, CELLS * channels)

    def before_sign(self, x: Tensor) -> Tensor:
        x = self.adjust(x)
        means = F.adaptive_avg_pool2d(x, (CELLS, 1)).flatten(1)
        shift = F.interpolate(self.net(means).view(len(x), -1, CELLS, 1), (x.shape[2], 1))
        return self.refine(x + shift - self.moment(x))


class Local(BinaryActivation):
    """Subtracts a part of the mean around each pixel."""

    def __init__(self, channels: int, method: Method) -> None:
        super().__init__(channels, method)
        self.excite = None
        self.kappa = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        moved = x - self.kappa * self.means(x)
        return super().forward(moved.contiguous(memory_format=torch.channels_last))

    def means(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, WINDOW, 1, WINDOW // 2, count_include_pad=False)


class Cells(Local):
    """Subtracts a part of the mean of the cell that a pixel lies in."""

    def means(self, x: Tensor) -> Tensor:
        return F.interpolate(F.adaptive_avg_pool2d(x, CELLS), x.shape[2:])


class Place(BinaryActivation):
    """Adds a learned map."""

    cells = (CELLS, CELLS)
    mode = "bilinear"
    excites = False

    def __init__(self, channels: int, method: Method) -> None:
        super().__init__(channels, method)
        if not self.excites:
            self.excite = None
        self.place = nn.Parameter(torch.zeros(1, channels, *self.cells))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(add_map(x, self.map(), self.mode))

    def map(self) -> Tensor:
        return self.place


class Blocks(Place):
    """The same for all pixels of a cell."""

    mode = "nearest"


class Finer(Blocks):
    """More cells, beside the group excitation."""

    cells = (8, 8)
    excites = True


class Quarters(Finer):
    """Fewer cells."""

    cells = (2, 2)


class Lines(Finer):
    """A sum of one for the rows and one for the columns."""

    cells = (CELLS, 1)

    def __init__(self, channels: int, method: Method) -> None:
        super().__init__(channels, method)
        self.columns = nn.Parameter(torch.zeros(1, channels, 1, CELLS))

    def map(self) -> Tensor:
        return self.place + self.columns


class Dither(BinaryActivation):
    """Zero points that differ between neighbours, each channel's turned against those of the channels beside it."""

    def __init__(self, channels: int, method: Method) -> None:
        super().__init__(channels, method)
        self._can_fuse = False  # the kernels know one zero point for each cell of a map
        order = torch.tensor([0, 2, 3, 1]) + torch.arange(channels)[:, None]
        self.place = nn.Parameter((order % 4 / 4 - 3 / 8).view(channels, 2, 2))

    def before_sign(self, x: Tensor) -> Tensor:
        x = self.adjust(x)
        height, width = x.shape[2:]
        repeated = self.place.repeat(1, -(-height // 2), -(-width // 2))[:, :height, :width]
        return self.refine(x + (self.excite(x) - self.moment(x)) + repeated)


class AddedMap(nn.Module):
    """Adds a learned map of 4x4 cells."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1, channels, CELLS, CELLS))

    def forward(self, x: Tensor) -> Tensor:
        return add_map(x, self.place, "nearest")


def add_map(x: Tensor, cells: Tensor, mode: str) -> Tensor:
    """The sum of a map and of cells spread over it."""
    return (x + F.interpolate(cells, x.shape[2:], mode=mode)).contiguous(memory_format=torch.channels_last)


VARIANTS: dict[str, type[BinaryActivation] | None] = {
    "insta": None,
    "fd": None,
    "all": All,
    "moments": Moments,
    "thirds": Thirds,
    "product": Product,
    "quadrants": Quadrants,
    "rows": Rows,
    "local": Local,
    "cells": Cells,
    "place": Place,
    "blocks": Blocks,
    "finer": Finer,
    "quarters": Quarters,
    "lines": Lines,
    "dither": Dither,
    "stem": None,
    "float": None,
    "float_blocks": None,
}
OTHERS = {
    "evennet_s": {},
    "evennet_s_cells": {"zero_point_cells": 4},
    "evennet_m": {},
    "evennet_m_cells": {"zero_point_cells": 4},
}


def register(variant: str) -> tuple[str, str]:
    """Registers the network of a variant; returns its name and its method's."""
    kind = VARIANTS[variant]

    def network(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
        made = resnet8(method, channels, classes, size)
        for name, part in list(made.named_modules()):
            if kind and isinstance(part, BinaryActivation):
                made.set_submodule(name, kind(len(part.refine.tau), method))
            if variant == "float_blocks" and isinstance(part, ResidualConv):
                part.conv = nn.Sequential(AddedMap(part.conv[0].in_channels), part.conv)
        if variant == "stem":
            made.stem = nn.Sequential(made.stem, AddedMap(16))
        return made

    network.__name__ = f"excited_{variant}"
    register_model(network)
    return network.__name__, {"insta": "insta", "float": "float", "float_blocks": "float"}.get(variant, "fd")


def train_variant(variant: str, seed: int, data_root: str | None) -> dict[str, Any]:
    """Trains a variant, unless that is done, and returns what is kept of it."""
    if variant in OTHERS:
        settings = {"model": variant.removesuffix("_cells"), "method": "fd", "knobs": OTHERS[variant]}
    else:
        settings = dict(zip(("model", "method"), register(variant), strict=True))
    accuracy = held_out_accuracy({**settings, "seed": seed}, RUNS / f"{variant}-seed{seed}", data_root)
    return {"variant": variant, "seed": seed, "validation_accuracy": accuracy, **origin()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", metavar="VARIANT")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--data-root", help="where CIFAR-10's files are")
    asked = parser.parse_args()
    for seed in map(int, asked.seeds.split(",")):
        for variant in asked.variants or [*VARIANTS, *OTHERS]:
            row = train_variant(variant, seed, asked.data_root)
            kept = json.loads(KEPT.read_text())["excitations"] if KEPT.exists() else {}
            kept[f"{variant}, seed {seed}"] = row
            KEPT.write_text(json.dumps({"excitations": dict(sorted(kept.items()))}, indent=1) + "\n")


if __name__ == "__main__":
    main()
