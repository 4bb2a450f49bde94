from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from evenbit.bits import pack_bits, unpack_bits
from evenbit.errors import PlanError
from evenbit.ops import (
    AddMap,
    AvgPool,
    BinaryConv,
    Bits,
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
    Shape,
    Tail,
    Threshold,
)
from evenbit.plan import Plan

C = 70
TENSORS = {
    "w": np.zeros((C, 3, 3, 2), np.float32),
    "c": np.zeros(C, np.float32),
    "neg": -np.ones(C, np.float32),
    "flip": np.zeros(2, np.uint64),
    "spare": np.array([0, 1 << 63], np.uint64),
    "b": np.zeros((4, 3, 3, 2), np.uint64),
    "bad_b": np.full((4, 3, 3, 2), 1 << 63, np.uint64),
    "head": np.zeros((3, 1, 1, C), np.float32),
    "cells": np.zeros((2, 1, C), np.float32),
    "i": np.ones((3, 1, 1, C), np.int8),
    "bad_i": np.full((3, 1, 1, C), -128, np.int8),
}
NORMALIZE = Normalize("in", "images", "x")
CONV = Conv("conv", "x", "y", weight="w", padding=(1, 1))
MEAN = Elementwise("mean", "y", None, Tail(mean="m"))
HEAD = Conv("head", "m", "logits", weight="head")


def plan(*ops: Op, **changes: Any) -> Plan:
    fields = {"channels": 2, "height": 6, "width": 5, "classes": ("a", "b", "c"), "output": "logits"}
    return Plan(ops=(NORMALIZE, CONV, MEAN, HEAD, *ops), tensors=TENSORS, **{**fields, **changes})


def test_shapes_of_values_and_results() -> None:
    bits = Elementwise("bits", "y", None, Tail(bits=Bits("yb", "c", "flip")))
    conv = BinaryConv("bconv", "yb", None, Tail(mean="bm"), weight="b", stride=(2, 2))
    joined = Concat("joined", "x", "xyx", others=("y", "x"))
    flat = Flatten("flat", "xyx", "f", Tail(mean="fm"))
    checked = plan(bits, conv, joined, flat)
    assert checked.shapes()["xyx"] == Shape("float", 6, 5, 2 + C + 2)
    assert checked.shapes()["f"] == checked.shapes()["fm"] == Shape("float", 1, 1, 30 * (C + 4))
    assert checked.shapes()["yb"] == Shape("bits", 6, 5, C)
    assert checked.shapes()["bm"] == Shape("float", 1, 1, 4)
    assert checked.op_shapes()[5] == Shape("float", 2, 2, 4)
    assert str(checked.shapes()["yb"]) == "6x5x70 bits"


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (Normalize("again", "images", "z"), r"op 'again' \(normalize\): the first op and no other"),
        (Elementwise("e", "images", "z"), "the first op and no other"),
        (Elementwise("e", "y", "z", Tail(residual="images")), "reads 'images' as something else"),
        (Elementwise("e", "nowhere", "z"), "reads 'nowhere', which no earlier op writes"),
        (Elementwise("e", "y", "y"), "writes 'y', which exists already"),
        (Elementwise("e", "y", "c"), "writes 'c', which exists already"),
        (Elementwise("e", "y"), "writes nothing"),
        (BinaryConv("e", "y", "z", weight="b"), "needs 'y' as bits, but it is float"),
        (Conv("e", "y", "z", weight="gone"), "needs the tensor 'gone', which is missing"),
        (Conv("e", "y", "z", weight="w"), r"tensor 'w' should be float32 \[-1, -1, -1, 70\], but is float32 \[70, 3"),
        (Conv("e", "x", "z", weight="b"), "should be float32"),
        (Conv("e", "x", "z", weight="w", groups=3), "2 channels do not divide into 3 groups"),
        (Conv("e", "m", "z", weight="head", groups=0), "do not divide into 0 groups"),
        (Conv("e", "x", "z", weight="w", stride=(0, 1)), "out of range"),
        (Conv("e", "x", "z", weight="w", padding=(-1, 0)), "out of range"),
        (Conv("e", "x", "z", weight="w", padding=(2**14, 2**14)), "too large"),
        (Int8Conv("e", "y", "z", weight="bad_i", multiplier=1.0), "tensor 'bad_i' holds -128"),
        *(
            (Int8Conv("e", "y", "z", weight="i", multiplier=value), "is not a positive float32")
            for value in (0.0, -1.0, 0.1, 2.0**-150, 2.0**128, 1e300, np.inf, np.nan)
        ),
        (AvgPool("e", "y", "z", kernel=(7, 1), stride=(1, 1)), "7x1 kernel is larger than its padded input 6x5"),
        (MaxPool("e", "y", "z", kernel=(2, 2), stride=(1, 1), padding=(2, 0)), "smaller than the kernel"),
        (Elementwise("e", "y", "z", Tail(slope="c")), "a slope goes with the activation prelu"),
        (Elementwise("e", "y", "z", Tail(activation="prelu")), "a slope goes with the activation prelu"),
        (Elementwise("e", "y", "z", Tail(activation="tanh")), "unknown activation 'tanh'"),  # type: ignore[arg-type]
        (Elementwise("e", "y", "z", Tail(activation="clamp", low="c")), "low and high go with the activation clamp"),
        (Elementwise("e", "y", "z", Tail(low="c", high="c")), "low and high go with the activation clamp"),
        (Elementwise("e", "y", "z", Tail(activation="clamp", low="c", high="b")), "tensor 'b' should be float32"),
        (Multiply("e", "y", "z", factor="x"), "factor 'x' is 6x5x2, not 6x5x70"),
        (Multiply("e", "m", "z", factor="y"), "factor 'y' is 6x5x70, not 1x1x70"),
        (Multiply("e", "y", "z", factor="c"), "reads 'c', which no earlier op writes"),
        (Multiply("e", "y", "z", factor="images"), "reads 'images' as something else"),
        (Cube("e", "y", "z", scale="c", offset="b"), "tensor 'b' should be float32"),
        (Cube("e", "y", "z", scale="none", offset="c"), "needs the tensor 'none', which is missing"),
        (Concat("e", "y", "z", others=()), "joins a single map"),
        (Concat("e", "y", "z", others=("x", "m")), "joins maps of different sizes: 6x5x70, 6x5x2, 1x1x70"),
        (Concat("e", "y", "z", others=("images",)), "reads 'images' as something else"),
        (Concat("e", "y", "z", Tail(bias="c"), others=("x",)), r"tensor 'c' should be float32 \[72\]"),
        (Flatten("e", "y", "z", Tail(bias="c")), r"tensor 'c' should be float32 \[2100\]"),
        (Elementwise("e", "y", "z", Tail(bias="head")), r"should be float32 \[70\]"),
        (Elementwise("e", "y", "z", Tail(residual="x")), "residual 'x' is 6x5x2, not 6x5x70"),
        (Elementwise("e", "y", "z", Tail(second_residual="y")), "with a second residual, both should be 6x5x70"),
        (Elementwise("e", "y", "z", Tail(residual="y", second_residual="m")), "both should be 6x5x70"),
        (Elementwise("e", "y", None, Tail(bits=Bits("z", "c", "spare"))), "bits set past channel 70"),
        (Elementwise("e", "y", None, Tail(bits=Bits("z", "x", "flip"))), "threshold 'x' should be 1x1x70"),
        (AddMap("e", "y", "z", map="w"), r"tensor 'w' should be float32 \[-1, -1, 70\]"),
        (AddMap("e", "m", "z", map="cells"), "'cells' has 2x1 cells, but the map has 1x1"),
        (Threshold("e", "y", "z", scale="c", offset="c", flip="flip"), "needs a vector, but 'y' is 6x5x70"),
        (Threshold("e", "m", "z", scale="neg", offset="c", flip="flip"), "not set exactly where 'neg' is negative"),
    ],
)
def test_every_mistake_is_named(op: Op, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        plan(op).shapes()


def test_spare_bits_of_weights_are_refused() -> None:
    bits = Elementwise("bits", "y", None, Tail(bits=Bits("yb", "c", "flip")))
    with pytest.raises(PlanError, match="'bad_b' has bits set past channel 70"):
        plan(bits, BinaryConv("e", "yb", "z", weight="bad_b")).shapes()


def test_output_and_input_are_checked() -> None:
    with pytest.raises(
        PlanError, match="output 'logits' should be floats of 2 channels, one logit for each class, but is 1x1x3"
    ):
        plan(classes=("a", "b")).shapes()
    with pytest.raises(PlanError, match="output 'y'"):
        plan(output="y").shapes()
    with pytest.raises(PlanError, match="output 'images'"):
        Plan(3, 1, 1, ("a", "b", "c"), (), "images", {}).shapes()
    with pytest.raises(PlanError, match="a tensor is named 'images'"):
        dataclasses.replace(plan(), tensors={**TENSORS, "images": TENSORS["c"]}).shapes()
    with pytest.raises(PlanError, match="input size 0x5x2 is out of range"):
        plan(height=0).shapes()
    with pytest.raises(PlanError, match="the first op and no other"):
        dataclasses.replace(plan(), ops=(CONV,)).shapes()


@pytest.mark.parametrize("channels", [1, 7, 63, 64, 65, 200])
def test_bits_pack_and_unpack(channels: int) -> None:
    bits = np.random.default_rng(channels).random((3, 2, channels)) < 0.5
    packed = pack_bits(bits)
    assert packed.shape == (3, 2, -(-channels // 64))
    assert packed.dtype == np.uint64
    assert bool(packed[1, 1, 0] >> np.uint64(channels - 1) & np.uint64(1)) == bits[1, 1, channels - 1] or channels > 64
    assert np.array_equal(unpack_bits(packed, channels), bits)
