"""The definition of what a Plan computes, in plain numpy: slow, exact, and the oracle for every executor.

Maps are `[N, H, W, C]` float32, bit maps `[N, H, W, words(C)]` uint64. Sums are taken one term after the other
in the order that `evenbit.plan` states, because float addition depends on it; each term is a whole array,
so the loops are over kernel taps and input channels only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from evenbit.bits import pack_bits, unpack_bits, words
from evenbit.errors import InputError
from evenbit.plan import (
    SIGMOID_DENOMINATOR,
    SIGMOID_LIMIT,
    SIGMOID_NUMERATOR,
    AvgPool,
    BinaryConv,
    Concat,
    Conv,
    Cube,
    Elementwise,
    Flatten,
    Int8Conv,
    MaxPool,
    Multiply,
    Normalize,
    Op,
    Plan,
    Threshold,
)

Map = npt.NDArray[np.float32]
BitMap = npt.NDArray[np.uint64]


def run(plan: Plan, images: npt.NDArray[Any]) -> Map:
    """Logits of a batch.

    Args:
        plan: The network.
        images: `[N, C, H, W]`, float32 in [0, 1] or uint8 in [0, 255].

    Returns:
        Logits `[N, classes]`, float32.

    Raises:
        InputError: If the images do not fit the network or hold a value that is not finite.
    """
    logits: Map = values(plan, images)[plan.output].reshape(len(images), -1)
    return logits


def values(plan: Plan, images: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Every value that the Plan computes for a batch, by name; see `run`."""
    check_images(plan, images)
    shapes = plan.shapes()
    known: dict[str, npt.NDArray[Any]] = {"images": images.transpose(0, 2, 3, 1)}
    with np.errstate(all="ignore"):
        for op in plan.ops:
            v = _accumulate(plan, op, known, shapes[op.input].channels)
            _finish(plan, op, np.asarray(v, np.float32), known)
    return known


def check_images(plan: Plan, images: npt.NDArray[Any]) -> None:
    """Raises InputError unless `images` is a finite float32 or uint8 batch of the network's input size."""
    if images.dtype not in (np.float32, np.uint8):
        raise InputError(f"images should be float32 or uint8, but are {images.dtype}")
    expected = (plan.channels, plan.height, plan.width)
    if images.ndim != 4 or images.shape[1:] != expected:
        wanted = "x".join(map(str, expected))
        raise InputError(f"images should have the shape N x {wanted}, but have {list(images.shape)}")
    if images.dtype == np.float32 and not np.isfinite(images).all():
        raise InputError("images hold a value that is not finite (NaN or infinity)")


def _accumulate(plan: Plan, op: Op, known: dict[str, npt.NDArray[Any]], channels: int) -> npt.NDArray[Any]:
    """What the op computes from its input, which has that many channels, before its Tail."""
    x = known[op.input]
    match op:
        case Normalize():
            return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x.astype(np.float32)
        case Elementwise():
            return x
        case Multiply():
            return np.asarray(x * known[op.factor])
        case Cube():
            u = x * plan.tensors[op.scale] + plan.tensors[op.offset]
            return np.asarray(u * u * u)
        case Concat():
            return np.concatenate([x, *(known[name] for name in op.others)], axis=-1)
        case Flatten():
            return x.transpose(0, 3, 1, 2).reshape(len(x), 1, 1, -1)
        case Conv():
            return _conv(x, plan.tensors[op.weight], op)
        case Int8Conv():
            return _int8_conv(x, plan.tensors[op.weight], op)
        case BinaryConv():
            return _binary_conv(x, plan.tensors[op.weight], channels, op)
        case Threshold():
            return _threshold(plan, x, op)
        case MaxPool():
            padded = np.pad(x, _border(op.padding), constant_values=-np.inf)
            taps = [tap for _, _, tap in _taps(padded, op.kernel, op.stride)]
            v = np.full_like(taps[0], -np.inf)
            for tap in taps:
                v = np.where(tap > v, tap, v)
            return v
        case AvgPool():
            taps = [tap for _, _, tap in _taps(x, op.kernel, op.stride)]
            v = np.zeros_like(taps[0])
            for tap in taps:
                v = v + tap
            return v / np.float32(op.kernel[0] * op.kernel[1])
    raise NotImplementedError(op.kind)


def _finish(plan: Plan, op: Op, v: npt.NDArray[Any], known: dict[str, npt.NDArray[Any]]) -> None:
    """Applies the Tail and stores what the op writes."""
    tail = op.tail
    if tail.scale is not None:
        v = v * plan.tensors[tail.scale]
    if tail.bias is not None:
        v = v + plan.tensors[tail.bias]
    if tail.residual is not None:
        v = v + known[tail.residual]
    if tail.activation == "prelu" and tail.slope is not None:
        v = np.where(v >= 0, v, v * plan.tensors[tail.slope])
    if tail.activation == "clamp" and tail.low is not None and tail.high is not None:
        v = _clamp(v, plan.tensors[tail.low], plan.tensors[tail.high])
    if tail.activation == "sigmoid":
        v = _sigmoid(v)
    if tail.activation == "softsign":
        v = v / (np.float32(1) + np.abs(v))
    if tail.shift is not None:
        v = v + plan.tensors[tail.shift]
    if op.out is not None:
        known[op.out] = v
    if tail.mean is not None:
        known[tail.mean] = _mean(v)
    if tail.bits is not None:
        dynamic = tail.bits.threshold in known
        threshold = known[tail.bits.threshold] if dynamic else plan.tensors[tail.bits.threshold]
        known[tail.bits.out] = pack_bits(v >= threshold) ^ plan.tensors[tail.bits.flip]


def _clamp(v: npt.NDArray[Any], low: npt.ArrayLike, high: npt.ArrayLike) -> npt.NDArray[Any]:
    v = np.where(low > v, low, v)
    return np.where(high < v, high, v)


def _sigmoid(v: npt.NDArray[Any]) -> npt.NDArray[Any]:
    limit = np.float32(SIGMOID_LIMIT)
    t = _clamp(v, -limit, limit)
    u = t * t
    return np.asarray(np.float32(0.5) + t * _horner(SIGMOID_NUMERATOR, u) / _horner(SIGMOID_DENOMINATOR, u))


def _horner(coefficients: tuple[float, ...], u: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The polynomial with these coefficients, the constant one first, at `u`."""
    p = np.full_like(u, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        p = p * u + np.float32(coefficient)
    return p


def _mean(v: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Mean over pixels: rows from left to right, then rows from top to bottom, then one division."""
    rows = np.zeros_like(v[:, :, 0])
    for column in range(v.shape[2]):
        rows = rows + v[:, :, column]
    total = np.zeros_like(v[:, 0, 0])
    for row in range(v.shape[1]):
        total = total + rows[:, row]
    return (total / np.float32(v.shape[1] * v.shape[2]))[:, None, None]


def _threshold(plan: Plan, e: Map, op: Threshold) -> npt.NDArray[Any]:
    scale, offset = plan.tensors[op.scale], plan.tensors[op.offset]
    flip = unpack_bits(plan.tensors[op.flip], len(scale))
    solved = (-offset - e) / scale
    constant = np.where(offset + e >= 0, -np.inf, np.inf).astype(np.float32)
    t = np.where(scale == 0, constant, solved)
    return np.where(flip, np.nextafter(t, np.float32(np.inf)), t)


def _border(padding: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    return ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0))


def _taps(
    padded: npt.NDArray[Any], kernel: tuple[int, ...], stride: tuple[int, int]
) -> list[tuple[int, int, npt.NDArray[Any]]]:
    """For each kernel position `(ky, kx)` in order, what all output pixels read there: `[N, H', W', C]`."""
    height = (padded.shape[1] - kernel[0]) // stride[0] + 1
    width = (padded.shape[2] - kernel[1]) // stride[1] + 1
    return [
        (ky, kx, padded[:, ky : ky + stride[0] * height : stride[0], kx : kx + stride[1] * width : stride[1]])
        for ky in range(kernel[0])
        for kx in range(kernel[1])
    ]


def _conv(x: Map, weight: Map, op: Conv) -> npt.NDArray[Any]:
    taps = _taps(np.pad(x, _border(op.padding)), weight.shape[1:3], op.stride)
    per_input, per_output = x.shape[3] // op.groups, weight.shape[0] // op.groups
    parts = []
    for group in range(op.groups):
        outputs = weight[group * per_output : (group + 1) * per_output]
        v = np.zeros((*taps[0][2].shape[:3], per_output), np.float32)
        for ky, kx, tap in taps:
            for i in range(per_input):
                v = v + tap[..., group * per_input + i, None] * outputs[:, ky, kx, i]
        parts.append(v)
    return np.concatenate(parts, axis=-1)


def _int8_conv(x: Map, weight: npt.NDArray[np.int8], op: Int8Conv) -> npt.NDArray[Any]:
    p = x * np.float32(op.multiplier)
    p = np.where(p > -127, p, np.float32(-127))
    q = np.rint(np.where(p < 127, p, np.float32(127))).astype(np.int32)
    total = np.zeros((), np.int32)
    for ky, kx, tap in _taps(np.pad(q, _border(op.padding)), weight.shape[1:3], op.stride):
        total = total + tap @ weight[:, ky, kx].T.astype(np.int32)
    return total.astype(np.float32)


def _binary_conv(x: BitMap, weight: BitMap, channels: int, op: BinaryConv) -> npt.NDArray[Any]:
    plus_one = pack_bits(np.ones(channels, np.bool_))
    padded = np.pad(x, _border(op.padding))
    inside = np.zeros(padded.shape[1:3], np.bool_)
    inside[op.padding[0] : padded.shape[1] - op.padding[0], op.padding[1] : padded.shape[2] - op.padding[1]] = True
    padded[:, ~inside] = plus_one
    per_input, per_output = channels // op.groups, weight.shape[0] // op.groups
    parts = []
    for group in range(op.groups):
        bits = padded
        if op.groups > 1:
            inputs = slice(group * per_input, (group + 1) * per_input)
            bits = pack_bits(unpack_bits(padded, channels)[..., inputs])
        outputs = weight[group * per_output : (group + 1) * per_output]
        taps = _taps(bits, weight.shape[1:3], op.stride)
        differing = np.zeros((*taps[0][2].shape[:3], per_output), np.int64)
        for ky, kx, tap in taps:
            for word in range(words(per_input)):
                differing += np.bitwise_count(tap[..., word, None] ^ outputs[:, ky, kx, word])
        parts.append(weight.shape[1] * weight.shape[2] * per_input - 2 * differing)
    return np.asarray(np.concatenate(parts, axis=-1), np.float32)
