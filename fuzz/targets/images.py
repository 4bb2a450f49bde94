"""Reading a photo."""

from __future__ import annotations

import random
import zlib

from evenbit.images import load_image
from targets import scratch
from targets.structure import ChangeBytes

PNG = b"\x89PNG\r\n\x1a\n"


def check(data: bytes) -> None:
    """Reads an image, as grey if its length is even."""
    channels = 3 if len(data) % 2 else 1
    image = load_image(scratch.write("image", data), channels, 8, 8)
    if image.shape != (channels, 8, 8):
        raise AssertionError(f"an image of the shape {image.shape}")


def mutate(data: bytes, rng: random.Random, change_bytes: ChangeBytes) -> bytes:
    """Changes bytes; in most PNG files the checksums are made to fit, without which nothing behind them is read."""
    data = change_bytes(data)
    return _with_checksums(data) if data.startswith(PNG) and rng.random() < 0.9 else data


def _with_checksums(data: bytes) -> bytes:
    parts, at = [PNG], len(PNG)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        chunk = data[at:end]
        parts += [chunk, zlib.crc32(chunk[4:]).to_bytes(4, "big")]
        at = end + 4
    return b"".join(parts)
