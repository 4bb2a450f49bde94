"""Product of two values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from evenbit.ops.names import ValueName
from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import Array, Shape


@dataclass(frozen=True, kw_only=True)
class Multiply(Op):
    """Product of two values: `v = x * factor`.

    Attributes:
        factor: Name of a float value of the same shape, or of a vector `(1, 1, C)` by which every pixel is multiplied.
    """

    kind: ClassVar[str] = "multiply"
    factor: ValueName

    def result(self, source: Shape, scope: Scope) -> Shape:
        """The shape of the input."""
        scope.same_or_vector("factor", self.factor, source)
        return source

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        return x * known[self.factor]
