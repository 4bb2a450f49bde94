"""The engine gives the reference's results on Plans that nobody thought of."""

from __future__ import annotations

import numpy as np
import pytest
from random_plans import RandomPlan

from evenbit.runtime import reference
from evenbit.runtime.engine import Engine, isas


@pytest.mark.parametrize("seed", range(80))
def test_random_plans(seed: int) -> None:
    random = RandomPlan(seed)
    images = random.images(3)
    expected = reference.run(random.plan, images)
    assert np.isfinite(expected).all()
    for isa in isas():
        for threads in (1, 2):
            engine = Engine(random.plan, threads=threads, isa=isa)
            assert engine(images).tobytes() == expected.tobytes(), (isa, threads)
            assert engine(images[:1]).tobytes() == expected[:1].tobytes(), (isa, threads)
