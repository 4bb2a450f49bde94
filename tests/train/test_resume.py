"""A run that is stopped and resumed ends with the weights of one that never stopped, bit by bit."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from evenbit.errors import CheckpointError
from evenbit.files import CHECKPOINT, part_path
from evenbit.train import Recipe, Result, lock, loop, objective, read_checkpoint
from evenbit.train.metrics import METRICS

TrainTiny = Callable[..., Result]

# Trains a recipe and kills itself, as an out-of-memory killer would, at a step of its own.
KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from rich.console import Console
from evenbit.train import load_recipe, objective, train

recipe, out, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(int(sys.argv[4]))
steps, real = iter(range(1, 1000)), objective.label_loss

def deadly(*args):
    if next(steps) == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args)

objective.label_loss = deadly
train(load_recipe(recipe, {}), out, console=Console(quiet=True))
"""

TIMES = ("seconds", "images_per_second")


def metrics(folder: Path) -> list[dict[str, Any]]:
    """All that is logged, but for times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def assert_same_run(one: Path, other: Path) -> None:
    tensors, others = (read_checkpoint(folder).tensors for folder in (one, other))
    assert tensors.keys() == others.keys()
    assert [name for name in tensors if not torch.equal(tensors[name], others[name])] == []
    assert metrics(one) == metrics(other)


def stop_in_epoch(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """Interrupts training as Ctrl-C does, one step into the epoch after `epoch` epochs of four steps."""
    steps = iter(range(1, 1000))
    real = objective.label_loss

    def interrupted(*args: Any) -> torch.Tensor:
        if next(steps) == 4 * epoch + 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(objective, "label_loss", interrupted)


@pytest.fixture(scope="module")
def straight(train_tiny: TrainTiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.mktemp("straight") / "run", knobs={"estimator": "ede"}).folder


@pytest.mark.parametrize("epoch", [0, 2, 3])
def test_interrupted_and_resumed(
    train_tiny: TrainTiny, tmp_path: Path, straight: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as interrupted:
        stop_in_epoch(interrupted, epoch)
        with pytest.raises(KeyboardInterrupt):
            train_tiny(run, knobs={"estimator": "ede"})
    assert read_checkpoint(run).epoch == epoch
    torch.rand(17)  # whatever else the process draws must not matter
    result = train_tiny(run, resume=True, knobs={"estimator": "ede"})
    assert_same_run(run, straight)
    assert result.accuracy == metrics(straight)[-1]["test_accuracy"]


def test_resumed_with_distillation(train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train_tiny(Path("teacher"), method="float", epochs=1)
    settings = {"teacher": "teacher", "epochs": 2}
    train_tiny(tmp_path / "straight", **settings)
    with monkeypatch.context() as interrupted:
        stop_in_epoch(interrupted, 1)
        with pytest.raises(KeyboardInterrupt):
            train_tiny(tmp_path / "run", **settings)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    train_tiny(Path("teacher"), method="float", epochs=1, seed=1)  # another run by the same name
    train_tiny(tmp_path / "run", resume=True, **settings)
    assert_same_run(tmp_path / "run", tmp_path / "straight")
    shutil.rmtree(tmp_path / "teacher")
    shutil.copytree("teacher", tmp_path / "teacher")
    with pytest.raises(CheckpointError, match=r"teacher no longer has the weights that .*copy learned from"):
        train_tiny(tmp_path / "copy", resume=True, **settings)


def test_resumed_elsewhere_with_weights(train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train_tiny(Path("real"), method="float", epochs=1)
    train_tiny(tmp_path / "run", weights="real", teacher="self", epochs=1)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    train_tiny(tmp_path / "run", weights="real", teacher="self", epochs=2, resume=True)
    assert read_checkpoint(tmp_path / "run").epoch == 2


def test_resumed_with_every_augmentation(
    train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"augment": "strong", "mixup": 0.5, "area": 0.5, "class_weights": True, "epochs": 2}
    train_tiny(tmp_path / "straight", **settings)
    with monkeypatch.context() as interrupted:
        stop_in_epoch(interrupted, 1)
        with pytest.raises(KeyboardInterrupt):
            train_tiny(tmp_path / "run", **settings)
    train_tiny(tmp_path / "run", resume=True, **settings)
    assert_same_run(tmp_path / "run", tmp_path / "straight")


def test_killed_in_mid_epoch_and_resumed(
    tiny_recipe: Callable[..., Recipe], train_tiny: TrainTiny, tmp_path: Path, straight: Path
) -> None:
    recipe = tiny_recipe(knobs={"estimator": "ede"}).model_dump(exclude_none=True)
    knobs = "".join(f"{key} = {json.dumps(value)}\n" for key, value in recipe.pop("knobs").items())
    settings = "".join(f"{key} = {json.dumps(value)}\n" for key, value in recipe.items())
    (tmp_path / "recipe.toml").write_text(f"{settings}[knobs]\n{knobs}")
    arguments = [str(tmp_path / "recipe.toml"), str(tmp_path / "run"), str(2 * 4 + 3), str(torch.get_num_threads())]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert read_checkpoint(tmp_path / "run").epoch == 2
    train_tiny(tmp_path / "run", resume=True, knobs={"estimator": "ede"})
    assert_same_run(tmp_path / "run", straight)


@pytest.mark.parametrize("written", [False, True])
def test_dying_beside_the_write_of_a_checkpoint_loses_and_doubles_no_line(
    train_tiny: TrainTiny, tmp_path: Path, straight: Path, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    real = loop.write_checkpoint

    def dies(folder: Path, recipe: Recipe, task: Any, epoch: int, *rest: Any, **more: Any) -> None:
        if epoch < 3 or written:
            real(folder, recipe, task, epoch, *rest, **more)
        if epoch == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(loop, "write_checkpoint", dies)
        with pytest.raises(KeyboardInterrupt):
            train_tiny(tmp_path / "run", knobs={"estimator": "ede"})
    train_tiny(tmp_path / "run", resume=True, knobs={"estimator": "ede"})
    assert_same_run(tmp_path / "run", straight)


def test_a_run_killed_before_its_first_checkpoint_is_begun_again(train_tiny: TrainTiny, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / lock.LOCK).touch()
    part_path(folder / CHECKPOINT).write_bytes(b"half")
    train_tiny(folder, epochs=1)
    assert {path.name for path in folder.iterdir()} == {CHECKPOINT, METRICS, "tensorboard"}


def test_the_first_file_of_a_run_is_a_checkpoint(
    train_tiny: TrainTiny, tmp_path: Path, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(loop, "write_atomically", dies)
        with pytest.raises(KeyboardInterrupt):
            train_tiny(tmp_path / "run", knobs={"estimator": "ede"})
    assert [path.name for path in (tmp_path / "run").iterdir()] == [CHECKPOINT]
    train_tiny(tmp_path / "run", resume=True, knobs={"estimator": "ede"})
    assert_same_run(tmp_path / "run", straight)


def test_a_training_whose_disk_fills_up_goes_on_when_there_is_room(
    train_tiny: TrainTiny, tmp_path: Path, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = tmp_path / "run", os.fsync

    def full(file: int) -> None:
        if (folder / METRICS).exists() and (folder / METRICS).read_text().count("\n") == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file)

    with monkeypatch.context() as filling:
        filling.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device"):
            train_tiny(folder, knobs={"estimator": "ede"})
    assert read_checkpoint(folder).epoch == 2
    assert list(folder.glob(".*")) == []
    train_tiny(folder, resume=True, knobs={"estimator": "ede"})
    assert_same_run(folder, straight)


def test_a_line_cut_by_a_kill_is_dropped(train_tiny: TrainTiny, tmp_path: Path) -> None:
    train_tiny(tmp_path / "run", epochs=1)
    path = tmp_path / "run" / METRICS
    before = path.read_text()
    path.write_text(before + '{"epoch": 2, "tra')
    train_tiny(tmp_path / "run", epochs=1, resume=True)
    assert path.read_text() == before


def test_resuming_a_finished_run_changes_nothing_and_reports_it(train_tiny: TrainTiny, tmp_path: Path) -> None:
    first = train_tiny(tmp_path / "run", epochs=1)
    before = (tmp_path / "run" / METRICS).read_bytes()
    again = train_tiny(tmp_path / "run", epochs=1, resume=True)
    assert (again.folder, again.accuracy, again.metrics) == (first.folder, first.accuracy, first.metrics)
    assert again.evaluation.logits.tobytes() == first.evaluation.logits.tobytes()
    assert (tmp_path / "run" / METRICS).read_bytes() == before


def test_a_run_whose_log_was_cut_is_refused(train_tiny: TrainTiny, tmp_path: Path) -> None:
    train_tiny(tmp_path / "run", epochs=1)
    (tmp_path / "run" / METRICS).write_text("")
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl .* 0 of the 1 epochs"):
        train_tiny(tmp_path / "run", epochs=1, resume=True)
