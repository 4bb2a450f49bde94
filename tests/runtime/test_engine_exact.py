"""The engine gives the reference's results bit for bit, on every instruction set and number of threads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import TAIL_PARTS, PlanMaker, everything

from evenbit.plan import Plan
from evenbit.runtime import reference
from evenbit.runtime.engine import Engine, isas

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
    binary=st.booleans(),
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
    binary: bool,
) -> None:
    kernel = (min(kernel[0], size[0] + 2 * padding[0]), min(kernel[1], size[1] + 2 * padding[1]))
    make = PlanMaker(seed, 2, *size)
    x = make.conv(make.normalize(), inputs, (1, 1), (1, 1), (0, 0), 1)
    if binary:
        y = make.binary_conv(make.signs(x), outputs, kernel, stride, padding, *sorted(parts))
    else:
        y = make.conv(x, outputs, kernel, stride, padding, 1, *sorted(parts))
    plan = make.plan(make.mean(y))
    batch = images(plan, 2, seed)
    expected = reference.run(plan, batch).tobytes()
    for isa in isas():
        assert Engine(plan, threads=1, isa=isa)(batch).tobytes() == expected
    assert Engine(plan, threads=3)(batch[:1]).tobytes() == expected[: len(expected) // 2]


@pytest.mark.parametrize(
    ("channels", "groups", "outputs"),
    [(6, 3, 9), (64, 4, 4), (8, 8, 8), (17, 17, 17), (80, 80, 80), (9, 9, 18), (34, 2, 34), (6, 2, 32), (10, 2, 160)],
)
def test_grouped_convolutions(channels: int, groups: int, outputs: int) -> None:
    make = PlanMaker(groups, 2, 6, 5)
    x = make.conv(make.normalize(), channels, (1, 1), (1, 1), (0, 0), 1)
    y = make.conv(x, outputs, (3, 3), (2, 1), (1, 1), groups, "scale", "prelu")
    plan = make.plan(make.mean(y))
    assert_exact(plan, images(plan, 2))


def test_a_map_read_with_different_paddings() -> None:
    make = PlanMaker(5, 3, 8, 8)
    x = make.conv(make.normalize(), 20, (3, 3), (1, 1), (1, 1), 1, "bias")
    bits = make.signs(x)
    parts = [make.binary_conv(bits, 8, (k, k), (1, 1), (k // 2, k // 2), "scale") for k in (1, 3, 5)]
    parts += [make.conv(x, 8, (k, k), (1, 1), (k // 2, k // 2), 1) for k in (1, 3, 5)]
    total = make.elementwise(parts[0], "residual")
    for part in parts[1:]:
        total = make.elementwise(part, "residual", "bias")
    plan = make.plan(make.mean(total))
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


def test_extreme_values_agree() -> None:
    """Infinities, NaN and signed zeros inside the network come out as the reference has them."""
    make = PlanMaker(9, 2, 5, 5)
    x = make.conv(make.normalize(), 18, (1, 1), (1, 1), (0, 0), 1, "scale", "bias")
    constants = make.tensors[make.ops[-1].tail.scale or ""]
    constants[:6] = [3e38, -3e38, 0, -0.0, np.inf, -np.inf]
    y = make.pool(make.elementwise(x, "prelu", "shift"), True, (2, 2), (1, 1), (1, 1))
    z = make.binary_conv(make.signs(y), 12, (3, 3), (1, 1), (1, 1), "scale")
    plan = make.plan(make.mean(z))
    assert_exact_but_for_nan(plan, images(plan, 2))
    for activation in ("softsign", "sigmoid", "clamp"):
        make = PlanMaker(10, 2, 5, 5)
        x = make.conv(make.normalize(), 18, (1, 1), (1, 1), (0, 0), 1, "scale")
        make.tensors[make.ops[-1].tail.scale or ""][:4] = [np.inf, 0, -0.0, np.nan]
        y = make.elementwise(x, activation)
        plan = make.plan(make.concat(make.multiply(y, y), (x, y)))
        assert_exact_but_for_nan(plan, images(plan, 2))
        plan = make.plan(make.binary_conv(make.signs(y), 3, (5, 5), (1, 1), (0, 0)))
        assert_exact_but_for_nan(plan, images(plan, 2))
    grouped = PlanMaker(11, 2, 4, 4)
    x = grouped.conv(grouped.normalize(), 64, (1, 1), (1, 1), (0, 0), 1, "scale")
    grouped.tensors[grouped.ops[-1].tail.scale or ""][:2] = [np.inf, np.nan]
    parts = tuple(
        grouped.conv(x, outputs, (3, 3), (1, 1), (1, 1), groups) for outputs, groups in ((64, 64), (32, 2), (64, 8))
    )
    plan = grouped.plan(grouped.concat(x, parts))
    assert_exact_but_for_nan(plan, images(plan, 2))
