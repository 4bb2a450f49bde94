"""Normalization of each pixel over its channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evenbit.errors import PlanError
from evenbit.ops.lane_sum import lane_sum
from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import Array, Shape


@dataclass(frozen=True, kw_only=True)
class LayerNorm(Op):
    """Each pixel with mean 0 and variance 1 over its channels (Ba, Kiros and Hinton, Layer Normalization, 2016).

        d = x - sum(x) / C
        v = d * (1 / sqrt(sum(d * d) / C + epsilon))

    Sums are those of `lane_sum`. Scale and bias are in the Tail.

    Attributes:
        epsilon: Added to the variance; a positive float32.
    """

    kind: ClassVar[str] = "layer_norm"
    epsilon: float

    def result(self, source: Shape, scope: Scope) -> Shape:
        """The shape of the input."""
        if not (0 < self.epsilon < np.inf and float(np.float32(self.epsilon)) == self.epsilon):
            raise PlanError("its epsilon is not a positive float32")
        return source

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        count, one = np.float32(source.channels), np.float32(1)
        d = x - lane_sum(x) / count
        return np.asarray(d * (one / np.sqrt(lane_sum(d * d) / count + np.float32(self.epsilon))))
