"""Damaged and hostile files: the C API refuses what Python refuses, takes what Python takes, and reads nothing else.

`make test-sanitize` runs this file with the library and the program that calls it under sanitizers.
"""

from __future__ import annotations

import copy
import json
import math
import random
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from cases import BYTES, LOADED, REFUSED, Case, write
from plans import small
from toolchain import must_run

from evenbit import plan_file
from evenbit.errors import PlanError
from evenbit.ops import BinaryConv, Bits, Concat, Conv, Elementwise, Int8Conv, Normalize, Tail
from evenbit.plan import Plan
from evenbit.runtime import reference
from evenbit.runtime.engine import Engine

Json = dict[str, Any]


SMALL = small()
FILE = plan_file.to_bytes(SMALL)


def split(data: bytes) -> tuple[Json, Json, bytes]:
    """Header, content of its metadata, and the tensors' bytes."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return header, json.loads(header.pop("__metadata__")["evenbit"]), data[8 + length :]


def join(header: str, rest: bytes = b"") -> bytes:
    text = header.encode()
    return struct.pack("<Q", len(text)) + text + rest


def with_header(change: Callable[[Json, Json], object]) -> bytes:
    """FILE with its header and the content of its metadata changed in place; the digest stays."""
    header, content, rest = split(FILE)
    change(header, content)
    return join(json.dumps({"__metadata__": {"evenbit": json.dumps(content)}, **header}), rest)


def entry(**changes: Any) -> bytes:
    """FILE with the header's entry of its first tensor changed."""
    return with_header(lambda header, _: header["t0"].update(changes))


def with_text(text: str) -> bytes:
    """FILE with that as its metadata."""
    header, _, rest = split(FILE)
    return join(json.dumps({"__metadata__": {"evenbit": text}, **header}), rest)


HEADER, CONTENT, REST = split(FILE)
DEEP = 200_000
RAW = {
    "nothing": b"",
    "seven bytes": FILE[:7],
    "no header": struct.pack("<Q", 0),
    "length past the end": struct.pack("<Q", 2**63) + FILE[8:],
    "largest length": struct.pack("<Q", 2**64 - 1) + FILE[8:],
    "length one too large": struct.pack("<Q", len(FILE) - 7) + FILE[8:],
    "no object": join("[1, 2]"),
    "deep lists": join("[" * DEEP),
    "deep objects": join('{"a":' * DEEP),
    "deep within": join('{"__metadata__":' + "[" * DEEP + "]" * DEEP + "}"),
    "deep content": with_text("[" * DEEP + "]" * DEEP),
    "deep after a quoted bracket": join('{"]}\\\\\\"]":' + "[" * DEEP),
    "deep plan": with_text('{"version":1,"sha256":"","plan":' + "[" * DEEP + "]" * DEEP + "}"),
    "invalid UTF-8": struct.pack("<Q", 11) + b'{"\xff\xfe":"a"}',
    "no metadata": join(json.dumps(HEADER), REST),
    "metadata of another type": join(json.dumps({"__metadata__": [], **HEADER}), REST),
    "metadata of another tool": join(json.dumps({"__metadata__": {"format": "pt"}, **HEADER}), REST),
    "content is no text": join(json.dumps({"__metadata__": {"evenbit": {}}, **HEADER}), REST),
    "content is no object": with_text("[]"),
    "content is empty": with_text(""),
    "no version": with_header(lambda _, content: content.pop("version")),
    "version 2": with_header(lambda _, content: content.update(version=2)),
    "version of another type": with_header(lambda _, content: content.update(version="1")),
    "no digest": with_header(lambda _, content: content.pop("sha256")),
    "digest of another type": with_header(lambda _, content: content.update(sha256=[1])),
    "another digest": with_header(lambda _, content: content.update(sha256="0" * 64)),
    "no plan": with_header(lambda _, content: content.pop("plan")),
    "a tensor gone": with_header(lambda header, _: header.pop("t0")),
    "a tensor twice": with_header(lambda header, _: header.update(again=header["t0"])),
    "no tensors": with_header(lambda header, _: header.clear()),
    "bytes after the last tensor": FILE + b"\0",
    "entry is no object": with_header(lambda header, _: header.update(t0=[])),
    "type unknown": entry(dtype="F3"),
    "type is a number": entry(dtype=32),
    "type too wide": entry(dtype="U64"),
    "type too narrow": entry(dtype="I8"),
    "shape is a number": entry(shape=3),
    "size negative": entry(shape=[-1]),
    "size is a fraction": entry(shape=[1.5]),
    "size overflows": entry(shape=[2**62, 4]),
    "size overflows to its own": entry(shape=[2**62 + 1, 4, 1]),
    "size past 64 bits": entry(shape=[2**64]),
    "sizes overflow to 0": entry(shape=[2**32, 2**32]),
    "offsets past the end": entry(data_offsets=[2**40, 2**40 + 4]),
    "offsets past 64 bits": entry(data_offsets=[2**64, 2**64 + 4]),
    "offsets overflow": entry(data_offsets=[2**64 - 4, 0]),
    "offsets turned around": entry(data_offsets=HEADER["t0"]["data_offsets"][::-1]),
    "offsets negative": entry(data_offsets=[-4, 0]),
    "one offset": entry(data_offsets=[0]),
    "three offsets": entry(data_offsets=[0, 4, 8]),
    "offsets of another tensor": entry(data_offsets=HEADER["t1"]["data_offsets"]),
}


def python_takes(data: bytes) -> Plan | None:
    try:
        return Engine(plan_file.from_bytes(data), threads=1).plan
    except PlanError:
        return None


def rebuilt(head: Json, tensors: dict[str, npt.NDArray[Any]]) -> bytes:
    """A file whose digest fits."""
    content = {"version": 1, "sha256": plan_file._digest(head, tensors), "plan": head}
    return safetensors.numpy.save(tensors, {"evenbit": json.dumps(content)})


NUMBERS = (
    -(2**63),
    -(2**31),
    -1,
    0,
    1,
    2,
    3,
    7,
    16,
    64,
    2**15,
    2**15 + 1,
    2**24,
    2**28,
    2**31,
    2**32,
    2**63 - 1,
    2**63,
)
NUMBERS += (2**64 - 1, 2**64, 10**30)
OTHERS = (None, True, "", "x", "images", "none", "prelu", "clamp", "sigmoid", "softsign", [], {}, [1, 1], [2**16, 1])
FLOATS = (1.5, 0.1, 0.0, -1.0, 2.0**-149, 2.0**-150, 2.0**50, 2.0**60, 2.0**127, 2.0**128, 1e300, float("inf"))
OTHERS += ([1, -1], ["images"], [1.5], *FLOATS)


FIELDS = ("scale", "groups", "tail", "kernel", "padding", "stride", "out", "mean", "slope", "low", "high", "factor")
FIELDS += ("others", "multiplier")


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container and key in a JSON value."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def mutate(rng: random.Random, head: Json, tensors: dict[str, npt.NDArray[Any]]) -> None:
    """Changes one thing in place."""
    container, key = rng.choice(list(places(head["ops"])) * 3 + list(places(head)))
    value = container[key]
    names = [*tensors, *re.findall(r'"(v\d+)"', json.dumps(head))]
    kind = rng.randrange(9)
    if kind <= 3 and isinstance(value, float):
        container[key] = rng.choice(FLOATS)
    elif kind <= 3 and isinstance(value, str):
        container[key] = rng.choice(names)
    elif kind <= 3 and isinstance(value, int):
        container[key] = rng.choice([*NUMBERS, value + 1, value - 1, 2 * value])
    elif kind == 4:
        container[key] = copy.deepcopy(rng.choice(OTHERS))
    elif kind == 5:
        del container[key]
    elif kind == 6 and isinstance(container, list):
        container.insert(rng.randrange(len(container) + 1), copy.deepcopy(value))
    elif kind == 6:
        container[rng.choice(FIELDS)] = value
    elif kind == 7:
        rng.shuffle(head["ops"])
    else:
        mutate_tensor(rng, tensors)


def mutate_tensor(rng: random.Random, tensors: dict[str, npt.NDArray[Any]]) -> None:
    name = rng.choice(list(tensors))
    array = tensors[name]
    kind = rng.randrange(6)
    if kind == 0:
        tensors[name] = np.concatenate([array, array])
    elif kind == 1:
        tensors[name] = array[:0] if rng.random() < 0.3 else array[:1]
    elif kind == 2:
        tensors[name] = array.reshape(rng.sample(array.shape, array.ndim))
    elif kind == 3:
        with np.errstate(invalid="ignore"):  # not every float has an integer
            tensors[name] = array.astype(rng.choice([np.float32, np.uint64, np.int8]))
    elif kind == 4:
        tensors[name] = -array if array.dtype == np.float32 else ~array
    else:
        tensors[rng.choice([*tensors, "images"])] = array


def too_large() -> dict[str, Plan]:
    """Networks that are refused for their size alone, with what the reason says."""
    pad, long = 2**14, 2**15
    tall, wide = np.ones((1, long, 1, 1), np.float32), np.ones((1, 1, long, 1), np.float32)
    read = Normalize("in", "images", "x")
    bits = Normalize("in", "images", None, Tail(bits=Bits("x", "c", "flip")))
    constants = {"c": np.zeros(64, np.float32), "flip": np.zeros(1, np.uint64)}
    strips = (
        read,
        Conv("tall", "x", None, Tail(mean="y"), weight="tall", stride=(long, 1), padding=(long, 0)),
        Conv("wide", "x", None, Tail(mean="z"), weight="wide", stride=(1, long), padding=(0, long)),
    )
    padded = (read, Conv("padded", "x", "y", weight="w", padding=(pad, pad)))
    joined = (read, Concat("joined", "x", "y", others=("x",) * 2**14))
    inputs = (bits, BinaryConv("inputs", "x", "y", weight="w"))
    int8 = (read, Int8Conv("int8", "x", "y", weight="w", multiplier=1.0))
    return {
        "input size": Plan(2**9, 2**10, 2**10, ("a",), (read,), "x", {}),
        "input size is": Plan(1, 2**32, 2**32, ("a",), (read,), "x", {}),
        "its map is too large": Plan(1, 1, 1, ("a",), padded, "y", {"w": np.ones((1, 1, 1, 1), np.float32)}),
        "its map is too large, joined": Plan(1, 2**7, 2**8, ("a",), joined, "y", {}),
        "more than 131072 inputs": Plan(1, 1, 1, ("a",), int8, "y", {"w": np.ones((1, 513, 256, 1), np.int8)}),
        "more than 16777216 inputs": Plan(
            64, 1, 1, ("a",), inputs, "y", {**constants, "w": np.zeros((1, 513, 512, 1), np.uint64)}
        ),
        "more than 2 GiB": Plan(1, 1, 1, ("a",), strips, "y", {"tall": tall, "wide": wide}),
    }


def long(ops: int, facts: int) -> bytes:
    """A network of many ops, about which there are many facts."""
    chain = [Elementwise(f"e{i}", f"v{i}", f"v{i + 1}", Tail(scale="c", bias="c")) for i in range(ops)]
    first = Normalize("in", "images", "v0")
    info = {str(i): "x" for i in range(facts)}
    plan = Plan(1, 1, 1, ("a",), (first, *chain), f"v{ops}", {"c": np.ones(1, np.float32)}, info)
    return plan_file._file(plan_file._head(plan), plan.tensors)


def runs(plan: Plan) -> bool:
    """Whether it is small enough to try."""
    return sum(math.prod(shape[1:]) for shape in plan.op_shapes()) < 100_000


def mutants(count: int) -> Iterator[Case]:
    """The small network with a few things changed and its digest made to fit; what becomes of it is up to Python."""
    rng = random.Random(0)
    for index in range(count):
        _, content, _ = split(FILE)
        head, tensors = content["plan"], {name: array.copy() for name, array in SMALL.tensors.items()}
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            mutate(rng, head, tensors)
        file = rebuilt(head, tensors)
        plan = python_takes(file)
        if plan is None:
            yield Case(f"mutant {index}", file, REFUSED)
        elif not runs(plan):
            yield Case(f"mutant {index}", file, LOADED)
        else:
            images = np.full((2, plan.channels, plan.height, plan.width), 99, np.uint8)
            yield Case(f"mutant {index}", file, BYTES, images, reference.run(plan, images))


def test_damaged_files(check_cases: tuple[str, ...], tmp_path: Path) -> None:
    """Every truncation, every flipped bit, and thousands of overwritten stretches."""
    (tmp_path / "small.evb").write_bytes(FILE)
    printed = must_run(*check_cases, "damage", str(tmp_path / "small.evb"))
    found = re.fullmatch(r"(\d+) tried (\d+) accepted 0 failures\n", printed)
    assert found
    assert int(found[1]) == 9 * len(FILE) + 5000
    assert int(found[2]) < 1000  # padding of the header that nobody reads


def test_hostile_headers(check_cases: tuple[str, ...], tmp_path: Path) -> None:
    assert [name for name, data in RAW.items() if python_takes(data)] == []
    count = write((Case(name, data, REFUSED) for name, data in RAW.items()), tmp_path / "cases")
    printed = must_run(*check_cases, "cases", str(tmp_path / "cases"))
    assert f"{count} cases" in printed


def test_what_python_refuses_is_refused(check_cases: tuple[str, ...], tmp_path: Path) -> None:
    """With a digest that fits, so that all other checks are reached."""
    cases = [*mutants(1500), Case("as it is", FILE, LOADED), Case("long", long(1000, 1000), LOADED)]
    cases += [Case("too many facts", long(1, 1001), REFUSED)]
    for reason, plan in too_large().items():
        file = plan_file._file(plan_file._head(plan), plan.tensors)
        assert python_takes(file) is None, reason
        cases.append(Case(reason, file, REFUSED))
    kinds = [case.expected for case in cases]
    assert kinds.count(REFUSED) > 800
    assert kinds.count(BYTES) > 100
    write(cases, tmp_path / "cases")
    must_run(*check_cases, "cases", str(tmp_path / "cases"))
