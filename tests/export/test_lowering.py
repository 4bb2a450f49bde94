"""The nodes of both forms against the reference: each op given the reference's inputs, and whole networks."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from executors import FORMS, Floats, Fragments, exported, logits, unfused, without_float_sums
from plans import PlanMaker, everything, map_of_logits
from random_plans import RandomPlan

from evenbit.bits import pack_bits, unpack_bits
from evenbit.errors import ExportError
from evenbit.export.split_weights import exact_digits
from evenbit.ops import (
    OPS,
    Activation,
    AvgPool,
    Bits,
    Conv,
    Elementwise,
    Int8Conv,
    LayerNorm,
    MatMul,
    Op,
    Shape,
    Softmax,
    Tail,
    Threshold,
    reads,
    writes,
)
from evenbit.plan import Plan
from evenbit.runtime import reference

UNIT = 2.0**-24  # a rounded operation is off by at most this part of its result


def nchw(value: npt.NDArray[Any], shape: Shape, form: str) -> Floats:
    """A value of the reference as a form holds it."""
    if shape.kind == "bits":
        bits = unpack_bits(value, shape.channels)
        value = np.where(bits, 0, 1) if form == "onnx" else np.where(bits, 1, -1)
    elif value.dtype == np.uint8:
        value = value / np.float32(255)
    return np.ascontiguousarray(value.transpose(0, 3, 1, 2), np.float32)


def tolerance(plan: Plan, op: Op, x: npt.NDArray[Any], name: str, known: dict[str, Any]) -> Floats | float:
    """How far two orders of adding may lie apart: each is off by at most n roundings of the sum of magnitudes."""
    with np.errstate(all="ignore"):
        if isinstance(op, Conv):
            known = {op.weight: np.abs(plan.tensors[op.weight])}
            magnitude = op.accumulate(np.abs(x), plan.shapes()[op.input], known)
            terms = known[op.weight][0].size
        elif isinstance(op, MatMul):
            magnitude = np.einsum("nyxi,nyic->nyxc", np.abs(x), np.abs(known[op.other]))
            terms = x.shape[3]
        elif isinstance(op, LayerNorm):
            return _layer_norm_bound(op, x).transpose(0, 3, 1, 2)
        elif isinstance(op, Softmax):  # the exponential of a rounded number, one library's or the other's
            less = x.max(-1, keepdims=True) - x
            magnitude, terms = op.accumulate(x, plan.shapes()[op.input], {}) * (less + 1) + 1e-32, x.shape[3] + 8
        elif isinstance(op, AvgPool):
            magnitude = op.accumulate(np.abs(x), plan.shapes()[op.input], {})
            terms = op.kernel[0] * op.kernel[1] + 1
        elif name == op.tail.mean:
            magnitude, terms = np.abs(x).mean((1, 2), keepdims=True), x.shape[1] * x.shape[2] + 1
        else:
            return 0.0
    bound: Floats = (2.01 * terms * UNIT * magnitude).transpose(0, 3, 1, 2)
    return bound


def _layer_norm_bound(op: LayerNorm, x: npt.NDArray[Any]) -> Floats:
    """How far the mean may be off, then the variance, then the result."""
    unit, x = UNIT * (x.shape[3] + 4), x.astype(np.float64)
    d = x - x.mean(-1, keepdims=True)
    variance = (d * d).mean(-1, keepdims=True)
    of_d = 2 * unit * np.abs(x).max(-1, keepdims=True)
    of_factor = (2 * np.sqrt(variance) * of_d + of_d**2 + unit * variance) / (variance + op.epsilon) + unit
    return np.asarray(2 * (of_d + np.abs(d) * of_factor) / np.sqrt(variance + op.epsilon))


def assert_ops_agree(plan: Plan, form: str, images: npt.NDArray[Any]) -> None:
    """Runs the nodes of each op alone, on what the reference computed before it."""
    plan = unfused(plan)
    known, shapes = reference.values(plan, images), plan.shapes()
    fragments = Fragments(plan, form)
    compared = 0
    for op in plan.ops:
        inputs = {name: nchw(known[name], shapes[name], form) for name in reads(op) if name in shapes}
        found = fragments(inputs, list(writes(op)))
        result = known[op.out or ""]
        for name, array in found.items():
            expected = nchw(known[name], shapes[name], form)
            assert array.dtype == np.float32
            assert array.shape == expected.shape
            bound = tolerance(plan, op, result if name == op.tail.mean else known[op.input], name, known)
            equal = (array == expected) | (np.isnan(array) & np.isnan(expected))
            if form == "qonnx" and shapes[name].kind == "bits":  # there, a NaN has no bit of its own
                equal |= np.isnan(nchw(result, shapes[op.out or ""], form))
            with np.errstate(invalid="ignore"):
                assert (equal | (np.abs(array - expected) <= bound)).all(), (op, name)
            compared += 1
    assert compared > len(plan.ops) / 3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(12))
def test_each_op_of_random_plans(seed: int, form: str) -> None:
    random = RandomPlan(seed)
    assert_ops_agree(random.plan, form, random.images(1))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels", [1, 17, 64, 65])
def test_each_op_at_awkward_widths(channels: int, form: str) -> None:
    plan = everything(channels, channels)
    pixels = np.random.default_rng(channels).integers(0, 256, (1, 3, 9, 7), np.uint8)
    assert_ops_agree(plan, form, pixels)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("channels", [1, 16, 33, 64, 130])
def test_networks_without_float_sums_are_exact(channels: int, form: str) -> None:
    plan = without_float_sums(channels, channels)
    images = np.random.default_rng(0).random((3, 24, 9, 7), np.float32)
    assert np.array_equal(logits(exported(plan, form), form, images), reference.run(plan, images))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(12, 32))
def test_random_networks(seed: int, form: str) -> None:
    random = RandomPlan(seed)
    images = random.images(2)
    expected = reference.run(random.plan, images)
    # A bit that is turned round changes the logits by about a hundredth of their size; rounding by far less.
    assert np.allclose(logits(exported(random.plan, form), form, images), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("form", FORMS)
def test_a_map_of_logits(form: str) -> None:
    plan = map_of_logits()
    images = np.random.default_rng(0).random((2, 3, 5, 4), np.float32)
    found = logits(exported(plan, form), form, images)
    assert found.shape == (2, 19, 7, 6)
    assert np.allclose(found, reference.run(plan, images), atol=1e-5)


def levels() -> Floats:
    """float32 numbers of all sizes with both signs, those around powers of two, zeros, infinities and subnormals."""
    exponents = np.arange(-149, 128)
    powers = np.ldexp(np.float32(1), exponents).astype(np.float32)
    around = [powers, np.nextafter(powers, np.float32(np.inf)), np.nextafter(powers, np.float32(0))]
    mixed = np.random.default_rng(0).integers(0, 2**31, 4000, np.uint32).view(np.float32)
    limits = np.asarray([0, np.inf, np.finfo(np.float32).max], np.float32)
    positive = np.concatenate([*around, mixed[np.isfinite(mixed)], limits])
    return np.concatenate([positive, -positive])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [1.0, -1.0])
def test_thresholds_of_the_instance_are_the_next_float(form: str, scale: float) -> None:
    values = levels()
    channels = len(values)
    make = PlanMaker(0, channels, 1, 1)
    tensors = {"scale": np.full(channels, scale, np.float32), "offset": np.zeros(channels, np.float32)}
    tensors["flip"] = pack_bits(tensors["scale"] < 0)
    names = {name: make.store(array) for name, array in tensors.items()}
    first = make.normalize()
    make.ops.append(Threshold("threshold", first, "t", **names))
    plan = Plan(channels, 1, 1, tuple(map(str, range(channels))), tuple(make.ops), "t", make.tensors)
    found = Fragments(plan, form)({first: values.reshape(1, -1, 1, 1)}, ["t"])["t"]
    with np.errstate(over="ignore"):
        expected = -values if scale > 0 else np.nextafter(values, np.float32(np.inf))
    assert np.array_equal(found.reshape(-1), expected)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("flipped", [False, True])
def test_static_thresholds_at_every_level(form: str, flipped: bool) -> None:
    values = levels()
    level = values[np.isfinite(values)]
    channels = len(level)
    make = PlanMaker(0, channels, 1, 1)
    flip, threshold, first = make.store(pack_bits(np.full(channels, flipped))), make.store(level), make.normalize()
    make.ops.append(Elementwise("bits", first, None, Tail(bits=Bits("b", threshold, flip))))
    plan = make.plan(first, 1)
    run = Fragments(plan, form)
    with np.errstate(over="ignore"):
        near = [level, np.nextafter(level, np.float32(np.inf)), np.nextafter(level, np.float32(-np.inf)), level * 0]
    largest = np.finfo(np.float32).max
    for x in (np.clip(levels, -largest, largest) for levels in near):
        found = run({first: x.reshape(1, -1, 1, 1)}, ["b"])["b"]
        bits = (x >= level) ^ flipped
        assert np.array_equal(found.reshape(-1), np.where(bits, 0, 1) if form == "onnx" else np.where(bits, 1, -1))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("inputs", [1000, 1100, 9_000, 20_000, 2**17])
def test_sums_of_8_bit_integers_are_exact(inputs: int, form: str) -> None:
    """From as many inputs as there may be, all of them large, and with a scale that is not to be moved into the sum."""
    rng = np.random.default_rng(inputs)
    weight = rng.integers(125, 128, (4, 1, 1, inputs), np.int8)
    weight[1] = -weight[1]
    weight[2] *= rng.choice(np.array([-1, 1], np.int8), inputs)
    weight[3] = rng.integers(-127, 128, inputs)
    make = PlanMaker(0, inputs, 1, 1)
    first, scale = make.normalize(), make.store(np.array([0.1, 0.3, 0.7, 1 / 3], np.float32))
    fields = {"weight": make.store(weight), "multiplier": 0.5}
    make.ops.append(Int8Conv("dense", first, "out", Tail(scale=scale), **fields))
    plan = Plan(inputs, 1, 1, tuple("abcd"), tuple(make.ops), "out", make.tensors)
    values = rng.integers(240, 256, (1, 1, 1, inputs)).astype(np.float32)
    expected = plan.ops[-1].accumulate(values, plan.shapes()[first], plan.tensors) * plan.tensors[scale]
    found = Fragments(plan, form)({first: values.reshape(1, -1, 1, 1)}, ["out"])["out"]
    assert np.array_equal(found.reshape(-1), expected.reshape(-1))


def test_digits_are_as_few_as_the_weights_allow() -> None:
    for inputs, size, digits in ((1040, 127, 1), (1041, 127, 2), (1041, 126, 1), (2**17, 127, 7), (2**17, 1, 1)):
        weight = np.full((2, inputs, 1, 1), size, np.int8)
        weight[1] = -weight[1]
        base, found = exact_digits(weight)
        assert len(found) == digits
        assert np.array_equal(sum(base**index * digit.astype(int) for index, digit in enumerate(found)), weight)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("multiplier", [0.5, 1.5, 2.0**-120, 3e38])
def test_rounding_to_8_bits_at_every_level(multiplier: float, form: str) -> None:
    """Halves, infinities, what is beyond both ends, and, in standard ONNX, a NaN."""
    values = np.concatenate([levels(), np.arange(-300, 301, dtype=np.float32)])
    values = np.append(values, np.float32(np.nan)) if form == "onnx" else values
    make = PlanMaker(0, 1, len(values), 1)
    first = make.normalize()
    out = make.int8_conv(first, 1, (1, 1), (1, 1), (0, 0), float(np.float32(multiplier)))
    op = make.ops[-1]
    assert isinstance(op, Int8Conv)
    make.tensors[op.weight][:] = 1
    plan = make.plan(make.mean(out))
    with np.errstate(all="ignore"):
        expected = op.accumulate(values.reshape(1, -1, 1, 1), plan.shapes()[first], plan.tensors).reshape(-1)
    found = Fragments(plan, form)({first: values.reshape(1, 1, -1, 1)}, [out])[out].reshape(-1)
    assert np.array_equal(found, expected)
    assert np.unique(expected).size > 10


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("activation", ["clamp", "sigmoid", "normal_cdf", "rsqrt"])
def test_activations_at_every_level(activation: str, form: str) -> None:
    """Limits that are zero, infinite or not in order. ONNX Runtime's Where does not keep the sign of a zero."""
    levels_and_nan = np.append(levels(), np.float32(np.nan))
    limits = [(0.0, 6.0), (-1.0, 0.0), (-0.3, 1.7), (-np.inf, np.inf), (2.0, 1.0)]
    values = np.tile(levels_and_nan, len(limits))
    low, high = (np.repeat(np.array(side, np.float32), len(levels_and_nan)) for side in zip(*limits, strict=True))
    make = PlanMaker(0, len(values), 1, 1)
    first, ends = make.normalize(), {"low": make.store(low), "high": make.store(high)}
    tail = Tail(activation="clamp", **ends) if activation == "clamp" else Tail(activation=activation)
    make.ops.append(Elementwise("activation", first, "out", tail))
    plan = Plan(len(values), 1, 1, tuple(map(str, range(len(values)))), tuple(make.ops), "out", make.tensors)
    with np.errstate(all="ignore"):
        expected = tail.finish(values, "out", plan.tensors)["out"]
    found = Fragments(plan, form)({first: values.reshape(1, -1, 1, 1)}, ["out"])["out"].reshape(-1)
    assert np.array_equal(found, expected, equal_nan=True)


def test_every_part_of_a_plan_is_known_here() -> None:
    """A new op, field or part of a Tail has to be exported before it may be added to this list."""
    fields = {kind: {field.name for field in dataclasses.fields(op)} for kind, op in OPS.items()}
    common = {"name", "input", "out", "tail"}
    window = {"stride", "padding"}
    assert fields == {
        "normalize": common,
        "conv": common | window | {"weight", "groups"},
        "int8_conv": common | window | {"weight", "multiplier"},
        "binary_conv": common | window | {"weight", "groups"},
        "elementwise": common,
        "multiply": common | {"factor"},
        "cube": common | {"scale", "offset"},
        "concat": common | {"others"},
        "flatten": common,
        "gather": common | {"rows", "columns", "channels"},
        "threshold": common | {"scale", "offset", "flip"},
        "add_map": common | {"map"},
        "interpolate": common | {"rows", "row_weights", "columns", "column_weights"},
        "layer_norm": common | {"epsilon"},
        "matmul": common | {"other"},
        "softmax": common,
        "max_pool": common | window | {"kernel", "overhang"},
        "avg_pool": common | window | {"kernel", "overhang"},
    }
    tail = {field.name for field in dataclasses.fields(Tail)}
    assert tail == {
        *("scale", "bias", "residual", "second_residual", "activation", "slope", "low", "high", "shift"),
        *("mean", "bits"),
    }
    assert set(typing.get_args(Activation)) == {
        *("none", "prelu", "clamp", "sigmoid", "softsign", "normal_cdf", "rsqrt")
    }
    assert {field.name for field in dataclasses.fields(Bits)} == {"out", "threshold", "flip"}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_known_is_refused_by_name(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Rotate(Elementwise):
        kind = "rotate"

    plan = everything(0, 16)
    ops = list(plan.ops)
    ops[2] = Rotate("stem.turn", ops[2].input, ops[2].out, ops[2].tail)
    with pytest.raises(ExportError, match=r"op 'stem.turn' \(rotate\) has no form in ONNX"):
        exported(dataclasses.replace(plan, ops=tuple(ops)), form)

    tail = dataclasses.replace(plan.ops[1].tail, activation="gelu", slope=None)
    ops = [plan.ops[0], dataclasses.replace(plan.ops[1], tail=tail), *plan.ops[2:]]
    unchecked = dataclasses.replace(plan, ops=tuple(ops))
    for check in ("shapes", "op_shapes"):  # the Plan itself does not allow it yet
        result = getattr(plan, check)()
        monkeypatch.setattr(Plan, check, lambda self, result=result: result)
    with pytest.raises(ExportError, match=r"op 'conv' \(conv\): its activation 'gelu' has no form in ONNX"):
        exported(unchecked, form)
