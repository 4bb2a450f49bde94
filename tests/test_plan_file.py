from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from evenbit import plan_file
from evenbit.errors import PlanError
from evenbit.ops import BinaryConv, Bits, Concat, Conv, Elementwise, Flatten, Multiply, Normalize, Tail
from evenbit.plan import Plan
from evenbit.runtime import reference

TENSORS = {
    "scale": np.ones(3, np.float32),
    "limit": np.zeros(3, np.float32),
    "flip": np.array([5], np.uint64),
    "w": np.array([[[[3]]], [[[6]]]], np.uint64),
    "head": np.ones((2, 1, 1, 2), np.float32),
}
OPS = (
    Normalize("images", "images", None, Tail(scale="scale", bits=Bits("b", "limit", "flip"))),
    BinaryConv("conv", "b", None, Tail(mean="m"), weight="w", stride=(2, 1)),
    Conv("head", "m", "y", weight="head"),
)
PLAN = Plan(3, 4, 5, ("cat", "dog"), OPS, "y", TENSORS, {"model": "tiny"})
DATA = plan_file.to_bytes(PLAN)
GOLDEN = "ad57efca9000c3a76aa2df5a300d17019019bb2fec7c1d28f64fbbdb4952fa91"


def test_every_field_of_an_op_comes_back() -> None:
    clamp = Tail("scale", "scale", activation="clamp", low="limit", high="scale", shift="limit")
    ops = (
        Normalize("images", "images", "x", clamp),
        Multiply("square", "x", "xx", factor="x"),
        Concat("joined", "xx", "xxx", others=("x", "xx")),
        Flatten("flat", "xxx", "f", Tail(activation="sigmoid")),
        Conv("dense", "f", "y", weight="dense"),
    )
    tensors = {**TENSORS, "dense": np.ones((2, 1, 1, 180), np.float32)}
    plan = Plan(3, 4, 5, ("cat", "dog"), ops, "y", tensors)
    loaded = plan_file.from_bytes(plan_file.to_bytes(plan))
    assert loaded.ops == ops
    images = np.random.default_rng(0).random((2, 3, 4, 5), dtype=np.float32)
    assert np.array_equal(reference.run(loaded, images), reference.run(plan, images))
    for others in ("x", [], ["x", 1], None):
        head = {**stored()["plan"], "ops": [{"op": "concat", "name": "j", "input": "x", "others": others}]}
        with pytest.raises(PlanError, match=r"wrong value for 'others'|first op and no other"):
            plan_file.from_bytes(edited(plan=head)).shapes()


def stored() -> dict[str, Any]:
    length = int.from_bytes(DATA[:8], "little")
    content: dict[str, Any] = json.loads(json.loads(DATA[8 : 8 + length])["__metadata__"]["evenbit"])
    return content


def edited(**changes: Any) -> bytes:
    """The file with its content changed and, unless given, the digest made to fit."""
    tensors = safetensors.numpy.load(DATA)
    content = {**stored(), **changes}
    if "sha256" not in changes:
        content["sha256"] = plan_file._digest(content["plan"], tensors)
    return safetensors.numpy.save(tensors, {"evenbit": json.dumps(content)})


def head(**changes: Any) -> dict[str, Any]:
    return {**stored()["plan"], **changes}


def test_round_trip(tmp_path: Path) -> None:
    plan_file.save(PLAN, tmp_path / "net.evb")
    loaded = plan_file.load(tmp_path / "net.evb")
    assert (loaded.ops, loaded.classes, loaded.info) == (PLAN.ops, PLAN.classes, PLAN.info)
    assert all(np.array_equal(loaded.tensors[name], array) for name, array in TENSORS.items())
    images = np.random.default_rng(0).random((2, 3, 4, 5), dtype=np.float32)
    assert np.array_equal(reference.run(loaded, images), reference.run(PLAN, images))
    assert plan_file.to_bytes(loaded) == DATA


def test_bytes_of_version_1_stay_as_they_are() -> None:
    """A change here is a new format version."""
    assert hashlib.sha256(DATA).hexdigest() == GOLDEN


@pytest.mark.parametrize("length", [0, 7, 8, 100, len(DATA) // 2, len(DATA) - 1])
def test_truncated_files_are_refused(length: int) -> None:
    with pytest.raises(PlanError, match=r"truncated|damaged|is not an \.evb file"):
        plan_file.from_bytes(DATA[:length])


def test_any_flipped_bit_is_noticed() -> None:
    """In the header a bit may change what nobody reads (a space); then the Plan is the same."""
    for position in range(0, len(DATA), 3):
        damaged = bytearray(DATA)
        damaged[position] ^= 1 << position % 8
        try:
            plan = plan_file.from_bytes(bytes(damaged))
            plan.shapes()
        except PlanError:
            continue
        assert plan_file.to_bytes(plan) == DATA


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is not an .evb file"),
        (safetensors.numpy.save({"a": np.zeros(3)}), "is not an .evb file"),
        (safetensors.numpy.save({"a": np.zeros(3)}, {"evenbit": "[]"}), "is not an .evb file"),
        (edited(version=2), "has format version 2; this evenbit reads version 1"),
        (edited(sha256="0" * 64), "its digest does not match its contents"),
        (edited(plan=[]), "malformed plan"),
        (edited(version=1.0), "has format version 1.0"),
        (edited(plan=head(input=[3, 4])), "wrong value for 'input'"),
        (edited(plan=head(classes="ab")), "wrong value for 'classes'"),
        (edited(plan=head(classes={"a": 0, "b": 1})), "wrong value for 'classes'"),
        (edited(plan=head(ops={})), "wrong value for 'ops'"),
        (edited(plan=head(input=[3, 4, "5"])), "wrong value for 'input'"),
        (edited(plan=head(ops=[{"op": "nop"}])), "unknown op 'nop'"),
        (edited(plan=head(ops=[{"op": "conv", "name": "a"}])), "malformed plan"),
        (edited(plan=head(ops=[{"op": "elementwise", "name": "a", "input": "b", "x": 1}])), "unknown field 'x'"),
        (edited(plan=head(ops=[{"op": "elementwise", "name": "a", "input": 7}])), "wrong value for 'input'"),
        (edited(plan=head(ops=[{"op": "elementwise", "name": "a", "input": "b", "tail": []}])), "value for 'tail'"),
        (edited(plan=head(classes=["cat", 1])), "wrong value for 'classes'"),
        (edited(plan=head(info={"a": 1})), "wrong value for 'info'"),
        (edited(plan=head(info={str(i): "" for i in range(1001)})), "has 1001 entries in 'info'"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "x.evb"
    path.write_bytes(data)
    with pytest.raises(PlanError, match=message) as error:
        plan_file.load(path)
    assert str(path) in str(error.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"cannot read .*gone\.evb: No such file"):
        plan_file.load(tmp_path / "gone.evb")


def test_saving_checks_first_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "net.evb"
    plan_file.save(PLAN, path)
    broken = Plan(3, 4, 5, ("cat",), OPS, "y", TENSORS)
    with pytest.raises(PlanError, match="output 'y' should be"):
        plan_file.save(broken, path)
    doubles = Plan(3, 4, 5, ("a", "b"), (*OPS, Elementwise("e", "y", "z")), "z", {**TENSORS, "d": np.zeros(2)})
    with pytest.raises(PlanError, match="tensor 'd' is float64"):
        plan_file.save(doubles, path)
    assert path.read_bytes() == DATA
    assert [item.name for item in tmp_path.iterdir()] == ["net.evb"]
