from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from evenbit.errors import RecipeError
from evenbit.models import create_model, model_names
from evenbit.nn import METHODS, BinaryConv2d, BinaryLinear, latent_weights, resolve_method


def make(name: str, method: str, *, channels: int = 3, size: tuple[int, int] = (16, 16), **knobs: bool) -> nn.Module:
    torch.manual_seed(0)
    return create_model(
        name,
        method=resolve_method(method, knobs),
        channels=channels,
        classes=7,
        height=size[0],
        width=size[1],
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
    )


# Every network with some methods, and every method with one network.
PAIRS = {(name, method) for name in model_names() for method in ("float", "fd")} | {("resnet8", m) for m in METHODS}
PAIRS -= {("mobilenet_v2", "fd")}  # in float alone


@pytest.mark.parametrize(("name", "method"), sorted(PAIRS))
def test_every_network_learns_from_every_method(name: str, method: str) -> None:
    size = (32, 32) if name.endswith("imagenet") else (16, 16)
    model = make(name, method, size=size)
    logits = model(torch.rand(2, 3, *size))
    assert logits.shape == (2, 7)
    logits.square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    assert (method != "float") == any(isinstance(m, BinaryConv2d | BinaryLinear) for m in model.modules())


@pytest.mark.parametrize(("channels", "size"), [(1, (28, 28)), (3, (30, 18)), (4, (8, 8))])
def test_sizes_and_channels_are_arguments(channels: int, size: tuple[int, int]) -> None:
    for name in ("resnet18", "vgg_small", "mobilenet", "evennet_s"):
        assert make(name, "fd", channels=channels, size=size)(torch.rand(2, channels, *size)).shape == (2, 7)


def test_docs_name_every_network_and_its_least_size() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "training.md").read_text("utf-8")
    sources = "".join(path.read_text("utf-8") for path in (root / "src/evenbit/models").glob("*.py"))
    rows = re.findall(r"^\| (`[^|]+) \|[^|]+\| (\d+) \|", page, re.MULTILINE)
    least = {name: int(size) for names, size in rows for name in re.findall(r"`(\w+)`", names)}
    assert sorted(least) == sorted(re.findall(r"^@register_model\ndef (\w+)", sources, re.MULTILINE))
    for name, size in least.items():
        make(name, "float", size=(size, size))
        if size > 1:
            with pytest.raises(RecipeError):
                make(name, "float", size=(size - 1, size))


def test_depths() -> None:
    convs = {"resnet8": 6, "resnet20": 18, "resnet18": 16, "resnet34": 32, "mobilenet": 18}
    convs |= {
        "resnet20_wide": 18,
        "basic8": 6,
        "basic20_half": 18,
        "basic20": 18,
        "basic20_wider": 18,
        "basic20_wide": 18,
        "basic14_wide": 12,
        "patch14": 12,
        "patch14_wider": 12,
        "patch14_wide": 12,
        "patch10": 8,
        "evennet_s": 12,
        "evennet_m": 6,
        "evennet_l": 10,
        "evennet_xl": 20,
        "vgg_small": 5,
        "vgg_slim": 5,
        "vgg_dense": 7,
        "mlp": 2,
    }
    assert {name: len(latent_weights(make(name, "fd"))) for name in convs} == convs
    assert sum(w.numel() for w in latent_weights(make("resnet18", "fd"))) == 10_985_472


def test_normalization_is_the_first_layer() -> None:
    x = torch.rand(1, 3, 4, 4)
    assert torch.allclose(make("resnet8", "fd")[0](x), (x - 0.5) / 0.25)


def test_bad_requests_are_named() -> None:
    with pytest.raises(RecipeError, match="unknown model 'resnet9'; did you mean 'resnet8'"):
        make("resnet9", "fd")
    with pytest.raises(RecipeError, match="images of 4x16 are too small for this network; it needs 8x8"):
        make("resnet18", "fd", size=(4, 16))
    with pytest.raises(RecipeError, match="the knob 'double_skip' is for residual networks; vgg_small has no pairs"):
        make("vgg_small", "fd", size=(16, 16), double_skip=True)
    with pytest.raises(RecipeError, match="only for the method float; for a binary one, use mobilenet or resnet20"):
        make("mobilenet_v2", "fd")
