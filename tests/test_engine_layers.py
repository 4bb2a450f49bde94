"""`benchmarks/engine_layers.py`, whose layers benchmarks/tiles.py takes too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evenbit.runtime import reference
from evenbit.runtime.engine import Engine


def test_the_chain_is_a_plan_of_binary_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    from engine_layers import chain

    plan, image = chain(24, 6, 3), np.random.default_rng(0).random((1, 1, 6, 6), np.float32)
    assert sum(op.kind == "binary_conv" for op in plan.ops) == 3
    assert Engine(plan)(image).tobytes() == reference.run(plan, image).tobytes()
