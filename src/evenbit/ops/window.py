"""The window of a convolution or pooling, which slides over a map."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from evenbit.errors import PlanError
from evenbit.ops.shape import MAX_ELEMENTS, Array, Shape

MAX_SIZE = 2**15  # largest kernel, stride and padding

Pair = tuple[int, int]  # vertical, horizontal


class Window(NamedTuple):
    """A sliding window.

    Attributes:
        kernel: Its height and width.
        stride: Its steps, vertical and horizontal.
        padding: Rows above and below the map, columns left and right of it.
        overhang: Additional rows below and columns right.
    """

    kernel: Pair
    stride: Pair
    padding: Pair
    overhang: Pair = (0, 0)

    def slide(self, source: Shape, channels: int) -> Shape:
        """Shape of a float map with one pixel for each position of the window over `source`.

        Raises:
            PlanError: If a size is out of range, the window is larger than the padded map, or a map is too large.
        """
        kernel, stride, padding, overhang = self
        borders = (*padding, *overhang)
        if min(*kernel, *stride) < 1 or min(borders) < 0 or max(*kernel, *stride, *borders) > MAX_SIZE:
            raise PlanError(
                f"kernel {kernel}, stride {stride}, padding {padding} or overhang {overhang} is out of range"
            )
        padded = (source.height + 2 * padding[0] + overhang[0], source.width + 2 * padding[1] + overhang[1])
        height, width = ((padded[axis] - kernel[axis]) // stride[axis] + 1 for axis in (0, 1))
        if padded[0] < kernel[0] or padded[1] < kernel[1]:
            size = f"{kernel[0]}x{kernel[1]}"
            raise PlanError(f"its {size} kernel is larger than its padded input {padded[0]}x{padded[1]}")
        if max(height * width * channels, padded[0] * padded[1] * source.channels) > MAX_ELEMENTS:
            raise PlanError("its map is too large")
        return Shape("float", height, width, channels)

    def check_cut(self) -> None:
        """Refuses a window that may not overlap the map in some position, for ops that ignore padding.

        Raises:
            PlanError: If the padding is too large.
        """
        if any(
            pad + over >= kernel for pad, over, kernel in zip(self.padding, self.overhang, self.kernel, strict=True)
        ):
            raise PlanError("padding and overhang together must be smaller than the kernel")

    def padded(self, x: Array, value: float = 0) -> Array:
        """`x`, `[N, H, W, C]`, with its border added."""
        (above, left), (more_below, more_right) = self.padding, self.overhang
        border = ((0, 0), (above, above + more_below), (left, left + more_right), (0, 0))
        return np.pad(x, border, constant_values=value)

    def taps(self, padded: Array) -> list[tuple[int, int, Array]]:
        """For each kernel position `(ky, kx)` in order, the values that all outputs read there: `[N, H', W', C]`."""
        (kh, kw), (sy, sx) = self.kernel, self.stride
        height, width = (padded.shape[1] - kh) // sy + 1, (padded.shape[2] - kw) // sx + 1
        return [
            (ky, kx, padded[:, ky : ky + sy * height : sy, kx : kx + sx * width : sx])
            for ky in range(kh)
            for kx in range(kw)
        ]
