"""How long a network takes on one thread, without running it: a model fitted to measured ops.

The time of an op grows with what it does, and each kind of op does it at its own pace:

    t = a + b * multiply-adds + c * values written + d * values read + (for each part of its Tail) e * values written

with `a, b, c, d` of the op's class and `e` of the part; none of them is negative. Channels are counted in whole blocks
of 16, as they lie in memory. A call costs a constant on top of its ops. The numbers are those of one CPU and
instruction set; `benchmarks/latency.py` measures them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from evenbit.errors import EvenbitError
from evenbit.ops import BinaryConv, Op
from evenbit.ops.shape import Shape
from evenbit.plan import Plan

BLOCK = 16  # channels
WHOLE_TILE = 4  # blocks of outputs from which on the tiles of binary convolutions are full

Amounts = dict[tuple[str, str], float]  # of each part of a class of op, or of a Tail
Costs = dict[str, dict[str, float]]  # by class of op, or "tail", the cost of each of its parts


@dataclass(frozen=True)
class LatencyModel:
    """Microseconds that each part of each class of op costs.

    Attributes:
        call: Microseconds that a call costs on top of its ops.
        costs: By class of op, the microseconds of `each` op, of a million multiply-adds (`macs`), and of a thousand
            values written (`out`) and read (`in`); under `tail`, by part of a Tail, those of a thousand values.
    """

    call: float
    costs: Costs

    @classmethod
    def fit(cls, measured: Iterable[tuple[Plan, Sequence[float], float]]) -> LatencyModel:
        """The model that is nearest to measured times, absolute and relative errors counting alike.

        Args:
            measured: For each network, its Plan, the microseconds of each op, and those of a whole call.
        """
        from scipy.optimize import nnls

        rows: list[tuple[Amounts, float]] = []
        calls = []
        for plan, times, whole in measured:
            rows += [(amounts, time) for (_, amounts), time in zip(_work(plan), times, strict=True)]
            calls.append(whole - sum(times))
        keys = sorted({key for amounts, _ in rows for key in amounts})
        matrix = np.array([[amounts.get(key, 0.0) for key in keys] for amounts, _ in rows])
        microseconds = np.array([time for _, time in rows])
        weight = 1 / np.sqrt(microseconds)
        found, _ = nnls(matrix * weight[:, None], microseconds * weight)
        costs: Costs = {}
        for (kind, part), value in zip(keys, found, strict=True):
            costs.setdefault(kind, {})[part] = float(value)
        return cls(max(0.0, float(np.median(calls))), costs)

    def ops(self, plan: Plan) -> list[float]:
        """Microseconds of each op of a Plan.

        Raises:
            EvenbitError: If the Plan has an op of a class that was not measured.
        """
        return [sum(self._cost(op, key) * amount for key, amount in amounts.items()) for op, amounts in _work(plan)]

    def predict(self, plan: Plan) -> float:
        """Microseconds of a call with one image.

        Raises:
            EvenbitError: If the Plan has an op of a class that was not measured.
        """
        return self.call + sum(self.ops(plan))

    def _cost(self, op: Op, key: tuple[str, str]) -> float:
        kind, part = key
        if kind not in self.costs or part not in self.costs[kind]:
            what = f"a Tail with {part}" if kind == "tail" else kind
            raise EvenbitError(f"the time of {op.name} cannot be predicted: no network with {what} was measured")
        return self.costs[kind][part]


def _work(plan: Plan) -> list[tuple[Op, Amounts]]:
    """Each op, and how much of each (class, part) it does."""
    shapes = plan.shapes()
    return [(op, _amounts(op, shapes[op.input], out, plan)) for op, out in zip(plan.ops, plan.op_shapes(), strict=True)]


def _amounts(op: Op, source: Shape, out: Shape, plan: Plan) -> Amounts:
    fan_in = op.fan_in(source, plan.tensors)
    groups = getattr(op, "groups", 1)
    if isinstance(op, BinaryConv) and groups == 1:
        fan_in = fan_in // source.channels * _whole(source.channels)
    written, read = _values(out), _values(source)
    kind = _class(op, groups, out)
    parts = {"each": 1.0, "macs": written * fan_in / 1e3, "out": written, "in": read}
    amounts = {(kind, part): amount for part, amount in parts.items()}
    tail = op.tail
    residuals = (tail.residual is not None) + (tail.second_residual is not None)
    activated = tail.activation != "none"
    has = {"residual": residuals, "mean": bool(tail.mean), "bits": bool(tail.bits), tail.activation: activated}
    return amounts | {("tail", part): written * times for part, times in has.items() if times}


def _class(op: Op, groups: int, out: Shape) -> str:
    kind = op.kind
    if groups > 1:
        kind += " in groups"
    elif isinstance(op, BinaryConv):
        blocks = _whole(out.channels) // BLOCK
        kind += f" to {BLOCK * blocks} channels" if blocks < WHOLE_TILE else ""
    return kind + (" to a vector" if (out.height, out.width) == (1, 1) else "")


def _whole(channels: int) -> int:
    return -(-channels // BLOCK) * BLOCK


def _values(shape: Shape) -> float:
    """In thousands."""
    return shape.height * shape.width * _whole(shape.channels) / 1e3
