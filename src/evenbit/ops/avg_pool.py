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
    """Mean of each window: its values summed in (ky, kx) order from 0, then divided by their number.

    Attributes:
        kernel: Height and width of the window.
        stride: Vertical and horizontal step.
    """

    kind: ClassVar[str] = "avg_pool"
    kernel: tuple[int, int]
    stride: tuple[int, int]

    def result(self, source: Shape, scope: Scope) -> Shape:
        """One pixel for each position of the window."""
        return self.window(scope.tensors).slide(source, source.channels)

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        taps = [tap for _, _, tap in self.window(known).taps(x)]
        v = np.zeros_like(taps[0])
        for tap in taps:
            v = v + tap
        return v / np.float32(self.kernel[0] * self.kernel[1])

    def window(self, tensors: Mapping[str, Array]) -> Window:
        """As its fields say, without padding."""
        return Window(self.kernel, self.stride, (0, 0))
