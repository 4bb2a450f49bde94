"""The top test: networks with awkward cases, packed, agree in torch, in the reference and in the engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evenbit import plan_file
from evenbit.deploy import pack
from evenbit.models import create_model
from evenbit.nn import (
    BinaryActivation,
    BinaryConv2d,
    BinaryLinear,
    DistributionAdjustment,
    GroupExcitation,
    Method,
    RPReLU,
    WeightBinarizer,
    ZeroPoint,
    resolve_method,
)
from evenbit.nn.refinement import Maxout
from evenbit.nn.third_moment import ThirdMoment
from evenbit.nn.two_values import TwoValues
from evenbit.runtime import reference
from evenbit.runtime.engine import Engine, isas

CLASSES = tuple("abcdefg")


def roughen(module: nn.Module) -> nn.Module:
    """Gives every parameter that starts at 0 or 1 a value that matters: negative and zero scales among them."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d | DistributionAdjustment):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias, std=0.5)
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            with torch.no_grad():
                part.weight[::5] = part.bias[::10] = 0
        if isinstance(part, GroupExcitation):
            nn.init.normal_(part.excite.weight)
        if isinstance(part, ZeroPoint):
            nn.init.normal_(part.tau, std=0.3)
            with torch.no_grad():
                part.tau[::10] = 0
        if isinstance(part, ThirdMoment):
            nn.init.normal_(part.alpha, std=0.1)
        if isinstance(part, TwoValues):
            nn.init.constant_(part.middle, 0.2)
            nn.init.constant_(part.distance, 1.3)
        if isinstance(part, Maxout):
            nn.init.normal_(part.scale)
            nn.init.normal_(part.slope)
        if isinstance(part, RPReLU):
            nn.init.normal_(part.gamma)
            nn.init.normal_(part.zeta)
            nn.init.normal_(part.slope)
    return module.eval()


def model(name: str, method: str, **overrides: object) -> Callable[[], nn.Module]:
    return lambda: create_model(
        name,
        method=resolve_method(method, overrides),
        channels=3,
        classes=7,
        height=13,
        width=10,
        mean=(0.5, 0.4, 0.3),
        std=(0.25, 0.2, 0.3),
    )


class Awkward(nn.Module):
    """Odd channel counts, 1x1 and 3x3, stride 2, and dense binary layers, one on a flattened map."""

    def __init__(self, excitation: int) -> None:
        super().__init__()
        method: Method = resolve_method("fd", {"excitation_groups": excitation})
        static = resolve_method("fd", {"excitation_groups": 0, "third_moment": False})
        binarizer = WeightBinarizer(standardize=True, scale="mean", estimator="clip")
        self.stem = nn.Conv2d(3, 17, 3, padding=1)
        self.norm = nn.BatchNorm2d(17)
        self.sign1 = BinaryActivation(17, method)
        self.conv1 = BinaryConv2d(17, 33, 1, binarizer)
        self.act = RPReLU(33)
        self.sign2 = BinaryActivation(33, static)
        self.conv2 = BinaryConv2d(33, 9, 3, binarizer, stride=2, padding=1)
        self.norm2 = nn.BatchNorm2d(9)
        self.sign3 = BinaryActivation(9, static)
        self.dense1 = BinaryLinear(9 * 7 * 5, 70, binarizer)
        self.norm3 = nn.BatchNorm1d(70)
        self.sign4 = BinaryActivation(70, static)
        self.dense2 = BinaryLinear(70, 7, binarizer)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x))
        x = self.act(self.conv1(self.sign1(x)))
        x = self.sign3(self.norm2(self.conv2(self.sign2(x)))).flatten(1)
        return self.dense2(self.sign4(self.norm3(self.dense1(x))))  # type: ignore[no-any-return]


class Depthwise(nn.Module):
    """Binary convolutions with groups: one channel each, and five channels each."""

    def __init__(self) -> None:
        super().__init__()
        method = resolve_method("fd", {"excitation_groups": 0, "third_moment": False})
        binarizer = WeightBinarizer(standardize=True, scale="mean", estimator="clip")
        self.stem = nn.Conv2d(3, 20, 3, padding=1)
        self.sign1 = BinaryActivation(20, method)
        self.depthwise = BinaryConv2d(20, 40, 3, binarizer, stride=2, padding=1, groups=20)
        self.act = RPReLU(40)
        self.sign2 = BinaryActivation(40, method)
        self.grouped = BinaryConv2d(40, 24, 3, binarizer, padding=1, groups=8)
        self.head = nn.Linear(24, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.depthwise(self.sign1(self.stem(x))))
        return self.head(self.grouped(self.sign2(x)).mean((2, 3)))  # type: ignore[no-any-return]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet8-float": model("resnet8", "float"),
    "resnet8-bnn": model("resnet8", "bnn"),
    "resnet8-react": model("resnet8", "react"),
    "resnet8-irnet": model("resnet8", "irnet"),
    "resnet8-fd": model("resnet8", "fd"),
    "resnet8-fd-static": model("resnet8", "fd", excitation_groups=0, third_moment=False),
    "resnet8-fd-groups-alone": model("resnet8", "fd", third_moment=False),
    "resnet8-fd-group": model("resnet8", "fd", adjustment="group", excitation_groups=2, excitation_hidden=2),
    "resnet8-fd-cells": model("resnet8", "fd", zero_point_cells=4),
    "resnet8-react-cells": model("resnet8", "react", zero_point_cells=3),
    "mlp-fd-cells": model("mlp", "fd", zero_point_cells=3),
    "resnet8-recu": model("resnet8", "recu"),
    "resnet8-adabin": model("resnet8", "adabin"),
    "resnet8-fd-double": model("resnet8", "fd", double_skip=True),
    "resnet20-fd": model("resnet20", "fd"),
    "vgg_small-fd": model("vgg_small", "fd"),
    "mobilenet-fd": model("mobilenet", "fd"),
    "resnet8-insta": model("resnet8", "insta"),
    "resnet8-sdbnn": model("resnet8", "sdbnn"),
    "vgg_small-bnn": model("vgg_small", "bnn"),
    "vgg_dense-fd": model("vgg_dense", "fd"),
    "mlp-fd": model("mlp", "fd", adjustment="instance"),
    "mlp-bnn": model("mlp", "bnn"),
    "mlp-adabin": model("mlp", "adabin"),
    "awkward": lambda: Awkward(0),
    "depthwise": Depthwise,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_torch_reference_and_engine_agree(name: str) -> None:
    torch.manual_seed(1)
    module = roughen(NETWORKS[name]())
    plan = plan_file.from_bytes(plan_file.to_bytes(pack(module, torch.zeros(1, 3, 13, 10), classes=CLASSES)))
    images = torch.rand(7, 3, 13, 10)
    with torch.no_grad():
        expected = module(images).numpy()
    found = reference.run(plan, images.numpy())
    # Rounding may turn a bit whose value lies at its threshold; then the logits of that image differ visibly.
    close = np.abs(found - expected).max(1) < 1e-4 * np.abs(expected).max()
    assert close.mean() >= 6 / 7, np.abs(found - expected).max(1)
    for isa in isas():
        for threads in (1, 2, 3):
            engine = Engine(plan, threads=threads, isa=isa)
            for batch in (images[:1].numpy(), images.numpy()):
                assert engine(batch).tobytes() == found[: len(batch)].tobytes(), (isa, threads, len(batch))


def test_all_that_is_binary_is_stored_in_bits() -> None:
    plan = pack(roughen(NETWORKS["resnet20-fd"]()), torch.zeros(1, 3, 13, 10), classes=CLASSES)
    words = sum(array.nbytes for array in plan.tensors.values() if array.dtype == np.uint64 and array.ndim == 4)
    # 3x3 kernels of 16, 32 and 64 channels, a word of 8 bytes for each position and output.
    outputs = 6 * 16 + 6 * 32 + 6 * 64
    assert words == outputs * 9 * 8
    kinds = [op.kind for op in plan.ops]
    assert kinds.count("binary_conv") == 18
    assert kinds.count("threshold") == 18
    assert kinds.count("conv") == 1 + 2 * 18 + 2 + 1  # stem, excitations, shortcuts, head
    # Each binary layer is squeeze, excite, third moment and its sum, threshold, bits and convolution; beside them
    # images, stem, shortcuts, head.
    assert len(kinds) == 18 * 7 + 1 + 1 + 2 + 1


def test_zero_points_of_cells_are_a_small_map_that_is_added_where_the_bits_are_made() -> None:
    plan = pack(roughen(NETWORKS["resnet8-fd-cells"]()), torch.zeros(1, 3, 13, 10), classes=CLASSES)
    maps = [op for op in plan.ops if op.kind == "add_map"]
    assert [plan.tensors[op.map].shape for op in maps] == [(4, 4, 16)] * 3 + [(4, 4, 32)] * 2 + [(4, 3, 64)]
    assert all(op.out is None and op.tail.bits is not None for op in maps)
    without = pack(roughen(NETWORKS["resnet8-fd"]()), torch.zeros(1, 3, 13, 10), classes=CLASSES)
    assert len(plan.ops) == len(without.ops)
    sizes = [sum(array.nbytes for array in each.tensors.values()) for each in (without, plan)]
    maps_alone = sum(plan.tensors[op.map].nbytes for op in maps)
    offsets = sum(plan.tensors[op.map].shape[2] * 4 for op in maps)  # of their own where a scale is 0
    assert sizes[1] - sizes[0] == maps_alone + offsets
