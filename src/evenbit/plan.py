"""The contract between training and running: a Plan is a deployable network that needs no framework.

A Plan is a list of ops over named *values*, plus named constant *tensors*. A value is, for each image,
a float32 map of shape `(height, width, channels)` or a bit map of the same shape with its channels packed
into 64-bit words; vectors are maps of height and width 1. Bit `c` of a map lies in word `c // 64` at position
`c % 64`; a set bit means +1, a clear bit -1, and bits past the last channel are 0.

`evenbit.ops` defines what the ops compute, and `evenbit.runtime.reference` runs them in numpy.

Deployment (`evenbit.deploy`) writes Plans; the runtime and the exporters read them. This module imports neither torch
nor the engine.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from evenbit.errors import PlanError
from evenbit.ops import MAX_ELEMENTS, Array, Normalize, Op, Scope, Shape, reads, vector, writes


@dataclass(frozen=True, repr=False)
class Plan:
    """A deployable network.

    Attributes:
        channels: Channels of an input image.
        height: Height of an input image.
        width: Width of an input image.
        classes: Class names, in the order of the logits.
        ops: The ops in execution order; the first is the only one that reads `images`.
        output: Name of the float value that holds the logits, a channel for each class: one pixel, or a map if each
            pixel is classified.
        tensors: The constants by name.
        info: Where the network comes from (model, method, data set, ...); for people only.
    """

    channels: int
    height: int
    width: int
    classes: tuple[str, ...]
    ops: tuple[Op, ...]
    output: str
    tensors: Mapping[str, Array]
    info: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        size = sum(tensor.nbytes for tensor in self.tensors.values())
        told = "".join(f"; {key} {value}" for key, value in self.info.items() if key in ("model", "method", "data"))
        return (
            f"<Plan: images {self.channels}x{self.height}x{self.width}, {len(self.classes)} classes, "
            f"{len(self.ops)} ops, {size:,} bytes of constants{told}>"
        )

    def shapes(self) -> dict[str, Shape]:
        """Checks the whole Plan and returns the shape of every value.

        Raises:
            PlanError: Naming the op and what is wrong with it.
        """
        return self._checked.values

    def op_shapes(self) -> list[Shape]:
        """Checks the whole Plan and returns the shape of each op's result, the map before its mean and bits.

        Raises:
            PlanError: Naming the op and what is wrong with it.
        """
        return self._checked.results

    @functools.cached_property  # checking reads every weight, and most users of Plans need both kinds of shapes
    def _checked(self) -> _Checker:
        checker = _Checker(self)
        for op in self.ops:
            try:
                checker.visit(op)
            except PlanError as error:
                raise PlanError(f"op '{op.name}' ({op.kind}): {error}") from None
        found = checker.values.get(self.output)
        if self.output == "images" or found is None or (found.kind, found.channels) != ("float", len(self.classes)):
            wanted = f"floats of {len(self.classes)} channels, one logit for each class"
            raise PlanError(f"output '{self.output}' should be {wanted}, but is {found or 'nothing'}")
        return checker

    @property
    def gives_map(self) -> bool:
        """Whether each pixel of a map has its own logits, instead of the image as a whole."""
        return self.shapes()[self.output][1:3] != (1, 1)


class _Checker(Scope):
    """Walks the ops in order and keeps the shape of every value so far, and of each op's result."""

    def __init__(self, plan: Plan) -> None:
        images = Shape("float", plan.height, plan.width, plan.channels)
        super().__init__(plan.tensors, images)
        self.results: list[Shape] = []
        if "images" in self.tensors:
            raise PlanError("a tensor is named 'images', which is the name of the input")
        if min(images[1:]) < 1 or math.prod(images[1:]) > MAX_ELEMENTS:
            raise PlanError(f"input size {images} is out of range")

    def visit(self, op: Op) -> None:
        """Checks an op and records what it writes."""
        if (op.input == "images") != isinstance(op, Normalize) or (op.input == "images") == bool(self.results):
            raise PlanError("the first op and no other should be a normalize op and read 'images'")
        if "images" in list(reads(op))[1:]:
            raise PlanError("reads 'images' as something else than its input")
        shape = op.result(self.value(op.input, op.reads_kind), self)
        op.tail.check(shape, self)
        self.results.append(shape)
        for name in writes(op):
            if name in self.values or name in self.tensors:
                raise PlanError(f"writes '{name}', which exists already")
            written = vector(shape.channels) if name == op.tail.mean else shape
            is_bits = op.tail.bits is not None and name == op.tail.bits.out
            self.values[name] = written._replace(kind="bits") if is_bits else written
        if not any(True for _ in writes(op)):
            raise PlanError("writes nothing")
