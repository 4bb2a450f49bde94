"""A method of binarizing is one row of a table: the choices that distinguish it from the other published methods.

Every method computes, from the real-valued input `a` of a convolution and its latent weights `w`,

    y = s_o (sign(u) ⊛ sign(w̄))        z = φ(BN(y) + shortcut(a))

and for the gradient, a function g replaces the derivative of each sign. Here â is the adjusted input, m and M are its
mean and third moment over H, W, w' = (w - mean(w)) / std(w) for each filter, p is the progress of training, and the
functions g are those of `evenbit.nn.sign` (clip: 1 on [-1, 1]; polynomial: 2 - 2|x| there;
ede(x) = k t (1 - tanh²(t x))):

    method   u                               g of u       w̄                g of w̄     s_o                    φ
    bnn      a                               clip         w                clip       1                      hardtanh
    xnor     a                               clip         w                clip       mean |w|               v
    bireal   a                               polynomial   w                clip       mean |w|               v
    irnet    a                               ede          w'               ede        2^round(log2 mean|w'|) hardtanh
    react    a - τ                           polynomial   w                clip       mean |w|               RPReLU
    recu     a                               polynomial   clamp(w', Q(p))  1          mean |w̄|              hardtanh
    adabin   (a - β) / α                     polynomial   w'               ede        mean(w) ± std(w)       Maxout
    sdbnn    a + sigmoid(W2 relu(W1 m + b))  polynomial   w'               clip       1                      v
    insta    â - α M - τ                     polynomial   w                clip       mean |w|               RPReLU
    fd       â + e - α M - τ                 polynomial   w                clip       mean |w|               RPReLU

`float` has neither sign: z = relu(BN(w ⊛ a) + shortcut(a)). In adabin, each filter takes the two values in the column
s_o. â, e, τ, α and β are learned; the modules that compute them (`evenbit.nn.distribution`, `excitation`,
`third_moment`, `refinement`, `two_values`) have the formulas, and gradients flow through them without estimators.
`evenbit.nn.weight` has Q, and says which of the scales are constants for the gradient.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from evenbit.errors import RecipeError, unknown

CHOICES = {
    "estimator": ("clip", "polynomial", "ede", "reste", "identity"),
    "weight_estimator": ("clip", "polynomial", "ede", "reste", "identity"),
    "adjustment": ("none", "channel", "group", "instance"),
    "excitation_gate": ("softsign", "sigmoid"),
    "activation": ("none", "relu", "hardtanh", "rprelu", "maxout"),
    "weight_scale": ("one", "mean", "deviation", "power_of_two"),
}

MOST = 2**16  # largest number of groups or units; a larger one is a mistake, and would only run out of memory
LIMITS = {"excitation_groups": (0, MOST), "zero_point_cells": (1, 256)}  # of the numbers that are not from 1 to MOST


@dataclass(frozen=True)
class Method:
    """The choices of a method. Each field except the name is a knob that a recipe may change.

    Attributes:
        name: Its key in `METHODS`.
        binary: Whether the inner layers have binary weights and activations; if not, only `activation` counts.
        estimator: Gradient estimator of the activations' sign, a key of `evenbit.nn.sign.ESTIMATORS`.
        adjustment: Axes of the feature distribution adjustment, or "none".
        adjustment_groups: Number of channel groups of the adjustment if its axes are "group".
        excitation_groups: Number of channel groups of the group excitation; 0 leaves it out.
        excitation_hidden: Number of hidden units of each of these groups.
        excitation_gate: The function that bounds the excitation: "softsign", or "sigmoid", which can only raise values.
        third_moment: Whether the zero point of a channel follows its third moment in each image.
        two_values: Whether activations and weights take two learned values instead of ±1 (`evenbit.nn.two_values`).
        zero_point: Whether a zero point τ is learned for each channel (refinement, before the sign).
        zero_point_cells: Into how many rows and columns a map is cut, if each cell has its own τ; 1 for one cell.
        activation: The activation after the sum with the shortcut: "none", "relu", "hardtanh", "rprelu" (refinement of
            the real path) or "maxout".
        double_skip: Whether every second convolution also gets the input of the one before it as a shortcut.
        binary_weights: Whether the weights are binary too; they are real in the first step of training in two steps.
        weight_standardized: Whether each filter is centred and scaled before its sign.
        weight_clamp: Whether the tails of each filter are clamped (`evenbit.nn.weight`).
        weight_scale: The scale of each filter: "one", "mean", "deviation" or "power_of_two"
            (`evenbit.nn.weight`).
        weight_estimator: Gradient estimator of the weights' sign.
    """

    name: str
    binary: bool = True
    estimator: str = "clip"
    adjustment: str = "none"
    adjustment_groups: int = 4
    excitation_groups: int = 0
    excitation_hidden: int = 1
    excitation_gate: str = "softsign"
    third_moment: bool = False
    two_values: bool = False
    zero_point: bool = False
    zero_point_cells: int = 1
    activation: str = "none"
    double_skip: bool = False
    binary_weights: bool = True
    weight_standardized: bool = False
    weight_clamp: bool = False
    weight_scale: str = "one"
    weight_estimator: str = "clip"


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        # The twin without any binarization: real weights, ReLU, otherwise the same network.
        Method("float", binary=False, activation="relu"),
        # Hubara et al., Binarized neural networks, NeurIPS 2016: sign with the clipped straight-through estimator,
        # hardtanh.
        Method("bnn", activation="hardtanh"),
        # Rastegari et al., XNOR-Net, ECCV 2016: weights scaled by their mean magnitude. Its scales of activations
        # are left out, since later work found that they gain little. What remains equals `bnn` without hardtanh, since
        # the normalization that follows cancels the scales of the weights.
        Method("xnor", weight_scale="mean"),
        # Liu et al., Bi-Real Net, ECCV 2018: the triangle window. Its shortcut for each convolution is in all methods.
        Method("bireal", estimator="polynomial", weight_scale="mean"),
        # Qin et al., IR-Net, CVPR 2020: standardized weights, power-of-two scales, error decay estimators, hardtanh.
        Method(
            "irnet",
            estimator="ede",
            activation="hardtanh",
            weight_standardized=True,
            weight_scale="power_of_two",
            weight_estimator="ede",
        ),
        # Liu et al., ReActNet, ECCV 2020: learned zero points (RSign), RPReLU, triangle window, scaled weights.
        Method(
            "react",
            estimator="polynomial",
            zero_point=True,
            activation="rprelu",
            weight_scale="mean",
        ),
        # Xu et al., ReCU, ICCV 2021: standardized weights whose tails are clamped, wider and wider; hardtanh.
        Method(
            "recu",
            estimator="polynomial",
            activation="hardtanh",
            weight_standardized=True,
            weight_clamp=True,
            weight_scale="mean",
            weight_estimator="identity",
        ),
        # Tu et al., AdaBin, ECCV 2022: two values of its own for each filter and each layer's activations, Maxout.
        Method(
            "adabin",
            estimator="polynomial",
            two_values=True,
            activation="maxout",
            weight_standardized=True,
            weight_scale="deviation",
            weight_estimator="ede",
        ),
        # Xue et al., Self-distribution binary neural networks, 2021: a sigmoid squeeze-and-excitation shifts the
        # activations' zero points; no scales. Centring the weights replaces the learned shift of their zero points.
        Method(
            "sdbnn",
            estimator="polynomial",
            excitation_groups=1,
            excitation_hidden=8,
            excitation_gate="sigmoid",
            weight_standardized=True,
        ),
        # Lee et al., INSTA-BNN, ICCV 2023: the zero point of a channel follows its third moment in each image. Of
        # its instance-aware PReLU, only the learned, static part is used.
        Method(
            "insta",
            estimator="polynomial",
            adjustment="channel",
            third_moment=True,
            zero_point=True,
            activation="rprelu",
            weight_scale="mean",
        ),
        # Liu and Chen, Feature distribution guided binary neural networks, 2024: adjustment, excitation, refinement.
        Method(
            "fd",
            estimator="polynomial",
            adjustment="channel",
            excitation_groups=4,
            third_moment=True,
            zero_point=True,
            activation="rprelu",
            weight_scale="mean",
        ),
    )
}
"""The methods by name."""


def resolve_method(name: str, overrides: Mapping[str, object]) -> Method:
    """The method with that name, with some of its knobs changed.

    Raises:
        RecipeError: If the method or a knob is unknown, or a value does not fit its knob.
    """
    if name not in METHODS:
        raise RecipeError(unknown("method", name, METHODS))
    method = METHODS[name]
    knobs = [field.name for field in dataclasses.fields(Method) if field.name != "name"]
    for knob, value in overrides.items():
        if knob not in knobs:
            raise RecipeError(unknown("knob", knob, knobs))
        _check_value(knob, value, type(getattr(method, knob)))
    return dataclasses.replace(method, **overrides)  # type: ignore[arg-type]


def _check_value(knob: str, value: object, expected: type) -> None:
    if type(value) is not expected:
        raise RecipeError(f"knob '{knob}' should be {expected.__name__}, but is {value!r}")
    if knob in CHOICES and value not in CHOICES[knob]:
        raise RecipeError(f"knob '{knob}' should be one of {', '.join(CHOICES[knob])}, but is '{value}'")
    if isinstance(value, int) and not isinstance(value, bool):
        least, most = LIMITS.get(knob, (1, MOST))
        if not least <= value <= most:
            raise RecipeError(f"knob '{knob}' should be from {least} to {most}, but is {value}")
