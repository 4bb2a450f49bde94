"""`benchmarks/bare_machine.py`: what is unpacked is what was packed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    import bare_machine

    return bare_machine


def test_files_of_cifar10_are_the_same_after_unpacking(bare_machine: Any, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 256, (10_000, 3073), dtype=np.uint8)
    rows[:, 0] %= 10
    rows[:, 65:] = 0  # noise does not compress
    bare_machine.to_image(rows.tobytes()).save(tmp_path / "test_batch.webp", lossless=True, method=0)
    (tmp_path / "batches.meta.txt").write_text("airplane\n")
    bare_machine.unpack([tmp_path / "test_batch.webp", tmp_path / "batches.meta.txt"], tmp_path / "data")
    folder = tmp_path / "data" / "cifar-10-batches-bin"
    assert (folder / "test_batch.bin").read_bytes() == rows.tobytes()
    assert (folder / "batches.meta.txt").read_text() == "airplane\n"
