"""The constants of a network as tables in C; each is written once, however often it is read."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from evenbit.bits import pack_bits, unpack_bits
from evenbit.export.c.arena import words_of
from evenbit.ops import Array
from evenbit.plan import Plan

LINE = 116  # columns of a table's rows

Items = Callable[[], Iterable[str]]  # gives the numbers of a table as text


class _Key(NamedTuple):
    """What tells tables apart; equal words may be rows of different numbers of bits, which the size says."""

    kind: str
    size: str
    digest: bytes


class Tables:
    """Collects the tables that are asked for, under the names `t0`, `t1`, ...

    Attributes:
        nbytes: Bytes of all tables, with 32-bit words.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.nbytes = 0
        self._tables: dict[_Key, tuple[str, Items]] = {}  # the name of each and what writes its numbers

    def text(self) -> str:
        """Their definitions."""
        return "\n".join(
            f"static const {key.kind} {name}[{key.size}] = {{\n{in_lines(items(), '    ')}\n}};\n"
            for key, (name, items) in self._tables.items()
        )

    def name(self, tensor: str, channels: int) -> str:
        """The table of a tensor; `channels` is the number of bits that the words of a tensor of bits hold."""
        array = self.plan.tensors[tensor]
        if array.dtype == np.uint64:
            return self._bits(array, channels)
        if array.dtype == np.int8:
            return self._table("int8_t", str(array.size), array, lambda: map(str, array.reshape(-1).tolist()))
        return self._table("float", str(array.size), array, lambda: map(float_constant, array.reshape(-1).tolist()))

    def integers(self, tensor: str) -> str:
        """The table of a tensor of numbers below 2^31."""
        array = self.plan.tensors[tensor].astype(np.int32)
        return self._table("int32_t", str(array.size), array, lambda: map(str, array.reshape(-1).tolist()))

    def _bits(self, array: Array, channels: int) -> str:
        """The table of a vector of that many bits, or of weights `[O, kh, kw, words(channels)]`.

        The bits of an output follow each other without gaps.
        """
        rows = unpack_bits(array, channels).reshape(array.shape[0] if array.ndim == 4 else 1, -1)
        halves, wide = (words_of(rows.shape[1], word_bits) for word_bits in (32, 64))
        words = pack_bits(rows).view(np.uint32)[:, :halves]
        size = f"SELECT({len(rows) * halves}, {len(rows) * wide})"
        return self._table("evenbit_word", size, words, lambda: _words(words))

    def _table(self, kind: str, size: str, array: Array, items: Items) -> str:
        key = _Key(kind, size, hashlib.sha256(array.tobytes()).digest())
        if key not in self._tables:
            self._tables[key] = f"t{len(self._tables)}", items
            self.nbytes += array.nbytes
        return self._tables[key][0]


def _words(rows: Array) -> Iterable[str]:
    """Rows of 32-bit words as pairs, of which the last in a row may be incomplete."""
    for row in rows.tolist():
        for low, high in itertools.zip_longest(row[::2], row[1::2]):
            yield f"0x{low:08x}" if high is None else f"PAIR(0x{low:08x}, 0x{high:08x})"


def float_constant(value: float) -> str:
    """A float32 as a C constant with exactly its value."""
    if np.isnan(value):
        return "NAN"
    if np.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return re.sub(r"\.?0*p", "p", value.hex()) + "f"


def in_lines(items: Iterable[str], indent: str) -> str:
    """Items separated by commas, in lines."""
    lines, line = [], indent
    for item in items:
        if len(line) + len(item) > LINE:
            lines.append(line.rstrip())
            line = indent
        line += f"{item}, "
    return "\n".join([*lines, line.rstrip()])
