"""A map as a vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import Array, Shape, vector


@dataclass(frozen=True)
class Flatten(Op):
    """A map as a vector, each channel row by row: `v[(c * H + y) * W + x]` is the input at `(y, x, c)`."""

    kind: ClassVar[str] = "flatten"
    pixelwise: ClassVar[bool] = False

    def result(self, source: Shape, scope: Scope) -> Shape:
        """One pixel with a channel for each number of the map."""
        return vector(source.height * source.width * source.channels)

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        return x.transpose(0, 3, 1, 2).reshape(len(x), 1, 1, -1)
