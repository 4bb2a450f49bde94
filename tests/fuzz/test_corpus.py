"""What fuzzing starts from and what it has found, one file a case, without a fuzzer."""

from __future__ import annotations

import contextlib
import importlib
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from evenbit.errors import EvenbitError

FUZZ = Path(__file__).parents[2] / "fuzz"
sys.path.insert(0, str(FUZZ))
CASES = sorted(path for kept in ("corpus", "crashes") for path in (FUZZ / kept).glob("*/*"))


def target(name: str) -> Any:
    return importlib.import_module(f"targets.{'evb' if name == 'c_loader' else name}")


def accepts(name: str, data: bytes) -> bool:
    """Whether the reader takes it."""
    try:
        target(name).check(data)
    except EvenbitError:
        return False
    return True


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_kept_input_is_read_or_refused(path: Path) -> None:
    with contextlib.suppress(EvenbitError):
        target(path.parent.name).check(path.read_bytes())


@pytest.mark.parametrize("name", sorted({path.parent.name for path in CASES if path.parent.parent.name == "corpus"}))
def test_fuzzing_starts_from_an_input_that_is_accepted(name: str) -> None:
    assert any(accepts(name, path.read_bytes()) for path in (FUZZ / "corpus" / name).iterdir())


@pytest.mark.parametrize("name", ["evb", "checkpoint"])
def test_changed_inputs_get_past_the_digest(name: str) -> None:
    """Else nothing behind it would be fuzzed: some are accepted, and of the refused ones few for their digest."""
    rng = random.Random(0)
    data = (FUZZ / "corpus" / name / "01").read_bytes()
    accepted, reasons = 0, []
    for _ in range(200):
        changed = target(name).mutate(data, rng, lambda part: part[:-1] + b"x")
        try:
            target(name).check(changed)
            accepted += 1
        except EvenbitError as error:
            reasons.append(str(error))
    assert accepted
    assert sum("digest" in reason for reason in reasons) < 50
    assert len(set(reasons)) > 1
