"""What C++ knows of the ops is made from their dataclasses."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from evenbit.ops import OPS

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("op_fields", ROOT / "tools" / "op_fields.py")
assert SPEC is not None
assert SPEC.loader is not None
op_fields = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(op_fields)


@pytest.mark.parametrize("name", op_fields.FILES)
def test_the_committed_file_is_current(name: str) -> None:
    assert (ROOT / "csrc" / "ops" / name).read_text(encoding="utf-8") == op_fields.FILES[name]()


def test_every_op_has_its_files() -> None:
    """The name of an op is the name of its files."""
    for kind, cls in OPS.items():
        assert cls.__module__ == f"evenbit.ops.{kind}"
        assert (ROOT / "csrc" / "ops" / f"{kind}.cc").is_file()
        assert (ROOT / "src" / "evenbit" / "export" / "c" / "ops" / f"{kind}.h").is_file()
