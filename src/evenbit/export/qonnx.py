"""QONNX, the dialect of ONNX in which FPGA tools exchange quantized networks.

The operator `BipolarQuant` of the domain `qonnx.custom_op.general` marks binary values:

    BipolarQuant(x, s) = s if x >= 0 else -s,

It stands before each binary weight and activation; the values are floats of 1 and -1. For finite x and t, `x >= t` is
`x - t >= 0`, since the difference of two unequal floats is never rounded to 0; an infinite t gives the right sign too.

A flipped channel is negated first: `not (x >= t)` is `x <= p`, which is `-x >= -p`, with p the float below t. So a flip
is a multiplication by -1 before the quantizer, which FINN moves into the weights. A threshold that depends on the image
is not known here, so in that case the result is negated instead. Maps are assumed to hold finite numbers: for a NaN,
negating first gives -1 where the Plan has a set bit.

`Quant` of 8 bits with scale 1 marks 8-bit values; it rounds halves to even and gives -127 to 127.

Operators: Pappalardo, Umuroglu, Blott et al., *QONNX: Representing Arbitrary-Precision Quantized Neural Networks*,
2022, arXiv:2206.07527.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evenbit.export.graph import Dims, Graph, convolution, save
from evenbit.export.lowering import Lowering
from evenbit.ops import BinaryConv, Bits, Int8Conv, Op, Shape
from evenbit.plan import Plan

DOMAIN = "qonnx.custom_op.general"


def export(plan: Plan, path: Path) -> dict[str, Any]:
    """Writes a Plan as QONNX: one float32 image `[1, C, H, W]` in [0, 1] to logits `[1, classes]`.

    Returns:
        The file, its size in bytes and the number of its nodes.

    Raises:
        ExportError: If the Plan holds what ONNX cannot, or takes more than an ONNX file can hold.
    """
    graph = Graph(1)  # qonnx runs and FINN builds graphs of fixed size
    logits = BipolarLowering(plan, graph).run()
    return save(graph.model(plan, logits, [DOMAIN]), path)


class BipolarLowering(Lowering):
    """Bits and weights as floats of 1 and -1, each the result of a BipolarQuant."""

    def bits(self, op: Op, bits: Bits, x: str, flip: npt.NDArray[np.bool_], shape: Shape) -> str:
        """Floats of 1 and -1."""
        dims = self.dims(shape)
        sign = np.where(flip, np.float32(-1), np.float32(1))
        static = bits.threshold not in self.values
        if static:
            level = self.plan.tensors[bits.threshold]
            with np.errstate(over="ignore"):  # below the least number is -inf
                level = np.where(flip, -np.nextafter(level, np.float32(-np.inf)), level)
            threshold = self.vector(bits.threshold, level, f"{bits.flip}/level")
        else:
            threshold = self.values[bits.threshold]
        if static and flip.any():
            x = self.graph.node("Mul", [x, self.vector(bits.flip, sign, "sign")], dims, f"{op.name}/sign")
        difference = self.graph.node("Sub", [x, threshold], dims, f"{op.name}/sub")
        result = self._quantize(difference, dims, f"{op.name}/bits")
        if not static and flip.any():
            result = self.graph.node("Mul", [result, self.vector(bits.flip, sign, "sign")], dims, f"{op.name}/sign")
        return result

    def binary_conv(self, op: BinaryConv, weight: npt.NDArray[np.bool_], dims: Dims) -> str:
        """A border of 1, then a convolution without padding."""
        x = self.values[op.input]
        if any(op.padding):
            source = self.shapes[op.input]
            height, width = source.height + 2 * op.padding[0], source.width + 2 * op.padding[1]
            padded = self.dims(source._replace(height=height, width=width))
            pads = self.integers(0, 0, *op.padding, 0, 0, *op.padding)
            x = self.graph.node("Pad", [x, pads, self.scalar(1)], padded, f"{op.name}/pad", mode="constant")
        # FINN requires that each convolution has a quantizer of its own.
        stored = self.graph.constant(op.weight, np.where(weight, np.float32(1), np.float32(-1)))
        quantized = self._quantize(stored, weight.shape, f"{op.weight}/bits")
        fields = convolution(weight.shape[2:], op.stride, (0, 0), op.groups)
        return self.graph.node("Conv", [x, quantized], dims, f"{op.name}/conv", **fields)

    def int8(self, op: Int8Conv, x: str, dims: Dims) -> str:
        """Rounded by a Quant."""
        return self._quantize_int8(x, dims, f"{op.name}/int8")

    def int8_weight(self, op: Int8Conv, weight: npt.NDArray[np.int8]) -> str:
        """Floats that pass through a Quant, which leaves them as they are."""
        stored = self.graph.constant(op.weight, weight.astype(np.float32))
        return self._quantize_int8(stored, weight.shape, f"{op.weight}/int8")

    def int8_sum(self, op: Int8Conv, sums: list[str], base: int, dims: Dims) -> str:
        """A single sum is left as it is, since FPGA tools know no casts, and move scales only where that is exact."""
        return sums[0] if len(sums) == 1 else super().int8_sum(op, sums, base, dims)

    def _quantize_int8(self, x: str, dims: Dims, name: str) -> str:
        one, zero, width = (self.scalar(value) for value in (1, 0, 8))
        fields: dict[str, Any] = {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"}
        return self.graph.node("Quant", [x, one, zero, width], dims, name, domain=DOMAIN, **fields)

    def _quantize(self, x: str, dims: Dims, name: str) -> str:
        return self.graph.node("BipolarQuant", [x, self.scalar(1)], dims, name, domain=DOMAIN)
