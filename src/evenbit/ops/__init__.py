"""The operations of a Plan, one per file: what each computes, what it refuses, and its definition in numpy.

An op reads a value and computes, in this order and in float32 with every operation rounded once (no fused
multiply-add),

    accumulator  ->  Tail  ->  float map, its spatial mean, its bits

so that every executor gives the same bits (a NaN stays a NaN, but its bits may differ). The file of an op defines its
accumulator; `tail.py` defines what follows. Sums are taken one term after the other, because float addition depends on
their order.

This package needs only numpy.
"""

from evenbit.ops.add_map import AddMap
from evenbit.ops.avg_pool import AvgPool
from evenbit.ops.binary_conv import MAX_FAN_IN, BinaryConv
from evenbit.ops.concat import Concat
from evenbit.ops.conv import Conv
from evenbit.ops.cube import Cube
from evenbit.ops.elementwise import Elementwise
from evenbit.ops.flatten import Flatten
from evenbit.ops.gather import Gather
from evenbit.ops.int8_conv import MAX_INT8_FAN_IN, Int8Conv
from evenbit.ops.interpolate import Interpolate
from evenbit.ops.layer_norm import LayerNorm
from evenbit.ops.matmul import MatMul
from evenbit.ops.max_pool import MaxPool
from evenbit.ops.multiply import Multiply
from evenbit.ops.names import named, roles
from evenbit.ops.normalize import Normalize
from evenbit.ops.op import Op, reads, replace_tail, writes
from evenbit.ops.scope import Scope
from evenbit.ops.shape import MAX_ELEMENTS, Array, Kind, Shape, vector
from evenbit.ops.softmax import EXP2, Softmax
from evenbit.ops.tail import (
    NORMAL_DENOMINATOR,
    NORMAL_LIMIT,
    NORMAL_NUMERATOR,
    SIGMOID_DENOMINATOR,
    SIGMOID_LIMIT,
    SIGMOID_NUMERATOR,
    Activation,
    Bits,
    Tail,
)
from evenbit.ops.threshold import Threshold
from evenbit.ops.window import MAX_SIZE, Window

OPS: dict[str, type[Op]] = {
    cls.kind: cls
    for cls in (
        Normalize,
        Conv,
        Int8Conv,
        BinaryConv,
        Elementwise,
        Multiply,
        Cube,
        Concat,
        Flatten,
        Gather,
        Threshold,
        MaxPool,
        AvgPool,
        AddMap,
        Interpolate,
        LayerNorm,
        MatMul,
        Softmax,
    )
}
"""Every op by its name, which is the name of its file."""

__all__ = [
    "EXP2",
    "MAX_ELEMENTS",
    "MAX_FAN_IN",
    "MAX_INT8_FAN_IN",
    "MAX_SIZE",
    "NORMAL_DENOMINATOR",
    "NORMAL_LIMIT",
    "NORMAL_NUMERATOR",
    "OPS",
    "SIGMOID_DENOMINATOR",
    "SIGMOID_LIMIT",
    "SIGMOID_NUMERATOR",
    "Activation",
    "AddMap",
    "Array",
    "AvgPool",
    "BinaryConv",
    "Bits",
    "Concat",
    "Conv",
    "Cube",
    "Elementwise",
    "Flatten",
    "Gather",
    "Int8Conv",
    "Interpolate",
    "Kind",
    "LayerNorm",
    "MatMul",
    "MaxPool",
    "Multiply",
    "Normalize",
    "Op",
    "Scope",
    "Shape",
    "Softmax",
    "Tail",
    "Threshold",
    "Window",
    "named",
    "reads",
    "replace_tail",
    "roles",
    "vector",
    "writes",
]
