"""The numbers of a map in another order."""

from __future__ import annotations

import math
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
class Gather(Op):
    """The numbers of a map in another order, some perhaps left out or repeated.

    With the numbers of the input counted channel by channel, each row by row, so that `(y, x, c)` is number
    `(c * H + y) * W + x`,

        v[y, x, c] = number rows[y] + columns[x] + channels[c]

    Shuffled, split and permuted channels, tokens as a map and back, and maps enlarged by repeating pixels are all this.

    Attributes:
        rows: Name of a uint64 tensor `[H']`.
        columns: Name of a uint64 tensor `[W']`.
        channels: Name of a uint64 tensor `[C']`.
    """

    kind: ClassVar[str] = "gather"
    pixelwise: ClassVar[bool] = False
    rows: TensorName
    columns: TensorName
    channels: TensorName

    def result(self, source: Shape, scope: Scope) -> Shape:
        """A row for each of `rows`, and so on."""
        places = [scope.tensor(name, np.uint64, (-1,)) for name in (self.rows, self.columns, self.channels)]
        if sum(int(part.max()) for part in places) >= source.height * source.width * source.channels:
            raise PlanError(f"reads past the end of '{self.input}'")
        if math.prod(map(len, places)) > MAX_ELEMENTS:
            raise PlanError("its map is too large")
        height, width, channels = map(len, places)
        return Shape("float", height, width, channels)

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        rows, columns, channels = (known[name].astype(np.int64) for name in (self.rows, self.columns, self.channels))
        numbers = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
        return np.asarray(numbers[:, rows[:, None, None] + columns[:, None] + channels])
