"""Arrays of bytes from a MATLAB file of version 5: only the part of the format that the data sets need.

    file       128 bytes of header, which end in the version 0x0100 and "IM" for little-endian; then elements
    element    type and size, 32 bits each, then `size` bytes; a compressed one holds the zlib stream of another
    matrix     an element that holds four: class and flags, dimensions, name, values column by column. Each is padded
               to 8 bytes; one of at most 4 bytes may have type and size in 16 bits each, followed by its bytes

MathWorks, MAT-File Format, 2019. A size that a file claims never decides how much is allocated: the arrays' shapes are
known beforehand.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evenbit.errors import DataError

HEADER = 128
MAGIC = b"\x00\x01IM"
INT8, UINT8, INT32, UINT32, MATRIX, COMPRESSED = 1, 2, 5, 6, 14, 15
SPARE = 4096  # bytes of a matrix besides its values, at most


def read_mat(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, npt.NDArray[np.uint8]]:
    """Arrays by name; other arrays in the file are skipped.

    Args:
        path: The file.
        shapes: Names of the arrays, and the shapes that they must have. Their values must be stored as bytes, which
            MATLAB also does with small whole numbers of another class.

    Returns:
        The arrays, column by column in memory, not writable.

    Raises:
        DataError: If the file is damaged, lacks an array or holds it in another form.
    """
    largest = max(math.prod(shape) for shape in shapes.values()) + SPARE
    try:
        # zlib makes data longer by a few bytes in a thousand at most.
        if path.stat().st_size > 2 * largest * len(shapes):
            raise ValueError("it is larger than its arrays")
        found = {}
        for name, shape, values in _matrices(path.read_bytes(), largest):
            if name in shapes:
                if shape != shapes[name] or values is None or len(values) != math.prod(shape):
                    raise ValueError(f"{name} should be bytes in the shape {_text(shapes[name])}")
                found[name] = np.frombuffer(values, np.uint8).reshape(shape, order="F")
        if missing := sorted(shapes.keys() - found.keys()):
            raise ValueError(f"it holds no {missing[0]}")
    except (OSError, ValueError, struct.error, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    return found


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _matrices(data: bytes, largest: int) -> Iterator[tuple[str, tuple[int, ...], memoryview | None]]:
    """Name, shape and values of each matrix; None for values that are not bytes."""
    if len(data) < HEADER or data[HEADER - 4 : HEADER] != MAGIC:
        raise ValueError("it is not a little-endian MATLAB file of version 5")
    rest = memoryview(data)[HEADER:]
    while rest:
        kind, content, rest = _element(rest, padded=False)
        if kind == COMPRESSED:
            stream = zlib.decompressobj()
            expanded = stream.decompress(content, largest)
            if not stream.eof:
                raise ValueError("a compressed element is cut off or larger than the arrays")
            kind, content, _ = _element(memoryview(expanded), padded=False)
        if kind == MATRIX:
            yield _matrix(content)


def _matrix(content: memoryview) -> tuple[str, tuple[int, ...], memoryview | None]:
    parts = []
    for _ in range(4):
        kind, part, content = _element(content, padded=True)
        parts.append((kind, part))
    (flags, _), (dimensions, sizes), (naming, name), (storage, values) = parts
    if (flags, dimensions, naming) != (UINT32, INT32, INT8):
        raise ValueError("a matrix is malformed")
    shape = tuple(np.frombuffer(sizes, "<i4").tolist())
    return bytes(name).decode("latin-1"), shape, values if storage == UINT8 else None


def _element(data: memoryview, *, padded: bool) -> tuple[int, memoryview, memoryview]:
    """Type and bytes of the first element, and what follows it."""
    kind, size = struct.unpack_from("<II", data)
    if kind >> 16:  # the short form
        kind, size = kind & 0xFFFF, kind >> 16
        start, end = 4, 8
        if size > 4:
            raise ValueError("a short element is longer than 4 bytes")
    else:
        start = 8
        end = start + (size + 7) // 8 * 8 if padded else start + size
    if start + size > len(data):
        raise ValueError("it is truncated")
    return kind, data[start : start + size], data[min(end, len(data)) :]
