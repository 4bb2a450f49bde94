"""Third power of an affine map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evenbit.ops.names import TensorName
from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import Array, Shape


@dataclass(frozen=True, kw_only=True)
class Cube(Op):
    """Third power of an affine map; the mean of the result is a third moment.

        u = x * scale[c] + offset[c]
        v = (u * u) * u

    Attributes:
        scale: Name of a float32 tensor `[C]`.
        offset: Name of a float32 tensor `[C]`.
    """

    kind: ClassVar[str] = "cube"
    scale: TensorName
    offset: TensorName

    def result(self, source: Shape, scope: Scope) -> Shape:
        """The shape of the input."""
        for name in (self.scale, self.offset):
            scope.tensor(name, np.float32, (source.channels,))
        return source

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        u = x * known[self.scale] + known[self.offset]
        return np.asarray(u * u * u)
