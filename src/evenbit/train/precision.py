"""In which precision what is reported is computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def exact_float32() -> Iterator[None]:
    """Convolutions on a GPU in float32, where torch would round their inputs to TF32, which moves some bits."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield
