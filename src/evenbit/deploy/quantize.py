"""Float convolutions in 8 bits: stem, downsample and head become `Int8Conv`, with scales from real images.

For each of these layers, with x its input over the calibration images and w its weights,

    multiplier = 127 / max |x|                      one for the map
    s[o] = max |w[o]| / 127,  q[o] = round(w[o] / s[o])       symmetric, one scale per output
    W x  =  s[o] / multiplier * (q ⊛ round(x * multiplier))   except for rounding

(Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, 2018.) The small dense layers of group
excitation, which read a vector inside the network, cost nothing and stay float.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from evenbit.deploy.passes import number_names, remove_dead, share_tensors
from evenbit.deploy.rewrite import Rewriter
from evenbit.errors import InputError
from evenbit.ops import MAX_INT8_FAN_IN, MAX_SIZE, Conv, Elementwise, Int8Conv, MaxPool, Tail, replace_tail
from evenbit.plan import Plan
from evenbit.progress import Report

LEVELS = 127
MOST = float(np.finfo(np.float32).max)


def quantize_float_layers(plan: Plan, images: npt.NDArray[Any], progress: Report | None = None) -> Plan:
    """The Plan with its float convolutions in 8 bits.

    Args:
        plan: A Plan made by `evenbit.deploy.pack`.
        images: At least one image `[N, C, H, W]`, uint8 or float32, like those that the network was trained on.
        progress: Called after each convolution, with the number of convolutions done and their total.

    Returns:
        The Plan; its other ops are the same.

    Raises:
        InputError: If there are no images, or they do not fit the network.
    """
    if len(images) == 0:
        raise InputError("8-bit layers are calibrated on images, but there are none")
    rewriter = Rewriter(plan)
    convs = [op for op in plan.ops if isinstance(op, Conv) and _is_worth_it(plan, op)]
    for done, op in enumerate(convs, 1):
        largest = _largest(plan, op.input, images)
        # A map of zeros, or of numbers so small that their multiplier is no float32, becomes zeros.
        multiplier = float(np.float32(LEVELS / largest)) if largest > LEVELS / MOST else 1.0
        rewriter.replace(op, _quantized(rewriter, op, multiplier))
        if progress is not None:
            progress(done, len(convs))
    plan = number_names(share_tensors(remove_dead(rewriter.plan())))
    plan = dataclasses.replace(plan, info={**plan.info, "float_layers": "int8"})
    plan.shapes()
    return plan


def _is_worth_it(plan: Plan, op: Conv) -> bool:
    shape, weight = plan.shapes()[op.input], plan.tensors[op.weight]
    reads_map = (shape.height, shape.width) != (1, 1)
    return op.groups == 1 and weight[0].size <= MAX_INT8_FAN_IN and (reads_map or op.out == plan.output)


def _largest(plan: Plan, value: str, images: npt.NDArray[Any]) -> float:
    """The largest |x| in a value over all images: runs the network up to it, and two poolings in windows that touch."""
    from evenbit.runtime.engine import Engine  # deployment runs networks only here

    shape = plan.shapes()[value]
    tensors = {**plan.tensors, "minus": np.full(shape.channels, -1, np.float32)}
    classes = tuple(map(str, range(shape.channels)))
    window = (min(shape.height, MAX_SIZE), min(shape.width, MAX_SIZE))
    over = (-shape.height % window[0], -shape.width % window[1])
    largest = 0.0
    for tail in (Tail(), Tail(scale="minus")):
        pools = (
            Elementwise("sign", value, "signed", tail),
            MaxPool("largest", "signed", "largest", kernel=window, stride=window, overhang=over),
        )
        probe = dataclasses.replace(plan, ops=(*plan.ops, *pools), tensors=tensors, classes=classes, output="largest")
        largest = max(largest, float(Engine(remove_dead(probe))(images).max()))
    return largest


def _quantized(rewriter: Rewriter, op: Conv, multiplier: float) -> Int8Conv:
    weight = rewriter.array(op.weight)
    largest = np.abs(weight).max((1, 2, 3))
    scale = np.where(largest > 0, largest, 1) / LEVELS
    rounded = np.rint(weight / scale[:, None, None, None]).astype(np.int8)
    before = 1 if op.tail.scale is None else rewriter.array(op.tail.scale)
    tail = replace_tail(op, scale=rewriter.tensor(scale / multiplier * before)).tail
    return Int8Conv(
        op.name,
        op.input,
        op.out,
        tail,
        weight=rewriter.tensor(rounded),
        multiplier=multiplier,
        stride=op.stride,
        padding=op.padding,
    )
