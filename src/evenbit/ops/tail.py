"""The elementwise steps that end every op: scale, bias, residual, activation, shift, then mean and bits."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from evenbit.bits import pack_bits, words
from evenbit.errors import PlanError
from evenbit.ops.names import LimitName, NewName, TensorName, ValueName
from evenbit.ops.scope import Scope, check_spare_bits
from evenbit.ops.shape import Array, Shape, vector

Activation = Literal["none", "prelu", "clamp", "sigmoid", "softsign", "normal_cdf", "rsqrt"]

# The activation "sigmoid" is a ratio of polynomials: math libraries differ in the last bits of exp, but not of sums and
# products. It is fitted to 1 / (1 + exp(-v)) by least squares, reweighted towards the largest error. Over all float32
# it is at most 2.1e-7 off and lies in [0, 1].
SIGMOID_LIMIT = 16.0
SIGMOID_NUMERATOR = (0.25, 0.008398873, 5.5690027e-05, 8.505203e-08, 1.4708866e-11)  # of u^0, u^1, ...
SIGMOID_DENOMINATOR = (1.0, 0.116928793, 0.0016335023, 5.311231e-06, 3.3022258e-09)

# The activation "normal_cdf", P(X <= v) for X of the normal distribution, likewise. Over all float32 it is at most
# 2.1e-7 off and lies in [0, 1].
NORMAL_LIMIT = 5.5
NORMAL_NUMERATOR = (0.39894222, 0.034376162, 0.0047072628, 0.00017385121, 6.3565268e-06, 2.2145232e-08)
NORMAL_DENOMINATOR = (1.0, 0.25283397, 0.028940119, 0.0019129813, 7.5102024e-05, 1.1802092e-06)


@dataclass(frozen=True)
class Bits:
    """Bits of a float map: `bit = (x >= threshold[c]) xor flip[c]`.

    A channel with a negative scale before its sign is flipped, since `x <= t` is `not (x >= nextafter(t, inf))`.

    Attributes:
        out: Name of the bit map.
        threshold: Name of a float32 tensor `[C]` or, if it depends on the image, of a value `(1, 1, C)`.
        flip: Name of a uint64 tensor `[words(C)]`.
    """

    out: NewName
    threshold: LimitName
    flip: TensorName


@dataclass(frozen=True, repr=False)
class Tail:
    """The elementwise end of an op, each part optional, applied to the accumulator `v` in this order.

        v = v * scale[c]                                    scale: tensor [C]
        v = v + bias[c]                                     bias: tensor [C]
        v = v + residual                                    residual: float value of the same shape, or a
                                                            vector (1, 1, C) that is added to every pixel
        v = v + (residual + second_residual)                instead, if there are two; both of the same shape
        v = v if v >= 0 else v * slope[c]                   activation "prelu"; slope: tensor [C]
        v = low[c] if low[c] > v else v                     activation "clamp"; low, high: tensors [C]
        v = high[c] if high[c] < v else v
        v = 1/2 + t * P(t * t) / Q(t * t)                   activation "sigmoid": t is v clamped to
                                                            [-SIGMOID_LIMIT, SIGMOID_LIMIT]
        v = v / (1 + |v|)                                   activation "softsign"
        v = 1/2 + r                                         activation "normal_cdf": r is t * P(t * t) / Q(t * t)
                                                            clamped to [-1/2, 1/2], t is v clamped to
                                                            [-NORMAL_LIMIT, NORMAL_LIMIT]
        v = 1 / sqrt(v)                                     activation "rsqrt"
        v = v + shift[c]                                    shift: tensor [C]

    P and Q are `SIGMOID_NUMERATOR` and `SIGMOID_DENOMINATOR`, or those named NORMAL, as float32, by Horner's rule: from
    the last coefficient on, `p = p * u + coefficient`. The product `t * P` is taken before the quotient.

    Attributes:
        mean: If set, the name of a value `(1, 1, C)`: the mean of the result over its pixels. Each row is summed
            from left to right, the rows are summed from top to bottom, and the sum is divided by the pixel count.
        bits: If set, the bits of the result.
    """

    scale: TensorName | None = None
    bias: TensorName | None = None
    residual: ValueName | None = None
    second_residual: ValueName | None = None
    activation: Activation = "none"
    slope: TensorName | None = None
    low: TensorName | None = None
    high: TensorName | None = None
    shift: TensorName | None = None
    mean: NewName | None = None
    bits: Bits | None = None

    def __repr__(self) -> str:
        parts = ((field.name, getattr(self, field.name), field.default) for field in dataclasses.fields(self))
        return f"Tail({', '.join(f'{name}={value!r}' for name, value, default in parts if value != default)})"

    def check(self, shape: Shape, scope: Scope) -> None:
        """Refuses a Tail that does not fit an accumulator of that shape.

        Raises:
            PlanError: If it does not fit, saying why.
        """
        per_channel = (shape.channels,)
        for name in (self.scale, self.bias, self.slope, self.low, self.high, self.shift):
            if name is not None:
                scope.tensor(name, np.float32, per_channel)
        if (self.slope is not None) != (self.activation == "prelu"):
            raise PlanError("a slope goes with the activation prelu, and only with it")
        if [self.low is not None, self.high is not None] != [self.activation == "clamp"] * 2:
            raise PlanError("low and high go with the activation clamp, and only with it")
        if self.activation not in typing.get_args(Activation):
            raise PlanError(f"unknown activation '{self.activation}'")
        if self.residual is not None:
            scope.same_or_vector("residual", self.residual, shape)
        if self.second_residual is not None:
            for name in (self.residual, self.second_residual):
                if name is None or scope.value(name, "float") != shape:
                    raise PlanError(f"with a second residual, both should be {shape}")
        if self.bits is not None:
            flip = scope.tensor(self.bits.flip, np.uint64, (words(shape.channels),))
            check_spare_bits(self.bits.flip, flip, shape.channels)
            if self.bits.threshold in scope.values:
                if scope.values[self.bits.threshold] != vector(shape.channels):
                    raise PlanError(f"threshold '{self.bits.threshold}' should be {vector(shape.channels)}")
            else:
                scope.tensor(self.bits.threshold, np.float32, per_channel)

    def finish(self, v: Array, out: str | None, known: Mapping[str, Array]) -> dict[str, Array]:
        """The definition in numpy.

        Args:
            v: The accumulator `[N, H, W, C]`.
            out: Name of the float map, if it is kept.
            known: Values and constants by name.

        Returns:
            The values that the op writes: its float map, its mean and its bits, as far as it has them.
        """
        if self.scale is not None:
            v = v * known[self.scale]
        if self.bias is not None:
            v = v + known[self.bias]
        if self.residual is not None:
            added = known[self.residual]
            if self.second_residual is not None:
                added = added + known[self.second_residual]
            v = v + added
        if self.activation == "prelu" and self.slope is not None:
            v = np.where(v >= 0, v, v * known[self.slope])
        if self.activation == "clamp" and self.low is not None and self.high is not None:
            v = _clamp(v, known[self.low], known[self.high])
        if self.activation == "sigmoid":
            v = _sigmoid(v)
        if self.activation == "softsign":
            v = v / (np.float32(1) + np.abs(v))
        if self.activation == "normal_cdf":
            v = _normal_cdf(v)
        if self.activation == "rsqrt":
            v = np.float32(1) / np.sqrt(v)
        if self.shift is not None:
            v = v + known[self.shift]
        written: dict[str, Array] = {}
        if out is not None:
            written[out] = v
        if self.mean is not None:
            written[self.mean] = _mean(v)
        if self.bits is not None:
            written[self.bits.out] = pack_bits(v >= known[self.bits.threshold]) ^ known[self.bits.flip]
        return written


def _clamp(v: Array, low: npt.ArrayLike, high: npt.ArrayLike) -> Array:
    v = np.where(low > v, low, v)
    return np.where(high < v, high, v)


def _sigmoid(v: Array) -> Array:
    limit = np.float32(SIGMOID_LIMIT)
    t = _clamp(v, -limit, limit)
    u = t * t
    return np.asarray(np.float32(0.5) + t * _horner(SIGMOID_NUMERATOR, u) / _horner(SIGMOID_DENOMINATOR, u))


def _normal_cdf(v: Array) -> Array:
    limit, half = np.float32(NORMAL_LIMIT), np.float32(0.5)
    t = _clamp(v, -limit, limit)
    u = t * t
    return np.asarray(half + _clamp(t * _horner(NORMAL_NUMERATOR, u) / _horner(NORMAL_DENOMINATOR, u), -half, half))


def _horner(coefficients: tuple[float, ...], u: Array) -> Array:
    """The polynomial with these coefficients, the constant one first, at `u`."""
    p = np.full_like(u, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        p = p * u + np.float32(coefficient)
    return p


def _mean(v: Array) -> Array:
    """Mean over pixels: rows from left to right, then rows from top to bottom, then one division."""
    rows = np.zeros_like(v[:, :, 0])
    for column in range(v.shape[2]):
        rows = rows + v[:, :, column]
    total = np.zeros_like(v[:, 0, 0])
    for row in range(v.shape[1]):
        total = total + rows[:, row]
    return (total / np.float32(v.shape[1] * v.shape[2]))[:, None, None]
