"""A summary of a Plan: its ops with shapes, multiply-adds and bytes, separated into 1-bit and float."""

from __future__ import annotations

from dataclasses import dataclass

from evenbit.ops import BinaryConv, reads
from evenbit.plan import Plan


@dataclass(frozen=True)
class Row:
    """One op.

    Attributes:
        kind: Kind of the op.
        name: Where the op comes from, usually a module path.
        input: Shape of its input.
        output: Shape of its result.
        binary_macs: 1-bit multiply-adds for one image.
        float_macs: Float multiply-adds for one image.
        bit_bytes: Bytes of its packed weights.
        float_bytes: Bytes of its other constants. A constant shared with an earlier op counts only there.
    """

    kind: str
    name: str
    input: str
    output: str
    binary_macs: int
    float_macs: int
    bit_bytes: int
    float_bytes: int


def summarize(plan: Plan) -> list[Row]:
    """One row for each op, in order."""
    shapes = plan.shapes()
    seen: set[str] = set()
    rows = []
    for op, result in zip(plan.ops, plan.op_shapes(), strict=True):
        names = {name for name in reads(op) if name in plan.tensors} - seen
        seen |= names
        weight = op.weight if isinstance(op, BinaryConv) else None
        bit_bytes = sum(plan.tensors[name].nbytes for name in names if name == weight)
        other_bytes = sum(plan.tensors[name].nbytes for name in names if name != weight)
        source = shapes[op.input]
        macs = result.height * result.width * result.channels * op.fan_in(source, plan.tensors)
        binary, real = (macs, 0) if isinstance(op, BinaryConv) else (0, macs)
        rows.append(Row(op.kind, op.name, str(source), str(result), binary, real, bit_bytes, other_bytes))
    return rows


def total(rows: list[Row]) -> dict[str, int]:
    """Sums over all ops: multiply-adds and bytes, 1-bit and float."""
    keys = ("binary_macs", "float_macs", "bit_bytes", "float_bytes")
    return {key: sum(getattr(row, key) for row in rows) for key in keys}
