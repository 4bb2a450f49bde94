"""The sum of a pixel's channels, in the order in which vectors of them can be added."""

from __future__ import annotations

import numpy as np

from evenbit.ops.shape import Array

LANES = 16


def lane_sum(x: Array) -> Array:
    """Sum over the last axis, which is kept: 16 partial sums, then their sum.

    s[c % 16] += x[c] from the first channel on, each s from 0
    sum = ((0 + s[0]) + s[1]) + ... + s[15]
    """
    spare = -x.shape[-1] % LANES
    blocks = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, spare)]).reshape(*x.shape[:-1], -1, LANES)
    lanes = np.zeros_like(blocks[..., 0, :])
    for block in range(blocks.shape[-2]):
        lanes = lanes + blocks[..., block, :]
    total = np.zeros_like(lanes[..., :1])
    for lane in range(LANES):
        total = total + lanes[..., lane : lane + 1]
    return total
