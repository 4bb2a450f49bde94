"""Runs a Plan in plain numpy: slow and exact; every executor is tested against it.

The file of each op in `evenbit.ops` defines what the op computes. Maps are `[N, H, W, C]` float32, bit maps `[N, H, W,
words(C)]` uint64. Each term of a sum is a whole array, so the loops are over kernel taps and input channels only.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evenbit.errors import InputError
from evenbit.ops import Array
from evenbit.plan import Plan


def run(plan: Plan, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Logits of a batch.

    Args:
        plan: The network.
        images: `[N, C, H, W]`, float32 in [0, 1] or uint8 in [0, 255].

    Returns:
        Logits `[N, classes]`, float32; of a network that classifies pixels, maps `[N, classes, H', W']`.

    Raises:
        InputError: If the images do not fit the network or hold a value that is not finite.
    """
    logits = np.ascontiguousarray(values(plan, images)[plan.output].transpose(0, 3, 1, 2))
    return logits if plan.gives_map else logits[:, :, 0, 0]


def values(plan: Plan, images: npt.NDArray[Any]) -> dict[str, Array]:
    """Every value that the Plan computes for a batch, by name; see `run`."""
    check_images((plan.channels, plan.height, plan.width), images)
    if not np.isfinite(images).all():
        raise InputError(NOT_FINITE)
    shapes = plan.shapes()
    written: dict[str, Array] = {"images": images.transpose(0, 2, 3, 1)}
    known = ChainMap(written, dict(plan.tensors))
    with np.errstate(all="ignore"):
        for op in plan.ops:
            v = op.accumulate(known[op.input], shapes[op.input], known)
            written |= op.tail.finish(np.asarray(v, np.float32), op.out, known)
    return written


NOT_FINITE = "images hold a value that is not finite (NaN or infinity)"


def as_array(images: Any) -> npt.NDArray[Any]:
    """An array, or a tensor of torch as one, wherever it lies and whether or not it has a gradient.

    Raises:
        InputError: If it is neither.
    """
    if hasattr(images, "detach"):  # a tensor; whoever has one has imported torch, and this need not
        images = images.detach().cpu()
    if not hasattr(images, "__array__"):
        raise InputError(f"images should be an array of float32 or uint8, but are of type {type(images).__name__}")
    try:
        return np.asarray(images)
    except TypeError:  # a type that numpy lacks
        raise InputError(f"images should be float32 or uint8, but are {images.dtype}") from None


def check_images(size: Sequence[int], images: npt.NDArray[Any]) -> None:
    """Raises InputError unless `images` is a float32 or uint8 batch of that size: channels, height, width."""
    if images.dtype not in (np.float32, np.uint8):
        raise InputError(f"images should be float32 or uint8, but are {images.dtype}")
    if images.ndim != 4 or images.shape[1:] != tuple(size):
        wanted = "x".join(map(str, size))
        raise InputError(f"images should have the shape N x {wanted}, but have {list(images.shape)}")
