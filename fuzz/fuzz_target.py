"""One target under atheris: `fuzz_target.py NAME [libFuzzer's arguments]`."""

from __future__ import annotations

import importlib
import random
import sys
from pathlib import Path
from typing import Any

import atheris

sys.path.insert(0, str(Path(__file__).parent))
with atheris.instrument_imports(include=["evenbit"]):
    TARGET: Any = importlib.import_module(f"targets.{sys.argv.pop(1)}")
    from evenbit.errors import EvenbitError


def check(data: bytes) -> None:
    """What a reader refuses in one line is no finding."""
    try:
        TARGET.check(data)
    except EvenbitError as error:
        if "\n" in str(error):
            raise AssertionError(f"an error of several lines: {error}") from error


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """The target's own mutation, kept within libFuzzer's limit."""

    def change_bytes(part: bytes) -> bytes:
        changed: bytes = atheris.Mutate(part, len(part) + 16)
        return changed

    changed: bytes = TARGET.mutate(data, random.Random(seed), change_bytes)
    return changed if len(changed) <= max_size else change_bytes(data)[:max_size]


own = {"custom_mutator": mutate} if hasattr(TARGET, "mutate") else {}
atheris.Setup(sys.argv, check, **own)
atheris.Fuzz()
