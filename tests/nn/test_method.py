from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from evenbit.errors import RecipeError
from evenbit.nn import (
    ESTIMATORS,
    METHODS,
    BinaryActivation,
    keep_latent_weights_within_reach,
    resolve_method,
    set_progress,
)
from evenbit.nn.block import PlainLinear, make_activation, make_binarizer, make_conv
from evenbit.nn.distribution import AXES, EPSILON
from evenbit.nn.method import CHOICES
from evenbit.nn.weight import SCALES


def test_table() -> None:
    assert " ".join(METHODS) == "float bnn xnor bireal irnet react recu adabin sdbnn insta fd"
    assert not METHODS["float"].binary
    assert METHODS["xnor"].weight_scale == "mean"
    assert METHODS["bireal"].estimator == "polynomial"
    assert (METHODS["irnet"].estimator, METHODS["irnet"].weight_scale) == ("ede", "power_of_two")
    assert all(name == method.name for name, method in METHODS.items())


def activation(name: str, channels: int) -> BinaryActivation:
    torch.manual_seed(0)
    return BinaryActivation(channels, METHODS[name]).eval()


def weights(name: str, latent: list[float], progress: float = 0) -> tuple[list[float], float]:
    """Signs and scale of one filter."""
    binarizer = make_binarizer(METHODS[name])
    set_progress(binarizer, float(progress))
    signs, scale = binarizer(torch.tensor([latent]))
    return signs[0].tolist(), scale.item()


def test_bnn_by_hand() -> None:
    assert weights("bnn", [1.0, -3.0, 0.0]) == ([1, -1, 1], 1)
    x = torch.tensor([[[[0.5, 1.5, -1.0]]]], requires_grad=True)
    activation("bnn", 1)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1, 0, 1]  # 1 on [-1, 1]
    conv = make_conv(1, 1, METHODS["bnn"], kernel=1)
    with torch.no_grad():
        conv[1].weight.fill_(-3)
    keep_latent_weights_within_reach(conv)
    assert conv[1].weight.item() == -1


@pytest.mark.parametrize("name", ["irnet", "recu"])
def test_weights_that_learn_everywhere_are_left_where_they_are(name: str) -> None:
    conv = make_conv(16, 16, METHODS[name])
    with torch.no_grad():
        conv[1].weight.mul_(100)
    before = conv[1].weight.clone()
    keep_latent_weights_within_reach(conv)
    assert torch.equal(conv[1].weight, before)


def test_xnor_by_hand() -> None:
    assert weights("xnor", [1.0, -3.0, 2.0]) == ([1, -1, 1], 2)  # mean of 1, 3, 2


def test_bireal_by_hand() -> None:
    x = torch.tensor([[[[0.25, -0.75]]]], requires_grad=True)
    activation("bireal", 1)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [1.5, 0.5]  # 2 - 2 |x|


def test_irnet_by_hand() -> None:
    assert make_activation(1, METHODS["irnet"])(torch.tensor([-2.0, 0.5, 3.0])).tolist() == [-1, 0.5, 1]
    # Centred and scaled to -1, -1, -1, 3 over sqrt(3); mean magnitude 1.5 / sqrt(3) = 0.87, nearest power of two 1.
    assert weights("irnet", [1.0, 1.0, 1.0, 5.0]) == ([-1, -1, -1, 1], 1)
    # Centred and scaled to 15 of -1 and one of 15, over sqrt(15); mean magnitude 0.48, nearest power of two 1/2.
    assert weights("irnet", [0.0] * 15 + [16.0]) == ([-1] * 15 + [1], 0.5)


def test_react_by_hand() -> None:
    layer = activation("react", 2)
    torch.nn.init.constant_(layer.refine.tau, 0.5)
    assert layer(torch.tensor([[[[0.4]], [[0.6]]]])).flatten().tolist() == [-1, 1]


def test_recu_by_hand() -> None:
    # Standardized: -1/sqrt(3) three times and sqrt(3); mean magnitude 3/(2 sqrt(3)) = 0.866. At the start τ = 0.85:
    # Q = -0.866 ln 0.3 = 1.0427, so the tail of 1.732 is clamped; mean magnitude (3 * 0.5774 + 1.0427) / 4 = 0.6937.
    signs, scale = weights("recu", [1.0, 1.0, 1.0, 5.0])
    assert signs == [-1, -1, -1, 1]
    assert scale == pytest.approx(0.6937, abs=1e-4)
    # The clamped weight learns nothing, and its quantile is a constant: the others' gradients are those of
    # standardization, (g - mean(g) - w̄ mean(g w̄)) / std with g = 1, 1, 1, 0 and std = sqrt(3).
    latent = torch.tensor([[1.0, 1.0, 1.0, 5.0]], requires_grad=True)
    make_binarizer(METHODS["recu"])(latent)[0].sum().backward()
    g, w = torch.tensor([1.0, 1.0, 1.0, 0.0]), torch.tensor([-1.0, -1.0, -1.0, 3.0]) / 3**0.5
    torch.testing.assert_close(latent.grad, ((g - 0.75 - w * (g * w).mean()) / 3**0.5)[None])
    # At the end τ = 0.99: Q = -0.866 ln 0.02 = 3.388 clamps nothing.
    assert weights("recu", [1.0, 1.0, 1.0, 5.0], progress=1)[1] == pytest.approx(0.8660, abs=1e-4)


def test_adabin_by_hand() -> None:
    # A filter of mean 2 and deviation d takes the values 2 ± d; an input of +1 alone gives their sum.
    conv = make_conv(1, 1, METHODS["adabin"])[1]
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, 1.0, 1.0, 5.0, 2.0, 2.0, 2.0, 2.0, 2.0]).view(1, 1, 3, 3))
    deviation = (12 / 9) ** 0.5
    expected = 9 * 2 + deviation * 3  # signs - - - + and five times + (2 >= 2)
    for training in (True, False):
        assert conv.train(training)(torch.ones(1, 1, 1, 1)).item() == pytest.approx(expected, abs=1e-5)
    # Moving the whole filter moves its middle, which counts once for each of the nine +1: the gradient's sum is 9.
    conv.train()(torch.ones(1, 1, 1, 1)).sum().backward()
    assert conv.weight.grad.sum().item() == pytest.approx(9, abs=1e-4)
    layer = activation("adabin", 1)
    torch.nn.init.constant_(layer.values.middle, 0.5)
    assert layer(torch.tensor([[[[0.4, 0.6]]]])).flatten().tolist() == [-1, 1]

    # Maxout: a v if v >= 0 else a s v.
    maxout = make_activation(1, METHODS["adabin"])
    torch.nn.init.constant_(maxout.scale, 2.0)
    torch.nn.init.constant_(maxout.slope, 0.5)
    assert maxout(torch.tensor([[-1.0], [3.0]])).flatten().tolist() == [-1, 6]


def test_dense_layers_take_two_values_too() -> None:
    linear = PlainLinear(4, 1, METHODS["adabin"]).linear[1]
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 1.0, 1.0, 5.0]]))  # mean 2, deviation sqrt(3), signs - - - +
    for training in (True, False):
        assert linear.train(training)(torch.tensor([[1.0, 1.0, -1.0, 1.0]])).item() == pytest.approx(2 * 2)


def test_sdbnn_by_hand() -> None:
    layer = activation("sdbnn", 1)  # its second weights start at 0, so the shift is sigmoid(0) = 1/2
    assert layer(torch.tensor([[[[-0.4, -0.6]]]])).flatten().tolist() == [1, -1]


def test_insta_by_hand() -> None:
    layer = activation("insta", 1)
    torch.nn.init.constant_(layer.moment.alpha, 0.5)
    # The third moment of 0, 1, 2 is (0 + 1 + 8) / 3 = 3, so the zero point is 1.5.
    assert layer(torch.tensor([[[[0.0, 1.0, 2.0]]]])).flatten().tolist() == [-1, -1, 1]


def test_fd_by_hand() -> None:
    layer = activation("fd", 4)
    layer.adjust.running_mean.fill_(10)
    layer.adjust.running_var.fill_(4)
    torch.nn.init.constant_(layer.refine.tau, 0.5)
    # (11.1 - 10) / 2 = 0.55 and (10.9 - 10) / 2 = 0.45 on either side of 0.5
    assert layer(torch.tensor([[11.1], [10.9], [11.1], [10.9]]).view(1, 4, 1, 1)).flatten().tolist() == [1, -1, 1, -1]


def test_excitation_and_third_moment_of_fd_by_hand() -> None:
    layer = activation("fd", 4)  # adjusts by mean 0 and deviation 1 as it is fresh; a channel is a group of its own
    layer.adjust.running_var.fill_(1 - EPSILON)
    for weight, value in (
        (layer.excite.squeeze.weight, 2.0),
        (layer.excite.squeeze.bias, 1.0),
        (layer.excite.excite.weight, 0.5),
        (layer.moment.alpha, 0.25),
    ):
        torch.nn.init.constant_(weight, value)
    # Of 0, 1, 2 the mean is 1 and the third moment 3: e = s(0.5 relu(2 * 1 + 1)) = 1.5 / 2.5 = 0.6, less 0.25 * 3.
    image = torch.tensor([0.0, 1.0, 2.0]).expand(1, 4, 1, 3)
    torch.testing.assert_close(layer.before_sign(image), image + 0.6 - 0.75)
    assert layer(image)[0, 0].flatten().tolist() == [-1, 1, 1]


def test_real_weights_are_the_first_of_two_steps() -> None:
    conv = make_conv(4, 3, resolve_method("fd", {"binary_weights": False}))[1]
    x = torch.ones(1, 4, 4, 4)
    torch.testing.assert_close(conv(x), F.conv2d(F.pad(x, (1, 1, 1, 1), value=1.0), conv.weight))


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
        ("fdd", {}, "unknown method 'fdd'; did you mean 'fd'"),
        ("fd", {"estimater": "ede"}, "unknown knob 'estimater'; did you mean 'estimator'"),
        ("fd", {"estimator": "foo"}, "knob 'estimator' should be one of clip"),
        ("fd", {"excitation_groups": "4"}, "knob 'excitation_groups' should be int"),
        ("fd", {"excitation_groups": -1}, "should be from 0 to 65536"),
        ("fd", {"excitation_hidden": 0}, "should be from 1 to 65536"),
        ("fd", {"name": "x"}, "unknown knob 'name'"),
    ],
)
def test_bad_settings_are_named(name: str, overrides: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        resolve_method(name, overrides)
