"""Shape of a value: what an op reads or writes for one image."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy.typing as npt

Array = npt.NDArray[Any]  # float32, uint64 or int8
Kind = Literal["float", "bits"]

MAX_ELEMENTS = 2**28  # largest size of a value or tensor; only a damaged or hostile file has a larger one


class Shape(NamedTuple):
    """Shape of one image's value: what it holds, and its height, width and channels."""

    kind: Kind
    height: int
    width: int
    channels: int

    def __str__(self) -> str:
        size = f"{self.height}x{self.width}x{self.channels}"
        return size if self.kind == "float" else f"{size} bits"


def vector(channels: int) -> Shape:
    """Shape of a float map of one pixel."""
    return Shape("float", 1, 1, channels)
