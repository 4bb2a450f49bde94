"""The negation of a map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import Array, Shape


@dataclass(frozen=True)
class Negate(Op):
    """The negation of a map: `v = -x`."""

    kind: ClassVar[str] = "negate"

    def result(self, source: Shape, scope: Scope) -> Shape:
        """That of the input."""
        return source

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        return -x
