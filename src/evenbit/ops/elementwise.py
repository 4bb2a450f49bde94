"""A Tail on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import Array, Shape


@dataclass(frozen=True)
class Elementwise(Op):
    """Only a Tail: `v = x`."""

    kind: ClassVar[str] = "elementwise"

    def result(self, source: Shape, scope: Scope) -> Shape:
        """The shape of the input."""
        return source

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        return x
