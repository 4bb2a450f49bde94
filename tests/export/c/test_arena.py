"""Values that are needed at the same time do not disturb each other, and the arena is small."""

from __future__ import annotations

import numpy as np
import pytest
from networks import narrow_resnet20
from plans import PlanMaker, everything
from random_plans import RandomPlan

from evenbit.deploy import pack_untrained
from evenbit.export.c.arena import Arena, needs_taps, plan_arena, taps_part, words_of
from evenbit.ops import AvgPool, BinaryConv, Conv, Flatten, Gather, Int8Conv, Interpolate, MatMul, MaxPool, reads
from evenbit.plan import Plan

MAP = 32 * 32 * 16


def check_on_tags(plan: Plan, arena: Arena) -> None:
    """Runs the Plan pixel by pixel on names instead of numbers: each read has to find what was written for it."""
    shapes = plan.shapes()
    memory = {
        "floats": np.full(arena.floats, -1, np.int64),
        "words": np.full(arena.words, -1, np.int64),
        "octets": np.full(arena.octets, -1, np.int64),
    }
    memory |= {"float": memory["floats"], "bits": memory["words"]}
    tags = {name: 1_000_000 * (index + 1) for index, name in enumerate(shapes)}

    def cells(name: str, pixel: int) -> slice:
        shape = shapes[name]
        size = shape.channels if shape.kind == "float" else words_of(shape.channels, arena.word_bits)
        start = arena.offsets[name] + pixel * size
        return slice(start, start + size)

    def check(name: str, pixel: int) -> None:
        assert (memory[shapes[name].kind][cells(name, pixel)] == tags[name] + pixel).all(), (name, pixel)

    def write(name: str, pixel: int) -> None:
        memory[shapes[name].kind][cells(name, pixel)] = tags[name] + pixel

    for index, (op, result) in enumerate(zip(plan.ops, plan.op_shapes(), strict=True)):
        beside = [name for name in list(reads(op))[1:] if name in shapes and name != getattr(op, "other", "")]
        for pixel in range(result.height * result.width):
            y, x = divmod(pixel, result.width)
            if op.input != "images":
                for tap in window(op, y, x, shapes[op.input].height, shapes[op.input].width, pixel, plan):
                    check(op.input, tap)
            if isinstance(op, Conv | Int8Conv | BinaryConv) and needs_taps(plan, op, shapes[op.input], arena.word_bits):
                taps = int(np.prod(plan.tensors[op.weight].shape[1:3])) * shapes[op.input].channels
                taps //= op.groups if isinstance(op, BinaryConv) else 1
                taps = words_of(taps, arena.word_bits) if isinstance(op, BinaryConv) else taps
                first = arena.offsets[index, "taps"]
                assert first + taps <= len(memory[taps_part(op)])
                memory[taps_part(op)][first : first + taps] = -1
            scratch = arena.offsets[index, "pixel"]
            memory["float"][scratch : scratch + result.channels] = -1
            if isinstance(op, MatMul):
                for place in range(int(np.prod(shapes[op.other][1:3]))):
                    check(op.other, place)
            for name in beside:
                check(name, 0 if shapes[name][1:3] == (1, 1) else pixel)
            if op.out:
                write(op.out, pixel)
            if op.tail.mean:
                row = arena.offsets[index, "row"]
                memory["float"][row : row + result.channels] = -1
                write(op.tail.mean, 0)
            if op.tail.bits:
                write(op.tail.bits.out, pixel)
    for pixel in range(int(np.prod(shapes[plan.output][1:3]))):
        check(plan.output, pixel)


def window(op: object, y: int, x: int, height: int, width: int, pixel: int, plan: Plan) -> list[int]:
    """Pixels that the op reads for its output (y, x)."""
    if isinstance(op, Flatten | Gather | Interpolate | MatMul):
        return list(range(height * width))
    if not isinstance(op, Conv | Int8Conv | BinaryConv | MaxPool | AvgPool):
        return [pixel]
    kernel = plan.tensors[op.weight].shape[1:3] if isinstance(op, Conv | Int8Conv | BinaryConv) else op.kernel
    padding = op.padding
    rows = (y * op.stride[0] - padding[0] + ky for ky in range(kernel[0]))
    columns = [x * op.stride[1] - padding[1] + kx for kx in range(kernel[1])]
    return [r * width + c for r in rows for c in columns if 0 <= r < height and 0 <= c < width]


@pytest.mark.parametrize("word_bits", [32, 64])
@pytest.mark.parametrize("seed", range(40))
def test_random_plans_keep_their_values(seed: int, word_bits: int) -> None:
    plan = RandomPlan(seed).plan
    check_on_tags(plan, plan_arena(plan, word_bits))


def test_networks_keep_their_values() -> None:
    for plan in (everything(1, 33), narrow_resnet20()):
        check_on_tags(plan, plan_arena(plan, 32))


def test_resnet20_needs_little_more_than_one_map() -> None:
    plan = pack_untrained("resnet20", "fd", channels=3, size=32, classes=10)
    arena = plan_arena(plan, 32)
    assert 4 * MAP < 4 * arena.floats < 4 * MAP * 1.02
    assert 32 * 32 < arena.words < 32 * 32 * 1.05  # one word a pixel, read and written over


def test_a_sum_replaces_its_residual_and_a_pooled_map_what_it_pools() -> None:
    make = PlanMaker(0, 3, 8, 8)
    x = make.conv(make.normalize(), 16, (3, 3), (1, 1), (1, 1), 1)
    y = make.binary_conv(make.signs(x), 16, (3, 3), (1, 1), (1, 1), "residual")
    pooled = make.pool(y, False, (2, 2), (2, 2), (0, 0))
    plan = make.plan(pooled)
    offsets = plan_arena(plan, 32).offsets
    assert offsets[x] == offsets[y]
    assert offsets[y] <= offsets[pooled] < offsets[y] + 8 * 8 * 16


def test_a_product_replaces_a_factor_and_joined_maps_lie_within_their_result() -> None:
    make = PlanMaker(0, 3, 8, 8)
    x, y = (make.conv(first, 16, (3, 3), (1, 1), (1, 1), 1) for first in [make.normalize()] * 2)
    product = make.multiply(x, y)
    z = make.conv(product, 16, (3, 3), (1, 1), (1, 1), 1)
    joined = make.concat(z, (product,))
    arena = plan_arena(make.plan(joined), 32)
    assert arena.offsets[product] in (arena.offsets[x], arena.offsets[y])
    assert arena.floats < 8 * 8 * 16 * 3.5  # of the two maps and their result, one shares memory with the result


def test_a_map_that_is_read_later_is_left_alone() -> None:
    make = PlanMaker(0, 8, 6, 6)
    x = make.elementwise(make.normalize(), "bias")
    y = make.elementwise(x, "scale")
    z = make.elementwise(y, "bias")
    make.ops[-1] = type(make.ops[-1])("sum", y, z, make.ops[-1].tail.__class__(residual=x))
    plan = make.plan(z)
    offsets = plan_arena(plan, 32).offsets
    assert abs(offsets[x] - offsets[y]) >= 6 * 6 * 8
    check_on_tags(plan, plan_arena(plan, 32))
