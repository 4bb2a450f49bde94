"""Editing a Plan: who writes and reads a value, replacing ops, adding constants."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evenbit.ops import Array, Op, Shape, Tail, reads, roles, writes
from evenbit.plan import Plan


class Rewriter:
    """A Plan under change. Ops are looked up by the values they write; tensors are added, never altered."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._ops: list[Op] = []
        self._writers: dict[str, Op] = {}
        self._readers: dict[str, list[Op]] = {}
        self._insert(0, plan.ops)
        self._tensors: dict[str, Array] = dict(plan.tensors)
        self._shapes: dict[str, Shape] = plan.shapes()
        self._serial = 0

    @property
    def output(self) -> str:
        """Name of the logits."""
        return self._plan.output

    def plan(self) -> Plan:
        """The Plan as it is now."""
        return dataclasses.replace(self._plan, ops=tuple(self._ops), tensors=self._tensors)

    def producer(self, value: str) -> Op | None:
        """The op that writes `value`, None for the images."""
        return self._writers.get(value)

    def readers(self, value: str) -> list[Op]:
        """The ops that read `value`."""
        return list(self._readers.get(value, ()))

    def is_sole_reader(self, op: Op, value: str) -> bool:
        """Whether `op` reads `value` once, nothing else does, and it is not the output."""
        return self.readers(value) == [op] and list(reads(op)).count(value) == 1 and value != self.output

    def replace(self, op: Op, *replacements: Op) -> None:
        """Puts `replacements` in the place of `op`."""
        index = next(i for i, candidate in enumerate(self._ops) if candidate is op)
        del self._ops[index]
        for name in writes(op):
            if self._writers[name] is op:  # and not a replacement that came before it
                del self._writers[name]
        for name in set(reads(op)):
            self._readers[name] = [reader for reader in self._readers[name] if reader is not op]
        self._insert(index, replacements)

    def _insert(self, index: int, ops: Sequence[Op]) -> None:
        self._ops[index:index] = ops
        for op in ops:
            self._writers.update(dict.fromkeys(writes(op), op))
            for name in set(reads(op)):
                self._readers.setdefault(name, []).append(op)

    def fresh(self) -> str:
        """A new name."""
        while True:
            self._serial += 1
            name = f"n{self._serial}"
            if name not in self._tensors and name not in self._writers:
                return name

    def tensor(self, array: np.ndarray[Any, Any]) -> str:
        """Adds a constant, float64 rounded to float32, and returns its name."""
        name = self.fresh()
        self._tensors[name] = array if array.dtype in (np.uint64, np.int8) else array.astype(np.float32)
        return name

    def array(self, name: str) -> npt.NDArray[np.float64]:
        """A float constant in float64."""
        return self._tensors[name].astype(np.float64)

    def is_vector(self, value: str | None) -> bool:
        """Whether `value` is a map of one pixel."""
        shape = self._shapes.get(value or "")
        return shape is not None and (shape.height, shape.width) == (1, 1)

    def channels(self, op: Op) -> int:
        """Channels of what `op` writes."""
        return next(self._shapes[name].channels for name in writes(op) if name in self._shapes)

    def renamed(self, names: Mapping[str, str]) -> Plan:
        """The Plan with values and tensors renamed; names that are missing stay."""
        tensors = {names.get(name, name): array for name, array in self._tensors.items()}
        ops = tuple(_renamed(op, names) for op in self._ops)
        return dataclasses.replace(self._plan, ops=ops, tensors=tensors, output=names.get(self.output, self.output))


def _renamed(item: Any, names: Mapping[str, str]) -> Any:
    """A copy of an op, Tail or Bits with every name of a value or tensor in it looked up."""
    named = roles(type(item))  # type: ignore[arg-type]  # a class can be hashed
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(item):
        value = getattr(item, field.name)
        if dataclasses.is_dataclass(value):
            changes[field.name] = _renamed(value, names)
        elif field.name in named and isinstance(value, str):
            changes[field.name] = names.get(value, value)
        elif field.name in named and value is not None:
            changes[field.name] = tuple(names.get(name, name) for name in value)
    return dataclasses.replace(item, **changes)


def is_affine(op: Op) -> bool:
    """Whether `op` is an elementwise `s x + t` and nothing else."""
    tail = op.tail
    return op.kind == "elementwise" and op.out is not None and tail == Tail(scale=tail.scale, bias=tail.bias)


def affine_of(rewriter: Rewriter, op: Op, channels: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Scale and bias in the Tail of `op`, 1 and 0 where it has none."""
    scale = np.ones(channels) if op.tail.scale is None else rewriter.array(op.tail.scale)
    bias = np.zeros(channels) if op.tail.bias is None else rewriter.array(op.tail.bias)
    return scale, bias
