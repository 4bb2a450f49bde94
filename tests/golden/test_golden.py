"""Files of every format version that was ever written can be read, and give what they gave."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from evenbit import plan_file
from evenbit.models import registry
from evenbit.ops import OPS
from evenbit.runtime import reference
from evenbit.runtime.engine import Engine, isas
from evenbit.train import checkpoint, load_run, read_checkpoint, torch_predict
from evenbit.train.optimizer import make_optimizer

HERE = Path(__file__).parent
NETWORKS = sorted(HERE.glob("evb-v*"))
CHECKPOINTS = sorted(HERE.glob("checkpoint-v*"))


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"golden_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def golden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._MODELS, "golden", module("network").golden)


def test_every_version_has_its_files() -> None:
    # Beside one for each version, what came without a new one: ops, and the method's knobs in checkpoints.
    networks = [*(f"evb-v{n}" for n in range(1, plan_file.VERSION + 1)), "evb-v1-cube", "evb-v1-tokens"]
    checkpoints = [*(f"checkpoint-v{n}" for n in range(1, checkpoint.VERSION + 1)), "checkpoint-v1-method"]
    assert [path.name for path in NETWORKS] == sorted(networks)
    assert [path.name for path in CHECKPOINTS] == sorted(checkpoints)


@pytest.mark.parametrize("folder", NETWORKS, ids=lambda path: path.name)
def test_a_network_gives_the_same_bits(folder: Path) -> None:
    plan = plan_file.load(folder / "network.evb")
    images, logits = np.load(folder / "images.npy"), np.load(folder / "logits.npy")
    assert np.isfinite(logits).all()
    assert reference.run(plan, images).tobytes() == logits.tobytes()
    for isa in isas():
        assert Engine(plan, threads=1, isa=isa)(images).tobytes() == logits.tobytes(), isa


def test_the_newest_network_has_every_op() -> None:
    plan = plan_file.load(NETWORKS[-1] / "network.evb")
    assert {op.kind for op in plan.ops} == set(OPS)


@pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda path: path.name)
def test_a_checkpoint_gives_the_same_network_and_can_be_resumed(folder: Path, golden: None) -> None:
    run = load_run(folder)
    assert (run.epoch, run.recipe.model, run.recipe.method, run.recipe.seed) == (1, "golden", "fd", 3)
    assert (run.task.classes, run.task.input) == (("cat", "dog", "eel"), "3x8x8")
    images, logits = np.load(folder / "images.npy"), np.load(folder / "logits.npy")
    # Not bit for bit: the order of torch's sums depends on the machine.
    np.testing.assert_allclose(torch_predict(run.model)(images), logits, rtol=1e-4, atol=1e-4)
    assert run.recipe.optimizer == "adamw"  # as when recipes did not say
    optimizer = make_optimizer(run.recipe, run.model)
    read_checkpoint(folder).load_optimizer(optimizer, run.model)
    assert all(optimizer.state[parameter]["step"] == 1 for parameter in run.model.parameters())


def test_golden_files_are_never_overwritten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    files = sorted(path for path in HERE.rglob("*") if path.parent in NETWORKS + CHECKPOINTS)
    before = [hashlib.sha256(path.read_bytes()).digest() for path in files]
    assert module("make").main() == 1
    assert "a golden file never changes" in capsys.readouterr().err
    assert [hashlib.sha256(path.read_bytes()).digest() for path in files] == before
