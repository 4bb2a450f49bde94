"""The engine gives the reference's results bit for bit, on every instruction set and number of threads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import (
    GROUPED,
    TAIL_PARTS,
    PlanMaker,
    all_differ,
    convolution,
    different_paddings,
    everything,
    extremes,
    grouped,
    map_of_logits,
)

from evenbit.ops import BinaryConv, Bits, Multiply, Normalize, Tail
from evenbit.plan import Plan
from evenbit.runtime import reference
from evenbit.runtime.engine import Engine, isas, tiles

THREADS = (1, 2, 3)
CHANNELS = (1, 3, 15, 16, 17, 31, 33, 48, 63, 64, 65, 130)


def images(plan: Plan, count: int, seed: int = 0) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return rng.random((count, plan.channels, plan.height, plan.width), dtype=np.float32)


def assert_exact(plan: Plan, batch: npt.NDArray[np.float32] | npt.NDArray[np.uint8]) -> None:
    expected = reference.run(plan, batch)
    for isa in isas():
        for threads in THREADS:
            logits = Engine(plan, threads=threads, isa=isa)(batch)
            assert logits.tobytes() == expected.tobytes(), (isa, threads)


@pytest.mark.parametrize("channels", CHANNELS)
def test_every_op_at_awkward_widths(channels: int) -> None:
    plan = everything(channels, channels)
    assert_exact(plan, images(plan, 1))
    assert_exact(plan, images(plan, 7))


def test_a_map_of_logits_has_its_classes_first() -> None:
    plan = map_of_logits()
    batch = images(plan, 3)
    known = reference.values(plan, batch)[plan.output]
    assert np.array_equal(reference.run(plan, batch), known.transpose(0, 3, 1, 2))
    assert Engine(plan, threads=2)(batch).shape == (3, 19, 7, 6)
    assert_exact(plan, batch)


@pytest.mark.parametrize("seed", range(6))
def test_more_random_constants(seed: int) -> None:
    plan = everything(100 + seed, 20)
    assert_exact(plan, images(plan, 2, seed))


def test_bytes_are_levels_of_255() -> None:
    plan = everything(0, 17)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 9, 7), dtype=np.uint8)
    assert_exact(plan, pixels)
    as_floats = pixels.astype(np.float32) / np.float32(255)
    assert Engine(plan)(pixels).tobytes() == Engine(plan)(as_floats).tobytes()


pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    size=st.tuples(st.integers(1, 11), st.integers(1, 11)),
    inputs=st.integers(1, 140),
    outputs=st.integers(1, 70),
    kernel=pairs,
    stride=pairs,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    parts=st.sets(st.sampled_from(TAIL_PARTS)),
    kind=st.sampled_from(["float", "int8", "binary"]),
)
def test_convolutions_of_any_shape(
    seed: int,
    size: tuple[int, int],
    inputs: int,
    outputs: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    parts: set[str],
    kind: str,
) -> None:
    plan = convolution(seed, size, inputs, outputs, kernel, stride, padding, tuple(sorted(parts)), kind)
    batch = images(plan, 2, seed)
    expected = reference.run(plan, batch).tobytes()
    for isa in isas():
        assert Engine(plan, threads=1, isa=isa)(batch).tobytes() == expected
    assert Engine(plan, threads=3)(batch[:1]).tobytes() == expected[: len(expected) // 2]


@pytest.mark.parametrize("width", [15, 16, 21, 33])
@pytest.mark.parametrize("channels", [16, 48])
def test_few_outputs_of_wide_maps(width: int, channels: int) -> None:
    """Their tiles have more pixels, and the sums of 48 or 16 inputs end in half a unit."""
    make = PlanMaker(width, 3, 3, width)
    x = make.int8_conv(make.normalize(), channels, (3, 3), (1, 1), (1, 1), 90.0, "scale", "prelu")
    y = make.binary_conv(make.signs(x), channels, (3, 3), (1, 1), (1, 1), "scale", "bias", "residual")
    plan = make.plan(make.binary_conv(make.signs(y), 20, (3, 3), (1, 2), (1, 1), "scale"))
    assert_exact(plan, images(plan, 2))


def test_one_map_is_read_with_several_multipliers_and_as_floats() -> None:
    make = PlanMaker(6, 3, 7, 7)
    x = make.conv(make.normalize(), 20, (3, 3), (1, 1), (1, 1), 1, "bias")
    total = make.int8_conv(x, 20, (3, 3), (1, 1), (1, 1), 9.0, "scale", "residual")
    for source, multiplier, kernel in ((x, 9.0, 1), (x, 70.0, 5), (total, 0.5, 3), (make.mean(total), 90.0, 1)):
        y = make.int8_conv(source, 20, (kernel, kernel), (1, 1), (kernel // 2, kernel // 2), multiplier, "scale")
        total = make.elementwise(total, "residual", "bias") if make.sizes[y] == make.sizes[total] else y
    plan = make.plan(total)
    assert_exact(plan, images(plan, 3))


def test_int8_halves_round_to_even_and_extremes_are_clamped() -> None:
    make = PlanMaker(7, 1, 4, 5)
    x = make.normalize()
    y = make.int8_conv(x, 33, (1, 1), (1, 1), (0, 0), 2.0, "scale")
    constants = make.tensors[make.ops[0].tail.scale or ""]
    constants[:] = 255 / 4  # so that levels of 255 become multiples of a quarter, halves of the multiplier's unit
    z = make.int8_conv(make.elementwise(y, "shift"), 17, (2, 2), (1, 1), (1, 1), 2.0**100)
    plan = make.plan(make.mean(make.elementwise(z, "bias")))
    assert_exact(plan, np.arange(40, dtype=np.uint8).reshape(2, 1, 4, 5) * 6)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_int8_takes_what_is_not_finite_as_the_contract_says(value: float) -> None:
    make = PlanMaker(8, 2, 5, 5)
    x = make.conv(make.normalize(), 18, (1, 1), (1, 1), (0, 0), 1, "bias")
    make.tensors[make.ops[-1].tail.bias or ""][3] = value
    plan = make.plan(make.int8_conv(x, 18, (3, 3), (1, 1), (1, 1), 30.0, "scale"))
    assert np.isfinite(reference.run(plan, images(plan, 1))).all()
    assert_exact(plan, images(plan, 2))


@pytest.mark.parametrize(("channels", "groups", "outputs"), GROUPED)
def test_grouped_convolutions(channels: int, groups: int, outputs: int) -> None:
    plan = grouped(channels, groups, outputs)
    assert_exact(plan, images(plan, 2))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    inputs=st.sampled_from([1, 31, 32, 33, 64, 65, 200]),
    outputs=st.integers(1, 300),
    width=st.integers(1, 19),
    kernel=pairs,
    stride=pairs,
)
def test_every_tile(
    seed: int, inputs: int, outputs: int, width: int, kernel: tuple[int, int], stride: tuple[int, int]
) -> None:
    """Whatever the table of choices says, and with all that can be left over of rows and blocks."""
    make = PlanMaker(seed, 1, 3, width)
    bits = make.signs(make.conv(make.normalize(), inputs, (1, 1), (1, 1), (0, 0), 1))
    plan = make.plan(make.binary_conv(bits, outputs, kernel, stride, (1, 1), "scale", "prelu"))
    batch = images(plan, 1, seed)
    expected = reference.run(plan, batch).tobytes()
    for isa in isas():
        for tile in tiles(isa):
            assert Engine(plan, threads=2, isa=isa, tile=tile)(batch).tobytes() == expected, (isa, tile)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    channels=st.integers(1, 20),
    width=st.integers(1, 40),
    kernel=pairs,
    stride=pairs,
    as_bytes=st.booleans(),
    to_integers=st.booleans(),
)
def test_images_of_any_width_become_floats_or_integers(
    seed: int,
    channels: int,
    width: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    as_bytes: bool,
    to_integers: bool,
) -> None:
    make = PlanMaker(seed, channels, 4, width)
    x = make.normalize()
    if to_integers:
        plan = make.plan(make.int8_conv(x, 9, kernel, stride, (1, 1), 40.0, "scale", "bias"))
    else:
        plan = make.plan(make.conv(x, 9, kernel, stride, (1, 1), 1, "scale", "bias"))
    batch = images(plan, 2, seed)
    pixels = (255 * batch).astype(np.uint8) if as_bytes else batch
    expected = reference.run(plan, pixels).tobytes()
    for isa in isas():
        assert Engine(plan, threads=1 + seed % 2, isa=isa)(pixels).tobytes() == expected, isa


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    groups=st.integers(2, 70),
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 20),
    stride=pairs,
    kernel=pairs,
)
def test_binary_convolutions_with_groups(
    seed: int, groups: int, inputs: int, outputs: int, stride: tuple[int, int], kernel: tuple[int, int]
) -> None:
    """Any numbers of channels and outputs a group, read beside an ungrouped convolution."""
    make = PlanMaker(seed, 2, 6, 7)
    bits = make.signs(make.conv(make.normalize(), groups * inputs, (1, 1), (1, 1), (0, 0), 1))
    y = make.binary_conv(bits, groups * outputs, kernel, stride, (1, 1), "scale", groups=groups)
    z = make.binary_conv(bits, groups * outputs, kernel, stride, (1, 1), "bias", "residual")
    plan = make.plan(make.mean(make.elementwise(z, "residual") if seed % 2 else y))
    batch = images(plan, 1, seed)
    expected = reference.run(plan, batch).tobytes()
    for isa in isas():
        assert Engine(plan, threads=1 + seed % 2, isa=isa)(batch).tobytes() == expected, isa


@pytest.mark.parametrize("part", TAIL_PARTS)
def test_a_single_part_before_bits_or_integers(part: str) -> None:
    """Ops that do nothing but bits or integers have short cuts, which any part of a Tail should rule out."""
    make = PlanMaker(1, 2, 5, 6)
    x = make.conv(make.normalize(), 70, (1, 1), (1, 1), (0, 0), 1)
    plan = make.plan(make.binary_conv(make.signs(x, part), 20, (3, 3), (1, 1), (1, 1)))
    assert_exact(plan, images(plan, 2))
    make = PlanMaker(1, 2, 5, 6)
    constants = make.tail((5, 6, 2), (part,) if part not in ("residual", "second") else ())
    make.ops.append(Normalize("normalize", "images", make.value(5, 6, 2), constants))
    plan = make.plan(make.int8_conv("v1", 20, (3, 3), (1, 1), (1, 1), 30.0))
    assert_exact(plan, images(plan, 2))


def test_a_product_of_which_only_bits_are_needed() -> None:
    make = PlanMaker(1, 2, 5, 6)
    x = make.conv(make.normalize(), 70, (1, 1), (1, 1), (0, 0), 1)
    bits = Bits(make.value(5, 6, 70), make.floats(70), make.bits(70))
    make.ops.append(Multiply("product", x, None, Tail(bits=bits), factor=make.mean(x)))
    plan = make.plan(make.binary_conv(bits.out, 20, (3, 3), (1, 1), (1, 1)))
    assert_exact(plan, images(plan, 2))


def test_thresholds_that_nobody_reads() -> None:
    make = PlanMaker(3, 1, 4, 3)
    x = make.conv(make.normalize(), 20, (1, 1), (1, 1), (0, 0), 1)
    make.signs(x, vector=make.mean(x))
    (bits,) = (op for op in make.ops if op.tail.bits)
    make.ops.remove(bits)
    plan = make.plan(x)
    assert plan.ops[-2].kind == "threshold"
    assert_exact(plan, images(plan, 2))


@pytest.mark.parametrize(("groups", "inputs", "outputs"), [(64, 1, 1), (3, 1, 2), (4, 16, 16), (2, 33, 5), (2, 65, 32)])
def test_depthwise_and_grouped_binary_convolutions(groups: int, inputs: int, outputs: int) -> None:
    make = PlanMaker(groups, 2, 6, 5)
    bits = make.signs(make.conv(make.normalize(), groups * inputs, (1, 1), (1, 1), (0, 0), 1))
    y = make.binary_conv(bits, groups * outputs, (3, 3), (2, 1), (1, 1), "scale", "prelu", groups=groups)
    plan = make.plan(y)
    assert_exact(plan, images(plan, 2))


@pytest.mark.parametrize("channels", [2, 17, 64, 130])
@pytest.mark.parametrize("kernel", [(1, 2), (3, 3), (15, 17), (16, 16)])  # 256 taps are one more than a byte counts
def test_depthwise_binary_convolutions_of_any_kernel(channels: int, kernel: tuple[int, int]) -> None:
    make = PlanMaker(channels, 2, 19, 18)
    bits = make.signs(make.conv(make.normalize(), channels, (1, 1), (1, 1), (0, 0), 1))
    plan = make.plan(make.mean(make.binary_conv(bits, channels, kernel, (1, 1), (1, 0), "scale", groups=channels)))
    batch = images(plan, 1)
    assert_exact(plan, batch)
    weight = next(op.weight for op in plan.ops if isinstance(op, BinaryConv))
    for bit in (0, 1):  # one of them differs from most bits
        plan.tensors[weight][:] = bit
        assert_exact(plan, batch)


@pytest.mark.parametrize("size", [63, 64, 65])  # 64 * 64 * 16 is one more than 16 bits can count
def test_more_inputs_than_16_bits_count(size: int) -> None:
    plan = all_differ(size)
    assert_exact(plan, images(plan, 2))


def test_a_map_read_with_different_paddings() -> None:
    plan = different_paddings()
    assert_exact(plan, images(plan, 2))


def assert_exact_but_for_nan(plan: Plan, batch: npt.NDArray[np.float32]) -> None:
    """Equal with signed zeros told apart; of a NaN only that it is one, since its sign and payload are not defined."""
    expected = reference.run(plan, batch)
    for isa in isas():
        logits = Engine(plan, threads=2, isa=isa)(batch)
        assert np.array_equal(logits, expected, equal_nan=True)
        number = ~np.isnan(expected)
        assert np.array_equal(np.signbit(logits[number]), np.signbit(expected[number]))


def test_the_sigmoid_is_one() -> None:
    """Within 2.1e-7 of 1 / (1 + exp(-v)) and in [0, 1], at its limits and beyond them too."""
    numbers = np.concatenate([np.linspace(-20, 20, 40001), [-1e30, -1e-30, 1e30, -np.inf, np.inf]]).astype(np.float32)
    make = PlanMaker(0, 1, 1, 1)
    x = make.conv(make.normalize(), len(numbers), (1, 1), (1, 1), (0, 0), 1, "bias")
    make.tensors[make.ops[-1].tail.bias or ""][:] = numbers
    make.elementwise(x, "sigmoid")
    plan = make.plan(x)
    found = reference.values(plan, np.zeros((1, 1, 1, 1), np.float32))[make.ops[-2].out or ""].reshape(-1)
    with np.errstate(over="ignore"):
        exact = 1 / (1 + np.exp(-numbers.astype(np.float64)))
    assert np.abs(found - exact).max() <= 2.1e-7
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("plan", extremes())
def test_extreme_values_agree(plan: Plan) -> None:
    assert_exact_but_for_nan(plan, images(plan, 2))
