"""Several maps as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evenbit.errors import PlanError
from evenbit.ops.names import ValueName
from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import MAX_ELEMENTS, Array, Shape


@dataclass(frozen=True, kw_only=True)
class Concat(Op):
    """Joins the channels of several float maps with equal height and width; the input's channels come first.

    Attributes:
        others: Names of the maps whose channels follow, in order; at least one.
    """

    kind: ClassVar[str] = "concat"
    others: tuple[ValueName, ...]

    def result(self, source: Shape, scope: Scope) -> Shape:
        """As many channels as all maps have together."""
        parts = [source, *(scope.value(name, "float") for name in self.others)]
        if len(parts) < 2:
            raise PlanError("joins a single map")
        if any(part[1:3] != source[1:3] for part in parts):
            raise PlanError(f"joins maps of different sizes: {', '.join(map(str, parts))}")
        channels = sum(part.channels for part in parts)
        if source.height * source.width * channels > MAX_ELEMENTS:
            raise PlanError("its map is too large")
        return source._replace(channels=channels)

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        return np.concatenate([x, *(known[name] for name in self.others)], axis=-1)
