"""Writes what C++ knows of the ops' fields from their dataclasses in `evenbit.ops`; a test holds both files current.

    python tools/op_fields.py

`csrc/ops/fields.h` has what all ops share, `csrc/ops/ops.h` a struct for each op: fields with their defaults, and
`take`, which reads them from the JSON of an `.evb` file.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from evenbit.ops import OPS, Activation, Bits, Op, Tail

CSRC = Path(__file__).parents[1] / "csrc"
MADE = "// Made by tools/op_fields.py from the dataclasses in evenbit/ops; run it after a change there."
TYPES = {
    str: "std::string",
    int: "int64_t",
    float: "double",
    tuple[int, int]: "Sizes",
    tuple[str, ...]: "std::vector<std::string>",
    str | None: "Name",
    Tail: "Tail",
    Bits: "Bits",
    Bits | None: "std::optional<Bits>",
    Activation: "std::string",
}


class Member(NamedTuple):
    """One field: its name, its type in C++ and, if it may be left out of a file, its default there."""

    name: str
    type: str
    required: bool
    default: str


def members(cls: type[Any], base: type[Any] | None = None) -> list[Member]:
    """Fields of a dataclass that its base does not have."""
    hints = typing.get_type_hints(cls)
    inherited = {field.name for field in dataclasses.fields(base)} if base else set()
    return [
        Member(field.name, TYPES[hints[field.name]], field.default is dataclasses.MISSING, default(field.default))
        for field in dataclasses.fields(cls)
        if field.name not in inherited
    ]


def default(value: Any) -> str:
    """An initializer in C++, empty where that of the type itself is right."""
    if value is None or value is dataclasses.MISSING or isinstance(value, Tail):
        return ""
    if isinstance(value, tuple):
        return "{" + ", ".join(map(str, value)) + "}"
    return f' = "{value}"' if isinstance(value, str) else f" = {value}"


def declared(cls: type[Any], base: type[Any] | None = None) -> Iterator[str]:
    """Fields as members of a struct; a number that has no default starts at 0."""
    own = members(cls, base)
    for member in own:
        start = member.default or (" = 0" if member.type in ("int64_t", "double") else "")
        yield f"  {member.type} {member.name}{start};"
    if own:
        yield ""
    yield "  template <class Fields>"
    if not own:
        yield "  void take(Fields&) {}"
        return
    yield "  void take(Fields& fields) {"
    for member in own:
        yield f'    fields.{"required" if member.required else "optional"}("{member.name}", {member.name});'
    yield "  }"


def shared() -> str:
    """`csrc/ops/fields.h`."""
    known = ", ".join(f'"{name}"' for name in typing.get_args(Activation))
    lines = [MADE, "#pragma once", "", '#include "evb/types.h"', "", "namespace evenbit::plan {", ""]
    lines += [f"constexpr const char* kActivations[] = {{{known}}};"]
    for cls, file in ((Bits, "tail"), (Tail, "tail"), (Op, "op")):
        name = "OpFields" if cls is Op else cls.__name__
        lines += ["", f"// See {cls.__name__} in evenbit/ops/{file}.py.", f"struct {name} {{", *declared(cls), "};"]
    return "\n".join([*lines, "", "}  // namespace evenbit::plan", ""])


def structs() -> str:
    """`csrc/ops/ops.h`."""
    lines = [MADE, "#pragma once", "", '#include "ops/op.h"', "", "namespace evenbit::plan {"]
    for kind, cls in OPS.items():
        lines += ["", f"// See evenbit/ops/{kind}.py.", f"struct {cls.__name__} final : Op {{", *declared(cls, Op)]
        lines += [f'  const char* kind() const override {{ return "{kind}"; }}']
        lines += ["  bool reads_bits() const override { return true; }"] if cls.reads_kind == "bits" else []
        lines += ["  Shape result(const Shape& in, const Scope& scope) const override;"]
        lines += ["  void build(Builder& builder) const override;", "};"]
    rows = [f"  OP({kind}, {cls.__name__})" for kind, cls in OPS.items()]
    width = max(map(len, rows)) + 1
    table = ["// One row an op: its name in a file, and its struct.", f"{'#define EVENBIT_OPS(OP)':{width}}\\"]
    table += [f"{row:{width}}\\" for row in rows[:-1]] + rows[-1:]
    return "\n".join([*lines, "", "}  // namespace evenbit::plan", "", *table, ""])


FILES = {"fields.h": shared, "ops.h": structs}


def main() -> None:
    """Writes the files."""
    for name, content in FILES.items():
        (CSRC / "ops" / name).write_text(content(), encoding="utf-8")


if __name__ == "__main__":
    main()
