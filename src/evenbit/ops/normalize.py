"""The first op, which reads the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evenbit.ops.op import Op
from evenbit.ops.scope import Scope
from evenbit.ops.shape import Array, Shape


@dataclass(frozen=True)
class Normalize(Op):
    """Turns images into the first float map: `v = x`; its Tail may hold a scale and bias per channel.

    Reads the value `images`: float32 in [0, 1], or uint8, where 255 stands for 1 (`x = u8 / 255`).
    """

    kind: ClassVar[str] = "normalize"

    def result(self, source: Shape, scope: Scope) -> Shape:
        """The shape of the images."""
        return source

    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """See the class."""
        return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x.astype(np.float32)
