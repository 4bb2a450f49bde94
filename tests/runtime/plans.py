"""Random small Plans that hold every op and awkward sizes."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from evenbit.bits import pack_bits
from evenbit.ops import (
    OPS,
    AddMap,
    AvgPool,
    BinaryConv,
    Bits,
    Concat,
    Conv,
    Cube,
    Elementwise,
    Flatten,
    Gather,
    Int8Conv,
    Interpolate,
    LayerNorm,
    MatMul,
    MaxPool,
    Multiply,
    Normalize,
    Op,
    Softmax,
    Tail,
    Threshold,
)
from evenbit.plan import Plan
from evenbit.runtime import reference

Pair = tuple[int, int]
NAMED = ("sigmoid", "softsign", "normal_cdf", "rsqrt")  # activations without parameters
TAIL_PARTS = ("scale", "bias", "residual", "second", "prelu", "clamp", "sigmoid", "softsign", "normal_cdf", "shift")


class Constants:
    """Random tensors of a Plan, by name."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: dict[str, npt.NDArray[Any]] = {}

    def store(self, array: npt.NDArray[Any]) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = array
        return name

    def floats(self, *shape: int) -> str:
        """Normal numbers, some of them zero."""
        values = self.rng.standard_normal(shape).astype(np.float32)
        return self.store(np.where(self.rng.random(shape) < 0.1, np.float32(0), values))

    def int8(self, *shape: int) -> str:
        return self.store(self.rng.integers(-127, 128, shape, np.int8))

    def limits(self, channels: int) -> dict[str, str]:
        """Both limits of a clamp, in order, some infinite."""
        low, high = np.sort(self.rng.standard_normal((2, channels)).astype(np.float32), axis=0)
        low[self.rng.random(channels) < 0.1] = -np.inf
        high[self.rng.random(channels) < 0.1] = np.inf
        return {"low": self.store(low), "high": self.store(high)}

    def bits(self, *shape: int) -> str:
        return self.store(pack_bits(self.rng.random(shape) < 0.5))


class PlanMaker(Constants):
    """Adds ops with random constants and Tails; the methods return the name of what the op writes."""

    def __init__(self, seed: int, channels: int, height: int, width: int) -> None:
        super().__init__(seed)
        self.ops: list[Op] = []
        self.sizes: dict[str, tuple[int, int, int]] = {"images": (height, width, channels)}
        self.values = 0

    def value(self, height: int, width: int, channels: int) -> str:
        self.values += 1
        self.sizes[f"v{self.values}"] = (height, width, channels)
        return f"v{self.values}"

    def tail(self, size: tuple[int, int, int], parts: tuple[str, ...]) -> Tail:
        """A Tail with those of `TAIL_PARTS`."""
        channels = size[2]
        fields: dict[str, Any] = {part: self.floats(channels) for part in ("scale", "bias", "shift") if part in parts}
        fits = [name for name, other in self.sizes.items() if self.is_float(name) and other == size]
        vectors = [name for name, other in self.sizes.items() if self.is_float(name) and other == (1, 1, channels)]
        if "second" in parts and fits:
            fields |= {"residual": str(self.rng.choice(fits)), "second_residual": str(self.rng.choice(fits))}
        elif "residual" in parts and fits + vectors:
            fields["residual"] = str(self.rng.choice(fits + vectors))
        if "prelu" in parts:
            fields |= {"activation": "prelu", "slope": self.floats(channels)}
        elif "clamp" in parts:
            fields |= {"activation": "clamp", **self.limits(channels)}
        else:
            fields["activation"] = next((name for name in NAMED if name in parts), "none")
        return Tail(**fields)

    def is_float(self, name: str) -> bool:
        return name != "images" and not any(op.tail.bits and op.tail.bits.out == name for op in self.ops)

    def normalize(self) -> str:
        return self._add(Normalize, "images", self.sizes["images"], ("scale", "bias"))

    def conv(self, x: str, outputs: int, kernel: Pair, stride: Pair, padding: Pair, groups: int, *parts: str) -> str:
        height, width, channels = self.sizes[x]
        weight = self.floats(outputs, *kernel, channels // groups)
        size = (*_window((height, width), kernel, stride, padding), outputs)
        return self._add(Conv, x, size, parts, weight=weight, stride=stride, padding=padding, groups=groups)

    def int8_conv(
        self, x: str, outputs: int, kernel: Pair, stride: Pair, padding: Pair, multiplier: float, *parts: str
    ) -> str:
        height, width, channels = self.sizes[x]
        weight = self.int8(outputs, *kernel, channels)
        size = (*_window((height, width), kernel, stride, padding), outputs)
        fields = {"weight": weight, "multiplier": multiplier, "stride": stride, "padding": padding}
        return self._add(Int8Conv, x, size, parts, **fields)

    def binary_conv(
        self, x: str, outputs: int, kernel: Pair, stride: Pair, padding: Pair, *parts: str, groups: int = 1
    ) -> str:
        height, width, channels = self.sizes[x]
        weight = self.bits(outputs, *kernel, channels // groups)
        size = (*_window((height, width), kernel, stride, padding), outputs)
        return self._add(BinaryConv, x, size, parts, weight=weight, stride=stride, padding=padding, groups=groups)

    def pool(
        self, x: str, largest: bool, kernel: Pair, stride: Pair, padding: Pair, *parts: str, overhang: Pair = (0, 0)
    ) -> str:
        height, width, channels = self.sizes[x]
        fields: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding, "overhang": overhang}
        size = (*_window((height + overhang[0], width + overhang[1]), kernel, stride, padding), channels)
        return self._add(MaxPool if largest else AvgPool, x, size, parts, **fields)

    def gather(self, x: str, size: tuple[int, int, int], *parts: str) -> str:
        """A map of that size from any numbers of `x`: every third row, say, need not lie in one row of `x`."""
        count = int(np.prod(self.sizes[x]))
        shares = self.rng.dirichlet(np.ones(3)) * (count - 1)
        names = ("rows", "columns", "channels")
        places = {
            name: self.store(self.rng.integers(0, int(share) + 1, length, np.uint64))
            for name, share, length in zip(names, shares, size, strict=True)
        }
        return self._add(Gather, x, size, parts, **places)

    def add_map(self, x: str, *parts: str, cells: Pair | None = None) -> str:
        height, width, channels = self.sizes[x]
        return self._add(AddMap, x, self.sizes[x], parts, map=self.floats(*(cells or (height, width)), channels))

    def interpolate(self, x: str, size: Pair, *parts: str) -> str:
        height, width, channels = self.sizes[x]
        fields = {"row_weights": self.floats(size[0], 2), "column_weights": self.floats(size[1], 2)}
        fields |= {"rows": self.store(self.rng.integers(0, height, (size[0], 2), np.uint64))}
        fields |= {"columns": self.store(self.rng.integers(0, width, (size[1], 2), np.uint64))}
        return self._add(Interpolate, x, (*size, channels), parts, **fields)

    def layer_norm(self, x: str, *parts: str) -> str:
        return self._add(LayerNorm, x, self.sizes[x], parts, epsilon=float(np.float32(1e-5)))

    def matmul(self, x: str, other: str, *parts: str) -> str:
        return self._add(MatMul, x, (*self.sizes[x][:2], self.sizes[other][2]), parts, other=other)

    def softmax(self, x: str, *parts: str) -> str:
        return self._add(Softmax, x, self.sizes[x], parts)

    def shuffle(self, x: str, *parts: str) -> str:
        """The same channels, rows and columns in another order; blocks of 16 channels stay together if there are."""
        height, width, channels = self.sizes[x]
        order = np.arange(channels)
        whole = channels // 16 * 16
        order[:whole] = self.rng.permutation(order[:whole].reshape(-1, 16)).reshape(-1)
        order[whole:] = self.rng.permutation(order[whole:])
        places = {
            "rows": self.rng.permutation(height) * width,
            "columns": self.rng.permutation(width),
            "channels": order * height * width,
        }
        named = {name: self.store(array.astype(np.uint64)) for name, array in places.items()}
        return self._add(Gather, x, self.sizes[x], parts, **named)

    def elementwise(self, x: str, *parts: str) -> str:
        return self._add(Elementwise, x, self.sizes[x], parts)

    def multiply(self, x: str, factor: str, *parts: str) -> str:
        return self._add(Multiply, x, self.sizes[x], parts, factor=factor)

    def cube(self, x: str, *parts: str) -> str:
        scale, offset = (self.floats(self.sizes[x][2]) for _ in range(2))
        return self._add(Cube, x, self.sizes[x], parts, scale=scale, offset=offset)

    def concat(self, x: str, others: tuple[str, ...], *parts: str) -> str:
        channels = sum(self.sizes[name][2] for name in (x, *others))
        return self._add(Concat, x, (*self.sizes[x][:2], channels), parts, others=others)

    def flatten(self, x: str, *parts: str) -> str:
        height, width, channels = self.sizes[x]
        return self._add(Flatten, x, (1, 1, height * width * channels), parts)

    def mean(self, x: str) -> str:
        """Mean of a map, by an op of its own."""
        out = self.value(1, 1, self.sizes[x][2])
        self.ops.append(Elementwise("mean", x, None, Tail(mean=out)))
        return out

    def signs(self, x: str, *parts: str, vector: str | None = None, cells: Pair | None = None) -> str:
        """Bits of a map, by constant thresholds or, from a vector of the instance, by thresholds of its own.

        With cells, a map of constants is added first.
        """
        size = self.sizes[x]
        channels = size[2]
        if vector is None:
            limit, flip = self.floats(channels), self.bits(channels)
            self.tensors[limit][:: max(1, channels // 3)] = np.inf
        else:
            scale = self.floats(channels)
            flip = self.store(pack_bits(self.tensors[scale] < 0))
            limit = self._add(
                Threshold, vector, (1, 1, channels), (), scale=scale, offset=self.floats(channels), flip=flip
            )
        tail = self.tail(size, parts)
        out = self.value(*size)
        tail = dataclasses.replace(tail, bits=Bits(out, limit, flip))
        if cells:
            self.ops.append(AddMap("bits", x, None, tail, map=self.floats(*cells, channels)))
        else:
            self.ops.append(Elementwise("bits", x, None, tail))
        return out

    def fused(self, x: str, outputs: int) -> tuple[str, str, str]:
        """A binary convolution that writes its map, its mean and its bits at once."""
        size = (*self.sizes[x][:2], outputs)
        tail = self.tail(size, ("scale", "bias", "residual", "prelu", "shift"))
        mean, bits = self.value(1, 1, outputs), self.value(*size)
        tail = dataclasses.replace(tail, mean=mean, bits=Bits(bits, self.floats(outputs), self.bits(outputs)))
        weight = self.bits(outputs, 3, 3, self.sizes[x][2])
        out = self.value(*size)
        self.ops.append(BinaryConv("fused", x, out, tail, weight=weight, padding=(1, 1)))
        return out, mean, bits

    def plan(self, x: str, classes: int = 5) -> Plan:
        """The Plan, ended by a dense layer on the whole map `x`."""
        output = self.conv(x, classes, self.sizes[x][:2], (1, 1), (0, 0), 1, "bias")
        height, width, channels = self.sizes["images"]
        names = tuple(str(index) for index in range(classes))
        plan = Plan(channels, height, width, names, tuple(self.ops), output, self.tensors)
        plan.shapes()
        return plan

    def _add(self, kind: type[Op], x: str, size: tuple[int, int, int], parts: tuple[str, ...], **fields: Any) -> str:
        tail = self.tail(size, parts)
        out = self.value(*size)
        self.ops.append(kind(kind.kind, x, out, tail, **fields))
        return out


def _window(size: Pair, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    height, width = ((size[i] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in (0, 1))
    return height, width


def everything(seed: int, channels: int) -> Plan:
    """A network with every op, every part of a Tail, static and per-instance thresholds, on odd sizes."""
    make = PlanMaker(seed, 3, 9, 7)
    x = make.conv(make.normalize(), channels, (3, 3), (1, 1), (1, 1), 1, "scale", "bias", "prelu", "shift")
    e = make.conv(make.conv(make.mean(x), 4, (1, 1), (1, 1), (0, 0), 1, "prelu"), channels, (1, 1), (1, 1), (0, 0), 1)
    e = make.elementwise(e, "softsign")
    y, mean, bits = make.fused(make.signs(x, vector=e), channels)
    y = make.elementwise(make.binary_conv(bits, channels, (1, 1), (1, 1), (0, 0), "residual"), "bias", "residual")
    y = make.elementwise(y, "residual", "softsign", "shift") if mean else y
    gate = make.conv(make.mean(y), channels, (1, 1), (1, 1), (0, 0), 1, "bias", "sigmoid")
    y = make.multiply(make.multiply(y, gate, "bias", "clamp"), y, "second", "sigmoid")
    y = make.cube(y, "scale", "residual")
    y = make.conv(make.concat(y, (x, y), "bias", "prelu"), channels, (1, 1), (1, 1), (0, 0), 1)
    y = make.conv(y, channels, (3, 3), (1, 1), (1, 1), channels, "scale", "clamp")
    y = make.binary_conv(make.signs(y), channels, (3, 3), (1, 1), (1, 1), "bias", "second")
    y = make.binary_conv(make.signs(y, vector=e, cells=(4, 3)), channels, (3, 3), (1, 1), (1, 1), "scale")
    y = make.binary_conv(make.signs(y, cells=(9, 1)), channels, (1, 1), (1, 1), (0, 0), "bias", "residual")
    z = make.binary_conv(make.signs(y, "scale", "bias"), channels + 1, (3, 3), (2, 2), (1, 1), "scale", "bias")
    shortcut = make.conv(make.pool(x, False, (1, 1), (2, 2), (0, 0)), channels + 1, (1, 1), (1, 1), (0, 0), 1)
    assert make.sizes[z] == make.sizes[shortcut]
    shortcut = make.int8_conv(x, channels + 1, (2, 2), (2, 2), (1, 1), 30.0, "scale")
    z = make.elementwise(z, "residual") if make.sizes[z] == make.sizes[shortcut] else z
    z = make.pool(make.elementwise(z, "residual", "prelu"), True, (3, 2), (1, 2), (1, 1), "bias")
    z = make.pool(make.shuffle(z, "bias"), False, (2, 2), (1, 1), (1, 0), "shift", overhang=(0, 1))
    z = make.shuffle(make.gather(z, (4, 3, channels), "scale", "residual"))
    z = make.interpolate(make.add_map(z, "scale", cells=(3, 2)), (3, 5), "shift")
    z = make.layer_norm(z, "scale", "bias", "normal_cdf")
    attention = make.softmax(make.matmul(z, make.gather(z, (3, channels, 4), "bias"), "scale"), "residual")
    z = make.matmul(attention, make.gather(z, (3, 4, channels)), "residual", "bias")
    dense = make.binary_conv(make.signs(z), 20, make.sizes[z][:2], (1, 1), (0, 0), "scale", "bias")
    flat = make.binary_conv(make.signs(make.flatten(z, "bias", "prelu")), 20, (1, 1), (1, 1), (0, 0), "scale", "bias")
    dense = make.multiply(dense, flat, "bias")
    dense = make.binary_conv(make.signs(dense, "prelu"), 17, (1, 1), (1, 1), (0, 0), "scale")
    return make.plan(dense)


def small() -> Plan:
    """A file of a few kilobytes that holds every op; per-instance thresholds and vectors among its values."""
    make = PlanMaker(3, 1, 4, 3)
    x = make.conv(make.normalize(), 3, (2, 2), (1, 1), (1, 1), 1, "scale", "bias", "prelu")
    y, mean, bits = make.fused(make.signs(x, vector=make.elementwise(make.mean(x), "softsign")), 3)
    y = make.binary_conv(bits, 3, (1, 1), (1, 1), (0, 0), "residual", groups=3)
    y = make.multiply(make.elementwise(y, "bias", "residual"), make.cube(mean, "sigmoid"))
    y = make.pool(make.pool(y, True, (2, 2), (2, 2), (1, 1)), False, (1, 1), (1, 1), (0, 0), "shift")
    y = make.layer_norm(make.add_map(make.gather(y, make.sizes[y], "bias")), "normal_cdf")
    y = make.interpolate(make.softmax(y), (2, 3), "scale")
    y = make.elementwise(make.matmul(y, make.interpolate(y, (2, 3)), "bias", "sigmoid"), "rsqrt")
    y = make.concat(y, (make.int8_conv(y, 2, (1, 1), (1, 1), (0, 0), 30.1875, "clamp"),))
    plan = make.plan(make.flatten(y), classes=2)
    assert {op.kind for op in plan.ops} == set(OPS)
    return plan


def convolution(
    seed: int,
    size: Pair,
    inputs: int,
    outputs: int,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
    parts: tuple[str, ...],
    kind: str,
) -> Plan:
    """One convolution of any shape, its kernel cut to its padded map."""
    kernel = (min(kernel[0], size[0] + 2 * padding[0]), min(kernel[1], size[1] + 2 * padding[1]))
    make = PlanMaker(seed, 2, *size)
    x = make.conv(make.normalize(), inputs, (1, 1), (1, 1), (0, 0), 1)
    if kind == "binary":
        y = make.binary_conv(make.signs(x), outputs, kernel, stride, padding, *parts)
    elif kind == "int8":
        y = make.int8_conv(x, outputs, kernel, stride, padding, 50.0, *parts)
    else:
        y = make.conv(x, outputs, kernel, stride, padding, 1, *parts)
    return make.plan(make.mean(y))


def map_of_logits() -> Plan:
    """Each pixel of a map classified, after the map was made larger."""
    make = PlanMaker(8, 3, 5, 4)
    x = make.conv(make.normalize(), 20, (3, 3), (1, 1), (1, 1), 1, "bias", "prelu")
    x = make.gather(make.binary_conv(make.signs(x), 20, (3, 3), (2, 2), (1, 1), "scale"), (7, 6, 20))
    output = make.conv(x, 19, (1, 1), (1, 1), (0, 0), 1, "bias")
    plan = Plan(3, 5, 4, tuple(map(str, range(19))), tuple(make.ops), output, make.tensors)
    assert plan.shapes()[output][1:] == (7, 6, 19)
    return plan


# channels, groups, outputs
GROUPED = [
    (6, 3, 9),
    (64, 4, 4),
    (8, 8, 8),
    (17, 17, 17),
    (80, 80, 80),
    (9, 9, 18),
    (34, 2, 34),
    (6, 2, 32),
    (10, 2, 160),
]


def grouped(channels: int, groups: int, outputs: int) -> Plan:
    """A convolution in groups."""
    make = PlanMaker(groups, 2, 6, 5)
    x = make.conv(make.normalize(), channels, (1, 1), (1, 1), (0, 0), 1)
    return make.plan(make.mean(make.conv(x, outputs, (3, 3), (2, 1), (1, 1), groups, "scale", "prelu")))


def all_differ(size: int) -> Plan:
    """A window over a whole map of that size, 16 channels deep, in which no sign agrees with its weight."""
    make = PlanMaker(7, 2, size, size)
    bits = make.signs(make.conv(make.normalize(), 16, (1, 1), (1, 1), (0, 0), 1))
    sign = make.ops[-1].tail.bits
    assert sign
    make.tensors[sign.threshold][:], make.tensors[sign.flip][:] = -np.inf, 0
    y = make.binary_conv(bits, 3, (size, size), (1, 1), (0, 0))
    make.tensors[cast("BinaryConv", make.ops[-1]).weight][:] = 0
    plan = make.plan(make.mean(y))
    assert (reference.values(plan, np.zeros((1, 2, size, size), np.float32))[y] == -16 * size**2).all()
    return plan


def different_paddings() -> Plan:
    """A map and its bits, each read with several paddings."""
    make = PlanMaker(5, 3, 8, 8)
    x = make.conv(make.normalize(), 20, (3, 3), (1, 1), (1, 1), 1, "bias")
    bits = make.signs(x)
    parts = [make.binary_conv(bits, 8, (k, k), (1, 1), (k // 2, k // 2), "scale") for k in (1, 3, 5)]
    parts += [make.conv(x, 8, (k, k), (1, 1), (k // 2, k // 2), 1) for k in (1, 3, 5)]
    total = make.elementwise(parts[0], "residual")
    for part in parts[1:]:
        total = make.elementwise(part, "residual", "bias")
    return make.plan(make.mean(total))


def extremes() -> list[Plan]:
    """Infinities, NaN and signed zeros inside the network; some of the logits may be NaN."""
    make = PlanMaker(9, 2, 5, 5)
    x = make.conv(make.normalize(), 18, (1, 1), (1, 1), (0, 0), 1, "scale", "bias")
    constants = make.tensors[make.ops[-1].tail.scale or ""]
    constants[:6] = [3e38, -3e38, 0, -0.0, np.inf, -np.inf]
    y = make.pool(make.elementwise(x, "prelu", "shift"), True, (2, 2), (1, 1), (1, 1))
    z = make.binary_conv(make.signs(y), 12, (3, 3), (1, 1), (1, 1), "scale")
    plans = [make.plan(make.mean(z))]
    for activation in ("softsign", "sigmoid", "clamp"):
        for bits in (False, True):
            make = PlanMaker(10, 2, 5, 5)
            x = make.conv(make.normalize(), 18, (1, 1), (1, 1), (0, 0), 1, "scale")
            make.tensors[make.ops[-1].tail.scale or ""][:4] = [np.inf, 0, -0.0, np.nan]
            y = make.elementwise(x, activation)
            if bits:
                plans.append(make.plan(make.binary_conv(make.signs(y), 3, (5, 5), (1, 1), (0, 0))))
            else:
                plans.append(make.plan(make.concat(make.multiply(y, y), (x, y))))
    make = PlanMaker(11, 2, 4, 4)
    x = make.conv(make.normalize(), 64, (1, 1), (1, 1), (0, 0), 1, "scale")
    make.tensors[make.ops[-1].tail.scale or ""][:2] = [np.inf, np.nan]
    parts = tuple(
        make.conv(x, outputs, (3, 3), (1, 1), (1, 1), groups) for outputs, groups in ((64, 64), (32, 2), (64, 8))
    )
    plans.append(make.plan(make.concat(x, parts)))
    pool = PlanMaker(11, 2, 5, 5)
    x = pool.conv(pool.normalize(), 18, (1, 1), (1, 1), (0, 0), 1, "scale", "bias")
    centre, tail = pool.ops[0].tail, pool.ops[1].tail
    pool.tensors[centre.scale or ""][:] = 1
    pool.tensors[centre.bias or ""][:] = -0.5
    pool.tensors[tail.scale or ""][:12] = [*[np.inf] * 4, *[0] * 8]  # times a number, plus -inf: NaN or -inf
    pool.tensors[tail.bias or ""][:12] = [*[-np.inf] * 4, *[-0.0] * 8]
    y = pool.pool(x, True, (5, 5), (1, 1), (0, 0))  # itself the logits, since a sum would hide which zero it is
    return [*plans, Plan(2, 5, 5, tuple(map(str, range(18))), tuple(pool.ops), y, pool.tensors)]


__all__ = [
    "GROUPED",
    "TAIL_PARTS",
    "PlanMaker",
    "convolution",
    "different_paddings",
    "everything",
    "extremes",
    "grouped",
    "map_of_logits",
    "small",
]
