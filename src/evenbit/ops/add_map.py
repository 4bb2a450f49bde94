"""A constant map added to a map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evenbit.errors import PlanError
from evenbit.ops.names import TensorName
from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import Array, Shape


@dataclass(frozen=True, kw_only=True)
class AddMap(Op):
    """A constant that differs from place to place, such as the embedding of positions.

    The input is cut into as many rows and columns of cells as the constant has, often each pixel one cell:

        v[y, x, c] = in[y, x, c] + map[y * rows // H, x * columns // W, c]

    Attributes:
        map: Name of a float32 tensor `[rows, columns, C]`, rows at most H, columns at most W.
    """

    kind: ClassVar[str] = "add_map"
    map: TensorName

    def result(self, source: Shape, scope: Scope) -> Shape:
        """The shape of the input."""
        rows, columns, _ = scope.tensor(self.map, np.float32, (-1, -1, source.channels)).shape
        if rows > source.height or columns > source.width:
            raise PlanError(f"'{self.map}' has {rows}x{columns} cells, but the map has {source.height}x{source.width}")
        return source

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        return np.asarray(x + spread(known[self.map], source.height, source.width))


def spread(cells: Array, height: int, width: int) -> Array:
    """What each pixel of a map of that size adds, `[height, width, C]`, from the cells `[rows, columns, C]`."""
    rows, columns = cell_of(height, cells.shape[0]), cell_of(width, cells.shape[1])
    return np.asarray(cells[rows[:, None], columns])


def cell_of(size: int, count: int) -> Array:
    """The row of cells in which each row of a map lies, `[size]`, of `count`; or the column, for columns."""
    return np.asarray(np.arange(size) * count // size)
