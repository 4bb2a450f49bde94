"""Networks with images and the logits that they should give, in the form that check_cases.c reads."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from plans import GROUPED, TAIL_PARTS, PlanMaker, convolution, different_paddings, everything, extremes, grouped
from random_plans import RandomPlan

from evenbit import plan_file
from evenbit.ops import Int8Conv, Normalize
from evenbit.plan import Plan
from evenbit.runtime import reference

REFUSED, LOADED, FLOATS, BYTES = range(4)
CHANNELS = (1, 3, 15, 16, 17, 31, 33, 48, 63, 64, 65, 130)


@dataclass(frozen=True)
class Case:
    """A file, what becomes of it, and, where it runs, images and their logits."""

    name: str
    file: bytes
    expected: int
    images: npt.NDArray[Any] = field(default_factory=lambda: np.empty(0, np.float32))
    logits: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))


def write(cases: Iterable[Case], path: Path) -> int:
    """Writes the cases and returns their number."""
    parts = []
    for case in cases:
        head = (case.name.encode() + b"\0", case.file)
        rest = (case.images.tobytes(), case.logits.tobytes())
        blocks = [struct.pack("<Q", len(block)) + block for block in (*head, *rest)]
        parts.append(b"".join([*blocks[:2], struct.pack("<Q", case.expected), *blocks[2:]]))
    path.write_bytes(struct.pack("<Q", len(parts)) + b"".join(parts))
    return len(parts)


def case(name: str, plan: Plan, images: npt.NDArray[Any]) -> Case:
    """A network that should give the reference's logits."""
    kind = FLOATS if images.dtype == np.float32 else BYTES
    return Case(name, plan_file.to_bytes(plan), kind, images, reference.run(plan, images))


def floats(plan: Plan, count: int) -> npt.NDArray[np.float32]:
    """Random images."""
    return np.random.default_rng(count).random((count, plan.channels, plan.height, plan.width), np.float32)


def grouped_bits(groups: int, inputs: int, outputs: int) -> Plan:
    """A binary convolution with those channels and outputs a group."""
    make = PlanMaker(groups, 2, 6, 7)
    bits = make.signs(make.conv(make.normalize(), groups * inputs, (1, 1), (1, 1), (0, 0), 1))
    return make.plan(make.binary_conv(bits, groups * outputs, (3, 3), (2, 1), (1, 1), "scale", groups=groups))


def rounded() -> Plan:
    """Integers of levels that are multiples of a quarter, halves of the multiplier's unit, of infinities and of NaN."""
    make = PlanMaker(7, 1, 4, 5)
    x = make.normalize()
    make.tensors[make.ops[-1].tail.scale or ""][:] = 255 / 4
    y = make.conv(make.int8_conv(x, 33, (1, 1), (1, 1), (0, 0), 2.0), 18, (1, 1), (1, 1), (0, 0), 1, "bias")
    make.tensors[make.ops[-1].tail.bias or ""][:3] = [np.inf, -np.inf, np.nan]
    return make.plan(make.int8_conv(y, 17, (2, 2), (1, 1), (1, 1), 30.0, "scale"))


def many_multipliers() -> Plan:
    """A file with thousands of numbers, whose digest fits only if each is written as Python writes it."""
    values = np.exp(np.random.default_rng(3).uniform(-100, 88, 3000)).astype(np.float32)
    edges = np.float32([1e-45, *2.0 ** np.arange(-149, 128), *10.0 ** np.arange(-45, 39), np.finfo(np.float32).max])
    multipliers = [value for value in np.concatenate([values, edges]).tolist() if value]
    ops = [Int8Conv("c", "x", f"v{i}", weight="w", multiplier=value) for i, value in enumerate(multipliers)]
    first = Normalize("in", "images", "x")
    return Plan(1, 1, 1, ("a",), (first, *ops), "v0", {"w": np.ones((1, 1, 1, 1), np.int8)})


def kernel_cases() -> Iterator[Case]:
    """The Plans of tests/runtime: every op at awkward widths, convolutions of any shape, and random ones."""
    for channels in CHANNELS:
        plan = everything(channels, channels)
        yield case(f"everything {channels}", plan, floats(plan, 4))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 9, 7), dtype=np.uint8)
    yield case("bytes", everything(0, 17), pixels)
    for sizes in GROUPED:
        plan = grouped(*sizes)
        yield case(f"grouped {sizes}", plan, floats(plan, 2))
    for sizes in ((64, 1, 1), (3, 1, 2), (7, 33, 5), (4, 16, 16), (2, 65, 32)):
        plan = grouped_bits(*sizes)
        yield case(f"grouped bits {sizes}", plan, floats(plan, 2))
    yield case("rounded", rounded(), np.arange(40, dtype=np.uint8).reshape(2, 1, 4, 5) * 6)
    plan = many_multipliers()
    yield case("many multipliers", plan, floats(plan, 1))
    for plan in (different_paddings(), *extremes()):
        yield case("paddings and extremes", plan, floats(plan, 2))
    rng = np.random.default_rng(1)
    for seed in range(60):
        shape: Any = [tuple(map(int, rng.integers(low, high, 2))) for low, high in ((1, 12), (1, 4), (1, 4), (0, 3))]
        inputs, outputs = int(rng.integers(1, 141)), int(rng.integers(1, 71))
        parts = tuple(part for part in TAIL_PARTS if rng.random() < 0.5)
        kind = str(rng.choice(["float", "int8", "binary"]))
        plan = convolution(seed, shape[0], inputs, outputs, *shape[1:], parts, kind)
        yield case(f"convolution {seed}", plan, floats(plan, 2))
    for seed in range(80):
        random = RandomPlan(seed)
        yield case(f"random {seed}", random.plan, random.images(2))


def network_cases(folder: Path, **settings: Any) -> Iterator[Case]:
    """The digits network, trained by its recipe with those settings, and a narrow ResNet-20 with random constants."""
    import torch
    from rich.console import Console

    from evenbit.data import load_dataset
    from evenbit.deploy import pack, pack_run
    from evenbit.models.resnet import residual_network
    from evenbit.nn import resolve_method
    from evenbit.train import load_recipe, train

    train(load_recipe("digits-resnet8-fd", settings), folder, console=Console(quiet=True))
    images = load_dataset("digits").test.images[:100]
    yield case("digits", pack_run(folder), np.asarray(images))

    torch.manual_seed(0)
    module = residual_network(resolve_method("fd", {}), 3, 10, (32, 32), (8, 16, 32), 6)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.normal_()
        for _ in range(3):  # statistics of its batch normalizations
            module(torch.rand(8, 3, 32, 32))
    plan = pack(module.eval(), torch.zeros(1, 3, 32, 32), classes=tuple("abcdefghij"))
    yield case("narrow resnet20", plan, np.random.default_rng(2).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8))


__all__ = ["BYTES", "FLOATS", "LOADED", "REFUSED", "Case", "case", "floats", "kernel_cases", "network_cases", "write"]
