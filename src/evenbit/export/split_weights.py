"""8-bit weights as digits, for programs that add in float32."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evenbit.ops import MAX_FAN_IN

INT8 = 127  # integers of 8 bits go from -127 to 127


def exact_digits(weight: npt.NDArray[np.int8]) -> tuple[int, list[npt.NDArray[np.int8]]]:
    """Weights `[O, C, kh, kw]` as digits, whose sums of products with 8-bit integers are exact in float32.

    Returns:
        The base, and the digits as arrays like the weights, the lowest digit first; each digit has the sign of its
        weight. The base is the largest power of 2 for which no sum of magnitudes is above 2^24. Base 2 is always
        enough, since an op has at most 2^17 inputs.
    """
    magnitude = np.abs(weight)
    digits = []
    for width in range(7, 0, -1):
        digits = [np.sign(weight) * (magnitude >> shift & 2**width - 1) for shift in range(0, 7, width)]
        if max(np.abs(digit).sum((1, 2, 3), dtype=np.int64).max() for digit in digits) * INT8 <= MAX_FAN_IN:
            return 2**width, digits
    raise AssertionError("more inputs than a Plan allows")
