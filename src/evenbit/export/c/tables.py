"""The constants of a network as tables in C; each is written once, however often it is read."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from evenbit.bits import pack_bits, unpack_bits
from evenbit.export.c.arena import words_of
from evenbit.ops import Array
from evenbit.plan import Plan

LINE = 116  # columns of a table's rows


class Tables:
    """Collects the tables that are asked for, under the names `t0`, `t1`, ...

    Attributes:
        nbytes: Bytes of all tables, with 32-bit words.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.nbytes = 0
        self._texts: list[str] = []
        self._names: dict[tuple[str, str], str] = {}  # by type and rows

    def text(self) -> str:
        """Their definitions."""
        return "\n".join(self._texts)

    def name(self, tensor: str, channels: int) -> str:
        """The table of a tensor; `channels` is the number of bits that the words of a tensor of bits hold."""
        array = self.plan.tensors[tensor]
        if array.dtype == np.uint64:
            return self._bits(array, channels)
        if array.dtype == np.int8:
            return self._table("int8_t", str(array.size), array.nbytes, map(str, array.reshape(-1).tolist()))
        return self._table("float", str(array.size), array.nbytes, map(float_constant, array.reshape(-1).tolist()))

    def integers(self, tensor: str) -> str:
        """The table of a tensor of numbers below 2^31."""
        array = self.plan.tensors[tensor]
        return self._table("int32_t", str(array.size), 4 * array.size, map(str, array.reshape(-1).tolist()))

    def _bits(self, array: Array, channels: int) -> str:
        """The table of a vector of that many bits, or of weights `[O, kh, kw, words(channels)]`.

        The bits of an output follow each other without gaps.
        """
        rows = unpack_bits(array, channels).reshape(array.shape[0] if array.ndim == 4 else 1, -1)
        narrow, wide = (len(rows) * words_of(rows.shape[1], word_bits) for word_bits in (32, 64))
        items = _words(pack_bits(rows), words_of(rows.shape[1], 32))
        return self._table("evenbit_word", f"SELECT({narrow}, {wide})", 4 * narrow, items)

    def _table(self, kind: str, size: str, nbytes: int, items: Iterable[str]) -> str:
        rows = in_lines(items, "    ")
        name = self._names.setdefault((kind, rows), f"t{len(self._names)}")
        if len(self._names) > len(self._texts):
            self._texts.append(f"static const {kind} {name}[{size}] = {{\n{rows}\n}};\n")
            self.nbytes += nbytes
        return name


def _words(array: Array, halves: int) -> Iterable[str]:
    """Rows of words as pairs of 32-bit words; a row has `halves` of these, so its last pair may be incomplete."""
    for row in array.reshape(-1, array.shape[-1]).tolist():
        for index, word in enumerate(row):
            low, high = word & 0xFFFFFFFF, word >> 32
            yield f"PAIR(0x{low:08x}, 0x{high:08x})" if 2 * index + 1 < halves else f"0x{low:08x}"


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
