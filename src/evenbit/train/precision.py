"""The precision in which reported results are computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Runs convolutions on a GPU in float32; torch would round their inputs to TF32, which flips some bits."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
