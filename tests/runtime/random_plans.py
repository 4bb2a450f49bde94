"""Random Plans: a chain of ops in which later ops read any earlier value that fits."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from plans import Constants

from evenbit.bits import pack_bits
from evenbit.ops import (
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
    Shape,
    Softmax,
    Tail,
    Threshold,
)
from evenbit.plan import Plan

CHANNELS = (1, 3, 17, 63, 64, 65, 130)
WRITES = (("out",), ("out", "bits"), ("bits",), ("mean", "bits"), ("mean",), ("out", "mean", "bits"))
Pair = tuple[int, int]
T = TypeVar("T")


class RandomPlan(Constants):
    """Draws a Plan from a seed. `plan` reads every value that is written, so that nothing goes unseen."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        height, width = (int(size) for size in self.rng.integers(1, 12, 2))
        self.size = (self.pick(1, 3, 5), height, width)
        self.ops: list[Op] = []
        self.shapes: dict[str, Shape] = {}
        self.add(Normalize, "images", Shape("float", height, width, self.size[0]), ("out", "mean", "bits"))
        for _ in range(self.rng.integers(3, 9)):
            self.add_any()
        self.plan = self.finish()

    def pick(self, *options: T) -> T:
        return options[self.rng.integers(len(options))]

    def images(self, count: int) -> npt.NDArray[np.float32]:
        return self.rng.random((count, *self.size), np.float32)

    def value(self, shape: Shape) -> str:
        name = f"v{len(self.shapes)}"
        self.shapes[name] = shape
        return name

    def vectors(self, channels: int) -> list[str]:
        return [name for name, shape in self.shapes.items() if shape == Shape("float", 1, 1, channels)]

    def threshold(self, channels: int) -> str:
        """Levels of any size, some infinite; or, where there is a vector to take them from, of the instance."""
        vectors = self.vectors(channels)
        if vectors and self.rng.random() < 0.5:
            scale = self.floats(channels)
            flip = self.store(pack_bits(self.tensors[scale] < 0))
            fields = {"scale": scale, "offset": self.floats(channels), "flip": flip}
            source, tail = self.pick(*vectors), self.tail(Shape("float", 1, 1, channels))
            out = f"limit{len(self.ops)}"  # Not in `shapes`: where it is infinite, an op that reads it gives NaN.
            self.ops.append(Threshold("threshold", source, out, tail, **fields))
            return out
        levels = self.rng.standard_normal(channels) * 10 ** self.rng.uniform(-1, 2)
        extreme = self.rng.random(channels)
        levels = np.where(extreme < 0.05, np.inf, np.where(extreme > 0.95, -np.inf, levels))
        return self.store(levels.astype(np.float32))

    def tail(self, shape: Shape) -> Tail:
        parts: dict[str, Any] = {
            part: self.floats(shape.channels) for part in ("scale", "bias", "shift") if self.rng.random() < 0.6
        }
        fitting = [name for name, other in self.shapes.items() if other == shape] + self.vectors(shape.channels)
        if fitting and self.rng.random() < 0.7:
            parts["residual"] = self.pick(*fitting)
            if self.shapes[parts["residual"]] == shape and self.rng.random() < 0.5:
                parts["second_residual"] = self.pick(*(name for name in fitting if self.shapes[name] == shape))
        parts["activation"] = self.pick("none", "prelu", "clamp", "sigmoid", "softsign", "normal_cdf")
        if parts["activation"] == "prelu":
            parts["slope"] = self.floats(shape.channels)
        if parts["activation"] == "clamp":
            parts |= self.limits(shape.channels)
        return Tail(**parts)

    def add(self, op: type[Op], source: str, shape: Shape, writes: tuple[str, ...], **fields: Any) -> None:
        threshold = self.threshold(shape.channels) if "bits" in writes else ""
        tail = self.tail(shape)
        out = self.value(shape) if "out" in writes else None
        mean = self.value(Shape("float", 1, 1, shape.channels)) if "mean" in writes else None
        bits = None
        if "bits" in writes:
            bits = Bits(self.value(shape._replace(kind="bits")), threshold, self.bits(shape.channels))
        tail = dataclasses.replace(tail, mean=mean, bits=bits)
        self.ops.append(op(op.kind, source, out, tail, **fields))

    def window(self, shape: Shape, kernel: Pair, stride: Pair, padding: Pair, channels: int) -> Shape:
        sizes = zip(shape[1:3], kernel, stride, padding, strict=True)
        height, width = ((size + 2 * pad - k) // step + 1 for size, k, step, pad in sizes)
        return Shape("float", height, width, channels)

    def add_any(self) -> None:
        """An op of a random kind that reads a random value."""
        source = self.pick(*self.shapes)
        shape = self.shapes[source]
        sizes = shape[1:3]
        kernel: Pair = self.pick((1, 1), (3, 3), (5, 5), (3, 1), sizes)
        stride = (self.pick(1, 2), self.pick(1, 2))
        kinds = (
            "conv",
            "conv",
            "int8",
            "grouped",
            "max",
            "avg",
            "elementwise",
            "multiply",
            "cube",
            "concat",
            "flatten",
            "gather",
            "add_map",
            "interpolate",
            "layer_norm",
            "matmul",
            "softmax",
        )
        kind = self.pick(*kinds) if shape.kind == "float" else "binary"
        if kind in ("max", "avg"):
            kernel = (min(kernel[0], sizes[0]), min(kernel[1], sizes[1]))
        # The least padding at which the kernel fits, or one more.
        least = [max(0, (k - size + 1) // 2) for k, size in zip(kernel, sizes, strict=True)]
        padding = (least[0] + self.pick(0, 1), least[1] + self.pick(0, 1))
        overhang = (0, 0)
        if kind in ("max", "avg"):
            padding = (min(padding[0], kernel[0] - 1), min(padding[1], kernel[1] - 1))
            overhang = (self.pick(0, kernel[0] - 1 - padding[0]), self.pick(0, kernel[1] - 1 - padding[1]))
        divisors = [n for n in range(1, shape.channels + 1) if shape.channels % n == 0]
        groups = self.pick(shape.channels, *divisors) if kind == "grouped" else 1
        outputs = {"grouped": shape.channels * self.pick(1, 2), "max": shape.channels, "avg": shape.channels}.get(
            kind, self.pick(*CHANNELS)
        )
        padded = shape._replace(height=sizes[0] + overhang[0], width=sizes[1] + overhang[1])
        result = self.window(padded, kernel, stride, padding, outputs)
        writes = self.pick(*WRITES)
        if kind == "binary":
            groups = self.pick(
                1, 1, *(n for n in range(2, shape.channels + 1) if shape.channels % n == outputs % n == 0)
            )
            weight = self.bits(outputs, *kernel, shape.channels // groups)
            fields = {"weight": weight, "stride": stride, "padding": padding, "groups": groups}
            self.add(BinaryConv, source, result, writes, **fields)
        elif kind == "int8":
            weight = self.int8(outputs, *kernel, shape.channels)
            fields = {"weight": weight, "multiplier": float(self.pick(0.25, 1.0, 31.0))}
            self.add(Int8Conv, source, result, writes, **fields, stride=stride, padding=padding)
        elif kind in ("conv", "grouped"):
            weight = self.floats(outputs, *kernel, shape.channels // groups)
            fields = {"weight": weight, "stride": stride, "padding": padding, "groups": groups}
            self.add(Conv, source, result, writes, **fields)
        elif kind == "max":
            self.add(MaxPool, source, result, writes, kernel=kernel, stride=stride, padding=padding, overhang=overhang)
        elif kind == "avg":
            self.add(AvgPool, source, result, writes, kernel=kernel, stride=stride, padding=padding, overhang=overhang)
        elif kind == "gather":
            size = (self.pick(1, 2, 5), self.pick(1, 3), self.pick(*CHANNELS))
            shares = self.rng.dirichlet(np.ones(3)) * (int(np.prod(shape[1:])) - 1)
            places = {
                name: self.store(self.rng.integers(0, int(share) + 1, length, np.uint64))
                for name, share, length in zip(("rows", "columns", "channels"), shares, size, strict=True)
            }
            self.add(Gather, source, Shape("float", *size), writes, **places)
        elif kind == "multiply":
            fitting = [name for name, other in self.shapes.items() if other == shape] + self.vectors(shape.channels)
            self.add(Multiply, source, shape, writes, factor=self.pick(*fitting))
        elif kind == "cube":
            fields = {"scale": self.floats(shape.channels), "offset": self.floats(shape.channels)}
            self.add(Cube, source, shape, writes, **fields)
        elif kind == "concat":
            fits = [name for name, other in self.shapes.items() if other[:3] == shape[:3]]
            others = tuple(self.pick(*fits) for _ in range(self.pick(1, 2)))
            channels = shape.channels + sum(self.shapes[name].channels for name in others)
            self.add(Concat, source, shape._replace(channels=channels), writes, others=others)
        elif kind == "add_map":
            cells = tuple(self.pick(1, size, (size + 1) // 2) for size in sizes)
            self.add(AddMap, source, shape, writes, map=self.floats(*cells, shape.channels))
        elif kind == "interpolate":
            size = (self.pick(1, 2, 7), self.pick(1, 4))
            fields = {"row_weights": self.floats(size[0], 2), "column_weights": self.floats(size[1], 2)}
            fields |= {
                name: self.store(self.rng.integers(0, most, (length, 2), np.uint64))
                for name, most, length in zip(("rows", "columns"), sizes, size, strict=True)
            }
            self.add(Interpolate, source, shape._replace(height=size[0], width=size[1]), writes, **fields)
        elif kind == "layer_norm":
            self.add(LayerNorm, source, shape, writes, epsilon=float(self.pick(0.5, 2.0**-16)))
        elif kind == "matmul":
            size = (shape.height, shape.channels, self.pick(*CHANNELS))
            fields = {"row_weights": self.floats(size[0], 2), "column_weights": self.floats(size[1], 2)}
            fields |= {
                name: self.store(self.rng.integers(0, most, (length, 2), np.uint64))
                for name, most, length in zip(("rows", "columns"), sizes, size[:2], strict=True)
            }
            self.add(Interpolate, source, Shape("float", *size[:2], shape.channels), ("out",), **fields)
            other = next(reversed(self.shapes))
            self.add(MatMul, source, shape, writes, other=other)
        elif kind == "softmax":
            self.add(Softmax, source, shape, writes)
        elif kind == "flatten":
            self.add(Flatten, source, Shape("float", 1, 1, int(np.prod(shape[1:]))), writes)
        else:
            self.add(Elementwise, source, shape, writes)

    def finish(self) -> Plan:
        """Adds a convolution over the whole of each value; the logits are the sum of them all."""
        total = None
        for name, shape in list(self.shapes.items()):
            size = (24, *shape[1:3], shape.channels)
            weight = self.bits(*size) if shape.kind == "bits" else self.floats(*size)
            out = self.value(Shape("float", 1, 1, 24))
            op = BinaryConv if shape.kind == "bits" else Conv
            self.ops.append(op("read", name, out, Tail(residual=total), weight=weight))
            total = out
        assert total is not None
        plan = Plan(*self.size, tuple(map(str, range(24))), tuple(self.ops), total, self.tensors)
        assert self.shapes.items() <= plan.shapes().items()
        return plan
