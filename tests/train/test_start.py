"""Starting from a trained network, and giving a finished run more epochs."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from evenbit.cli import main
from evenbit.errors import CheckpointError, RecipeError
from evenbit.pretrained import NETWORK
from evenbit.train import Recipe, Result, load_recipe, load_run, read_checkpoint, train
from evenbit.train import loop as module
from evenbit.train.checkpoint import Task
from evenbit.train.start import like_start, suggest_bundled

TrainTiny = Callable[..., Result]


@pytest.fixture(scope="module")
def trained(train_tiny: TrainTiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.mktemp("start") / "run", epochs=1).folder


@pytest.fixture(scope="module")
def three(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures in three classes, of which one is there twice."""
    folder = tmp_path_factory.mktemp("three") / "pictures"
    shutil.copytree(pictures, folder)
    for part in ("train", "test"):
        shutil.copytree(folder / part / "dark", folder / part / "black")
    return folder


def begun(monkeypatch: pytest.MonkeyPatch, recipe: Recipe, out: Path) -> tuple[dict[str, torch.Tensor], str]:
    """The weights that a training begins with, and what it says."""
    seen: list[dict[str, torch.Tensor]] = []
    text = io.StringIO()
    with monkeypatch.context() as watched:
        watched.setattr(module._Training, "run", lambda self: seen.append(self.network.state_dict()))
        train(recipe, out, console=Console(file=text, width=1000))
    return seen[0], text.getvalue()


def test_other_classes_get_a_new_head_and_the_body_is_kept(
    tiny_recipe: Callable[..., Recipe], trained: Path, three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, told = begun(monkeypatch, tiny_recipe(data=str(three), start=str(trained)), tmp_path / "run")
    known = load_run(trained).model.state_dict()
    assert weights["head.weight"].shape == (3, 64)
    kept = {name for name, tensor in known.items() if torch.equal(weights[name], tensor)}
    assert known.keys() - kept == {"head.weight", "head.bias", "normalize.mean", "normalize.std"}
    assert "new: head for 3 classes instead of 2" in told
    count = sum(known[name].numel() for name in kept)
    assert f"(resnet8, fd, 1 epoch on {load_run(trained).recipe.data}): {count:,} numbers copied" in told


def test_the_same_number_of_other_classes_gets_a_new_head_too(
    tiny_recipe: Callable[..., Recipe], trained: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(pictures, folder)
    for part in ("train", "test"):
        (folder / part / "dark").rename(folder / part / "night")
    weights, told = begun(monkeypatch, tiny_recipe(data=str(folder), start=str(trained)), tmp_path / "run")
    assert not torch.equal(weights["head.weight"], load_run(trained).model.state_dict()["head.weight"])
    assert "new: head for 2 classes instead of 2" in told


def test_the_head_of_any_network_is_its_last_dense_layer(
    tiny_recipe: Callable[..., Recipe],
    train_tiny: TrainTiny,
    three: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = train_tiny(tmp_path / "first", model="mlp", epochs=1).folder
    recipe = tiny_recipe(data=str(three), model="mlp", start=str(first))
    weights, told = begun(monkeypatch, recipe, tmp_path / "run")
    assert weights["4.weight"].shape == (3, 512)
    assert "new: 4 for 3 classes instead of 2" in told


def test_the_same_classes_keep_all(
    tiny_recipe: Callable[..., Recipe], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, told = begun(monkeypatch, tiny_recipe(start=str(trained)), tmp_path / "run")
    known = load_run(trained).model.state_dict()
    assert all(torch.equal(weights[name], known[name]) for name in known)
    assert told.rstrip().endswith("nothing is new")


def test_float_weights_may_start_a_binary_network(
    tiny_recipe: Callable[..., Recipe],
    train_tiny: TrainTiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = train_tiny(tmp_path / "float", method="float", epochs=1).folder
    weights, told = begun(monkeypatch, tiny_recipe(start=str(first)), tmp_path / "run")
    assert torch.equal(weights["head.weight"], load_run(first).model.state_dict()["head.weight"])
    assert "new: stage1.0" in told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "resnet20"}, "is a resnet8, not a resnet20; add --model resnet8"),
        ({"image_size": 12}, "takes images of 3x8x8, but those here are 3x12x12; add --set image_size=8"),
        ({"knobs": {"excitation_hidden": 2}}, "has weights of other sizes than this network: stage1"),
    ],
)
def test_another_network_is_refused(
    train_tiny: TrainTiny, trained: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        train_tiny(tmp_path / "run", start=str(trained), **changes)


def test_a_fine_tuned_network_starts_one_that_is_made_alike(
    tiny_recipe: Callable[..., Recipe],
    train_tiny: TrainTiny,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = train_tiny(tmp_path / "real", method="float", epochs=1).folder
    tuned = train_tiny(tmp_path / "tuned", weights=str(real), epochs=1).folder
    with pytest.raises(RecipeError, match=f"was made from the real weights .*add --weights {real}"):
        train_tiny(tmp_path / "run", start=str(tuned))
    with pytest.raises(RecipeError, match=r"was not made from real weights, .*leave out --weights"):
        train_tiny(tmp_path / "run", start=str(trained), weights=str(real))
    taken = {key: value for key, value in like_start(str(tuned)).items() if key != "image_size"}
    weights, told = begun(monkeypatch, tiny_recipe(start=str(tuned), **taken), tmp_path / "run")
    known = load_run(tuned).model.state_dict()
    assert all(torch.equal(weights[name], known[name]) for name in known)
    assert told.rstrip().endswith("nothing is new")


def test_packed_networks_say_what_to_give(train_tiny: TrainTiny, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"is a file, .* give the folder of the run"):
        train_tiny(tmp_path / "run", start=str(NETWORK))


def test_the_network_that_comes_along_starts_one_for_other_classes(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    command = ["train", "--data", str(pictures), "--from", "bundled", "--epochs", "1", "--set", "flip=true"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert re.search(
        r"from bundled \(resnet8, fd, \d+ epochs on cifar10\): [\d,]+ numbers copied; new: head for 2", told
    )
    recipe = read_checkpoint(tmp_path / "run").recipe
    assert (recipe.model, recipe.method, recipe.image_size, recipe.start) == ("resnet8", "fd", 32, "bundled")


def test_the_command_takes_model_method_and_size_from_the_run(
    trained: Path, three: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--data", str(three), "--from", str(trained), "--epochs", "1", "--set", "flip=true"]
    assert main([*command, "--out", str(tmp_path / "run")]) == 0
    assert "numbers copied; new: head" in " ".join(capsys.readouterr().out.split())
    recipe = read_checkpoint(tmp_path / "run").recipe
    assert (recipe.model, recipe.method, recipe.image_size, recipe.start) == ("resnet8", "fd", 8, str(trained))


def test_a_finished_run_goes_on_with_more_epochs(
    train_tiny: TrainTiny, tiny_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    train_tiny(tmp_path / "run", epochs=2)
    first = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    console = Console(width=1000, file=io.StringIO())
    result = train(tiny_recipe(epochs=4), tmp_path / "run", resume=True, console=console)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert re.search(r"the learning rate continues at \d\.\de-03, its value after 2 epochs in a run of 4", told)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[:2] == first
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert result.metrics == lines[-1]
    assert first[-1]["learning_rate"] < 0.16 * 4e-3  # almost nothing at the end of the short schedule
    assert lines[2]["learning_rate"] > 0.25 * 4e-3  # and then where the longer one is after two epochs
    assert lines[3]["learning_rate"] < 0.03 * 4e-3
    assert read_checkpoint(tmp_path / "run").recipe.epochs == 4
    with pytest.raises(CheckpointError, match="epochs is 4 there, but 3 here"):
        train_tiny(tmp_path / "run", resume=True, epochs=3)


def test_an_extension_that_is_stopped_goes_on_to_the_same_weights(
    train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_tiny(tmp_path / "run", epochs=1)
    shutil.copytree(tmp_path / "run", tmp_path / "straight")
    train_tiny(tmp_path / "straight", resume=True, epochs=3)
    with monkeypatch.context() as stopped:
        stopped.setattr(module._Training, "_epoch", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_tiny(tmp_path / "run", resume=True, epochs=3)
    kept = read_checkpoint(tmp_path / "run")
    assert (kept.epoch, kept.recipe.epochs) == (1, 3)
    assert main(["train", "--resume", "--out", str(tmp_path / "run"), "--json"]) == 0
    one, two = (read_checkpoint(tmp_path / name).tensors for name in ("run", "straight"))
    assert all(torch.equal(one[name], two[name]) for name in two)


@pytest.mark.parametrize(
    ("changes", "images", "told"),
    [
        ({}, 999, True),
        ({}, 1000, False),
        ({"start": "bundled"}, 10, False),
        ({"weights": "w.safetensors"}, 10, False),
        ({"method": "bnn"}, 10, False),
        ({"model": "resnet20"}, 10, False),
        ({"knobs": {"excitation_hidden": 2}}, 10, False),
    ],
)
def test_few_images_are_told_of_the_network_that_comes_along(changes: dict[str, Any], images: int, told: bool) -> None:
    task = Task(("a", "b"), 3, 32, 32, (0.5,) * 3, (0.2,) * 3)
    recipe = load_recipe(None, {"data": "photos", **changes})
    assert ("--from bundled" in suggest_bundled(recipe, task, images)) is told
    assert suggest_bundled(recipe, dataclasses.replace(task, channels=1), images) == ""
