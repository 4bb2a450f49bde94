"""Product of matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evenbit.errors import PlanError
from evenbit.ops.names import ValueName
from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import MAX_ELEMENTS, Array, Shape


@dataclass(frozen=True, kw_only=True)
class MatMul(Op):
    """A product of two matrices for each row: `v[y, x, c] = sum over i, in this order, of x[y, x, i] * other[y, i, c]`.

    Each sum starts from 0. Rows are the heads of attention.

    Attributes:
        other: Name of a float value of the same height, which is as wide as the input has channels.
    """

    kind: ClassVar[str] = "matmul"
    pixelwise: ClassVar[bool] = False
    other: ValueName

    def result(self, source: Shape, scope: Scope) -> Shape:
        """As many channels as the other has."""
        other = scope.value(self.other, "float")
        if (other.height, other.width) != (source.height, source.channels):
            raise PlanError(f"multiplies {source} by {other}, which do not fit")
        if source.height * source.width * other.channels > MAX_ELEMENTS:
            raise PlanError("its map is too large")
        return source._replace(channels=other.channels)

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        other = known[self.other]
        v = np.zeros((*x.shape[:3], other.shape[3]), np.float32)
        for i in range(source.channels):
            v = v + x[..., i, None] * other[:, :, i, None]
        return v
