"""Max pooling."""

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
class MaxPool(Op):
    """Largest value of each window: from -inf on, `v = x if x > v else v` in (ky, kx) order; padding never wins.

    Attributes:
        kernel: Height and width of the window.
        stride: Vertical and horizontal step.
        padding: Rows above and below, columns left and right.
        overhang: Additional rows below and columns right, for windows that hang over the edge.
    """

    kind: ClassVar[str] = "max_pool"
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
        taps = [tap for _, _, tap in window.taps(window.padded(x, -np.inf))]
        v = np.full_like(taps[0], -np.inf)
        for tap in taps:
            v = np.where(tap > v, tap, v)
        return v

    def window(self, tensors: Mapping[str, Array]) -> Window:
        """The window that the fields describe."""
        return Window(self.kernel, self.stride, self.padding, self.overhang)
