from __future__ import annotations

import math

import pytest
import torch

from evenbit.errors import RecipeError
from evenbit.nn import ESTIMATORS, Sign, set_progress

POINTS = [-2.0, -1.2, -0.5, -0.05, 0.0, 0.05, 0.5, 1.0, 1.2, 2.0]


def gradient(estimator: str, progress: float) -> list[float]:
    sign = Sign(estimator)
    set_progress(sign, progress)
    x = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    # A different upstream gradient at each point shows that it is passed on.
    (sign(x) * torch.arange(1, len(POINTS) + 1)).sum().backward()
    assert x.grad is not None
    return [g / (i + 1) for i, g in enumerate(x.grad.tolist())]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_forward_is_plus_one_from_zero_on(estimator: str) -> None:
    x = torch.tensor([-3.0, -1e-30, -0.0, 0.0, 1e-30, 3.0])
    assert Sign(estimator)(x).tolist() == [-1, -1, 1, 1, 1, 1]


def test_clip_lets_the_gradient_through_in_its_window() -> None:
    assert gradient("clip", 0.0) == [0, 0, 1, 1, 1, 1, 1, 1, 0, 0]


def test_polynomial_is_a_triangle() -> None:
    assert gradient("polynomial", 0.0) == pytest.approx([0, 0, 1, 1.9, 2, 1.9, 1, 0, 0, 0])


def test_identity_lets_everything_through() -> None:
    assert gradient("identity", 0.0) == [1] * len(POINTS)


@pytest.mark.parametrize(("progress", "t"), [(0.0, 0.1), (0.5, 1.0), (1.0, 10.0)])
def test_ede_narrows_with_progress(progress: float, t: float) -> None:
    k = max(1 / t, 1)
    expected = [k * t * (1 - math.tanh(t * x) ** 2) for x in POINTS]
    assert gradient("ede", progress) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("progress", "o"), [(0.0, 1.0), (0.5, 2.0), (1.0, 3.0)])
def test_reste_is_the_slope_of_a_power_function(progress: float, o: float) -> None:
    def expected(x: float) -> float:
        if abs(x) > 1.5:
            return 0
        return 0.1 ** (1 / o - 1) if abs(x) < 0.1 else abs(x) ** (1 / o - 1) / o

    assert gradient("reste", progress) == pytest.approx([expected(x) for x in POINTS], rel=1e-5)


def test_unknown_estimator_is_named() -> None:
    with pytest.raises(RecipeError, match="unknown gradient estimator 'clop'"):
        Sign("clop")
