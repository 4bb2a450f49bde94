"""Training on a GPU: the same network as on the CPU."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import evenbit
from evenbit.data import Dataset, Split, load_dataset
from evenbit.deploy import pack_run
from evenbit.evaluation import evaluate
from evenbit.models import create_model
from evenbit.nn import METHODS, resolve_method, set_progress
from evenbit.runtime.engine import Engine
from evenbit.train import read_checkpoint, torch_predict
from evenbit.train.checkpoint import Task, build_model
from evenbit.train.objective import Objective
from evenbit.train.optimizer import make_optimizer
from evenbit.train.placement import place
from evenbit.train.recipe import Recipe
from evenbit.train.step import Batch, CapturedStep, CudaGraph, Step

pytestmark = pytest.mark.gpu

# In a process of its own: the compiler fails at the checks of shapes that are on in the tests.
COMPILED = """
import copy, sys
import torch
import torch.nn.functional as F
from evenbit.evaluation import evaluate
from evenbit.models import create_model
from evenbit.nn import resolve_method, set_progress
from evenbit.train.compilation import compile_network

torch.backends.cudnn.allow_tf32 = False
torch.manual_seed(0)
shape = {"channels": 3, "classes": 10, "height": 16, "width": 16}
plain = create_model("resnet8", method=resolve_method(sys.argv[1], {}), mean=(0.5,) * 3, std=(0.25,) * 3, **shape)
plain.to("cuda", memory_format=torch.channels_last).train()
compiled = copy.deepcopy(plain)
images = torch.rand(8, 3, 16, 16, device="cuda").to(memory_format=torch.channels_last)
labels = torch.randint(10, (8,), device="cuda")
for network, run in ((plain, plain), (compiled, compile_network(compiled))):
    set_progress(network, 0.5)
    F.cross_entropy(run(images), labels).backward()
for (name, one), (_, other) in zip(plain.named_parameters(), compiled.named_parameters(), strict=True):
    assert (one.grad - other.grad).norm() <= 1e-2 * one.grad.norm() + 1e-6, name
"""


@pytest.fixture(autouse=True)
def gpu() -> None:
    if not torch.cuda.is_available():
        pytest.fail("these tests need a GPU")


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_those_of_the_cpu(method: str) -> None:
    """In double precision, in which no sum lies so near to its zero point that rounding moves it to the other side."""
    torch.manual_seed(0)
    shape = {"channels": 3, "classes": 10, "height": 16, "width": 16}
    here = create_model("resnet8", method=resolve_method(method, {}), mean=(0.5,) * 3, std=(0.25,) * 3, **shape)
    here = here.double().train()
    there = copy.deepcopy(here).to("cuda")
    images, labels = torch.rand(8, 3, 16, 16, dtype=torch.float64), torch.randint(10, (8,))
    losses = []
    for network, device in ((here, "cpu"), (there, "cuda")):
        set_progress(network, 0.5)
        loss = F.cross_entropy(network(images.to(device)), labels.to(device))
        loss.backward()
        losses.append(float(loss.detach()))
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)
    for (name, one), other in zip(here.named_parameters(), there.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(other.grad.cpu(), one.grad, rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.parametrize("method", ["float", "react", "irnet", "fd"])
def test_a_compiled_network_has_the_same_gradients(method: str) -> None:
    result = subprocess.run([sys.executable, "-c", COMPILED, method], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_run_is_stopped_and_resumed_and_its_file_gives_the_same_answers(tmp_path: Path) -> None:
    """Compiled and in bfloat16, as the recipes for a GPU are, each step as one graph."""
    run = tmp_path / "run"
    command = [sys.executable, "-m", "evenbit", "train", "digits-resnet8-fd", "--epochs", "6", "--out", str(run)]
    command += ["--set", "precision=bf16", "--set", "compile=true"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch 2"):
                process.kill()
    done = read_checkpoint(run).epoch
    assert 1 <= done < 6
    resumed = subprocess.run([*command, "--resume"], check=True, capture_output=True, text=True)
    assert "not run as one CUDA graph" not in resumed.stdout
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in metrics] == [1, 2, 3, 4, 5, 6]
    assert metrics[-1]["test_accuracy"] > 90
    assert torch.cuda.get_device_name() in str(read_checkpoint(run).origin)
    dataset = load_dataset("digits").test
    packed = evaluate(Engine(pack_run(run)), dataset, batch_size=100).accuracy
    assert packed == pytest.approx(metrics[-1]["test_accuracy"], abs=0.3)


@pytest.mark.parametrize("method", ["float", "irnet", "fd"])
def test_a_step_is_captured_and_does_what_the_plain_one_does(method: str) -> None:
    torch.manual_seed(0)
    recipe = Recipe(model="resnet8", method=method)
    task = Task(tuple("0123456789"), 3, 16, 16, (0.5,) * 3, (0.25,) * 3)
    first = build_model(recipe, task).to("cuda", memory_format=torch.channels_last).train()
    set_progress(first, 0.5)
    generator = torch.Generator("cuda").manual_seed(0)
    shape = (4, 8, 3, 16, 16)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, device="cuda", generator=generator)
    labels = torch.randint(10, shape[:2], device="cuda", generator=generator)
    steps = []
    for network in (first, copy.deepcopy(first)):
        objective = Objective(recipe, task, network, labels.flatten())
        steps.append(Step(network, network, objective, make_optimizer(recipe, network)))
    captured = CapturedStep(steps[1], Batch(images[0], labels[0]), CudaGraph())
    for batch in map(Batch, images, labels):
        torch.testing.assert_close(captured(batch, 1e-3)[0], steps[0](batch, 1e-3)[0], rtol=1e-4, atol=1e-5)
    for (name, here), there in zip(first.named_parameters(), steps[1].network.parameters(), strict=True):
        torch.testing.assert_close(there, here, rtol=1e-2, atol=4e-3, msg=name)  # an update is at most the rate


def test_evaluation_is_in_float32() -> None:
    shape = {"channels": 3, "classes": 10, "height": 32, "width": 32}
    network = create_model("resnet8", method=resolve_method("float", {}), mean=(0.5,) * 3, std=(0.25,) * 3, **shape)
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), dtype=np.uint8)
    here = torch_predict(network.eval())(images)
    np.testing.assert_allclose(torch_predict(network.to("cuda"))(images), here, rtol=1e-5, atol=1e-5)


def test_images_lie_on_the_gpu() -> None:
    assert place(np.zeros((4, 3, 8, 8), np.uint8), torch.device("cuda")).is_cuda


def test_a_network_on_the_gpu_is_fine_tuned(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (64, 3, 16, 16), dtype=np.uint8), draw.integers(0, 4, 64)
    data = Dataset("noise", tuple("abcd"), Split(images, labels), Split(images, labels))
    real = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 4),
    ).to("cuda")  # fmt: skip
    result = evenbit.finetune(real, data, epochs=1, out=tmp_path / "run")
    assert 0 <= result.accuracy <= 100
    assert next(real.parameters()).is_cuda
