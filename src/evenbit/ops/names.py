"""The names by which ops refer to each other. A field that holds a name says in its type what it names."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any

TensorName = Annotated[str, "tensor"]  # a constant that is read
ValueName = Annotated[str, "value"]  # a map or vector that is read
LimitName = Annotated[str, "limit"]  # a constant or a value that is read
NewName = Annotated[str, "new"]  # a value that is written


@functools.cache
def roles(cls: type[Any]) -> dict[str, str]:
    """What each field of an op, Tail or Bits names: "tensor", "value", "limit" or "new"; other fields are left out."""
    hints = typing.get_type_hints(cls, include_extras=True)
    found = {field.name: _role(hints[field.name]) for field in dataclasses.fields(cls)}
    return {name: role for name, role in found.items() if role}


def _role(hint: Any) -> str:
    """The role in a type such as `Name`, `Name | None` or `tuple[Name, ...]`; empty if there is none."""
    if typing.get_origin(hint) is Annotated:
        return str(hint.__metadata__[0])
    if typing.get_origin(hint) in (tuple, typing.Union, types.UnionType):
        return next(filter(None, map(_role, typing.get_args(hint))), "")
    return ""


def named(item: Any, *wanted: str) -> Iterator[str]:
    """Names in the fields of an op, Tail or Bits that have one of these roles, in the order of the fields."""
    for field, role in roles(type(item)).items():  # type: ignore[arg-type]  # a class can be hashed
        value = getattr(item, field)
        if role in wanted and value is not None:
            yield from (value,) if isinstance(value, str) else value
