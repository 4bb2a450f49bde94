"""Reading and writing `.evb`, the file that holds a Plan.

An `.evb` file is a safetensors file. It holds the tensors as they are; its metadata has one key, `evenbit`, with a JSON
object:

    version  the format version
    sha256   digest over `plan` and every tensor's name, type, shape and bytes, in order of name
    plan     the rest of the Plan: input, classes, ops, output, info

The same Plan always gives the same bytes.

docs/file-format.md describes the format. Nothing is unpickled, and the whole file is checked before it is used.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import struct
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from evenbit.errors import PlanError
from evenbit.files import is_run, pack_command, write_atomically
from evenbit.ops import OPS, Array, Bits, Op, Tail
from evenbit.plan import Plan
from evenbit.printable import is_text

KEY = "evenbit"
VERSION = 1
MAX_INFO = 1000  # entries, so that no reader need search through more
DTYPES = {np.dtype(np.float32): "F32", np.dtype(np.uint64): "U64", np.dtype(np.int8): "I8"}


def save(plan: Plan, path: str | os.PathLike[str]) -> None:
    """Writes a Plan, after checking it; the file appears whole or not at all.

    Raises:
        PlanError: If the Plan is not valid; see `to_bytes`.
    """
    write_atomically(Path(path), to_bytes(plan))


def load(path: str | os.PathLike[str]) -> Plan:
    """Reads and checks a Plan.

    Raises:
        PlanError: If the file cannot be read, is not an `.evb`, is damaged, or has a newer format version.
    """
    data = read(path)
    try:
        plan = from_bytes(data)
        plan.shapes()
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from None
    return plan


def is_network(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as a safetensors file does: with the length of its header, and the header's `{`."""
    try:
        if not Path(path).is_file():  # reading from a pipe would take away its first bytes
            return False
        with Path(path).open("rb") as file:
            start, size = file.read(9), os.fstat(file.fileno()).st_size
    except OSError:
        return False
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= size - 8


def read(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file.

    Raises:
        PlanError: If it cannot be read.
    """
    if is_run(path):
        raise PlanError(f"{path} is a run, and a packed network is needed; pack it: {pack_command(path)}")
    if Path(path).is_dir():
        raise PlanError(f"{path} is a folder; give an .evb file")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise PlanError(f"cannot read {path}: {error.strerror}") from None


def to_bytes(plan: Plan) -> bytes:
    """The file that holds `plan`.

    Raises:
        PlanError: If the file could not be read again: the Plan is not valid, holds a tensor that is neither float32,
            uint64 nor int8, or has a name that is not text.
    """
    tensors = {name: np.ascontiguousarray(array) for name, array in plan.tensors.items()}
    for name, array in tensors.items():
        if array.dtype not in DTYPES:
            raise PlanError(f"tensor '{name}' is {array.dtype}; a file holds float32, uint64 and int8")
    head = _head(plan)
    try:
        text = _canonical(head)
    except (TypeError, ValueError) as error:
        raise PlanError(f"holds a value that a file cannot hold ({error})") from None
    _plan_from_json(json.loads(text), tensors).shapes()
    return _file(head, tensors)


def _head(plan: Plan) -> dict[str, Any]:
    """Everything in a Plan except its tensors."""
    return {
        "input": [plan.channels, plan.height, plan.width],
        "classes": list(plan.classes),
        "ops": [_op_to_json(op) for op in plan.ops],
        "output": plan.output,
        "info": dict(plan.info),
    }


def _file(head: object, tensors: Mapping[str, Array]) -> bytes:
    content = {"version": VERSION, "sha256": _digest(head, tensors), "plan": head}
    return safetensors.numpy.save(dict(tensors), {KEY: _canonical(content)})


def from_bytes(data: bytes) -> Plan:
    """The Plan in a file's bytes. The digest and the structure are checked, the shapes not yet.

    Raises:
        PlanError: If the bytes are not an `.evb`, are damaged, or have a newer format version.
    """
    content = _content(data)
    version = content.get("version")
    if type(version) is not int or version != VERSION:
        raise PlanError(f"has format version {version}; this evenbit reads version {VERSION}")
    try:
        tensors: dict[str, Array] = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise PlanError(f"is damaged ({error})") from None
    head = content.get("plan")
    if content.get("sha256") != _digest(head, tensors):
        raise PlanError("is damaged (its digest does not match its contents)")
    return _plan_from_json(head, tensors)


def _content(data: bytes) -> dict[str, Any]:
    """The JSON object in the metadata of a safetensors header: 8 bytes of little-endian length, then JSON."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        if length > len(data) - 8 and data[8:9] == b"{":
            raise PlanError(f"is truncated: its header should have {length} bytes, but {len(data) - 8} follow")
        content = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][KEY])
    except (struct.error, ValueError, KeyError, TypeError, RecursionError):
        raise PlanError("is not an .evb file") from None
    if not isinstance(content, dict):
        raise PlanError("is not an .evb file")
    return content


def _canonical(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _digest(head: object, tensors: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(_canonical(head).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"\0{name}\0{DTYPES.get(array.dtype)}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _op_to_json(op: Op) -> dict[str, Any]:
    """Fields that differ from their defaults."""
    return {"op": op.kind, **_changed_fields(op)}


def _changed_fields(item: object) -> dict[str, Any]:
    found = {}
    for field in dataclasses.fields(item):  # type: ignore[arg-type]
        value = getattr(item, field.name)
        if value != field.default:
            found[field.name] = _changed_fields(value) if dataclasses.is_dataclass(value) else value
    return found


def _plan_from_json(head: Any, tensors: Mapping[str, Array]) -> Plan:
    try:
        channels, height, width = _typed(head["input"], tuple[int, int, int], "input")
        if not isinstance(head["ops"], list):
            raise PlanError("has a wrong value for 'ops'")
        ops = tuple(_op_from_json(item) for item in head["ops"])
        classes = _typed(head["classes"], tuple[str, ...], "classes")
        info = {_typed(k, str, "info"): _typed(v, str, "info") for k, v in head["info"].items()}
        output = _typed(head["output"], str, "output")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(f"has a malformed plan ({type(error).__name__}: {error})") from None
    if len(info) > MAX_INFO:
        raise PlanError(f"has {len(info)} entries in 'info'; a file holds at most {MAX_INFO}")
    return Plan(channels, height, width, classes, ops, output, tensors, info)


def _op_from_json(item: dict[str, Any]) -> Op:
    kind = _typed(item["op"], str, "op")
    if kind not in OPS:
        raise PlanError(f"has an unknown op '{kind}'")
    op: Op = _from_json(OPS[kind], {key: value for key, value in item.items() if key != "op"})
    return op


def _from_json(cls: type[Any], item: dict[str, Any]) -> Any:
    """Builds a dataclass of this module's Plan types, refusing unknown keys and wrong types."""
    hints = _hints(cls)  # type: ignore[arg-type]  # a class can be hashed
    known = {field.name for field in dataclasses.fields(cls)}
    for key in item:
        if key not in known:
            raise PlanError(f"has an unknown field '{key}' in '{cls.__name__}'")
    return cls(**{key: _typed(value, hints[key], key) for key, value in item.items()})


@functools.cache  # a file has many ops of one kind
def _hints(cls: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _typed(value: Any, hint: Any, key: str) -> Any:
    """`value` as the type `hint`, which is one of the types in Plan dataclasses."""
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    if hint in (Tail, Bits) or options in ([Tail], [Bits]):
        if isinstance(value, dict):
            return _from_json(Tail if hint is Tail else Bits, value)
    elif typing.get_origin(hint) is tuple:
        if isinstance(value, list) and options[1:] == [...]:
            return tuple(_typed(part, options[0], key) for part in value)
        if isinstance(value, list) and len(value) == len(options):
            return tuple(_typed(part, option, key) for part, option in zip(value, options, strict=True))
    elif typing.get_origin(hint) is typing.Literal:
        if value in options:
            return value
    elif type(value) is (options[0] if options else hint) and (not isinstance(value, str) or is_text(value)):
        return value
    raise PlanError(f"has a wrong value for '{key}'")
