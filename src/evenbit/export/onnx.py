"""ONNX with standard operators only, which runs wherever ONNX runs.

A bit is the float `y = 1 - bit`, so 0 stands for +1 and 1 for -1. Then a binary convolution is a constant minus a float
convolution, whose zero padding stands for +1:

    sum of x w = sum of (1 - 2 y) w = sum of w - sum of y (2 w)

All of its sums are even numbers up to 2^25, which float32 holds exactly, so it is exact in any order of addition. The
subtraction also keeps an optimizer from moving the scale that follows into the weights, where it would be rounded
before the sum.

8-bit weights are stored as bytes. `Round` rounds the inputs to integers, with halves to even.

Binary weights are stored as bits: a table of 256 rows holds the eight values that each byte stands for, and `Gather`
looks up its rows. An optimizer evaluates that once, when it loads the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from evenbit.export.graph import Dims, Graph, convolution, save
from evenbit.export.lowering import Lowering
from evenbit.export.split_weights import INT8
from evenbit.ops import BinaryConv, Bits, Int8Conv, Op, Shape
from evenbit.plan import Plan


def export(plan: Plan, path: Path) -> dict[str, Any]:
    """Writes a Plan as ONNX: float32 images `[N, C, H, W]` in [0, 1] to logits `[N, classes]`, for any N.

    Returns:
        The file, its size in bytes and the number of its nodes.

    Raises:
        ExportError: If the Plan holds what ONNX cannot, or takes more than an ONNX file can hold.
    """
    graph = Graph("N")
    logits = StandardLowering(plan, graph).run()
    return save(graph.model(plan, logits), path)


class StandardLowering(Lowering):
    """Bits become floats `1 - bit`; weights are stored as bytes that a table unpacks."""

    def __init__(self, plan: Plan, graph: Graph) -> None:
        super().__init__(plan, graph)
        self._weights: dict[tuple[str, int], str] = {}

    def bits(self, op: Op, bits: Bits, x: str, flip: npt.NDArray[np.bool_], shape: Shape) -> str:
        """Floats of 0 where a bit is set and 1 where it is clear."""
        dims, inputs = self.dims(shape), [x, self.threshold(bits.threshold)]
        clear = self.graph.node("GreaterOrEqual", inputs, dims, f"{op.name}/greaterorequal", TensorProto.BOOL)
        if not flip.all():
            inputs = [clear, self.vector(bits.flip, ~flip, "unflipped")]
            clear = self.graph.node("Xor", inputs, dims, f"{op.name}/xor", TensorProto.BOOL)
        return self.graph.node("Cast", [clear], dims, f"{op.name}/bits", to=TensorProto.FLOAT)

    def binary_conv(self, op: BinaryConv, weight: npt.NDArray[np.bool_], dims: Dims) -> str:
        """The sum of the weights, minus twice the weights at clear bits."""
        inputs = [self.values[op.input], self._doubled(op.weight, weight)]
        fields = convolution(weight.shape[2:], op.stride, op.padding, op.groups)
        clear = self.graph.node("Conv", inputs, dims, f"{op.name}/conv", **fields)
        total = np.where(weight, 1, -1).sum((1, 2, 3)).astype(np.float32)
        constant = self.vector(op.weight, total, f"sum{weight.shape[1]}")
        return self.graph.node("Sub", [constant, clear], dims, f"{op.name}/sub")

    def int8(self, op: Int8Conv, x: str, dims: Dims) -> str:
        """Keeps a number if it is above -127, so that a NaN becomes -127; then limits it to 127 and rounds it."""
        step = self.step(op, dims)
        least, most = self.scalar(-INT8), self.scalar(INT8)
        x = step("Where", step("Greater", x, least, kind=TensorProto.BOOL), x, least)
        x = step("Where", step("Less", x, most, kind=TensorProto.BOOL), x, most)
        return step("Round", x)

    def int8_weight(self, op: Int8Conv, weight: npt.NDArray[np.int8]) -> str:
        """Stored as bytes."""
        stored = self.graph.constant(op.weight, weight)
        return self._unpacking("Cast", [stored], weight.shape, op.weight, to=TensorProto.FLOAT)

    def _doubled(self, tensor: str, weight: npt.NDArray[np.bool_]) -> str:
        """2 w, unpacked; `weight` is `[O, C, kh, kw]`."""
        key = (tensor, weight.shape[1])
        if key not in self._weights:
            octets = np.packbits(weight)
            packed = self.graph.constant(tensor, octets)
            index = self._unpacking("Cast", [packed], octets.shape, tensor, TensorProto.INT32, to=TensorProto.INT32)
            flat = self._unpacking("Gather", [self._table(), index], (octets.size, 8), tensor)
            if weight.size % 8:
                flat = self._unpacking("Reshape", [flat, self.integers(-1)], (octets.size * 8,), tensor)
                ends = [self.integers(0), self.integers(weight.size)]
                flat = self._unpacking("Slice", [flat, *ends], (weight.size,), tensor)
            self._weights[key] = self._unpacking("Reshape", [flat, self.integers(*weight.shape)], weight.shape, tensor)
        return self._weights[key]

    def _unpacking(
        self,
        operator: str,
        inputs: list[str],
        dims: Dims,
        tensor: str,
        kind: int = TensorProto.FLOAT,
        **attributes: Any,
    ) -> str:
        return self.graph.node(operator, inputs, dims, f"{tensor}/{operator.lower()}", kind, **attributes)

    def _table(self) -> str:
        """The values that the bits of each byte stand for, the highest bit first: `[256, 8]` of 2 and -2."""
        bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
        return self.constant(("octets",), np.where(bits, np.float32(2), np.float32(-2)))
