"""Collects ops and tensors under new names and makes a Plan of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from evenbit.bits import words
from evenbit.ops import Array, Bits, Elementwise, Normalize, Op, Tail
from evenbit.plan import Plan


class Builder:
    """Ops and tensors of a Plan in the making; `at` sets the name that the ops get."""

    def __init__(self) -> None:
        self._ops: list[Op] = []
        self._tensors: dict[str, Array] = {}
        self._values = 0
        self._name = ""

    @contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Names the ops that are added inside the block."""
        before, self._name = self._name, name
        yield
        self._name = before

    def value(self) -> str:
        """A fresh name for a value."""
        self._values += 1
        return f"v{self._values}"

    def tensor(self, array: np.ndarray[Any, Any]) -> str:
        """Stores a float32 constant and returns its name."""
        return self._store(np.ascontiguousarray(array, np.float32))

    def bits_tensor(self, packed: np.ndarray[Any, Any]) -> str:
        """Stores packed bits and returns their name."""
        return self._store(np.ascontiguousarray(packed, np.uint64))

    def places_tensor(self, places: np.ndarray[Any, Any]) -> str:
        """Stores places in a value and returns their name."""
        return self._store(np.ascontiguousarray(places, np.uint64))

    def _store(self, array: Array) -> str:
        name = f"t{len(self._tensors)}"
        self._tensors[name] = array
        return name

    def add(self, kind: type[Op], source: str, tail: Tail, **fields: Any) -> str:
        """Adds an op that writes a float map and returns the map's name."""
        out = self.value()
        self._ops.append(kind(self._name, source, out, tail, **fields))
        return out

    def normalize(self) -> str:
        """Adds the op that reads the images; their normalization is a later part of the network."""
        return self.add(Normalize, "images", Tail())

    def elementwise(self, source: str, tail: Tail) -> str:
        """A Tail on its own."""
        return self.add(Elementwise, source, tail)

    def mean(self, source: str) -> str:
        """Mean over pixels."""
        out = self.value()
        self._ops.append(Elementwise(self._name, source, None, Tail(mean=out)))
        return out

    def sign(self, source: str, channels: int) -> str:
        """Bits of `source >= 0`."""
        out = self.value()
        threshold = self.tensor(np.zeros(channels))
        flip = self.bits_tensor(np.zeros(words(channels)))
        self._ops.append(Elementwise(self._name, source, None, Tail(bits=Bits(out, threshold, flip))))
        return out

    def plan(
        self, channels: int, height: int, width: int, classes: tuple[str, ...], output: str, info: Mapping[str, str]
    ) -> Plan:
        """The finished Plan."""
        return Plan(channels, height, width, classes, tuple(self._ops), output, self._tensors, info)
