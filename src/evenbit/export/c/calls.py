"""The calls of a network in C: one for each op, with the arguments that the names of its kernel's parameters ask for.

A parameter with the name of a field of the op gets what the field says: a table with the constant, the place of a value
in the arena, or a number. The other parameters are

    in, image           the place of the input, or the image
    window              the sizes of the window that slides over the input
    taps                the place where the values that the window reads are copied together
    parts, count        the places and channels of the input and of the maps that are joined to it, and their number
    pixels, depth, width   sizes of the input: height times width, channels, and width
    FIELD_step          channels from a pixel of that value to its next: 0 for a vector that goes with every pixel
    tail                the Tail
"""

from __future__ import annotations

import re

from evenbit.errors import ExportError
from evenbit.export.c.arena import Arena, Key, Part, taps_part
from evenbit.export.c.kernels import kernel
from evenbit.export.c.tables import Tables, float_constant
from evenbit.ops import Op, Shape, Tail, named, roles
from evenbit.plan import Plan


class Calls:
    """Turns ops into calls, and collects the tables that they read."""

    def __init__(self, plan: Plan, tables: Tables, narrow: Arena, wide: Arena) -> None:
        self.plan = plan
        self.shapes = plan.shapes()
        self.tables = tables
        self.narrow = narrow
        self.wide = wide

    def all(self) -> list[str]:
        """A block for each op, in order.

        Raises:
            ExportError: If an op or its activation has no kernel.
        """
        shapes = self.plan.op_shapes()
        return [
            self._call(index, op, result) for index, (op, result) in enumerate(zip(self.plan.ops, shapes, strict=True))
        ]

    def _call(self, index: int, op: Op, result: Shape) -> str:
        """A block with the op's constants and its call."""
        parameters = kernel(op).parameters
        tail = self._tail(index, op.tail, op.out, result)
        constants = [f"tail = {{\n{tail}\n    }}"]
        if "parts" in parameters:
            constants.insert(0, f"parts[] = {{{self._parts(op)}}}")
        if "window" in parameters:
            constants.insert(0, f"window = {{{self._window(op)}}}")
        types = {"tail": "evenbit_tail", "parts[]": "evenbit_part", "window": "evenbit_window"}
        static = [f"    static const {types[constant.split(' ')[0]]} {constant};" for constant in constants]
        arguments = ", ".join(self._argument(index, op, name) for name in parameters)
        title = f"{index} {comment(op.name)}: {op.kind}, {self.shapes[op.input]} to {result}"
        return "\n".join([f"  {{ /* {title} */", *static, f"    evenbit_{op.kind}({arguments});", "  }"])

    def at(self, key: Key) -> str:
        """Where in the arena a value or scratch buffer begins; NULL if it is not needed."""
        part = self._part(key)
        narrow, wide = (
            f"arena.{part} + {arena.offsets[key]}" if key in arena.offsets else "NULL"
            for arena in (self.narrow, self.wide)
        )
        return narrow if narrow == wide else f"SELECT({narrow}, {wide})"

    def _argument(self, index: int, op: Op, name: str) -> str:
        source = self.shapes[op.input]
        match name:
            case "in":
                return self.at(op.input)
            case "image" | "parts":
                return name
            case "window" | "tail":
                return f"&{name}"
            case "taps":
                return self.at((index, "taps"))
            case "count":
                return str(len(list(named(op, "value"))))
            case "pixels":
                return str(source.height * source.width)
            case "width":
                return str(source.width)
            case "depth":
                return str(source.channels)
            case "map_rows" | "map_columns":
                return str(self.plan.tensors[op.map].shape[name == "map_columns"])  # type: ignore[attr-defined]
        field, step = name.removesuffix("_step"), name.endswith("_step")
        value = getattr(op, field)
        role = roles(type(op)).get(field)
        if step:
            return str(self.shapes[value].channels if self.shapes[value][1:3] == source[1:3] else 0)
        if role == "tensor" and kernel(op).parameters[name] == "const int32_t*":
            return self.tables.integers(value)
        if role == "tensor":
            return self.tables.name(value, source.channels // getattr(op, "groups", 1))
        if role == "value":
            return self.at(value)
        return float_constant(value) if isinstance(value, float) else str(value)

    def _parts(self, op: Op) -> str:
        return ", ".join(f"{{{self.at(name)}, {self.shapes[name].channels}}}" for name in named(op, "value"))

    def _window(self, op: Op) -> str:
        window, source = op.window(self.plan.tensors), self.shapes[op.input]
        assert window
        numbers = (source.height, source.width, source.channels, *window.kernel, *window.stride, *window.padding)
        return ", ".join(map(str, numbers))

    def _part(self, key: Key) -> Part:
        if isinstance(key, str):
            return "words" if self.shapes[key].kind == "bits" else "floats"
        return taps_part(self.plan.ops[key[0]]) if key[1] == "taps" else "floats"

    def _tail(self, index: int, tail: Tail, out: str | None, result: Shape) -> str:
        fields = {
            "height": str(result.height),
            "width": str(result.width),
            "channels": str(result.channels),
            "pixel": self.at((index, "pixel")),
        }
        for part in ("scale", "bias", "slope", "low", "high", "shift"):
            tensor = getattr(tail, part)
            if tensor is not None:
                fields[part] = self.tables.name(tensor, result.channels)
        if tail.residual is not None:
            fields["residual"] = self.at(tail.residual)
            fields["residual_step"] = str(result.channels if self.shapes[tail.residual] == result else 0)
        if tail.second_residual is not None:
            fields["second_residual"] = self.at(tail.second_residual)
        if tail.activation in ("sigmoid", "softsign", "normal_cdf", "rsqrt"):
            fields[tail.activation] = "1"
        elif tail.activation not in ("none", "prelu", "clamp"):
            raise ExportError(f"the activation '{tail.activation}' has no kernel in C")
        if out is not None:
            fields["out"] = self.at(out)
        if tail.mean is not None:
            fields |= {"mean": self.at(tail.mean), "row": self.at((index, "row"))}
        if tail.bits is not None:
            threshold = tail.bits.threshold
            fields["bits"] = self.at(tail.bits.out)
            is_value = threshold in self.shapes
            fields["threshold"] = self.at(threshold) if is_value else self.tables.name(threshold, result.channels)
            fields["flip"] = self.tables.name(tail.bits.flip, result.channels)
        return "\n".join(f"        .{field} = {value}," for field, value in fields.items())


def comment(text: str) -> str:
    """The text without characters that could end or open a comment, or continue a line."""
    return re.sub(r"[^A-Za-z0-9 _.,:=+-]", "_", text)
