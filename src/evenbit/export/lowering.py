"""From the ops of a Plan to ONNX nodes. What is binary is left to the two forms, `onnx` and `qonnx`.

Maps are NCHW, vectors `[N, C, 1, 1]`. Every operation of the Plan is one node, so it is rounded once as the Plan
says. Sums of floats (`Conv`, `AveragePool`, `GlobalAveragePool`) are added in the order of whoever runs the graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from evenbit.bits import unpack_bits
from evenbit.errors import ExportError
from evenbit.export.graph import Dims, Graph
from evenbit.plan import (
    SIGMOID_DENOMINATOR,
    SIGMOID_LIMIT,
    SIGMOID_NUMERATOR,
    AvgPool,
    BinaryConv,
    Bits,
    Concat,
    Conv,
    Elementwise,
    Flatten,
    Int8Conv,
    MaxPool,
    Multiply,
    Normalize,
    Op,
    Plan,
    Shape,
    Threshold,
)

BELOW_ONE = 1 - 2.0**-24  # the largest float32 below 1
LEAST = 2.0**-149  # the least float32 above 0
LOWEST = float(np.finfo(np.float32).min)
WHOLE = 2**24  # float32 holds every whole number up to here


class Lowering(ABC):
    """Adds the nodes of a Plan to a graph.

    Attributes:
        plan: The Plan.
        graph: Where the nodes go.
        shapes: Shape of each value of the Plan.
        values: Name in the graph of each value of the Plan.
    """

    def __init__(self, plan: Plan, graph: Graph) -> None:
        self.plan = plan
        self.graph = graph
        self.shapes = plan.shapes()
        self.values = {"images": "images"}
        self._constants: dict[tuple[Any, ...], str] = {}

    def run(self) -> str:
        """Adds all ops; returns the name of the map that holds the logits.

        Raises:
            ExportError: If an op has no form in ONNX.
        """
        for op, shape in zip(self.plan.ops, self.plan.op_shapes(), strict=True):
            if type(op) not in _ACCUMULATE:
                raise ExportError(f"op '{op.name}' ({op.kind}) has no form in ONNX yet")
            accumulated = _ACCUMULATE[type(op)](self, op, shape)
            self._finish(op, accumulated, shape)
        return self.values[self.plan.output]

    @abstractmethod
    def binary_conv(self, op: BinaryConv, weight: npt.NDArray[np.bool_], dims: Dims) -> str:
        """Adds a binary convolution without its Tail.

        Args:
            op: The op.
            weight: Its bits `[O, C / groups, kh, kw]`.
            dims: Shape of its result.

        Returns:
            The name of a float map of whole numbers.
        """

    @abstractmethod
    def bits(self, op: Op, bits: Bits, x: str, flip: npt.NDArray[np.bool_], shape: Shape) -> str:
        """Adds the bits of a map, in the form that `binary_conv` reads.

        Args:
            op: The op whose Tail they end.
            bits: What they are.
            x: Name of the map.
            flip: Which channels are flipped, `[C]`.
            shape: Shape of the map.

        Returns:
            The name of the bits.
        """

    def dims(self, shape: Shape) -> Dims:
        """Shape of a value in the graph."""
        return (self.graph.batch, shape.channels, shape.height, shape.width)

    def vector(self, tensor: str, array: npt.NDArray[Any] | None = None, role: str = "") -> str:
        """A tensor of the Plan `[C]` as a constant `[1, C, 1, 1]`.

        Args:
            tensor: Name in the Plan.
            array: What is stored if not the tensor itself but something made from it.
            role: Tells such arrays of one tensor apart.
        """
        stored = self.plan.tensors[tensor] if array is None else array
        return self.constant((tensor, role) if role else (tensor,), stored.reshape(1, -1, 1, 1))

    def scalar(self, value: float) -> str:
        """A float32 constant."""
        return self.constant(("scalar", repr(float(value))), np.asarray(value, np.float32))

    def integers(self, *values: int) -> str:
        """A constant list of sizes."""
        return self.constant(("sizes", "x".join(map(str, values))), np.asarray(values, np.int64))

    def constant(self, names: tuple[str, ...], array: npt.NDArray[Any]) -> str:
        """A constant, stored once however often it is asked for under its names."""
        key = (*names, array.shape)
        if key not in self._constants:
            self._constants[key] = self.graph.constant("/".join(names), array)
        return self._constants[key]

    def threshold(self, name: str) -> str:
        """What bits are compared with: a value of the instance or a constant."""
        return self.values[name] if name in self.values else self.vector(name)

    def _finish(self, op: Op, v: str, shape: Shape) -> None:
        """The Tail."""
        tail, dims = op.tail, self.dims(shape)

        def step(operator: str, *inputs: str) -> str:
            return self.graph.node(operator, inputs, dims, f"{op.name}/{operator.lower()}")

        if tail.scale is not None:
            v = step("Mul", v, self.vector(tail.scale))
        if tail.bias is not None:
            v = step("Add", v, self.vector(tail.bias))
        if tail.residual is not None:
            v = step("Add", v, self.values[tail.residual])
        match tail.activation:
            case "none":
                pass
            case "prelu":
                assert tail.slope is not None
                v = step("PRelu", v, self.vector(tail.slope))
            case "softsign":  # not the operator Softsign, which may multiply with a rounded reciprocal
                v = step("Div", v, step("Add", step("Abs", v), self.scalar(1)))
            case "clamp":
                assert tail.low is not None
                assert tail.high is not None
                v = self._clamp(v, self.vector(tail.low), self.vector(tail.high), dims, op.name)
            case "sigmoid":
                v = self._sigmoid(v, dims, op.name)
            case other:
                raise ExportError(f"op '{op.name}' ({op.kind}): its activation '{other}' has no form in ONNX yet")
        if tail.shift is not None:
            v = step("Add", v, self.vector(tail.shift))
        if op.out is not None:
            self.values[op.out] = v
        if tail.mean is not None:
            vector = self.dims(shape._replace(height=1, width=1))
            self.values[tail.mean] = self.graph.node("GlobalAveragePool", [v], vector, f"{op.name}/mean")
        if tail.bits is not None:
            flip = unpack_bits(self.plan.tensors[tail.bits.flip], shape.channels)
            self.values[tail.bits.out] = self.bits(op, tail.bits, v, flip, shape)

    def _clamp(self, v: str, low: str, high: str, dims: Dims, name: str) -> str:
        """`low if low > v else v`, then `high if high < v else v`: NaN stays, which Max and Min leave open."""
        for operator, limit in (("Greater", low), ("Less", high)):
            outside = self.graph.node(operator, [limit, v], dims, f"{name}/{operator.lower()}", TensorProto.BOOL)
            v = self.graph.node("Where", [outside, limit, v], dims, f"{name}/where")
        return v

    def _sigmoid(self, v: str, dims: Dims, name: str) -> str:
        """The Plan's ratio of polynomials, not the operator Sigmoid."""

        def step(operator: str, *inputs: str) -> str:
            return self.graph.node(operator, inputs, dims, f"{name}/{operator.lower()}")

        def polynomial(coefficients: tuple[float, ...], u: str) -> str:
            p = self.scalar(coefficients[-1])
            for coefficient in coefficients[-2::-1]:
                p = step("Add", step("Mul", p, u), self.scalar(coefficient))
            return p

        t = self._clamp(v, self.scalar(-SIGMOID_LIMIT), self.scalar(SIGMOID_LIMIT), dims, name)
        u = step("Mul", t, t)
        ratio = step("Div", step("Mul", t, polynomial(SIGMOID_NUMERATOR, u)), polynomial(SIGMOID_DENOMINATOR, u))
        return step("Add", self.scalar(0.5), ratio)

    def _normalize(self, op: Normalize, _: Shape) -> str:
        return self.values[op.input]

    def _elementwise(self, op: Elementwise, _: Shape) -> str:
        return self.values[op.input]

    def _multiply(self, op: Multiply, shape: Shape) -> str:
        inputs = [self.values[op.input], self.values[op.factor]]
        return self.graph.node("Mul", inputs, self.dims(shape), f"{op.name}/mul")

    def _concat(self, op: Concat, shape: Shape) -> str:
        inputs = [self.values[name] for name in (op.input, *op.others)]
        return self.graph.node("Concat", inputs, self.dims(shape), f"{op.name}/concat", axis=1)

    def _flatten(self, op: Flatten, shape: Shape) -> str:
        inputs = [self.values[op.input], self.integers(-1, shape.channels, 1, 1)]
        return self.graph.node("Reshape", inputs, self.dims(shape), f"{op.name}/reshape")

    def _int8_conv(self, op: Int8Conv, shape: Shape) -> str:
        """Whole numbers in float convolutions, over as many of the input channels at once as float32 can add exactly.

        What they add to is added in integers and rounded once.
        """
        source, dims = self.shapes[op.input], self.dims(shape)
        weight = self.plan.tensors[op.weight].transpose(0, 3, 1, 2).astype(np.float32)
        q = self._quantized(op, source)
        largest = 127 * np.abs(weight).sum((2, 3))  # of what each input channel adds, [O, C]
        sums, start = [], 0
        fields = convolution(weight.shape[2:], op.stride, op.padding)
        while start < source.channels:
            fitting = np.cumsum(largest[:, start:], 1).max(0) < WHOLE
            end = start + max(1, int(fitting.argmin()) if not fitting.all() else len(fitting))
            part = q
            if (start, end) != (0, source.channels):
                cut = [q, self.integers(start), self.integers(end), self.integers(1)]
                part = self.graph.node(
                    "Slice", cut, self.dims(source._replace(channels=end - start)), f"{op.name}/slice"
                )
            stored = self.graph.constant(op.weight, weight[:, start:end])
            sums.append(self.graph.node("Conv", [part, stored], dims, f"{op.name}/conv", **fields))
            start = end
        if len(sums) == 1:
            # Keeps a scale that an optimizer would move into the weights out of the sum, where it would be rounded.
            return self.graph.node("Sub", [sums[0], self.scalar(0)], dims, f"{op.name}/sub")
        kind = TensorProto.INT32
        whole = [self.graph.node("Cast", [one], dims, f"{op.name}/whole", kind, to=kind) for one in sums]
        total = whole[0]
        for one in whole[1:]:
            total = self.graph.node("Add", [total, one], dims, f"{op.name}/add", kind)
        return self.graph.node("Cast", [total], dims, f"{op.name}/sum", to=TensorProto.FLOAT)

    def _quantized(self, op: Int8Conv, source: Shape) -> str:
        """`round(clamp(x * multiplier))`, a NaN as -127, as the Plan says."""
        dims = self.dims(source)

        def step(operator: str, *inputs: str, kind: int = TensorProto.FLOAT) -> str:
            return self.graph.node(operator, inputs, dims, f"{op.name}/{operator.lower()}", kind)

        p = step("Mul", self.values[op.input], self.scalar(op.multiplier))
        for operator, limit in (("Greater", -127), ("Less", 127)):
            inside = step(operator, p, self.scalar(limit), kind=TensorProto.BOOL)
            p = step("Where", inside, p, self.scalar(limit))
        return step("Round", p)

    def _conv(self, op: Conv, shape: Shape) -> str:
        weight = self.plan.tensors[op.weight].transpose(0, 3, 1, 2)
        stored = self.graph.constant(op.weight, weight)
        fields = convolution(weight.shape[2:], op.stride, op.padding, op.groups)
        return self.graph.node("Conv", [self.values[op.input], stored], self.dims(shape), f"{op.name}/conv", **fields)

    def _binary_conv(self, op: BinaryConv, shape: Shape) -> str:
        per_group = self.shapes[op.input].channels // op.groups
        weight = unpack_bits(self.plan.tensors[op.weight], per_group).transpose(0, 3, 1, 2)
        return self.binary_conv(op, weight, self.dims(shape))

    def _max_pool(self, op: MaxPool, shape: Shape) -> str:
        fields = window(op.kernel, op.stride, op.padding)
        return self.graph.node("MaxPool", [self.values[op.input]], self.dims(shape), f"{op.name}/maxpool", **fields)

    def _avg_pool(self, op: AvgPool, shape: Shape) -> str:
        fields = window(op.kernel, op.stride, (0, 0))
        return self.graph.node("AveragePool", [self.values[op.input]], self.dims(shape), f"{op.name}/avgpool", **fields)

    def _threshold(self, op: Threshold, shape: Shape) -> str:
        """The zero point of the instance, as the Plan solves it.

        `nextafter(t, inf)` is the largest of `t / u`, `t u` and `t + m`, with u the number below 1 and m the one above
        0; or the lowest number, which follows -inf. The first is right for positive t and the second for negative: what
        they add, rounded, is the distance to the next number. The third is right at 0 and near it, where numbers lie m
        apart. None is ever too large.
        """
        dims, e = self.dims(shape), self.values[op.input]
        scale, offset = self.plan.tensors[op.scale], self.plan.tensors[op.offset]
        flip = unpack_bits(self.plan.tensors[op.flip], shape.channels)

        def step(operator: str, *inputs: str, kind: int = TensorProto.FLOAT) -> str:
            return self.graph.node(operator, inputs, dims, f"{op.name}/{operator.lower()}", kind)

        zero = scale == 0
        divisor = self.vector(op.scale, np.where(zero, np.float32(1), scale), "divisor")
        t = step("Div", step("Sub", self.vector(op.offset, -offset, "negative"), e), divisor)
        if zero.any():
            negative = step("Less", step("Add", self.vector(op.offset), e), self.scalar(0), kind=TensorProto.BOOL)
            constant = step("Where", negative, self.scalar(np.inf), self.scalar(-np.inf))
            t = step("Where", self.vector(op.scale, zero, "zero"), constant, t)
        if flip.any():
            below, lowest = self.scalar(BELOW_ONE), self.scalar(LOWEST)
            t_up = step("Max", step("Div", t, below), step("Mul", t, below), step("Add", t, self.scalar(LEAST)), lowest)
            t = step("Where", self.vector(op.flip, flip, "flip"), t_up, t)
        return t


def window(kernel: tuple[int, ...], stride: tuple[int, int], padding: tuple[int, int]) -> dict[str, Any]:
    """Attributes of an operator that slides over a map."""
    return {"kernel_shape": list(kernel), "strides": list(stride), "pads": [*padding, *padding]}


def convolution(
    kernel: tuple[int, ...], stride: tuple[int, int], padding: tuple[int, int], groups: int = 1
) -> dict[str, Any]:
    """Attributes of a convolution; those that have a default too, since some readers ask for them."""
    return {**window(kernel, stride, padding), "dilations": [1, 1], "group": groups}


_ACCUMULATE: dict[type[Op], Callable[[Any, Any, Shape], str]] = {
    Normalize: Lowering._normalize,
    Elementwise: Lowering._elementwise,
    Multiply: Lowering._multiply,
    Concat: Lowering._concat,
    Flatten: Lowering._flatten,
    Conv: Lowering._conv,
    Int8Conv: Lowering._int8_conv,
    BinaryConv: Lowering._binary_conv,
    MaxPool: Lowering._max_pool,
    AvgPool: Lowering._avg_pool,
    Threshold: Lowering._threshold,
}
