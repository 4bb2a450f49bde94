"""Average pooling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import Array, Shape
from evenbit.ops.window import Window


@dataclass(frozen=True, kw_only=True)
class AvgPool(Op):
    """Mean of each window: its values on the map summed in (ky, kx) order from 0, then divided by their number.

    Attributes:
        kernel: Height and width of the window.
        stride: Vertical and horizontal step.
        padding: Rows above and below, columns left and right, which do not count.
        overhang: Additional rows below and columns right.
    """

    kind: ClassVar[str] = "avg_pool"
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    overhang: tuple[int, int] = (0, 0)

    def result(self, source: Shape, scope: Scope) -> Shape:
        """One pixel for each position of the window."""
        window = self.window(scope.tensors)
        window.check_cut()
        return window.slide(source, source.channels)

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        window = self.window(known)
        taps = window.taps(window.padded(x))
        inside = window.taps(window.padded(np.ones_like(x[:1, ..., :1])))
        v, count = np.zeros_like(taps[0][2]), np.zeros_like(inside[0][2])
        for (_, _, tap), (_, _, there) in zip(taps, inside, strict=True):
            v = np.where(there > 0, v + tap, v)
            count = count + there
        return np.asarray(v / count)

    def window(self, tensors: Mapping[str, Array]) -> Window:
        """The window that the fields describe."""
        return Window(self.kernel, self.stride, self.padding, self.overhang)
