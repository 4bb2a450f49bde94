"""Where in the arena each value of a Plan lies while it is needed.

The arena has three parts (floats, words of bits, and bytes), so that no memory is ever used as two types. Values that
are needed at the same time do not overlap, with one exception. A kernel computes the pixels of its result from the
first to the last, and writes each one as soon as it is computed. So a result may overlap the map that it is computed
from, as long as each pixel is written to memory that is not read any more. Thus a sum replaces its residual in place, a
pooled map replaces its input, and a convolution needs only a few rows beside its result.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from evenbit.export.c.kernels import kernel
from evenbit.ops import Op, Shape, named, reads, writes
from evenbit.plan import Plan

ROUNDS = 100

Part = Literal["floats", "words", "octets"]
Scratch = Literal["pixel", "row", "taps"]
Key = str | tuple[int, Scratch]  # a value's name, or what an op needs while it runs


@dataclass(frozen=True)
class Arena:
    """The memory for one image.

    Attributes:
        offsets: For each value and scratch buffer, the index of its first element in its part.
        floats: Number of floats.
        words: Number of words.
        octets: Number of bytes, a multiple of 4.
        word_bits: 32 or 64.
    """

    offsets: Mapping[Key, int]
    floats: int
    words: int
    octets: int
    word_bits: int

    @property
    def bytes(self) -> int:
        """Size of all parts."""
        return 4 * self.floats + self.word_bits // 8 * self.words + self.octets


@dataclass(frozen=True)
class _Buffer:
    """A value or scratch buffer: its size in elements, the op that writes it, and the last op that reads it."""

    key: Key
    part: Part
    size: int
    first: int
    last: int


def plan_arena(plan: Plan, word_bits: int) -> Arena:
    """Places every value and scratch buffer.

    Args:
        plan: The network.
        word_bits: 32 or 64.
    """
    shapes = plan.shapes()
    buffers = _buffers(plan, shapes, word_bits)
    overlaps = _overlaps(plan, shapes, word_bits)
    offsets: dict[Key, int] = {}
    sizes = {}
    for part in typing.get_args(Part):
        own = [buffer for buffer in buffers if buffer.part == part]
        sizes[part] = _place_well(own, overlaps, offsets)
    return Arena(offsets, sizes["floats"], sizes["words"], -(-sizes["octets"] // 4) * 4, word_bits)


def _place_well(buffers: list[_Buffer], overlaps: Mapping[tuple[Key, Key], int], offsets: dict[Key, int]) -> int:
    """Adds the best offsets found to `offsets`, and returns the size that they need.

    Large buffers are placed first. Then, again and again, the buffer that ends highest is moved to the front and all
    are placed again.
    """
    if not buffers:
        return 0
    together: dict[Key, list[_Buffer]] = {
        buffer.key: [other for other in buffers if other.first <= buffer.last and buffer.first <= other.last]
        for buffer in buffers
    }
    order = sorted(buffers, key=lambda buffer: -buffer.size)
    best: tuple[int, dict[Key, int]] | None = None
    for _ in range(ROUNDS):
        found: dict[Key, int] = {}
        for buffer in order:
            found[buffer.key] = _lowest(
                buffer, [other for other in together[buffer.key] if other.key in found], found, overlaps
            )
        highest = max(order, key=lambda buffer: found[buffer.key] + buffer.size)
        size = found[highest.key] + highest.size
        if best is None or size < best[0]:
            best = size, found
        if highest == order[0]:
            break
        order.remove(highest)
        order.insert(0, highest)
    assert best is not None
    offsets.update(best[1])
    return best[0]


def _lowest(
    buffer: _Buffer, others: list[_Buffer], offsets: Mapping[Key, int], overlaps: Mapping[tuple[Key, Key], int]
) -> int:
    """The lowest offset at which the buffer does not disturb the buffers that are already placed."""
    limits = []  # it has to begin up to the first number, or from the second one on
    for other in others:
        below, above = offsets[other.key] - buffer.size, offsets[other.key] + other.size
        if (buffer.key, other.key) in overlaps:
            below = max(below, offsets[other.key] - overlaps[buffer.key, other.key])
        if (other.key, buffer.key) in overlaps:
            above = min(above, offsets[other.key] + overlaps[other.key, buffer.key])
        limits.append((below, above))
    starts = sorted({0, *(max(0, above) for _, above in limits)})
    return next(start for start in starts if all(start <= below or start >= above for below, above in limits))


def words_of(channels: int, word_bits: int) -> int:
    """Number of words of that many bits that hold the bits of a pixel."""
    return -(-channels // word_bits)


def needs_taps(plan: Plan, op: Op, source: Shape, word_bits: int) -> bool:
    """Whether the values that an op's window reads have to be copied together first.

    They need not if the kernel does not ask for it, or if the window is one piece of the map, without padding and
    without gaps between the bits of pixels.
    """
    window = op.window(plan.tensors)
    if window is None or "taps" not in kernel(op).parameters:
        return False
    is_bits = source.kind == "bits"
    if taps_part(op) != ("words" if is_bits else "floats") or (is_bits and getattr(op, "groups", 1) > 1):
        return True
    height, width = window.kernel
    gaps = is_bits and source.channels % word_bits > 0 and height * width > 1
    return window.padding != (0, 0) or (height > 1 and width < source.width) or gaps


def _buffers(plan: Plan, shapes: Mapping[str, Shape], word_bits: int) -> list[_Buffer]:
    last = {name: index for index, op in enumerate(plan.ops) for name in reads(op)}
    last[plan.output] = len(plan.ops)
    found = []
    for index, (op, result) in enumerate(zip(plan.ops, plan.op_shapes(), strict=True)):
        for name in writes(op):
            part: Part = "floats" if shapes[name].kind == "float" else "words"
            size = shapes[name].height * shapes[name].width * _elements(shapes[name], word_bits)
            found.append(_Buffer(name, part, size, index, last.get(name, index)))
        found.append(_Buffer((index, "pixel"), "floats", result.channels, index, index))
        if op.tail.mean:
            found.append(_Buffer((index, "row"), "floats", result.channels, index, index))
        source = shapes[op.input]
        window = op.window(plan.tensors)
        if window and needs_taps(plan, op, source, word_bits):
            height, width = window.kernel
            channels = source.channels // (getattr(op, "groups", 1) if source.kind == "bits" else 1)
            taps = Shape(source.kind, 1, 1, height * width * channels)
            found.append(_Buffer((index, "taps"), taps_part(op), _elements(taps, word_bits), index, index))
    return found


def taps_part(op: Op) -> Part:
    """The part of the arena where the values that an op's window reads are copied together."""
    parts: dict[str, Part] = {"evenbit_word*": "words", "int8_t*": "octets", "float*": "floats"}
    return parts[kernel(op).parameters["taps"]]


def _elements(shape: Shape, word_bits: int) -> int:
    """Number of floats or words of a pixel."""
    return shape.channels if shape.kind == "float" else words_of(shape.channels, word_bits)


def _overlaps(plan: Plan, shapes: Mapping[str, Shape], word_bits: int) -> dict[tuple[Key, Key], int]:
    """For a result and a map that its op is the last to read: how far behind the result's start the map has to start.

    Then each pixel of the result, once written, ends before the first pixel that the op still has to read.
    """
    last = {name: index for index, op in enumerate(plan.ops) for name in reads(op)}
    found: dict[tuple[Key, Key], int] = {}
    for index, (op, result) in enumerate(zip(plan.ops, plan.op_shapes(), strict=True)):
        pixels = np.arange(result.height * result.width)
        beside = _read_beside(op, result, shapes)
        first_reads = dict.fromkeys(beside, pixels)
        if op.input != "images":
            first = _first_read(plan, op, result, shapes[op.input])
            first_reads[op.input] = np.minimum(first_reads.get(op.input, first), first)
        for source, first in first_reads.items():
            anyhow = sum(name == source for name in reads(op))
            pixel_by_pixel = (op.input == source) + beside.count(source)
            if last[source] != index or source == plan.output or anyhow != pixel_by_pixel:
                continue
            still = np.minimum.accumulate(first[::-1])[::-1]
            for name in (op.out, op.tail.bits.out if op.tail.bits else None):
                if name is not None and shapes[name].kind == shapes[source].kind:
                    written = (pixels[:-1] + 1) * _elements(shapes[name], word_bits)
                    behind = written - still[1:] * _elements(shapes[source], word_bits)
                    found[name, source] = int(behind.max(initial=-(2**62)))
    return found


def _read_beside(op: Op, result: Shape, shapes: Mapping[str, Shape]) -> list[str]:
    """Maps other than the input from which the op reads the same pixel as the one that it computes."""
    names = [*(list(named(op, "value"))[1:] if op.pixelwise else ()), *named(op.tail, "value")]
    return [name for name in names if shapes[name][1:3] == result[1:3]]


def _first_read(plan: Plan, op: Op, result: Shape, source: Shape) -> npt.NDArray[np.int64]:
    """For each output pixel, the first pixel of the map that the op reads for it."""
    window = op.window(plan.tensors)
    if window is None:
        pixels = np.arange(result.height * result.width)
        return pixels if op.pixelwise else np.zeros_like(pixels)
    top = np.maximum(0, np.arange(result.height) * window.stride[0] - window.padding[0])
    left = np.maximum(0, np.arange(result.width) * window.stride[1] - window.padding[1])
    return (top[:, None] * source.width + left).reshape(-1)
