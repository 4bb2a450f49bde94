"""The contract between training and running: a Plan, the deployable network without any framework.

A Plan is a list of ops over named *values*, plus named constant *tensors*. A value is, for each image,
a float32 map of shape `(height, width, channels)` or a bit map of the same shape with its channels packed
into 64-bit words; vectors are maps of height and width 1. Bit `c` of a map lies in word `c // 64` at position
`c % 64`; a set bit means +1, a clear bit -1, and bits past the last channel are 0.

Each op computes, in this order and in float32 with every operation rounded once (no fused multiply-add),

    accumulator  ->  Tail  ->  float map, its spatial mean, its bits

so that every executor gives the same bits (of a NaN, only that it is one). `evenbit.runtime.reference` is the
definition in numpy.

Deployment (`evenbit.deploy`) writes Plans, the runtime and the exporters read them; this module imports
neither torch nor the engine.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from evenbit.bits import WORD_BITS, unpack_bits, words
from evenbit.errors import PlanError

MAX_ELEMENTS = 2**28  # of one value or tensor; a larger one is a damaged or hostile file
MAX_FAN_IN = 2**24  # integers up to here are exact in float32, so a binary accumulator is too
MAX_INT8_FAN_IN = 2**17  # 2^17 products of up to 127 * 127 fit an int32

Array = npt.NDArray[Any]  # float32, uint64 or int8
Kind = Literal["float", "bits"]
Activation = Literal["none", "prelu", "clamp", "sigmoid", "softsign"]

# The activation "sigmoid", a ratio of polynomials: math libraries differ in the last bits of exp, sums and products do
# not. Fitted to 1 / (1 + exp(-v)) by least squares, reweighted towards the largest error. Over all float32 it is at
# most 2.1e-7 off and lies in [0, 1].
SIGMOID_LIMIT = 16.0
SIGMOID_NUMERATOR = (0.25, 0.008398873, 5.5690027e-05, 8.505203e-08, 1.4708866e-11)  # of u^0, u^1, ...
SIGMOID_DENOMINATOR = (1.0, 0.116928793, 0.0016335023, 5.311231e-06, 3.3022258e-09)


class Shape(NamedTuple):
    """Shape of one image's value: what it holds, and its height, width and channels."""

    kind: Kind
    height: int
    width: int
    channels: int

    def __str__(self) -> str:
        size = f"{self.height}x{self.width}x{self.channels}"
        return size if self.kind == "float" else f"{size} bits"


@dataclass(frozen=True)
class Bits:
    """Bits of a float map: `bit = (x >= threshold[c]) xor flip[c]`.

    A channel with a negative scale before its sign is flipped: `x <= t` is `not (x >= nextafter(t, inf))`.

    Attributes:
        out: Name of the bit map.
        threshold: Name of a float32 tensor `[C]` or, when it depends on the instance, of a value `(1, 1, C)`.
        flip: Name of a uint64 tensor `[words(C)]`.
    """

    out: str
    threshold: str
    flip: str


@dataclass(frozen=True)
class Tail:
    """The elementwise end of an op, each part optional, applied to the accumulator `v` in this order.

        v = v * scale[c]                                    scale: tensor [C]
        v = v + bias[c]                                     bias: tensor [C]
        v = v + residual                                    residual: float value of the same shape, or a
                                                            vector (1, 1, C) that is added to every pixel
        v = v if v >= 0 else v * slope[c]                   activation "prelu"; slope: tensor [C]
        v = low[c] if low[c] > v else v                     activation "clamp"; low, high: tensors [C]
        v = high[c] if high[c] < v else v
        v = 1/2 + t * P(t * t) / Q(t * t)                   activation "sigmoid": t is v clamped to
                                                            [-SIGMOID_LIMIT, SIGMOID_LIMIT]
        v = v / (1 + |v|)                                   activation "softsign"
        v = v + shift[c]                                    shift: tensor [C]

    P and Q are `SIGMOID_NUMERATOR` and `SIGMOID_DENOMINATOR` as float32, by Horner's rule: from the last coefficient
    on, `p = p * u + coefficient`. The product `t * P` is taken before the quotient.

    Attributes:
        mean: If set, the name of a value `(1, 1, C)`: the mean of the result over its pixels. Each row is summed
            from left to right, the rows are summed from top to bottom, and the sum is divided by the pixel count.
        bits: If set, the bits of the result.
    """

    scale: str | None = None
    bias: str | None = None
    residual: str | None = None
    activation: Activation = "none"
    slope: str | None = None
    low: str | None = None
    high: str | None = None
    shift: str | None = None
    mean: str | None = None
    bits: Bits | None = None


@dataclass(frozen=True)
class Op:
    """Base of all ops.

    Attributes:
        name: Where the op comes from, usually a module path; for people only.
        input: Name of the value it reads.
        out: Name of the float map it writes, or None if only its mean or bits are needed.
        tail: What follows the accumulator.
    """

    kind: ClassVar[str]
    name: str
    input: str
    out: str | None = None
    tail: Tail = field(default=Tail())


@dataclass(frozen=True)
class Normalize(Op):
    """Images to the first float map: `v = x`, and its Tail holds the per-channel scale and bias.

    Reads the value `images`: float32 in [0, 1], or uint8, of which 255 means 1 (`x = u8 / 255`).
    """

    kind: ClassVar[str] = "normalize"


@dataclass(frozen=True, kw_only=True)
class Conv(Op):
    """Float convolution, zero-padded: `v = sum over (ky, kx, i), in this order, of x * w`, from 0.

    Attributes:
        weight: Name of a float32 tensor `[O, kh, kw, C / groups]`.
        stride: Vertical and horizontal step.
        padding: Rows above and below, columns left and right.
        groups: Number of channel groups; output `o` reads group `o // (O / groups)`.
    """

    kind: ClassVar[str] = "conv"
    weight: str
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1


@dataclass(frozen=True, kw_only=True)
class Int8Conv(Op):
    """Convolution of integers of 8 bits, zero-padded, whose sum is exact.

        p = x * multiplier                             in float32
        q = rint(min(max(p, -127), 127))               halves to even; a NaN becomes -127
        v = float32(sum over (ky, kx, i) of q * w)     the sum in 32-bit integers

    The Tail's scale brings `v` back to the units of the float network: `1 / multiplier` times that of the weights.

    Attributes:
        weight: Name of an int8 tensor `[O, kh, kw, C]`, each from -127 to 127.
        multiplier: 127 / the largest |x| that is to be told apart; positive.
        stride: Vertical and horizontal step.
        padding: Rows above and below, columns left and right.
    """

    kind: ClassVar[str] = "int8_conv"
    weight: str
    multiplier: float
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class BinaryConv(Op):
    """Binary convolution, padded with +1: `v = K - 2 * popcount(x xor w)` with `K = kh * kw * C / groups`, exact.

    Attributes:
        weight: Name of a uint64 tensor `[O, kh, kw, words(C / groups)]`.
        stride: Vertical and horizontal step.
        padding: Rows above and below, columns left and right.
        groups: Number of channel groups; output `o` reads group `o // (O / groups)`.
    """

    kind: ClassVar[str] = "binary_conv"
    weight: str
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1


@dataclass(frozen=True)
class Elementwise(Op):
    """A Tail on its own: `v = x`."""

    kind: ClassVar[str] = "elementwise"


@dataclass(frozen=True, kw_only=True)
class Multiply(Op):
    """Product of two values: `v = x * factor`.

    Attributes:
        factor: Name of a float value of the same shape, or of a vector `(1, 1, C)` that every pixel is multiplied by.
    """

    kind: ClassVar[str] = "multiply"
    factor: str


@dataclass(frozen=True, kw_only=True)
class Cube(Op):
    """Third power of an affine map, whose mean is its third moment.

        u = x * scale[c] + offset[c]
        v = (u * u) * u

    Attributes:
        scale: Name of a float32 tensor `[C]`.
        offset: Name of a float32 tensor `[C]`.
    """

    kind: ClassVar[str] = "cube"
    scale: str
    offset: str


@dataclass(frozen=True, kw_only=True)
class Concat(Op):
    """Channels of several float maps of one height and width, those of the input first.

    Attributes:
        others: Names of the maps whose channels follow, in order; at least one.
    """

    kind: ClassVar[str] = "concat"
    others: tuple[str, ...]


@dataclass(frozen=True)
class Flatten(Op):
    """A map as a vector, each channel row by row: `v[(c * H + y) * W + x]` is the input at `(y, x, c)`."""

    kind: ClassVar[str] = "flatten"


@dataclass(frozen=True, kw_only=True)
class Threshold(Op):
    """The per-instance zero point, solved for the float map that is to be compared with it.

    For the sign of `scale[c] * x + offset[c] + e[c]`, with `e` the input `(1, 1, C)`:

        t = (-offset[c] - e[c]) / scale[c]          if scale[c] != 0
        t = -inf if offset[c] + e[c] >= 0 else inf  if scale[c] == 0
        v = nextafter(t, inf) if flip[c] else t

    Attributes:
        scale: Name of a float32 tensor `[C]`.
        offset: Name of a float32 tensor `[C]`.
        flip: Name of a uint64 tensor `[words(C)]`; set exactly where `scale` is negative.
    """

    kind: ClassVar[str] = "threshold"
    scale: str
    offset: str
    flip: str


@dataclass(frozen=True, kw_only=True)
class MaxPool(Op):
    """Largest value of each window: from -inf on, `v = x if x > v else v` in (ky, kx) order; padding never wins.

    Attributes:
        kernel: Height and width of the window.
        stride: Vertical and horizontal step.
        padding: Rows above and below, columns left and right.
    """

    kind: ClassVar[str] = "max_pool"
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)


@dataclass(frozen=True, kw_only=True)
class AvgPool(Op):
    """Mean of each window: its values summed in (ky, kx) order from 0, then divided by their number.

    Attributes:
        kernel: Height and width of the window.
        stride: Vertical and horizontal step.
    """

    kind: ClassVar[str] = "avg_pool"
    kernel: tuple[int, int]
    stride: tuple[int, int]


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
        Threshold,
        MaxPool,
        AvgPool,
    )
}


@dataclass(frozen=True)
class Plan:
    """A deployable network.

    Attributes:
        channels: Channels of an input image.
        height: Height of an input image.
        width: Width of an input image.
        classes: Class names, in the order of the logits.
        ops: The ops in execution order; the first is the only one that reads `images`.
        output: Name of the float value `(1, 1, len(classes))` that holds the logits.
        tensors: The constants by name.
        info: Where the network comes from (model, method, data set, ...); for people only.
    """

    channels: int
    height: int
    width: int
    classes: tuple[str, ...]
    ops: tuple[Op, ...]
    output: str
    tensors: Mapping[str, Array]
    info: Mapping[str, str] = field(default_factory=dict)

    def shapes(self) -> dict[str, Shape]:
        """Checks the whole Plan and returns the shape of every value.

        Raises:
            PlanError: Naming the op and what is wrong with it.
        """
        return self._checked.values

    def op_shapes(self) -> list[Shape]:
        """Checks the whole Plan and returns the shape of each op's result, the map before its mean and bits.

        Raises:
            PlanError: Naming the op and what is wrong with it.
        """
        return self._checked.results

    @functools.cached_property  # checking reads every weight, and loading a file asks for both shapes
    def _checked(self) -> _Checker:
        checker = _Checker(self)
        for op in self.ops:
            try:
                checker.visit(op)
            except PlanError as error:
                raise PlanError(f"op '{op.name}' ({op.kind}): {error}") from None
        expected = Shape("float", 1, 1, len(self.classes))
        if checker.values.get(self.output) != expected or self.output == "images":
            found = checker.values.get(self.output, "nothing")
            raise PlanError(f"output '{self.output}' should be {expected}, one logit a class, but is {found}")
        return checker


def reads(op: Op) -> Iterator[str]:
    """Names of the values and tensors that an op reads, its input first."""
    yield op.input
    tail = op.tail
    own = (getattr(op, key, None) for key in ("weight", "factor", "scale", "offset", "flip"))
    ends = (tail.scale, tail.bias, tail.residual, tail.slope, tail.low, tail.high, tail.shift)
    bits = (tail.bits.threshold, tail.bits.flip) if tail.bits else ()
    yield from (name for name in (*own, *getattr(op, "others", ()), *ends, *bits) if name is not None)


def writes(op: Op) -> Iterator[str]:
    """Names of the values that an op writes."""
    names = (op.out, op.tail.mean, op.tail.bits.out if op.tail.bits else None)
    yield from (name for name in names if name is not None)


class _Checker:
    """Walks the ops in order and knows the shape of every value so far."""

    def __init__(self, plan: Plan) -> None:
        self.tensors = plan.tensors
        self.results: list[Shape] = []
        if "images" in self.tensors:
            raise PlanError("a tensor is named 'images', which is the name of the input")
        self.values = {"images": Shape("float", plan.height, plan.width, plan.channels)}
        if min(self.values["images"][1:]) < 1 or math.prod(self.values["images"][1:]) > MAX_ELEMENTS:
            raise PlanError(f"input size {self.values['images']} is out of range")

    def visit(self, op: Op) -> None:
        if (op.input == "images") != isinstance(op, Normalize) or (op.input == "images") == bool(self.results):
            raise PlanError("the first op and no other should be a normalize op and read 'images'")
        if "images" in list(reads(op))[1:]:
            raise PlanError("reads 'images' as something else than its input")
        shape = self._result(op, self._value(op.input, "bits" if isinstance(op, BinaryConv) else "float"))
        self._tail(op.tail, shape)
        self.results.append(shape)
        for name in writes(op):
            if name in self.values or name in self.tensors:
                raise PlanError(f"writes '{name}', which exists already")
            is_bits = op.tail.bits is not None and name == op.tail.bits.out
            size = (1, 1) if name == op.tail.mean else (shape.height, shape.width)
            self.values[name] = Shape("bits" if is_bits else "float", *size, shape.channels)
        if not any(True for _ in writes(op)):
            raise PlanError("writes nothing")

    def _value(self, name: str, kind: Kind) -> Shape:
        if name not in self.values:
            raise PlanError(f"reads '{name}', which no earlier op writes")
        if self.values[name].kind != kind:
            raise PlanError(f"needs '{name}' as {kind}, but it is {self.values[name].kind}")
        return self.values[name]

    def _tensor(self, name: str, dtype: type[np.generic], shape: tuple[int, ...]) -> Array:
        """The tensor, after checking its type and shape; -1 in `shape` stands for any size of at least 1."""
        if name not in self.tensors:
            raise PlanError(f"needs the tensor '{name}', which is missing")
        array = self.tensors[name]
        fits = len(array.shape) == len(shape) and all(
            have == want or (want == -1 and have >= 1) for have, want in zip(array.shape, shape, strict=True)
        )
        if not fits or array.dtype != dtype:
            raise PlanError(
                f"tensor '{name}' should be {np.dtype(dtype)} {list(shape)}, but is {array.dtype} {list(array.shape)}"
            )
        return array

    def _result(self, op: Op, source: Shape) -> Shape:
        """Shape of the accumulator."""
        channels = source.channels
        if isinstance(op, Conv):
            weight = self._tensor(op.weight, np.float32, (-1, -1, -1, _per_group(op, channels)))
            _check_outputs(op, weight)
            return _window(source, weight.shape[1:3], op.stride, op.padding, weight.shape[0])
        if isinstance(op, Int8Conv):
            weight = self._tensor(op.weight, np.int8, (-1, -1, -1, channels))
            if weight.shape[1] * weight.shape[2] * channels > MAX_INT8_FAN_IN:
                raise PlanError(f"more than {MAX_INT8_FAN_IN} inputs an output")
            if weight.min() < -127:
                raise PlanError(f"tensor '{op.weight}' holds -128; int8 weights go from -127 to 127")
            # Compared as Python floats: numpy would compare a float32 with a float in float32.
            in_range = 0 < op.multiplier <= float(np.finfo(np.float32).max)
            if not in_range or float(np.float32(op.multiplier)) != op.multiplier:
                raise PlanError(f"multiplier {op.multiplier} is not a positive float32")
            return _window(source, weight.shape[1:3], op.stride, op.padding, weight.shape[0])
        if isinstance(op, BinaryConv):
            per_group = _per_group(op, channels)
            weight = self._tensor(op.weight, np.uint64, (-1, -1, -1, words(per_group)))
            _check_outputs(op, weight)
            if weight.shape[1] * weight.shape[2] * per_group > MAX_FAN_IN:
                raise PlanError(f"more than {MAX_FAN_IN} inputs an output")
            check_spare_bits(op.weight, weight, per_group)
            return _window(source, weight.shape[1:3], op.stride, op.padding, weight.shape[0])
        if isinstance(op, MaxPool):
            if op.padding[0] >= op.kernel[0] or op.padding[1] >= op.kernel[1]:
                raise PlanError("padding must be smaller than the kernel")
            return _window(source, op.kernel, op.stride, op.padding, channels)
        if isinstance(op, AvgPool):
            return _window(source, op.kernel, op.stride, (0, 0), channels)
        if isinstance(op, Multiply):
            self._same_or_vector("factor", op.factor, source)
        if isinstance(op, Cube):
            for name in (op.scale, op.offset):
                self._tensor(name, np.float32, (channels,))
        if isinstance(op, Concat):
            parts = [source, *(self._value(name, "float") for name in op.others)]
            if len(parts) < 2:
                raise PlanError("joins a single map")
            if any(part[1:3] != source[1:3] for part in parts):
                raise PlanError(f"joins maps of different sizes: {', '.join(map(str, parts))}")
            channels = sum(part.channels for part in parts)
            if source.height * source.width * channels > MAX_ELEMENTS:
                raise PlanError("its map is too large")
            return source._replace(channels=channels)
        if isinstance(op, Flatten):
            return Shape("float", 1, 1, source.height * source.width * channels)
        if isinstance(op, Threshold):
            if (source.height, source.width) != (1, 1):
                raise PlanError(f"needs a vector, but '{op.input}' is {source}")
            scale = self._tensor(op.scale, np.float32, (channels,))
            self._tensor(op.offset, np.float32, (channels,))
            flip = self._tensor(op.flip, np.uint64, (words(channels),))
            if not np.array_equal(unpack_bits(flip, channels), scale < 0):
                raise PlanError(f"'{op.flip}' is not set exactly where '{op.scale}' is negative")
        return source

    def _same_or_vector(self, what: str, name: str, shape: Shape) -> None:
        if self._value(name, "float") not in (shape, Shape("float", 1, 1, shape.channels)):
            raise PlanError(f"{what} '{name}' is {self.values[name]}, not {shape}")

    def _tail(self, tail: Tail, shape: Shape) -> None:
        per_channel = (shape.channels,)
        for name in (tail.scale, tail.bias, tail.slope, tail.low, tail.high, tail.shift):
            if name is not None:
                self._tensor(name, np.float32, per_channel)
        if (tail.slope is not None) != (tail.activation == "prelu"):
            raise PlanError("a slope goes with the activation prelu, and only with it")
        if [tail.low is not None, tail.high is not None] != [tail.activation == "clamp"] * 2:
            raise PlanError("low and high go with the activation clamp, and only with it")
        if tail.activation not in typing.get_args(Activation):
            raise PlanError(f"unknown activation '{tail.activation}'")
        if tail.residual is not None:
            self._same_or_vector("residual", tail.residual, shape)
        if tail.bits is not None:
            flip = self._tensor(tail.bits.flip, np.uint64, (words(shape.channels),))
            check_spare_bits(tail.bits.flip, flip, shape.channels)
            if tail.bits.threshold in self.values:
                vector = Shape("float", 1, 1, shape.channels)
                if self.values[tail.bits.threshold] != vector:
                    raise PlanError(f"threshold '{tail.bits.threshold}' should be {vector}")
            else:
                self._tensor(tail.bits.threshold, np.float32, per_channel)


def _per_group(op: Conv | BinaryConv, channels: int) -> int:
    """Input channels of a group."""
    if op.groups < 1 or channels % op.groups:
        raise PlanError(f"{channels} channels do not divide into {op.groups} groups")
    return channels // op.groups


def _check_outputs(op: Conv | BinaryConv, weight: Array) -> None:
    if weight.shape[0] % op.groups:
        raise PlanError(f"{weight.shape[0]} outputs do not divide into {op.groups} groups")


def _window(
    source: Shape, kernel: tuple[int, ...], stride: tuple[int, int], padding: tuple[int, int], channels: int
) -> Shape:
    """Output shape of a sliding window."""
    if min(*kernel, *stride) < 1 or min(padding) < 0 or max(*kernel, *stride, *padding) > 2**15:
        raise PlanError(f"kernel {tuple(kernel)}, stride {stride} or padding {padding} is out of range")
    padded = (source.height + 2 * padding[0], source.width + 2 * padding[1])
    height, width = ((padded[axis] - kernel[axis]) // stride[axis] + 1 for axis in (0, 1))
    if padded[0] < kernel[0] or padded[1] < kernel[1]:
        raise PlanError(f"its {kernel[0]}x{kernel[1]} kernel is larger than its padded input {padded[0]}x{padded[1]}")
    if max(height * width * channels, padded[0] * padded[1] * source.channels) > MAX_ELEMENTS:
        raise PlanError("its map is too large")
    return Shape("float", height, width, channels)


def check_spare_bits(name: str, packed: Array, channels: int) -> None:
    """Raises PlanError if a bit past the last channel is set: it would count as a difference."""
    spare = channels % WORD_BITS
    if spare and bool(np.any(packed[..., -1] >> np.uint64(spare))):
        raise PlanError(f"tensor '{name}' has bits set past channel {channels}")


def replace_tail(op: Op, **changes: object) -> Op:
    """A copy of `op` with fields of its Tail changed."""
    return dataclasses.replace(op, tail=dataclasses.replace(op.tail, **changes))  # type: ignore[arg-type]
