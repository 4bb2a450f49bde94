"""From the ops of a Plan to ONNX nodes. The two forms, `onnx` and `qonnx`, handle the binary ops in their own ways.

Maps are NCHW, vectors `[N, C, 1, 1]`. Every operation of the Plan is one node, so it is rounded once, as the Plan says.
The program that runs the graph chooses the order of sums of floats (`Conv`, `AveragePool`, `GlobalAveragePool`).

Sums of 8-bit integers are float convolutions too. Every partial sum is a whole number that float32 holds exactly, so
these sums are exact in any order. Where the weights are too large for that, each weight is split into digits, with one
convolution for each digit, and the results are added in int32.
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
from evenbit.export.nodes import NODES
from evenbit.ops import (
    NORMAL_DENOMINATOR,
    NORMAL_LIMIT,
    NORMAL_NUMERATOR,
    SIGMOID_DENOMINATOR,
    SIGMOID_LIMIT,
    SIGMOID_NUMERATOR,
    BinaryConv,
    Bits,
    Int8Conv,
    Op,
    Shape,
)
from evenbit.plan import Plan


class Lowering(ABC):
    """Adds the nodes of a Plan to a graph.

    Attributes:
        plan: The Plan.
        graph: The graph that gets the nodes.
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
            if op.kind not in NODES:
                raise ExportError(f"op '{op.name}' ({op.kind}) has no form in ONNX yet")
            accumulated = NODES[op.kind](self, op, shape)
            self._finish(op, accumulated, shape)
        return self.values[self.plan.output]

    @abstractmethod
    def binary_conv(self, op: BinaryConv, weight: npt.NDArray[np.bool_], dims: Dims) -> str:
        """Adds a binary convolution without its Tail.

        Args:
            op: The op.
            weight: Its bits `[O, C, kh, kw]`.
            dims: Shape of its result.

        Returns:
            The name of a float map of whole numbers.
        """

    @abstractmethod
    def bits(self, op: Op, bits: Bits, x: str, flip: npt.NDArray[np.bool_], shape: Shape) -> str:
        """Adds the bits of a map, in the form that `binary_conv` reads.

        Args:
            op: The op whose Tail ends in these bits.
            bits: Their part of the Tail.
            x: Name of the map.
            flip: Which channels are flipped, `[C]`.
            shape: Shape of the map.

        Returns:
            The name of the bits.
        """

    @abstractmethod
    def int8(self, op: Int8Conv, x: str, dims: Dims) -> str:
        """Adds the rounding of a map to integers from -127 to 127, halves to even.

        Args:
            op: The op that reads the integers.
            x: Name of the map.
            dims: Its shape.

        Returns:
            The name of a float map of whole numbers.
        """

    @abstractmethod
    def int8_weight(self, op: Int8Conv, weight: npt.NDArray[np.int8]) -> str:
        """Adds the op's 8-bit weights `[O, C, kh, kw]`, or digits of them; returns the name of the floats."""

    def int8_sum(self, op: Int8Conv, sums: list[str], base: int, dims: Dims) -> str:
        """Adds up, in int32, the results of the convolutions with each digit.

        A single sum becomes int32 too, which keeps an optimizer from moving the scale that follows into the weights,
        where it would be rounded before the sum.

        Args:
            op: The op.
            sums: Names of float maps of whole numbers, the map of the lowest digit first.
            base: Base of the digits.
            dims: Shape of the maps.

        Returns:
            The name of their sum as floats.
        """
        step = self.step(op, dims)
        total, *others = [step("Cast", name, kind=TensorProto.INT32, to=TensorProto.INT32) for name in sums]
        for index, whole in enumerate(others, 1):
            worth = self.constant(("worth", str(base**index)), np.asarray(base**index, np.int32))
            total = step("Add", total, step("Mul", whole, worth, kind=TensorProto.INT32), kind=TensorProto.INT32)
        return step("Cast", total, to=TensorProto.FLOAT)

    def dims(self, shape: Shape) -> Dims:
        """Shape of a value in the graph."""
        return (self.graph.batch, shape.channels, shape.height, shape.width)

    def vector(self, tensor: str, array: npt.NDArray[Any] | None = None, role: str = "") -> str:
        """A tensor of the Plan `[C]` as a constant `[1, C, 1, 1]`.

        Args:
            tensor: Name in the Plan.
            array: If given, stored instead of the tensor itself: an array that was made from it.
            role: Distinguishes several such arrays of one tensor.
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
        """A constant; it is stored once, however often it is asked for under its names."""
        key = (*names, array.shape)
        if key not in self._constants:
            self._constants[key] = self.graph.constant("/".join(names), array)
        return self._constants[key]

    def threshold(self, name: str) -> str:
        """The threshold of bits: a value that depends on the image, or a constant."""
        return self.values[name] if name in self.values else self.vector(name)

    def _finish(self, op: Op, v: str, shape: Shape) -> None:
        """The Tail."""
        tail, dims = op.tail, self.dims(shape)
        step = self.step(op, dims)

        if tail.scale is not None:
            v = step("Mul", v, self.vector(tail.scale))
        if tail.bias is not None:
            v = step("Add", v, self.vector(tail.bias))
        if tail.residual is not None:
            added = self.values[tail.residual]
            if tail.second_residual is not None:
                added = step("Add", added, self.values[tail.second_residual])
            v = step("Add", v, added)
        match tail.activation:
            case "none":
                pass
            case "prelu":
                assert tail.slope is not None
                v = step("PRelu", v, self.vector(tail.slope))
            case "clamp":
                assert tail.low is not None
                assert tail.high is not None
                v = self.clamp(op, v, self.vector(tail.low), self.vector(tail.high), dims)
            case "sigmoid":
                t = self.clamp(op, v, self.scalar(-SIGMOID_LIMIT), self.scalar(SIGMOID_LIMIT), dims)
                u = step("Mul", t, t)
                p, q = (self._horner(op, ratio, u, dims) for ratio in (SIGMOID_NUMERATOR, SIGMOID_DENOMINATOR))
                v = step("Add", step("Div", step("Mul", t, p), q), self.scalar(0.5))
            case "softsign":  # not the operator Softsign, which may multiply with a rounded reciprocal
                v = step("Div", v, step("Add", step("Abs", v), self.scalar(1)))
            case "normal_cdf":
                t = self.clamp(op, v, self.scalar(-NORMAL_LIMIT), self.scalar(NORMAL_LIMIT), dims)
                u = step("Mul", t, t)
                p, q = (self._horner(op, ratio, u, dims) for ratio in (NORMAL_NUMERATOR, NORMAL_DENOMINATOR))
                r = self.clamp(op, step("Div", step("Mul", t, p), q), self.scalar(-0.5), self.scalar(0.5), dims)
                v = step("Add", r, self.scalar(0.5))
            case "rsqrt":
                v = step("Div", self.scalar(1), step("Sqrt", v))
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

    def step(self, op: Op, dims: Dims) -> Callable[..., str]:
        """A function from an operator and its inputs to the name of the result; it adds the node to the graph."""

        def add(operator: str, *inputs: str, kind: int = TensorProto.FLOAT, **attributes: Any) -> str:
            return self.graph.node(operator, inputs, dims, f"{op.name}/{operator.lower()}", kind, **attributes)

        return add

    def clamp(self, op: Op, v: str, low: str, high: str, dims: Dims) -> str:
        """`low if low > v else v`, then `high if high < v else v`; Max and Min may lose a NaN."""
        step = self.step(op, dims)
        v = step("Where", step("Greater", low, v, kind=TensorProto.BOOL), low, v)
        return step("Where", step("Less", high, v, kind=TensorProto.BOOL), high, v)

    def _horner(self, op: Op, coefficients: tuple[float, ...], u: str, dims: Dims) -> str:
        """The polynomial with these coefficients, the constant one first, at `u`."""
        step = self.step(op, dims)
        p = self.scalar(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            p = step("Add", step("Mul", p, u), self.scalar(coefficient))
        return p
