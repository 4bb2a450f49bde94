"""From unfused ops to the deployable Plan: pure functions from Plan to Plan, applied in the order of `PASSES`.

They move affine maps `s x + t` (batch normalization, scales, biases) until each has become part of a weight, a
threshold or a Tail, and then join ops that can be computed at once. A pass combines constants in float64 and rounds the
constants that it makes to float32. docs/folding.md derives the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from evenbit.bits import pack_bits
from evenbit.deploy.rewrite import Rewriter, affine_of, is_affine
from evenbit.ops import (
    AddMap,
    Array,
    Bits,
    Conv,
    Cube,
    Elementwise,
    Multiply,
    Op,
    Tail,
    Threshold,
    reads,
    replace_tail,
    writes,
)
from evenbit.ops.add_map import cell_of
from evenbit.plan import Plan

Vector = npt.NDArray[np.float64]

SMALL = 2.0**-100  # stands for a scale of 0 that has to divide: x is lost in a sum with 1 / SMALL


def join_cubes(plan: Plan) -> Plan:
    """Makes one op of `u u u` with `u = s x + t`; the op reads the map x, which is stored anyway."""
    rewriter = Rewriter(plan)
    for op in plan.ops:
        square = rewriter.producer(op.input)
        if not (isinstance(op, Multiply) and isinstance(square, Multiply) and square.tail == Tail()):
            continue
        if not square.input == square.factor == op.factor or not rewriter.is_sole_reader(op, op.input):
            continue
        channels = rewriter.channels(op)
        source, scale, offset = op.factor, np.ones(channels), np.zeros(channels)
        while isinstance(affine := rewriter.producer(source), Elementwise) and is_affine(affine):
            inner_scale, inner_bias = affine_of(rewriter, affine, channels)
            source, scale, offset = affine.input, scale * inner_scale, scale * inner_bias + offset
        names = {"scale": rewriter.tensor(scale), "offset": rewriter.tensor(offset)}
        rewriter.replace(op, Cube(op.name, source, op.out, op.tail, **names))
        rewriter.replace(square)
    return rewriter.plan()


def move_affine_past_mean(plan: Plan) -> Plan:
    """`mean(s x + t) = s mean(x) + t`: the mean reads the stored map, and the affine map works on a vector."""
    rewriter = Rewriter(plan)
    for op in plan.ops:
        if not isinstance(op, Elementwise) or op.tail != Tail(mean=op.tail.mean):
            continue
        source, passed = op.input, []
        while (affine := rewriter.producer(source)) and is_affine(affine) and not _is_stored(rewriter, source):
            passed.append(affine)
            source = affine.input
        names = [rewriter.fresh() for _ in passed] + [op.tail.mean]
        moved = [Elementwise(op.name, source, None, Tail(mean=names[0]))]
        for affine, before, after in zip(reversed(passed), names, names[1:], strict=False):
            assert before is not None
            moved.append(Elementwise(affine.name, before, after, affine.tail))
        rewriter.replace(op, *moved)
    return rewriter.plan()


def merge_thresholds(plan: Plan) -> Plan:
    """Makes one comparison of each chain of ops that ends in a sign.

    The chain is followed back through affine maps, maps `m` of constants (zero points of cells) and at most one vector
    `e` that depends on the image (group excitation), which gives `sign(s x + m + t + e)`. Without `m` and `e`, the bit
    is `x >= -t / s` for s > 0, `x <= -t / s` for s < 0, and constant for s = 0. With `e`, a `Threshold` op solves the
    same at run time. With `m`, the bits are those of `x + m / s`, which an `AddMap` op computes; m has to be added last
    before the sign. The chain ends at a map that other ops read: going further back would mean storing two maps.
    """
    rewriter = Rewriter(plan)
    for op in plan.ops:
        if not isinstance(op, Elementwise) or op.tail.bits is None:
            continue
        source, scale, offset, vector, added = _chain(rewriter, op)
        if added is not None:
            scale, offset, added = _without_zero_scale(scale, offset, added)
        solved: list[Op] = []
        if vector is None:
            threshold, flips = _static_threshold(scale, offset)
            limit, flip = rewriter.tensor(threshold), rewriter.tensor(flips)
        else:
            limit = rewriter.fresh()
            names = [rewriter.tensor(array) for array in (scale, offset, pack_bits(scale < 0))]
            flip = names[2]
            solved.append(Threshold(op.name, vector, limit, scale=names[0], offset=names[1], flip=flip))
        tail = Tail(bits=Bits(op.tail.bits.out, limit, flip))
        if added is None:
            signs: Op = Elementwise(op.name, source, None, tail)
        else:
            signs = AddMap(op.name, source, None, tail, map=rewriter.tensor(added / scale))
        rewriter.replace(op, *solved, signs)
    return rewriter.plan()


def _without_zero_scale(scale: Vector, offset: Vector, added: Vector) -> tuple[Vector, Vector, Vector]:
    """`s`, `t`, `m` that give the same signs of `s x + m + t + e`, s nowhere 0, since it is to divide.

    Where s is 0, it becomes `SMALL`, m becomes `m + l` and t `t - l`. With l > max |m|, the sum `x + (m + l) / s` does
    not depend on x. l is a power of two, so that m = t = 0 stays exact.
    """
    dead = scale == 0
    lift = np.where(dead, 2 ** np.ceil(np.log2(1 + np.abs(added).max((0, 1)))), 0)
    return np.where(dead, SMALL, scale), offset - lift, added + lift


def _chain(rewriter: Rewriter, op: Elementwise) -> tuple[str, Vector, Vector, str | None, Vector | None]:
    """The map that the sign in `op` is a function of, and `s`, `t`, `e`, `m` of that function."""
    assert op.tail.bits is not None
    channels = len(rewriter.array(op.tail.bits.threshold))
    source, scale, offset = op.input, np.ones(channels), np.zeros(channels)
    vector: str | None = None
    added: Vector | None = None
    while True:
        producer = rewriter.producer(source)
        if not isinstance(producer, Elementwise | AddMap) or producer.out != source or _is_stored(rewriter, source):
            break
        residual = producer.tail.residual
        if isinstance(producer, AddMap):
            if producer.tail != Tail() or added is not None:
                break
            added = rewriter.array(producer.map) * scale
        elif is_affine(producer):
            inner_scale, inner_bias = affine_of(rewriter, producer, channels)
            scale, offset = scale * inner_scale, scale * inner_bias + offset
        elif (
            producer.tail == Tail(residual=residual)
            and vector is None
            and rewriter.is_vector(residual)
            and np.all(scale == 1)
        ):
            vector = residual
        else:
            break
        source = producer.input
    return source, scale, offset, vector, added


def _is_stored(rewriter: Rewriter, value: str) -> bool:
    """Whether `value` is stored in any case, since an op reads it that the passes cannot look through."""

    def looks_through(reader: Op) -> bool:
        residual = reader.tail.residual
        shifted = reader.tail == Tail(residual=residual) and rewriter.is_vector(residual)
        if isinstance(reader, AddMap):
            return reader.out is not None and all(
                isinstance(sign, Elementwise) and sign.out is None and sign.tail.bits is not None
                for sign in rewriter.readers(reader.out)
            )
        return isinstance(reader, Elementwise) and (is_affine(reader) or reader.out is None or shifted)

    readers = rewriter.readers(value)
    return value == rewriter.output or any(op.input != value or not looks_through(op) for op in readers)


def _static_threshold(scale: Vector, offset: Vector) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint64]]:
    """Threshold and flip with `(x >= threshold) xor flip == (scale x + offset >= 0)` for every float32 x."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        exact = -offset / scale
        rounded = exact.astype(np.float32)
        above = np.nextafter(rounded, np.float32(np.inf))
        # The least float32 that is >= the exact limit, and the least that is > it (if the comparison is flipped).
        at_least = np.where(rounded < exact, above, rounded)
        beyond = np.where(rounded <= exact, above, rounded)
    constant = np.where(offset >= 0, -np.inf, np.inf)
    threshold = np.where(scale == 0, constant, np.where(scale < 0, beyond, at_least))
    return threshold.astype(np.float32), pack_bits(scale < 0)


def fold_affine(plan: Plan) -> Plan:
    """Makes an affine map part of the op before it or, if other ops read that op, of the convolution after it.

    s (W x + b) + t  = (s W) x + (s b + t)          float convolution before
    s (v a + b) + t  = v (s a) + (s b + t)          any other op before, in its Tail
    (v a + b + r) + t = v a + (b + t) + r           a bias alone also passes a residual
    W (s x + t) + b  = (W s) x + (W t + b)          convolution after, if it has no padding
    """
    rewriter = Rewriter(plan)
    for op in plan.ops:
        if not isinstance(op, Elementwise) or not is_affine(op) or op.out is None:
            continue
        producer = rewriter.producer(op.input)
        if producer and producer.out == op.input and rewriter.is_sole_reader(op, op.input):
            folded = _fold_backward(rewriter, producer, op)
            if folded:
                rewriter.replace(producer, folded)
                rewriter.replace(op)
                continue
        _fold_forward(rewriter, op)
    return rewriter.plan()


def _fold_backward(rewriter: Rewriter, producer: Op, affine: Elementwise) -> Op | None:
    """`producer` with `affine` folded into it, or None where it does not fit."""
    tail = producer.tail
    if tail.activation != "none" or tail.shift or tail.mean or tail.bits:
        return None
    if tail.residual is not None and affine.tail.scale is not None:
        return None
    channels = rewriter.channels(affine)
    scale, bias = affine_of(rewriter, affine, channels)
    old_scale, old_bias = affine_of(rewriter, producer, channels)
    total = old_bias * scale + bias
    bias_name = rewriter.tensor(total) if total.any() else None
    producer = replace_tail(replace(producer, out=affine.out), bias=bias_name)
    if affine.tail.scale is None:
        return producer
    if isinstance(producer, Conv) and tail.scale is None:
        weight = rewriter.array(producer.weight) * scale[:, None, None, None]
        return replace(producer, weight=rewriter.tensor(weight))
    return replace_tail(producer, scale=rewriter.tensor(old_scale * scale))


def _fold_forward(rewriter: Rewriter, affine: Elementwise) -> None:
    """Folds `affine` into the convolutions that read it, if only convolutions read it and all of them can take it."""
    assert affine.out is not None
    readers = rewriter.readers(affine.out)
    fits = all(isinstance(op, Conv) and op.padding == (0, 0) and op.tail.scale is None for op in readers)
    if not readers or not fits or affine.out == rewriter.output:
        return
    scale, bias = affine_of(rewriter, affine, rewriter.channels(affine))
    for op in readers:
        assert isinstance(op, Conv)
        weight = rewriter.array(op.weight)
        outputs, _, _, per_group = weight.shape
        index = np.arange(outputs)[:, None] // (outputs // op.groups) * per_group + np.arange(per_group)
        moved = (weight * bias[index][:, None, None, :]).sum((1, 2, 3))
        old_bias = affine_of(rewriter, op, outputs)[1]
        new_weight = rewriter.tensor(weight * scale[index][:, None, None, :])
        folded = replace_tail(
            replace(op, input=affine.input, weight=new_weight), bias=rewriter.tensor(old_bias + moved)
        )
        rewriter.replace(op, folded)
    rewriter.replace(affine)


# The parts of a Tail that make its map, in the order in which they are applied.
_PARTS = ("scale", "bias", "residual", "activation", "shift")


def join_shifts(plan: Plan) -> Plan:
    """Makes a bias after an activation the shift of that activation's Tail, before a sign or mean looks past it."""
    rewriter = Rewriter(plan)
    for op in plan.ops:
        if isinstance(op, Elementwise) and op.tail == Tail(bias=op.tail.bias):
            producer = rewriter.producer(op.input)
            if producer and producer.tail.activation != "none" and producer.out == op.input:
                _try_join(rewriter, producer, op, op.tail)
    return rewriter.plan()


def fuse_tails(plan: Plan) -> Plan:
    """Joins an elementwise op with the op before it, if the parts of their Tails follow each other in order."""
    rewriter = Rewriter(plan)
    for op in plan.ops:
        if not isinstance(op, Elementwise) or op.out is None:
            continue
        producer = rewriter.producer(op.input)
        if producer and producer.out == op.input and _try_join(rewriter, producer, op, op.tail):
            continue
        residual = op.tail.residual
        other = rewriter.producer(residual) if residual else None
        # Either side of a sum may be the one that is computed last, if nothing comes before the sum.
        is_spread = rewriter.is_vector(residual) and not rewriter.is_vector(op.input)
        if other and other.out == residual and not (op.tail.scale or op.tail.bias or is_spread):
            _try_join(rewriter, other, op, replace(op.tail, residual=op.input))
    return rewriter.plan()


def _try_join(rewriter: Rewriter, producer: Op, op: Elementwise, second: Tail) -> bool:
    """Joins `producer` and `op`, whose Tail after the value of `producer` is `second`; says whether it could."""
    assert producer.out is not None
    if not rewriter.is_sole_reader(op, producer.out):
        return False
    first = producer.tail
    if first.mean or first.bits:
        return False
    if first.activation != "none" and second == Tail(bias=second.bias):
        second = Tail(shift=second.bias)
    channels = rewriter.channels(op)
    used, wanted = _parts(first), _parts(second)
    if first.bias and second.bias and used <= {0, 1} and not second.scale:
        total = affine_of(rewriter, producer, channels)[1] + affine_of(rewriter, op, channels)[1]
        second = replace(second, bias=rewriter.tensor(total))
        used -= {1}
    if used and wanted and max(used) >= min(wanted):
        return False
    changes = {_PARTS[index]: getattr(second, _PARTS[index]) for index in wanted}
    changes |= {name: getattr(second, name) or getattr(first, name) for name in ("slope", "low", "high")}
    joined = replace(first, **changes, mean=second.mean, bits=second.bits)
    # The joined op takes the place of the second one, since its residual may be computed in between.
    rewriter.replace(producer)
    rewriter.replace(op, replace(producer, out=op.out, tail=joined))
    return True


def join_sums(plan: Plan) -> Plan:
    """Lets a Tail add two maps, `v + (x + y)`, instead of reading a sum that an op of its own has stored."""
    rewriter = Rewriter(plan)
    for op in plan.ops:
        residual = op.tail.residual or ""
        total = rewriter.producer(residual)
        if not isinstance(total, Elementwise) or total.tail != Tail(residual=total.tail.residual):
            continue
        vectors = any(map(rewriter.is_vector, (total.input, total.tail.residual)))
        if op.tail.second_residual is None and not vectors and rewriter.is_sole_reader(op, residual):
            rewriter.replace(total)
            rewriter.replace(op, replace_tail(op, residual=total.input, second_residual=total.tail.residual))
    return rewriter.plan()


def _parts(tail: Tail) -> set[int]:
    """Positions of the parts that a Tail has."""
    return {index for index, part in enumerate(_PARTS) if getattr(tail, part) not in (None, "none")}


def fuse_outputs(plan: Plan) -> Plan:
    """Lets the op that writes a map also write its mean and the bits of a constant threshold."""
    rewriter = Rewriter(plan)
    for op in plan.ops:
        producer = rewriter.producer(op.input)
        if not isinstance(op, Elementwise) or op.out is not None or producer is None or producer.out != op.input:
            continue
        tail, bits = op.tail, op.tail.bits
        if tail == Tail(mean=tail.mean) and producer.tail.mean is None:
            rewriter.replace(producer, replace_tail(producer, mean=tail.mean))
            rewriter.replace(op)
        elif bits and tail == Tail(bits=bits) and producer.tail.bits is None and bits.threshold in plan.tensors:
            rewriter.replace(producer, replace_tail(producer, bits=bits))
            rewriter.replace(op)
    return rewriter.plan()


def remove_dead(plan: Plan) -> Plan:
    """Drops maps, ops and tensors that nothing reads."""
    needed = {plan.output}
    kept: list[Op] = []
    for op in reversed(plan.ops):
        if needed.isdisjoint(writes(op)):
            continue
        if op.tail.mean not in needed:
            op = replace_tail(op, mean=None)
        if op.tail.bits and op.tail.bits.out not in needed:
            op = replace_tail(op, bits=None)
        kept.append(op if op.out in needed else replace(op, out=None))
        needed.update(reads(op))
    tensors = {name: array for name, array in plan.tensors.items() if name in needed}
    return replace(plan, ops=tuple(reversed(kept)), tensors=tensors)


def cut_maps(plan: Plan) -> Plan:
    """Stores constant maps as the fewest rows and columns of cells in which all pixels are alike."""
    rewriter = Rewriter(plan)
    for op in plan.ops:
        if isinstance(op, AddMap):
            found = plan.tensors[op.map]
            for axis in (0, 1):
                found = _cut(found, axis)
            if found.shape != plan.tensors[op.map].shape:
                rewriter.replace(op, replace(op, map=rewriter.tensor(found)))
    return rewriter.plan()


def _cut(found: Array, axis: int) -> Array:
    """The cells of a map, along an axis; see `AddMap`."""
    size = found.shape[axis]
    for count in range(1, size):
        places = cell_of(size, count)
        cells = found.take(np.searchsorted(places, np.arange(count)), axis)
        if np.array_equal(cells.take(places, axis), found):
            return cells
    return found


def share_tensors(plan: Plan) -> Plan:
    """Gives equal tensors one name."""
    first: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    names = {}
    for name, array in plan.tensors.items():
        names[name] = first.setdefault((str(array.dtype), array.shape, array.tobytes()), name)
    return Rewriter(plan).renamed(names)


def number_names(plan: Plan) -> Plan:
    """Names values v0, v1, ... and tensors t0, t1, ... in the order of their first use."""
    names: dict[str, str] = {}
    values = tensors = 0
    for op in plan.ops:
        for name in (*reads(op), *writes(op)):
            if name in names or name == "images":
                continue
            if name in plan.tensors:
                names[name], tensors = f"t{tensors}", tensors + 1
            else:
                names[name], values = f"v{values}", values + 1
    return Rewriter(plan).renamed(names)


PASSES: tuple[Callable[[Plan], Plan], ...] = (
    join_shifts,
    join_cubes,
    move_affine_past_mean,
    merge_thresholds,
    remove_dead,
    fold_affine,
    fuse_tails,
    join_sums,
    fuse_outputs,
    cut_maps,
    remove_dead,
    share_tensors,
    number_names,
)
