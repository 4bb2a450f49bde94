"""A zero point that depends on the image, as a threshold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evenbit.bits import unpack_bits, words
from evenbit.errors import PlanError
from evenbit.ops.names import TensorName
from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import Array, Shape


@dataclass(frozen=True, kw_only=True)
class Threshold(Op):
    """Thresholds that give the same signs as a zero point that depends on the image.

    For the sign of `scale[c] * x + offset[c] + e[c]`, with `e` the input `(1, 1, C)`:

        t = (-offset[c] - e[c]) / scale[c]          if scale[c] != 0
        t = -inf if offset[c] + e[c] >= 0 else inf  if scale[c] == 0
        v = nextafter(t, inf) if flip[c] else t

    Attributes:
        scale: Name of a float32 tensor `[C]`.
        offset: Name of a float32 tensor `[C]`.
        flip: Name of a uint64 tensor `[words(C)]`; set exactly where `scale` is negative.
    """

    kind: ClassVar[str] = "threshold"
    scale: TensorName
    offset: TensorName
    flip: TensorName

    def result(self, source: Shape, scope: Scope) -> Shape:
        """The shape of the input, a vector."""
        if (source.height, source.width) != (1, 1):
            raise PlanError(f"needs a vector, but '{self.input}' is {source}")
        scale = scope.tensor(self.scale, np.float32, (source.channels,))
        scope.tensor(self.offset, np.float32, (source.channels,))
        flip = scope.tensor(self.flip, np.uint64, (words(source.channels),))
        if not np.array_equal(unpack_bits(flip, source.channels), scale < 0):
            raise PlanError(f"'{self.flip}' is not set exactly where '{self.scale}' is negative")
        return source

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        scale, offset = known[self.scale], known[self.offset]
        flip = unpack_bits(known[self.flip], source.channels)
        solved = (-offset - x) / scale
        constant = np.where(offset + x >= 0, -np.inf, np.inf).astype(np.float32)
        t = np.where(scale == 0, constant, solved)
        return np.where(flip, np.nextafter(t, np.float32(np.inf)), t)
