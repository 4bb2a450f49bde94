"""Networks that this project did not write: made binary, trained for a few steps, packed, and run by the engine."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    RegNetConfig,
    RegNetForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
)

import evenbit
from evenbit.data import load_dataset
from evenbit.models import Normalize
from evenbit.runtime import reference

SIZE = 16  # the digits' 8x8 pixels, each four times
STEPS = 25


def resnet(layer: str) -> nn.Module:
    config = ResNetConfig(
        num_channels=1, embedding_size=16, hidden_sizes=[32, 48], depths=[1, 2], layer_type=layer, num_labels=10
    )
    return ResNetForImageClassification(config)


def mobilenet(tf_padding: bool) -> nn.Module:
    return MobileNetV2ForImageClassification(
        MobileNetV2Config(
            num_channels=1,
            image_size=SIZE,
            depth_multiplier=0.25,
            tf_padding=tf_padding,
            classifier_dropout_prob=0.1,
            num_labels=10,
        )
    )


def regnet(layer: str) -> nn.Module:
    config = RegNetConfig(
        num_channels=1,
        embedding_size=16,
        hidden_sizes=[32, 48],
        depths=[1, 2],
        groups_width=16,
        layer_type=layer,
        num_labels=10,
    )
    return RegNetForImageClassification(config)


class ByHand(nn.Module):
    """Residual, dense (concatenated) and parallel branches, functional and shared activations, a gate, dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 20, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.first = nn.Sequential(nn.Conv2d(20, 20, 3, padding="same", bias=False), nn.BatchNorm2d(20))
        self.wide = nn.Conv2d(20, 12, (1, 3), padding=(0, 1))
        self.tall = nn.Conv2d(20, 12, (3, 1), padding=(1, 0))
        self.gate = nn.Sequential(nn.Linear(44, 8), nn.ReLU(), nn.Linear(8, 44), nn.Sigmoid())
        self.down = nn.Sequential(nn.Conv2d(44, 40, 3, 2, 1), nn.BatchNorm2d(40), nn.ReLU6())
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(44, 40, 1, bias=False), nn.BatchNorm2d(40))
        self.hidden = nn.Sequential(nn.Linear(40 * 16, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 48), nn.SiLU())
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        x = F.max_pool2d(self.relu(self.first(x) + x), 3, 1, 1)
        x = torch.cat([x, F.relu(self.wide(x)), F.hardswish(self.tall(x))], 1)
        x = x * self.gate(x.mean((2, 3)))[:, :, None, None]
        x = F.max_pool2d(self.down(x) + self.shortcut(x), 2)
        return self.head(self.hidden(x.flatten(1)))


# How to make it, and the method.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "resnet-basic": (lambda: resnet("basic"), "fd"),
    "resnet-bottleneck": (lambda: resnet("bottleneck"), "react"),
    "mobilenet": (lambda: mobilenet(True), "fd"),
    "mobilenet-even": (lambda: mobilenet(False), "bnn"),
    "regnet-y": (lambda: regnet("y"), "fd"),
    "regnet-x": (lambda: regnet("x"), "irnet"),
    "by-hand": (ByHand, "fd"),
    "by-hand-xnor": (ByHand, "xnor"),
}


# Rows of signs with few shortcuts between them: they need more than these steps.
SLOW_LEARNERS = ("mobilenet", "mobilenet-even")


def digits() -> tuple[Tensor, Tensor, npt.NDArray[np.uint8]]:
    data = load_dataset("digits")
    train, test = (part.images.repeat(2, axis=2).repeat(2, axis=3) for part in (data.train, data.test))
    return torch.from_numpy(train).float() / 255, torch.from_numpy(data.train.labels), test


def logits(network: nn.Module, images: Tensor) -> Tensor:
    output = network(images)
    return output if isinstance(output, Tensor) else output.logits


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """`compare` of `benchmarks/agreement.py`."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))
    return importlib.import_module("agreement").compare  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_third_party_network_from_float_to_engine(name: str, compare: Callable[..., dict[str, Any]]) -> None:
    torch.manual_seed(0)
    make, method = NETWORKS[name]
    real = nn.Sequential(Normalize((0.3,), (0.4,)), make())
    images, labels, test = digits()
    network, _ = evenbit.binarize(real, images, method=method)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    network.train()
    losses = []
    for step in range(STEPS):
        batch = torch.randint(len(images), (64,), generator=torch.Generator().manual_seed(step))
        loss = F.cross_entropy(logits(network, images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    if name not in SLOW_LEARNERS:
        assert np.mean(losses[-5:]) < 0.9 * losses[0]
    network.eval()
    with torch.no_grad():
        in_torch = logits(network, torch.from_numpy(test).float() / 255).numpy()
    plan = evenbit.pack(network, images)
    on_engine = evenbit.Engine(plan, threads=1)(test)
    found = compare(network, plan, test, in_torch, on_engine)
    assert found["differing"] <= 0.003 * len(test)
    assert found["explained"] == found["differing"]  # by values that lay at their zero points but for rounding
    assert reference.run(plan, test[:4]).tobytes() == on_engine[:4].tobytes()
