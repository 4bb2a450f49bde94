"""A map in another size, by linear interpolation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evenbit.errors import PlanError
from evenbit.ops.names import TensorName
from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import MAX_ELEMENTS, Array, Shape


@dataclass(frozen=True, kw_only=True)
class Interpolate(Op):
    """A map in another size, each pixel blended from two columns, then from two rows (bilinear interpolation).

        row(r) = x[r, columns[x, 0]] * column_weights[x, 0] + x[r, columns[x, 1]] * column_weights[x, 1]
        v      = row(rows[y, 0]) * row_weights[y, 0] + row(rows[y, 1]) * row_weights[y, 1]

    Attributes:
        rows: Name of a uint64 tensor `[H', 2]`: the two rows of the input that are blended into each row of the result.
        row_weights: Name of a float32 tensor `[H', 2]`: the share of each.
        columns: Name of a uint64 tensor `[W', 2]`: the same for columns.
        column_weights: Name of a float32 tensor `[W', 2]`: the share of each.
    """

    kind: ClassVar[str] = "interpolate"
    pixelwise: ClassVar[bool] = False
    rows: TensorName
    row_weights: TensorName
    columns: TensorName
    column_weights: TensorName

    def result(self, source: Shape, scope: Scope) -> Shape:
        """As high as there are `rows`, and as wide as there are `columns`."""
        rows, columns = (scope.tensor(name, np.uint64, (-1, 2)) for name in (self.rows, self.columns))
        scope.tensor(self.row_weights, np.float32, rows.shape)
        scope.tensor(self.column_weights, np.float32, columns.shape)
        if int(rows.max()) >= source.height or int(columns.max()) >= source.width:
            raise PlanError(f"reads past the end of '{self.input}'")
        if len(rows) * len(columns) * source.channels > MAX_ELEMENTS:
            raise PlanError("its map is too large")
        return source._replace(height=len(rows), width=len(columns))

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        rows, columns = (known[name].astype(np.int64) for name in (self.rows, self.columns))
        of_rows, of_columns = known[self.row_weights][:, :, None, None], known[self.column_weights][:, :, None]
        wide = x[:, :, columns[:, 0]] * of_columns[:, 0] + x[:, :, columns[:, 1]] * of_columns[:, 1]
        return np.asarray(wide[:, rows[:, 0]] * of_rows[:, 0] + wide[:, rows[:, 1]] * of_rows[:, 1])
