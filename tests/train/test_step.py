"""A step on buffers, recorded and done again, against the plain one. The recording on a GPU is in tests/gpu."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from evenbit.data.augment import mix
from evenbit.models import create_model
from evenbit.nn import resolve_method
from evenbit.train import Result, loop
from evenbit.train.checkpoint import Task, write_checkpoint
from evenbit.train.objective import Objective
from evenbit.train.optimizer import make_optimizer
from evenbit.train.recipe import Recipe
from evenbit.train.step import WARMUP_STEPS, Batch, CapturedStep, Step

TASK = Task(tuple("0123456789"), 1, 16, 16, (0.5,), (0.25,))


class Recording:
    """A graph that calls what it recorded."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.warmed = 0

    def warm_up(self, work: Callable[[], None]) -> None:
        for _ in range(WARMUP_STEPS):
            work()
            self.warmed += 1

    def capture(self, work: Callable[[], None]) -> None:
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.replay = work

    def replay(self) -> None:
        raise AssertionError("nothing was captured")


def make_step(network: nn.Module) -> Step:
    recipe = Recipe(model="resnet8", learning_rate=1.0)
    objective = Objective(recipe, TASK, network, torch.arange(10))
    return Step(network, network, objective, make_optimizer(recipe, network))


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    shape = {"channels": 1, "classes": 10, "height": 16, "width": 16}
    network = create_model("resnet8", method=resolve_method("fd", {}), mean=(0.5,), std=(0.25,), **shape)
    return network.to(memory_format=torch.channels_last).train()


def batch(seed: int, mixed: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (8, 1, 16, 16), dtype=torch.uint8, generator=generator)
    labels = torch.randint(10, (8,), generator=generator)
    if not mixed:
        return Batch(images, labels)
    images, pairs = mix(images, 0.5, generator)
    return Batch(images, labels, pairs)


def state(step: Step) -> dict[str, Tensor]:
    moments = {f"moments.{i}.{k}": v for i, s in enumerate(step.optimizer.state.values()) for k, v in s.items()}
    return {**step.network.state_dict(), **moments}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


RATES = (0.25, 0.125, 0.0625)  # exact in the float32 of the captured step's buffer


@pytest.mark.parametrize("mixed", [False, True])
def test_a_captured_step_does_what_the_plain_one_does(network: nn.Module, mixed: bool) -> None:
    plain, twin = make_step(network), make_step(copy.deepcopy(network))
    graph = Recording()
    captured = CapturedStep(twin, batch(99, mixed), graph)
    assert graph.warmed == WARMUP_STEPS
    for seed, rate in enumerate(RATES):
        loss, hits = plain(batch(seed, mixed), rate)
        assert (float(loss), int(hits)) == tuple(value.item() for value in captured(batch(seed, mixed), rate))
    assert_same(state(plain), state(twin))


def test_a_capture_goes_on_where_the_optimizer_was(network: nn.Module) -> None:
    plain, twin = make_step(network), make_step(copy.deepcopy(network))
    for step in (plain, twin):
        step(batch(0), RATES[0])
    before = {name: tensor.clone() for name, tensor in state(twin).items()}
    captured = CapturedStep(twin, batch(99), Recording())
    assert_same(before, state(twin))
    plain(batch(1), RATES[1])
    captured(batch(1), RATES[1])
    assert_same(state(plain), state(twin))


def test_a_capture_after_the_first_checkpoint_does_too(network: nn.Module, tmp_path: Path) -> None:
    plain, twin = make_step(network), make_step(copy.deepcopy(network))
    write_checkpoint(tmp_path, Recipe(model="resnet8"), TASK, 0, twin.network, twin.optimizer)
    captured = CapturedStep(twin, batch(99), Recording())
    plain(batch(0), RATES[0])
    captured(batch(0), RATES[0])
    assert_same(state(plain), state(twin))


def test_a_run_of_captured_steps_gives_the_same_network(
    train_tiny: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop._Training, "_learning_rate", lambda self, step: RATES[step % len(RATES)] / 64)
    plain = train_tiny(tmp_path / "plain", epochs=2, mixup=0.5)
    graphs: list[Recording] = []
    monkeypatch.setattr(loop, "CudaGraph", lambda: graphs.append(Recording()) or graphs[-1])
    monkeypatch.setattr(loop._Training, "_has_graphs", lambda self: True)
    captured = train_tiny(tmp_path / "captured", epochs=2, mixup=0.5)
    assert len(graphs) == 1
    assert_same(plain.network.state_dict(), captured.network.state_dict())


def test_what_cannot_be_captured_leaves_no_trace(network: nn.Module) -> None:
    plain, twin = make_step(network), make_step(copy.deepcopy(network))
    with pytest.raises(RuntimeError, match="not permitted"):
        CapturedStep(twin, batch(99), Recording(fails=True))
    for step in (plain, twin):
        step(batch(0), RATES[0])
    assert_same(state(plain), state(twin))
