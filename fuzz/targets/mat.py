"""Reading a MATLAB file. The first byte says whether the rest is such a file or what a compressed element holds."""

from __future__ import annotations

import struct
import zlib

from evenbit.data.mat import COMPRESSED, HEADER, MAGIC, read_mat
from targets import scratch

SHAPES = {"X": (3, 2, 3, 2), "y": (2, 1)}


def check(data: bytes) -> None:
    """Reads small images and labels."""
    content = data[1:]
    if data[:1] >= b"\x80":
        streams = [zlib.compress(part, 1) for part in content.split(b"next")]
        elements = [struct.pack("<II", COMPRESSED, len(stream)) + stream for stream in streams]
        content = bytes(HEADER - len(MAGIC)) + MAGIC + b"".join(elements)
    arrays = read_mat(scratch.write("x.mat", content), SHAPES)
    if {name: array.shape for name, array in arrays.items()} != SHAPES:
        raise AssertionError("arrays of other shapes")
