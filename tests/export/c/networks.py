"""Networks to export: those of the issue with constants that matter, and Plans with values at the edge of float32."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict

import numpy as np
import torch
from plans import PlanMaker
from torch import nn

from evenbit.bits import pack_bits
from evenbit.deploy import pack, pack_untrained
from evenbit.models.registry import Normalize
from evenbit.models.resnet import residual_network
from evenbit.nn import METHODS
from evenbit.ops import Array, Elementwise, Tail, Threshold
from evenbit.plan import Plan

CLASSES = tuple("0123456789")


def digits() -> Plan:
    """The network of the demo."""
    return scrambled(pack_untrained("resnet8", "fd", channels=1, size=8, classes=10))


def narrow_resnet20() -> Plan:
    """ResNet-20 for CIFAR-10 with half of its channels."""
    torch.manual_seed(0)
    network = residual_network(METHODS["fd"], 3, 10, (32, 32), (8, 16, 32), 6)
    normalize = Normalize((0.5,) * 3, (0.25,) * 3)
    module = nn.Sequential(OrderedDict(normalize=normalize, **dict(network.named_children()))).eval()
    return scrambled(pack(module, torch.zeros(1, 3, 32, 32), classes=CLASSES))


def scrambled(plan: Plan) -> Plan:
    """The Plan with random bits and changed floats: scales of both signs and zero, means that are not zero."""
    rng = np.random.default_rng(0)
    tensors: dict[str, Array] = {}
    for name, array in plan.tensors.items():
        if array.dtype == np.float32:
            noise = rng.normal(1, 0.7, array.shape) * array + rng.normal(0, 0.1, array.shape)
            tensors[name] = np.where(rng.random(array.shape) < 0.05, 0, noise).astype(np.float32)
        elif array.ndim == 4:
            tensors[name] = array ^ (array & rng.integers(0, 2**63, array.shape, np.uint64))  # spare bits stay 0
        else:
            tensors[name] = array
    ops = list(plan.ops)
    for index, op in enumerate(ops):
        if isinstance(op, Threshold):
            tensors[f"flip{index}"] = pack_bits(tensors[op.scale] < 0)
            ops[index] = dataclasses.replace(op, flip=f"flip{index}")
    changed = dataclasses.replace(plan, ops=tuple(ops), tensors=tensors)
    changed.shapes()
    return changed


def subnormal() -> Plan:
    """A Plan whose thresholds are the least float above 0, so that 0 is below them unless subnormals are flushed."""
    make = PlanMaker(3, 2, 4, 4)
    x = make.conv(make.normalize(), 20, (1, 1), (1, 1), (0, 0), 1, "scale")
    make.tensors[make.ops[-1].tail.scale or ""][::2] = 0
    e = make.conv(make.mean(x), 20, (1, 1), (1, 1), (0, 0), 1, "scale")
    make.tensors[make.ops[-1].tail.scale or ""][:] = 0
    bits = make.signs(x, vector=e)
    threshold = next(op for op in make.ops if isinstance(op, Threshold))
    make.tensors[threshold.scale][:] = -1
    make.tensors[threshold.offset][:] = 0
    make.tensors[threshold.flip] = pack_bits(np.ones(20, np.bool_))
    return make.plan(make.binary_conv(bits, 6, (3, 3), (1, 1), (1, 1), "scale"))


def halves() -> Plan:
    """Integers of 8 bits made from whole numbers and a half, those at both ends and others beyond them."""
    make = PlanMaker(4, 2, 6, 6)
    x = make.normalize()
    make.tensors[make.ops[-1].tail.scale or ""][:] = 255
    make.tensors[make.ops[-1].tail.bias or ""][:] = [-127, 1]
    x = make.concat(x, (make.elementwise(x, "scale"), x))
    make.tensors[make.ops[-2].tail.scale or ""][:] = [-2, np.nan]
    maps = [
        make.int8_conv(x, 7, kernel, (1, 2), (1, 0), multiplier)
        for kernel, multiplier in (((1, 1), 0.5), ((3, 2), 1.5), ((8, 6), 2.0**126))
    ]
    return make.plan(make.concat(make.flatten(maps[0]), tuple(map(make.flatten, maps[1:]))))


def grouped_bits() -> Plan:
    """Binary convolutions whose groups begin and end anywhere in a word, with and without padding."""
    make = PlanMaker(6, 3, 6, 5)
    image, vectors = make.normalize(), []
    for channels, groups in ((6, 3), (66, 2), (68, 17), (96, 3), (128, 4), (165, 5), (256, 2)):
        x = make.signs(make.conv(image, channels, (1, 1), (1, 1), (0, 0), 1))
        for kernel, padding in (((1, 1), (0, 0)), ((3, 3), (1, 1)), ((6, 5), (0, 0))):
            y = make.binary_conv(x, 2 * groups, kernel, (1, 1), padding, "scale", groups=groups)
            vectors.append(make.mean(y))
    return make.plan(make.concat(vectors[0], tuple(vectors[1:])))


def extreme() -> Plan:
    """A Plan in which infinities, NaN and signed zeros turn up, also among its constants."""
    make = PlanMaker(9, 2, 5, 5)
    x = make.conv(make.normalize(), 18, (1, 1), (1, 1), (0, 0), 1, "scale", "bias")
    make.tensors[make.ops[-1].tail.scale or ""][:8] = [3e38, -3e38, 0, -0.0, np.inf, -np.inf, np.nan, 1e-45]
    y = make.pool(make.elementwise(x, "prelu", "shift"), True, (2, 2), (1, 1), (1, 1))
    y = make.binary_conv(make.signs(y), 12, (2, 2), (1, 1), (0, 0), "scale")
    wide = make.conv(x, 12, (3, 3), (1, 1), (1, 1), 1, "softsign")
    weight = make.ops[-1].weight  # type: ignore[attr-defined]
    make.tensors[weight][:3] = np.inf  # at the border it meets zeros
    z = make.binary_conv(make.signs(wide), 12, (3, 3), (1, 1), (1, 1), "scale")
    make.ops.append(Elementwise("sum", y, "sum", Tail(residual=z)))
    make.sizes["sum"] = make.sizes[z]
    plan = make.plan("sum")
    make.tensors[plan.ops[-1].tail.bias or ""][:3] = [np.nan, np.inf, -np.inf]
    return plan
