"""Bits of a map or weight packed into words: bit `c` lies in word `c // 64` at position `c % 64`; set means +1."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

WORD_BITS = 64


def words(channels: int) -> int:
    """Number of 64-bit words that hold `channels` bits."""
    return -(-channels // WORD_BITS)


def pack_bits(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """Packs booleans `[..., C]` into words `[..., words(C)]`; bit `c % 64` of word `c // 64` is channel `c`."""
    channels = bits.shape[-1]
    padded = np.zeros((*bits.shape[:-1], words(channels) * WORD_BITS), np.uint8)
    padded[..., :channels] = bits
    return np.packbits(padded, axis=-1, bitorder="little").view("<u8").astype(np.uint64, copy=False)


def unpack_bits(packed: npt.NDArray[Any], channels: int) -> npt.NDArray[np.bool_]:
    """Inverse of `pack_bits`."""
    octets = np.ascontiguousarray(packed).astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(octets, axis=-1, bitorder="little")[..., :channels].astype(np.bool_)
