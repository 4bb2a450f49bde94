"""The model of a network's time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from plans import everything

from evenbit.bench.latency import LatencyModel
from evenbit.deploy import pack_untrained
from evenbit.errors import EvenbitError
from evenbit.plan import Plan

MODELS = ("resnet8", "evennet_m", "vgg_slim")


@pytest.fixture(scope="module")
def plans() -> list[Plan]:
    return [pack_untrained(model, "fd", channels=3, size=32, classes=10) for model in MODELS]


def known_costs(plans: list[Plan]) -> LatencyModel:
    """Made-up costs of all classes that the Plans have."""
    zero = LatencyModel.fit((plan, [1.0] * len(plan.ops), len(plan.ops) + 5.0) for plan in plans)
    assert zero.call == 5
    rng = np.random.default_rng(0)
    costs = {kind: {part: float(rng.uniform(1, 2)) for part in parts} for kind, parts in zero.costs.items()}
    return LatencyModel(7.0, costs)


def test_it_finds_what_ops_cost(plans: list[Plan]) -> None:
    true = known_costs(plans)
    found = LatencyModel.fit((plan, true.ops(plan), true.predict(plan)) for plan in plans)
    assert found.call == pytest.approx(7)
    for plan in plans:
        assert found.ops(plan) == pytest.approx(true.ops(plan))
        assert found.predict(plan) == pytest.approx(7 + sum(true.ops(plan)))


def test_a_network_that_was_not_measured_is_predicted(plans: list[Plan]) -> None:
    true = known_costs(plans)
    found = LatencyModel.fit((plan, true.ops(plan), true.predict(plan)) for plan in plans)
    larger = pack_untrained("evennet_l", "fd", channels=3, size=32, classes=10)
    assert found.predict(larger) == pytest.approx(true.predict(larger), rel=0.02)


def test_costs_are_never_negative(plans: list[Plan]) -> None:
    rng = np.random.default_rng(1)
    model = LatencyModel.fit((plan, list(rng.uniform(0.1, 9, len(plan.ops))), 1.0) for plan in plans)
    assert model.call == 0
    assert min(cost for costs in model.costs.values() for cost in costs.values()) >= 0


def test_an_op_that_was_not_measured_is_named(plans: list[Plan]) -> None:
    model = known_costs(plans)
    with pytest.raises(EvenbitError, match=r"no network with .* was measured"):
        model.predict(everything(0, 17))
    with_sums = dataclasses.replace(model, costs={**model.costs, "tail": {}})
    with pytest.raises(EvenbitError, match=r"no network with a Tail with .* was measured"):
        with_sums.predict(plans[0])
