"""The base of the ops in this package: what every op has and can do."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from evenbit.ops.names import NewName, ValueName, named
from evenbit.ops.scope import Scope
from evenbit.ops.shape import Array, Kind, Shape
from evenbit.ops.tail import Tail
from evenbit.ops.window import Window


@dataclass(frozen=True)
class Op(ABC):
    """Base of all ops: an op computes an accumulator `v` from its input, and its Tail does the rest.

    Attributes:
        name: Where the op comes from, usually a module path; for people only.
        input: Name of the value it reads.
        out: Name of the float map it writes, or None if only its mean or bits are needed.
        tail: The steps after the accumulator.
    """

    kind: ClassVar[str]
    reads_kind: ClassVar[Kind] = "float"  # what its input holds
    pixelwise: ClassVar[bool] = True  # whether, where it has no window, it reads for each pixel that pixel alone
    name: str
    input: ValueName
    out: NewName | None = None
    tail: Tail = field(default=Tail())

    @abstractmethod
    def result(self, source: Shape, scope: Scope) -> Shape:
        """Shape of the accumulator.

        Args:
            source: Shape of the input.
            scope: The constants, and the values of earlier ops.

        Raises:
            PlanError: If the op does not fit its input, or a field is out of range.
        """

    @abstractmethod
    def accumulate(self, x: Array, source: Shape, known: Mapping[str, Array]) -> Array:
        """The definition in numpy: the accumulator `[N, H', W', C']` of a batch.

        Args:
            x: The input, `[N, H, W, C]` float32 or `[N, H, W, words(C)]` uint64.
            source: Shape of the input of one image.
            known: Values and constants by name.
        """

    def fan_in(self, source: Shape, tensors: Mapping[str, Array]) -> int:
        """Multiply-adds of one output."""
        return 0

    def window(self, tensors: Mapping[str, Array]) -> Window | None:
        """The window that slides over the input; None if there is none, see `pixelwise`."""
        return None


def reads(op: Op) -> Iterator[str]:
    """Names of the values and tensors that an op reads, its input first."""
    parts = (op, op.tail, op.tail.bits) if op.tail.bits else (op, op.tail)
    for part in parts:
        yield from named(part, "tensor", "value", "limit")


def writes(op: Op) -> Iterator[str]:
    """Names of the values that an op writes: its map, its mean, its bits."""
    parts = (op, op.tail, op.tail.bits) if op.tail.bits else (op, op.tail)
    for part in parts:
        yield from named(part, "new")


def replace_tail(op: Op, **changes: object) -> Op:
    """A copy of `op` with fields of its Tail changed."""
    return dataclasses.replace(op, tail=dataclasses.replace(op.tail, **changes))  # type: ignore[arg-type]
