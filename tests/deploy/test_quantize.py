"""Float layers in 8 bits: which, how near they are, and that they run exactly alike."""

from __future__ import annotations

import numpy as np
import pytest

from evenbit import plan_file
from evenbit.deploy import pack_untrained, quantize_float_layers
from evenbit.errors import InputError
from evenbit.ops import AvgPool, Conv, Int8Conv, Normalize, Tail
from evenbit.plan import Plan
from evenbit.runtime import reference
from evenbit.runtime.engine import Engine, isas

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 3, 16, 16), np.uint8)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return pack_untrained("resnet8", "fd", channels=3, size=16, classes=5)


@pytest.fixture(scope="module")
def quantized(plan: Plan) -> Plan:
    return quantize_float_layers(plan, IMAGES)


def test_stem_downsample_and_head_become_int8(plan: Plan, quantized: Plan) -> None:
    names = [op.name for op in quantized.ops if isinstance(op, Int8Conv)]
    assert names == ["stem.conv", "stage2.0.shortcut.1", "stage3.0.shortcut.1", "head"]
    left = [op for op in quantized.ops if isinstance(op, Conv)]
    assert left
    assert all(
        "excite" in op.name or "squeeze" in op.name or "activation" in op.name or "conv" in op.name for op in left
    )
    assert len(plan_file.to_bytes(quantized)) < len(plan_file.to_bytes(plan))


def test_a_float_network_stays_near() -> None:
    floats = pack_untrained("resnet8", "float", channels=3, size=16, classes=5)
    expected = Engine(floats)(IMAGES)
    for images in (IMAGES, IMAGES[:1]):
        found = Engine(quantize_float_layers(floats, images))(IMAGES)
        assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def test_weights_are_rounded_for_each_output_and_inputs_to_the_largest(plan: Plan, quantized: Plan) -> None:
    (before,) = (op for op in plan.ops if isinstance(op, Conv) and op.name == "head")
    (after,) = (op for op in quantized.ops if isinstance(op, Int8Conv) and op.name == "head")
    largest = np.abs(reference.values(plan, IMAGES)[before.input]).max()
    assert after.multiplier == np.float32(127 / largest)
    weight, rounded = plan.tensors[before.weight], quantized.tensors[after.weight]
    assert np.array_equal(np.abs(rounded).max((1, 2, 3)), np.full(5, 127))
    assert after.tail.scale
    restored = rounded * (quantized.tensors[after.tail.scale] * np.float32(after.multiplier))[:, None, None, None]
    assert np.abs(restored - weight).max() <= 0.51 * np.abs(weight).max() / 127


def test_all_zero_weights_and_inputs_are_kept(plan: Plan) -> None:
    tensors = {
        name: np.zeros_like(a) if a.ndim == 4 and a.dtype == np.float32 else a for name, a in plan.tensors.items()
    }
    zero = Plan(3, 16, 16, plan.classes, plan.ops, plan.output, tensors)
    found = Engine(quantize_float_layers(zero, np.zeros_like(IMAGES)))(IMAGES)
    assert np.array_equal(found, Engine(zero)(IMAGES))


def test_exact_on_every_instruction_set_and_in_a_file(quantized: Plan) -> None:
    plan = plan_file.from_bytes(plan_file.to_bytes(quantized))
    expected = reference.run(plan, IMAGES[:3])
    for isa in isas():
        for threads in (1, 2):
            assert Engine(plan, threads=threads, isa=isa)(IMAGES[:3]).tobytes() == expected.tobytes(), isa


def test_images_must_fit(plan: Plan) -> None:
    with pytest.raises(InputError, match="should have the shape"):
        quantize_float_layers(plan, IMAGES[:, :, 1:])


@pytest.mark.parametrize("largest", [0.0, 1e-37, 1e-45])
def test_a_map_too_small_for_a_multiplier_becomes_zeros(largest: float) -> None:
    scale, ones = np.full(3, largest, np.float32), np.ones((2, 1, 1, 3), np.float32)
    ops = (Normalize("in", "images", "x", Tail(scale="s")), Conv("head", "x", "y", weight="w"))
    floats = Plan(3, 1, 1, ("a", "b"), ops, "y", {"s": scale, "w": ones})
    images = np.ones((1, 3, 1, 1), np.float32)
    quantized = quantize_float_layers(floats, images)
    assert Engine(quantized)(images).tolist() == [[0.0, 0.0]]


def test_a_long_sequence_is_calibrated() -> None:
    weight = np.ones((2, 1, 1, 1), np.float32)
    ops = (
        Normalize("in", "images", "x"),
        Conv("first", "x", "y", weight="w"),
        AvgPool("mean", "y", "z", kernel=(1, 3), stride=(1, 3)),
    )
    ops = (*ops, Conv("head", "z", "logits", weight="v"))
    tensors = {"w": weight, "v": np.ones((2, 1, 1, 2), np.float32)}
    images = np.random.default_rng(0).random((2, 1, 1, 40_000), np.float32)
    images[1, 0, 0, -1] = 2
    quantized = quantize_float_layers(Plan(1, 1, 40_000, ("a", "b"), ops, "logits", tensors), images)
    assert next(op.multiplier for op in quantized.ops if isinstance(op, Int8Conv)) == np.float32(127 / 2)


def test_calibrating_takes_images(plan: Plan) -> None:
    with pytest.raises(InputError, match="calibrated on images, but there are none"):
        quantize_float_layers(plan, IMAGES[:0])
