"""Each pass on a small Plan before and after it, and what it must not touch."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from evenbit.bits import pack_bits
from evenbit.deploy import passes
from evenbit.ops import AddMap, BinaryConv, Bits, Conv, Elementwise, Normalize, Op, Tail, Threshold
from evenbit.plan import Plan
from evenbit.runtime import reference

C = 6
RNG = np.random.default_rng(0)


def vector(*values: float) -> npt.NDArray[np.float32]:
    return np.array(values or RNG.standard_normal(C), np.float32)


TENSORS: dict[str, npt.NDArray[Any]] = {
    "stem": RNG.standard_normal((C, 1, 1, 2)).astype(np.float32),
    "dense": RNG.standard_normal((C, 1, 1, C)).astype(np.float32),
    "wide": RNG.standard_normal((C, 3, 3, C)).astype(np.float32),
    "grouped": RNG.standard_normal((4, 1, 1, 3)).astype(np.float32),
    "binary": pack_bits(RNG.random((C, 1, 1, C)) < 0.5),
    "s": vector(2, -1, 0, 0.5, -3, 0),
    "t": vector(1, 0.5, 0.25, -1, 0, -0.5),
    "u": vector(),
    "v": vector(),
    "zero": np.zeros(C, np.float32),
    "even": np.zeros(1, np.uint64),
    "slope": vector(),
    "four": vector(1, 2, 3, 4),
    # Two columns of cells in a map of three.
    "map": np.round(RNG.standard_normal((4, 2, C))[:, [0, 0, 1]] * 4).astype(np.float32) / 8,
}


def plan(*ops: Op, output: str = "out") -> Plan:
    """Ops on the map `x`; the value `m`, or `out` itself, ends in the logits `out`."""
    head = (Normalize("images", "images", "i"), Conv("stem", "i", "x", weight="stem"))
    made = Plan(2, 4, 3, tuple("abcdef"), (*head, *ops), output, TENSORS)
    made.shapes()
    return made


def mean(x: str, out: str = "out") -> Elementwise:
    return Elementwise("mean", x, None, Tail(mean=out))


def ops_after_stem(result: Plan) -> list[Op]:
    result.shapes()
    return list(result.ops[2:])


def assert_same(before: Plan, after: Plan, *, exact: bool = False) -> None:
    images = RNG.random((5, 2, 4, 3), dtype=np.float32)
    expected, found = reference.run(before, images), reference.run(after, images)
    if exact:
        assert np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_join_shifts() -> None:
    before = plan(
        Elementwise("act", "x", "a", Tail(activation="prelu", slope="slope")),
        Elementwise("zeta", "a", "b", Tail(bias="t")),
        mean("b"),
    )
    after = passes.join_shifts(before)
    assert ops_after_stem(after)[0] == Elementwise("act", "x", "b", Tail(activation="prelu", slope="slope", shift="t"))
    assert_same(before, after, exact=True)


def test_move_affine_past_mean() -> None:
    before = plan(Elementwise("bn", "x", "a", Tail(scale="s", bias="t")), mean("a"))
    after = passes.move_affine_past_mean(before)
    moved = ops_after_stem(after)[1:]
    assert [op.input for op in moved] == ["x", moved[0].tail.mean]
    assert moved[1].tail == Tail(scale="s", bias="t")
    assert_same(before, after)


def test_a_mean_passes_all_affine_maps_but_those_that_are_stored() -> None:
    affine = [Elementwise("bn", "x", "a", Tail(scale="s")), Elementwise("adjust", "a", "b", Tail(bias="t"))]
    before = plan(*affine, mean("b"))
    after = passes.move_affine_past_mean(before)
    means = [op for op in after.ops if op.tail.mean]
    assert [op.input for op in means] == ["x"]
    assert [op.tail for op in after.ops[-2:]] == [Tail(scale="s"), Tail(bias="t")]
    assert_same(before, after)
    before = plan(*affine, mean("b", "m"), Conv("other", "a", "c", weight="dense"), mean("c"))
    after = passes.move_affine_past_mean(before)
    assert [op.input for op in after.ops if op.tail.mean] == ["a", "c"]


def sign(x: str) -> Elementwise:
    return Elementwise("sign", x, None, Tail(bits=Bits("bits", "zero", "even")))


def test_merge_static_thresholds() -> None:
    """Negative and zero scales among them; one compare is left, and it is exact for exact numbers."""
    before = plan(
        Elementwise("bn", "x", "a", Tail(scale="s", bias="t")),
        Elementwise("tau", "a", "b", Tail(bias="u")),
        sign("b"),
        BinaryConv("conv", "bits", "y", weight="binary"),
        mean("y"),
    )
    after = passes.remove_dead(passes.merge_thresholds(before))
    merged = ops_after_stem(after)[0]
    assert isinstance(merged, Elementwise)
    assert (merged.input, len(after.ops)) == ("x", len(before.ops) - 2)
    assert_same(before, after, exact=True)


def test_a_map_that_is_stored_anyway_is_compared() -> None:
    before = plan(
        Elementwise("bn", "x", "a", Tail(scale="s", bias="t")),
        Elementwise("adjust", "a", "b", Tail(scale="u")),
        sign("b"),
        BinaryConv("conv", "bits", "y", weight="binary"),
        Elementwise("sum", "y", "z", Tail(residual="a")),
        mean("z"),
    )
    after = passes.remove_dead(passes.merge_thresholds(before))
    assert [op.input for op in ops_after_stem(after)] == ["x", "a", "bits", "y", "z"]
    assert_same(before, after, exact=True)


@pytest.mark.parametrize(
    ("scale", "offset"), [(2.0, -3.0), (-2.0, 3.0), (0.5, 0.3), (-0.25, 0.2), (4.0, 0.0), (-4.0, 0.0), (8.0, 1e-3)]
)
def test_static_threshold_decides_every_neighbour_rightly(scale: float, offset: float) -> None:
    """Scales are powers of two, so that the limit is exact in float64 and the check is in exact arithmetic."""
    (threshold,), (flip,) = passes._static_threshold(np.array([scale]), np.array([offset]))
    near = [np.float32(-offset / scale)]
    for _ in range(3):
        near = [np.nextafter(near[0], np.float32(-9)), *near, np.nextafter(near[-1], np.float32(9))]
    expected = [Fraction(scale) * Fraction(float(x)) + Fraction(offset) >= 0 for x in near]
    assert [bool(x >= threshold) ^ bool(flip) for x in near] == expected
    assert len(set(expected)) == 2


def test_constant_channels_keep_their_sign() -> None:
    threshold, flip = passes._static_threshold(np.zeros(3), np.array([1.0, 0.0, -1.0]))
    assert threshold.tolist() == [-np.inf, -np.inf, np.inf]
    assert flip.tolist() == [0]


def test_merge_thresholds_of_the_instance() -> None:
    before = plan(
        Elementwise("bn", "x", "a", Tail(scale="s", bias="t")),
        mean("a", "m"),
        Elementwise("gate", "m", "e", Tail(activation="softsign")),
        Elementwise("add", "a", "b", Tail(residual="e")),
        Elementwise("tau", "b", "c", Tail(bias="u")),
        sign("c"),
        BinaryConv("conv", "bits", "y", weight="binary"),
        mean("y"),
    )
    after = passes.remove_dead(passes.merge_thresholds(before))
    (threshold,) = (op for op in after.ops if isinstance(op, Threshold))
    assert threshold.input == "e"
    assert after.tensors[threshold.scale].tolist() == TENSORS["s"].tolist()
    np.testing.assert_allclose(after.tensors[threshold.offset], TENSORS["t"] + TENSORS["u"], rtol=1e-6)
    assert_same(before, after, exact=True)


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_map_of_constants_is_added_where_the_bits_are_made(dynamic: bool) -> None:
    """Before the scales, negative and zero ones among them."""
    before = plan(
        Elementwise("bn", "x", "a", Tail(scale="s", bias="t")),
        mean("a", "m"),
        Elementwise("add", "a", "b", Tail(residual="m") if dynamic else Tail(bias="u")),
        AddMap("places", "b", "c", map="map"),
        sign("c"),
        BinaryConv("conv", "bits", "y", weight="binary"),
        mean("y"),
    )
    after = passes.remove_dead(passes.cut_maps(passes.remove_dead(passes.merge_thresholds(before))))
    added = ops_after_stem(after)[-3]
    assert isinstance(added, AddMap)
    assert (added.input, added.out) == ("x", None)
    assert after.tensors[added.map].shape == (4, 2, C)
    # A scale of zero stays one: the bit is that of the constants.
    nonzero = TENSORS["s"] != 0
    expected = TENSORS["map"][:, [0, 2]][..., nonzero] / TENSORS["s"][nonzero]
    np.testing.assert_allclose(after.tensors[added.map][..., nonzero], expected, rtol=1e-6)
    assert_same(before, after, exact=True)


def test_a_scale_of_zero_leaves_the_sign_of_the_constants() -> None:
    """Where they add up to 0, that is +1, and where not, x does not matter, however large it is."""
    added = np.array([0.0, 0.0, 1e-30, 0.25, -3.0])
    offset = np.array([0.0, -1e-3, 0.0, -0.5, 2.5])
    scale, offset_, added_ = passes._without_zero_scale(np.zeros(5), offset, added[None, None])
    threshold, flip = passes._static_threshold(scale, offset_)
    for x in (-1e6, 0.0, 1e6):
        value = np.float32(x) + (added_ / scale)[0, 0].astype(np.float32)
        assert (value >= threshold).tolist() == (added + offset >= 0).tolist() == [True, False, True, False, False]
    assert flip.tolist() == [0]


def test_a_map_of_constants_that_others_read_is_stored() -> None:
    before = plan(
        AddMap("places", "x", "a", map="map"),
        sign("a"),
        BinaryConv("conv", "bits", "y", weight="binary"),
        Elementwise("sum", "y", "z", Tail(residual="a")),
        mean("z"),
    )
    after = passes.merge_thresholds(before)
    assert [op.input for op in ops_after_stem(after)] == ["x", "a", "bits", "y", "z"]
    assert_same(before, after, exact=True)


@pytest.mark.parametrize(("size", "count"), [(7, 1), (7, 3), (8, 4), (5, 5), (9, 4)])
def test_maps_are_stored_as_cells(size: int, count: int) -> None:
    cells = RNG.standard_normal((count, C)).astype(np.float32)
    whole = cells[np.arange(size) * count // size][None]
    np.testing.assert_array_equal(passes._cut(passes._cut(whole, 1), 0), cells[None])


def test_fold_affine_into_what_is_before() -> None:
    before = plan(
        Conv("conv", "x", "y", Tail(bias="u"), weight="wide", padding=(1, 1)),
        Elementwise("bn", "y", "z", Tail(scale="s", bias="t")),
        mean("z"),
    )
    conv = ops_after_stem(passes.fold_affine(before))[0]
    assert isinstance(conv, Conv)
    assert (conv.out, conv.tail.scale) == ("z", None)
    assert_same(before, passes.fold_affine(before))
    binary = plan(
        sign("x"),
        BinaryConv("conv", "bits", "y", Tail(scale="u"), weight="binary"),
        Elementwise("bn", "y", "z", Tail(scale="s", bias="t")),
        mean("z"),
    )
    after = passes.fold_affine(binary)
    assert len(after.ops) == len(binary.ops) - 1
    assert_same(binary, after)


def test_fold_affine_into_the_convolution_after() -> None:
    before = plan(
        Elementwise("bn", "x", "a", Tail(scale="s", bias="t")),
        Conv("one", "a", "y", weight="dense"),
        Conv("two", "a", "z", Tail(bias="four", activation="softsign"), weight="grouped", groups=2),
        mean("y"),
        mean("z", "other"),
    )
    rewriter = passes.Rewriter(before)
    (affine,) = (op for op in before.ops if op.name == "bn")
    assert isinstance(affine, Elementwise)
    passes._fold_forward(rewriter, affine)
    result = rewriter.plan()
    assert [op.input for op in result.ops if isinstance(op, Conv)] == ["i", "x", "x"]
    assert_same(before, result)
    images = RNG.random((2, 2, 4, 3), dtype=np.float32)
    values = [reference.values(p, images)["other"] for p in (before, result)]
    np.testing.assert_allclose(values[1], values[0], rtol=1e-5, atol=1e-5)


def test_affine_is_not_folded_across_padding_or_sharing() -> None:
    padded = plan(
        Elementwise("bn", "x", "a", Tail(scale="s", bias="t")),
        Conv("conv", "a", "y", weight="wide", padding=(1, 1)),
        mean("y"),
        mean("x", "also"),
    )
    assert passes.fold_affine(padded).ops == padded.ops


def test_fuse_tails_in_order_only() -> None:
    before = plan(
        Conv("conv", "x", "y", Tail(bias="u"), weight="wide", padding=(1, 1)),
        Elementwise("add", "y", "z", Tail(bias="v", residual="x")),
        Elementwise("act", "z", "a", Tail(activation="prelu", slope="slope")),
        Elementwise("zeta", "a", "b", Tail(bias="t")),
        Elementwise("bn", "b", "c", Tail(scale="s")),
        mean("c"),
    )
    after = passes.fuse_tails(before)
    conv, scaled, _ = ops_after_stem(after)
    assert (conv.kind, conv.out, conv.tail.residual, conv.tail.shift) == ("conv", "b", "x", "t")
    assert scaled.tail == Tail(scale="s")
    assert_same(before, after)


def test_either_side_of_a_sum_may_come_last() -> None:
    before = plan(
        Conv("early", "x", "y", weight="wide", padding=(1, 1)),
        Elementwise("act", "x", "z", Tail(activation="softsign")),
        Elementwise("add", "z", "a", Tail(residual="y")),
        mean("a"),
    )
    after = passes.fuse_tails(before)
    names = [(op.name, op.tail.residual) for op in ops_after_stem(after)]
    assert names == [("act", None), ("early", "z"), ("mean", None)]
    assert_same(before, after, exact=True)


def sum_and_conv(*others: Op) -> Plan:
    """A convolution to which `total`, the sum of x and y, is added, and more ops."""
    return plan(
        Elementwise("act", "x", "y", Tail(activation="softsign")),
        Elementwise("sum", "x", "total", Tail(residual="y")),
        *others,
        Conv("conv", "x", "z", Tail(scale="s", residual="total"), weight="wide", padding=(1, 1)),
        mean("z"),
    )


def test_a_sum_that_only_a_tail_reads_is_made_there() -> None:
    before = sum_and_conv()
    after = passes.join_sums(before)
    _, conv, _ = ops_after_stem(after)
    assert conv.tail == Tail(scale="s", residual="x", second_residual="y")
    assert_same(before, after, exact=True)


def test_a_sum_that_others_read_stays() -> None:
    for reader in (mean("total", "also"), Elementwise("act2", "total", "w", Tail(activation="softsign"))):
        before = sum_and_conv(reader)
        assert passes.join_sums(before).ops == before.ops


def test_a_sum_with_a_vector_stays() -> None:
    before = plan(
        mean("x", "e"),
        Elementwise("sum", "x", "total", Tail(residual="e")),
        Conv("conv", "x", "z", Tail(residual="total"), weight="wide", padding=(1, 1)),
        mean("z"),
    )
    assert passes.join_sums(before).ops == before.ops


def test_fuse_outputs_and_remove_dead() -> None:
    before = plan(
        Conv("conv", "x", "y", weight="wide", padding=(1, 1)),
        sign("y"),
        mean("y"),
        BinaryConv("unused", "bits", "z", weight="binary"),
    )
    fused = passes.fuse_outputs(before)
    assert fused.ops[2].tail == Tail(mean="out", bits=Bits("bits", "zero", "even"))
    after = passes.remove_dead(fused)
    assert after.ops[2:] == (Conv("conv", "x", None, Tail(mean="out"), weight="wide", padding=(1, 1)),)
    assert set(after.tensors) == {"stem", "wide"}
    assert_same(before, after, exact=True)


def test_names_are_numbered_and_equal_tensors_shared() -> None:
    tensors = {**TENSORS, "s2": TENSORS["s"].copy()}
    twice = (
        Elementwise("one", "x", "a", Tail(scale="s")),
        Elementwise("two", "a", "b", Tail(scale="s2")),
        mean("b"),
    )
    before = Plan(2, 4, 3, tuple("abcdef"), (*plan(mean("x")).ops[:2], *twice), "out", tensors)
    after = passes.number_names(passes.remove_dead(passes.share_tensors(before)))
    assert list(after.shapes()) == ["images", "v0", "v1", "v2", "v3", "v4"]
    assert set(after.tensors) == {"t0", "t1"}
    assert_same(before, after, exact=True)
