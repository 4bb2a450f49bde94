"""Softmax of each pixel over its channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evenbit.ops.lane_sum import lane_sum
from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import Array, Shape

# 2^f for f in [-1/2, 1/2], relative error at most 1.1e-7 with its rounding; coefficients of f^0, f^1, ...
EXP2 = (1.0, 0.693147206, 0.240226469, 0.0555032878, 0.00961848896, 0.00133999315, 0.000153458113)
LOG2_E = 1.4426950408889634
LEAST = -120.0  # so that no exponential is below the least normal float32


@dataclass(frozen=True)
class Softmax(Op):
    """Each channel's share of the sum of a pixel's exponentials.

        m = the largest x of the pixel
        e = 2^f * 2^n with z = (x - m) * LOG2_E, at least LEAST; n = z rounded half to even, f = z - n
        v = e / sum(e)

    `2^f` is the polynomial `EXP2`, by Horner's rule; the sum is that of `lane_sum`. A NaN in a pixel makes all of its
    channels NaN.
    """

    kind: ClassVar[str] = "softmax"

    def result(self, source: Shape, scope: Scope) -> Shape:
        """The shape of the input."""
        return source

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        z = (x - x.max(-1, keepdims=True)) * np.float32(LOG2_E)
        z = np.where(z < np.float32(LEAST), np.float32(LEAST), z)
        n = np.rint(z)
        f = z - n
        p = np.full_like(f, EXP2[-1])
        for coefficient in reversed(EXP2[:-1]):
            p = p * f + np.float32(coefficient)
        e = p * np.ldexp(np.float32(1), np.nan_to_num(n).astype(np.int32))
        return np.asarray(e / lane_sum(e))
