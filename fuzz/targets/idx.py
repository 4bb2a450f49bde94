"""Reading a gzipped IDX file. The first byte says whether the rest is such a file or what is in it."""

from __future__ import annotations

import gzip

from evenbit.data.idx import read_idx
from targets import scratch

SHAPE = (4, 3, 5)


def check(data: bytes) -> None:
    """Reads a small array."""
    content = data[1:] if data[:1] < b"\x80" else gzip.compress(data[1:], 1)
    array = read_idx(scratch.write("idx.gz", content), SHAPE)
    if array.shape != SHAPE:
        raise AssertionError(f"an array of the shape {array.shape}")
