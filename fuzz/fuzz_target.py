"""One target under atheris: `fuzz_target.py NAME [libFuzzer's arguments]`."""

from __future__ import annotations

import gc
import importlib
import random
import sys
import types
from pathlib import Path
from typing import Any

import atheris
from PIL import Image

from evenbit.errors import EvenbitError

sys.path.insert(0, str(Path(__file__).parent))
TARGET: Any = importlib.import_module(f"targets.{sys.argv.pop(1)}")
FOLLOWED = ("evenbit", "PIL", "tomllib", "safetensors")  # packages whose branches lead the search


def instrument() -> None:
    """Makes the functions that are there count their branches.

    Atheris offers to do so while they are imported, but has no effect then on a package that is installed to be edited.
    """
    Image.init()  # imports the readers of all formats
    for function in [each for each in gc.get_objects() if isinstance(each, types.FunctionType)]:
        if (function.__module__ or "").partition(".")[0] in FOLLOWED:
            atheris.instrument_func(function)


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
instrument()
atheris.Setup(sys.argv, check, **own)
atheris.Fuzz()
