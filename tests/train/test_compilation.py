"""Compiling, in processes of its own: the compiler fails at the checks of shapes that are on in the tests."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import warm
from evenbit.train import Recipe, Result, read_checkpoint
from evenbit.train.compilation import VERSIONS, compile_network

TRAIN = """
import sys
from pathlib import Path
from evenbit.train import train
from evenbit.train.recipe import Recipe

train(Recipe.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
"""

GRADIENTS = """
import copy, sys
import torch
import torch.nn.functional as F
from evenbit.models.resnet import residual_network
from evenbit.nn import resolve_method, set_progress
from evenbit.train.compilation import compile_network

torch.manual_seed(0)
plain = residual_network(resolve_method(sys.argv[1], {}), 3, 10, (8, 8), (16, 32), 1)
plain.to(memory_format=torch.channels_last).train()
compiled = copy.deepcopy(plain)
images, labels = torch.rand(8, 3, 8, 8), torch.randint(10, (8,))
for network, run in ((plain, plain), (compiled, compile_network(compiled))):
    set_progress(network, 0.5)
    F.cross_entropy(run(images), labels).backward()
for (name, one), (_, other) in zip(plain.named_parameters(), compiled.named_parameters(), strict=True):
    assert (one.grad - other.grad).norm() <= 1e-3 * one.grad.norm() + 1e-7, name
for (name, one), (_, other) in zip(plain.named_buffers(), compiled.named_buffers(), strict=True):
    torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4, msg=name)
"""


def assert_runs(script: str, *arguments: str) -> None:
    result = subprocess.run(
        [warm.command("python"), "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "recompile_limit" not in result.stderr


@pytest.mark.parametrize("method", ["irnet", "fd"])  # without kernels of its own, and with
def test_a_compiled_network_has_the_same_gradients(method: str) -> None:
    assert_runs(GRADIENTS, method)


def test_a_compiled_network_learns_the_same(
    tiny_recipe: Callable[..., Recipe], train_tiny: Callable[..., Result], tmp_path: Path
) -> None:
    plain = train_tiny(tmp_path / "plain", epochs=1)
    assert_runs(TRAIN, tiny_recipe(epochs=1, compile=True).model_dump_json(), str(tmp_path / "compiled"))
    weights, again = read_checkpoint(plain.folder).tensors, read_checkpoint(tmp_path / "compiled").tensors
    assert weights.keys() == again.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(again[name], weight, rtol=1e-3, atol=1e-3, msg=name)


def test_torch_before_2_13_is_told_how_many_versions_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    network = torch.nn.Linear(2, 2)
    monkeypatch.setattr(torch, "compile", lambda network, *, dynamic: (network, dynamic))
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 8)
    made: Any = compile_network(network)
    assert made == (network, False)
    assert torch._dynamo.config.recompile_limit == VERSIONS
