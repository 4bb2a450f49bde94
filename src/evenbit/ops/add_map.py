"""A constant map added to a map."""

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
class AddMap(Op):
    """A constant that differs from pixel to pixel, such as the embedding of positions: `v = x + map`.

    Attributes:
        map: Name of a float32 tensor `[H, W, C]`.
    """

    kind: ClassVar[str] = "add_map"
    map: TensorName

    def result(self, source: Shape, scope: Scope) -> Shape:
        """The shape of the input."""
        scope.tensor(self.map, np.float32, source[1:])
        return source

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        return np.asarray(x + known[self.map])
