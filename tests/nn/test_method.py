from __future__ import annotations

import pytest

from evenbit.errors import RecipeError
from evenbit.nn import ESTIMATORS, METHODS, resolve_method
from evenbit.nn.distribution import AXES
from evenbit.nn.method import CHOICES
from evenbit.nn.weight import SCALES


def test_table() -> None:
    assert {"float", "bnn", "xnor", "bireal", "irnet", "react", "fd"} <= METHODS.keys()
    assert not METHODS["float"].binary
    assert METHODS["xnor"].weight_scale == "mean"
    assert METHODS["bireal"].estimator == "polynomial"
    assert (METHODS["irnet"].estimator, METHODS["irnet"].weight_scale) == ("ede", "power_of_two")
    assert all(name == method.name for name, method in METHODS.items())


def test_choices_name_what_exists() -> None:
    assert CHOICES["weight_scale"] == SCALES
    assert CHOICES["estimator"] == CHOICES["weight_estimator"] == tuple(ESTIMATORS)
    assert CHOICES["adjustment"] == ("none", *AXES)


def test_knobs_override() -> None:
    method = resolve_method("fd", {"estimator": "ede", "excitation_groups": 0})
    assert (method.estimator, method.excitation_groups, method.adjustment) == ("ede", 0, "channel")


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("fdd", {}, "unknown method 'fdd'; known are float"),
        ("fd", {"estimater": "ede"}, "unknown knob 'estimater' of a method; did you mean 'estimator'"),
        ("fd", {"estimator": "foo"}, "knob 'estimator' should be one of clip"),
        ("fd", {"excitation_groups": "4"}, "knob 'excitation_groups' should be int"),
        ("fd", {"excitation_groups": -1}, "should be at least 0"),
        ("fd", {"excitation_hidden": 0}, "should be at least 1"),
        ("fd", {"name": "x"}, "unknown knob 'name'"),
    ],
)
def test_bad_settings_are_named(name: str, overrides: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        resolve_method(name, overrides)
