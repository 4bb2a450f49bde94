"""What an op in a Plan can read: the constants, and the values that earlier ops write."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evenbit.bits import WORD_BITS
from evenbit.errors import PlanError
from evenbit.ops.shape import Array, Kind, Shape, vector


class Scope:
    """Looks up names and refuses values and constants that do not fit.

    Attributes:
        tensors: The constants by name.
        values: Shape of every value written so far.
    """

    def __init__(self, tensors: Mapping[str, Array], images: Shape) -> None:
        self.tensors = tensors
        self.values = {"images": images}

    def value(self, name: str, kind: Kind) -> Shape:
        """Shape of the value.

        Raises:
            PlanError: If no earlier op writes it, or it is of another kind.
        """
        if name not in self.values:
            raise PlanError(f"reads '{name}', which no earlier op writes")
        if self.values[name].kind != kind:
            raise PlanError(f"needs '{name}' as {kind}, but it is {self.values[name].kind}")
        return self.values[name]

    def same_or_vector(self, what: str, name: str, shape: Shape) -> None:
        """Refuses a float value that has neither that shape nor one pixel of as many channels.

        Raises:
            PlanError: If it has another shape. The message says what the value is for (`what`).
        """
        if self.value(name, "float") not in (shape, vector(shape.channels)):
            raise PlanError(f"{what} '{name}' is {self.values[name]}, not {shape}")

    def tensor(self, name: str, dtype: type[np.generic], shape: tuple[int, ...]) -> Array:
        """The constant; -1 in `shape` stands for any size of at least 1.

        Raises:
            PlanError: If it is missing or has another type or shape.
        """
        if name not in self.tensors:
            raise PlanError(f"needs the tensor '{name}', which is missing")
        array = self.tensors[name]
        fits = len(array.shape) == len(shape) and all(
            have == want or (want == -1 and have >= 1) for have, want in zip(array.shape, shape, strict=True)
        )
        if not fits or array.dtype != dtype:
            raise PlanError(
                f"tensor '{name}' should be {np.dtype(dtype)} {list(shape)}, but is {array.dtype} {list(array.shape)}"
            )
        return array


def check_spare_bits(name: str, packed: Array, channels: int) -> None:
    """Raises PlanError if a bit past the last channel is set, since it would count as a difference."""
    spare = channels % WORD_BITS
    if spare and bool(np.any(packed[..., -1] >> np.uint64(spare))):
        raise PlanError(f"tensor '{name}' has bits set past channel {channels}")
