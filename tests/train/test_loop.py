from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from evenbit.cli import main
from evenbit.data import load_dataset
from evenbit.deploy import pack_run
from evenbit.errors import CaptureError, CheckpointError, RecipeError, TrainingError
from evenbit.evaluation import evaluate
from evenbit.nn import METHODS, latent_weights
from evenbit.train import Recipe, Result, load_run, objective, torch_predict, train
from evenbit.train import loop as module

TrainTiny = Callable[..., Result]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_leaves_one_line_an_epoch_and_reports_the_last(train_tiny: TrainTiny, tmp_path: Path) -> None:
    result = train_tiny(tmp_path / "run", epochs=3, label_smoothing=0.1)
    found = lines(tmp_path / "run")
    assert [line["epoch"] for line in found] == [1, 2, 3]
    assert result.metrics == found[-1]
    assert result.accuracy == found[-1]["test_accuracy"]
    assert len(found[-1]["layers"]) == 6
    assert ["test_accuracy_frozen" in line for line in found] == [False, False, True]
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_a_validation_part_is_measured_in_place_of_the_test_images(
    train_tiny: TrainTiny,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured = []

    def spy(predict: Any, split: Any, **options: Any) -> Any:
        measured.append(split.images)
        return evaluate(predict, split, **options)

    monkeypatch.setattr(module, "evaluate", spy)
    result = train_tiny(tmp_path / "run", epochs=1, validation=0.25)
    assert result.accuracy == result.metrics["validation_accuracy"]
    assert not any(key.startswith("test") for key in result.metrics)
    dataset = load_dataset(load_run(tmp_path / "run").recipe.data, size=8)
    assert len(measured[0]) == 8
    assert {image.tobytes() for image in measured[0]} <= {image.tobytes() for image in dataset.train.images}
    assert main(["eval", str(tmp_path / "run")]) == 0
    assert f"validation accuracy {result.accuracy:.2f} % of 8 images" in capsys.readouterr().out
    assert main(["eval", str(tmp_path / "run"), "--data", str(pictures)]) == 0
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["float", "fd"])
def test_a_network_learns_what_is_easy(train_tiny: TrainTiny, tmp_path: Path, method: str) -> None:
    result = train_tiny(tmp_path / "run", epochs=12, method=method, learning_rate=1e-2)
    assert result.accuracy == 100
    assert result.metrics["train_loss"] < 0.5


def test_the_same_recipe_gives_the_same_bits_and_another_seed_others(train_tiny: TrainTiny, tmp_path: Path) -> None:
    states = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_tiny(tmp_path / name, epochs=1, seed=seed)
        states.append(load_run(tmp_path / name).model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


@pytest.mark.parametrize("method", METHODS)
def test_the_learning_rate_warms_up_and_falls_to_almost_nothing(
    train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def recorded(self: torch.optim.AdamW, *args: Any, **kwargs: Any) -> Any:
        rates.append(self.param_groups[-1]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", recorded)
    train_tiny(tmp_path / "run", method=method, epochs=3, learning_rate=0.5, warmup_epochs=1)
    assert rates[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert rates[8] == pytest.approx(0.25)  # half way along the cosine of 8 steps
    assert rates[-1] < 0.02
    assert len(rates) == 12


def test_weight_decay_is_apart_for_latent_weights_and_none_for_vectors_and_zero_points(
    tiny_recipe: Callable[..., Recipe],
) -> None:
    network = nn.Sequential(module.build_model(tiny_recipe(knobs={"zero_point_cells": 2}), _task()))
    groups = module.make_optimizer(tiny_recipe(weight_decay=0.5, latent_weight_decay=0.25), network).param_groups
    latent = {id(weight) for weight in latent_weights(network)}
    assert len(latent) == 6
    for group in groups:
        for parameter in group["params"]:
            vector = parameter.dim() <= 1 or parameter.shape[1:] == (2, 2)  # τ of 2x2 cells
            assert group["weight_decay"] == (0.25 if id(parameter) in latent else 0.0 if vector else 0.5)
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def _task() -> Any:
    return module.Task(("a", "b"), 3, 8, 8, (0.5,) * 3, (0.25,) * 3)


def test_scheduled_estimators_are_told_the_progress(
    train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[float] = []
    monkeypatch.setattr(module, "set_progress", lambda network, fraction: told.append(fraction))
    train_tiny(tmp_path / "run", epochs=4)
    assert told == [0, 0.25, 0.5, 0.75]


def test_a_folder_that_holds_something_is_left_alone(train_tiny: TrainTiny, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose")
    with pytest.raises(CheckpointError, match=r"exists and is not empty.*--resume"):
        train_tiny(tmp_path)
    with pytest.raises(CheckpointError, match=r"thesis.txt is not a folder; choose another with --out"):
        train_tiny(tmp_path / "thesis.txt")
    assert contents(tmp_path) == {"thesis.txt": b"do not lose"}


@pytest.mark.parametrize(("key", "value"), [("epochs", 1), ("seed", 9), ("knobs", {"zero_point": False})])
def test_resuming_with_another_recipe_names_the_key_and_changes_nothing(
    train_tiny: TrainTiny, tmp_path: Path, key: str, value: object
) -> None:
    train_tiny(tmp_path / "run", epochs=2)
    before = contents(tmp_path / "run")
    with pytest.raises(CheckpointError, match=f"another recipe: {key} is .* there, but .* here"):
        train_tiny(tmp_path / "run", resume=True, **{"epochs": 2, key: value})
    assert contents(tmp_path / "run") == before


def test_resuming_nothing_is_an_error(train_tiny: TrainTiny, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no trained network"):
        train_tiny(tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_a_batch_holds_at_most_all_images(train_tiny: TrainTiny, tmp_path: Path) -> None:
    train_tiny(tmp_path / "large", epochs=1, batch_size=64)
    train_tiny(tmp_path / "all", epochs=1, batch_size=32)
    states = [load_run(tmp_path / name).model.state_dict() for name in ("large", "all")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def spoil_loss(monkeypatch: pytest.MonkeyPatch, at_step: int, value: float) -> None:
    steps = iter(range(1, 1000))
    real = objective.label_loss

    def spoiled(*args: Any) -> Tensor:
        loss = real(*args)
        return loss * value if next(steps) == at_step else loss

    monkeypatch.setattr(objective, "label_loss", spoiled)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as spoiled:
        spoil_loss(spoiled, 4 + 3, value)
        with pytest.raises(TrainingError, match=f"not finite at epoch 2, step 3; .*epoch 1 is kept in {run}"):
            train_tiny(run)
    assert load_run(run).epoch == 1
    assert [line["epoch"] for line in lines(run)] == [1]
    assert train_tiny(run, resume=True).metrics["epoch"] == 4


def test_a_loss_that_is_not_finite_in_the_first_epoch(
    train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_loss(monkeypatch, 2, np.nan)
    with pytest.raises(TrainingError, match="not finite at epoch 1, step 2; no epoch was finished"):
        train_tiny(tmp_path / "run")


def test_weights_spoiled_by_the_last_step_of_an_epoch_are_not_kept(
    train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = iter(range(1, 1000))
    step = torch.optim.AdamW.step

    def spoil(self: torch.optim.AdamW, *args: Any, **kwargs: Any) -> Any:
        step(self, *args, **kwargs)
        if next(steps) == 8:
            self.param_groups[-1]["params"][-1].data.fill_(np.nan)

    monkeypatch.setattr(torch.optim.AdamW, "step", spoil)
    with pytest.raises(TrainingError, match=r"test loss is not finite after epoch 2; .*epoch 1 is kept"):
        train_tiny(tmp_path / "run")
    assert load_run(tmp_path / "run").epoch == 1


@pytest.mark.parametrize("settings", [{"precision": "bf16"}, {"precision": "no"}])
def test_the_reported_accuracy_is_that_of_float32_networks(
    train_tiny: TrainTiny, tmp_path: Path, pictures: Path, settings: dict[str, Any]
) -> None:
    # Also: trainings of both precisions work in one process.
    result = train_tiny(tmp_path / "run", epochs=2, **settings)
    test = load_dataset(str(pictures), size=8).test
    assert evaluate(torch_predict(load_run(result.folder).model), test).loss == result.metrics["test_loss"]


def test_plain_latent_weights_stay_where_images_can_change_them(train_tiny: TrainTiny, tmp_path: Path) -> None:
    model = load_run(train_tiny(tmp_path / "run", method="react", epochs=1, learning_rate=1.0).folder).model
    largest = max(float(weight.detach().abs().max()) for weight in latent_weights(model))
    assert largest == 1  # some have been brought back


def test_a_teacher_changes_what_is_learned(train_tiny: TrainTiny, tmp_path: Path) -> None:
    train_tiny(tmp_path / "teacher", method="float", epochs=2)
    losses = [
        train_tiny(tmp_path / f"student{share}", epochs=1, teacher=str(tmp_path / "teacher"), distillation=share)
        for share in (0.0, 1.0)
    ]
    alone = train_tiny(tmp_path / "alone", epochs=1)
    assert losses[0].metrics["train_loss"] == alone.metrics["train_loss"]
    assert losses[1].metrics["train_loss"] != alone.metrics["train_loss"]


def test_a_binary_teacher_is_refused(train_tiny: TrainTiny, tmp_path: Path) -> None:
    train_tiny(tmp_path / "teacher", method="fd", epochs=1)
    with pytest.raises(RecipeError, match=r"teacher .* is a binary network \(fd\).*--method float"):
        train_tiny(tmp_path / "run", teacher=str(tmp_path / "teacher"))


def test_a_folder_may_be_text(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    result = train(tiny_recipe(epochs=1), f"{tmp_path}/run", console=Console(quiet=True))
    assert result.folder == tmp_path / "run"
    assert load_run(f"{tmp_path}/run").epoch == 1


def test_an_epoch_is_saved_before_its_line_is_printed(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    saved = []

    class Watching(io.StringIO):
        def write(self, text: str) -> int:
            if text.startswith("epoch "):
                saved.append(load_run(tmp_path / "run").epoch)
            return super().write(text)

    train(tiny_recipe(epochs=2), tmp_path / "run", console=Console(file=Watching(), width=1000))
    assert saved == [1, 2]


def test_a_teacher_of_other_images_is_refused(train_tiny: TrainTiny, tmp_path: Path) -> None:
    train_tiny(tmp_path / "teacher", method="float", epochs=1, image_size=12)
    with pytest.raises(RecipeError, match=r"teacher .* takes 3x12x12 images, but those of .* are 3x8x8"):
        train_tiny(tmp_path / "run", teacher=str(tmp_path / "teacher"))
    assert not (tmp_path / "run").exists()


def test_every_epoch_is_a_line_and_every_step_is_told(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[float, float]] = []
    train(tiny_recipe(epochs=2), tmp_path / "run", console=Console(width=80), progress=lambda *t: told.append(t))
    lines = capsys.readouterr().out.splitlines()
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split()[1] for line in epochs] == ["1/2", "2/2"]
    assert max(map(len, epochs)) <= 80
    assert told == [(4, 8), (8, 8)]


def test_balance_can_be_forced_and_turned_off(train_tiny: TrainTiny, tmp_path: Path) -> None:
    found = {
        target: train_tiny(tmp_path / f"{target}", epochs=8, balance=20.0, balance_target=target, learning_rate=0.1)
        for target in (0.5, 0.9)
    }
    assert found[0.9].metrics["balance"] > found[0.5].metrics["balance"] + 0.1


def test_attention_changes_what_is_learned_and_needs_a_teacher(train_tiny: TrainTiny, tmp_path: Path) -> None:
    teacher = str(train_tiny(tmp_path / "teacher", method="float", epochs=1).folder)
    states = []
    for weight in (0.0, 100.0):
        train_tiny(tmp_path / f"{weight}", epochs=1, teacher=teacher, attention=weight)
        states.append(load_run(tmp_path / f"{weight}").model.state_dict())
    assert not all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    with pytest.raises(RecipeError, match="the attention loss needs a teacher"):
        train_tiny(tmp_path / "run", attention=1.0)


def test_the_second_step_starts_from_the_first(
    train_tiny: TrainTiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train_tiny(tmp_path / "first", epochs=1, knobs={"binary_weights": False})
    weights = load_run(first.folder).model.state_dict()
    seen = []
    monkeypatch.setattr(module._Training, "run", lambda self: seen.append(self.network.state_dict()))
    train_tiny(tmp_path / "second", start=str(first.folder))
    assert all(torch.equal(weights[name], seen[0][name]) for name in weights)


def test_without_a_compiler_training_goes_on_and_says_so(
    tiny_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    text = io.StringIO()
    train(tiny_recipe(epochs=1, compile=True), tmp_path / "run", console=Console(file=text))
    assert "no C++ compiler was found" in text.getvalue()


def test_a_second_step_is_resumed_without_the_first(train_tiny: TrainTiny, tmp_path: Path) -> None:
    first = train_tiny(tmp_path / "first", epochs=1, knobs={"binary_weights": False})
    settings = {"start": str(first.folder), "epochs": 1}
    second = train_tiny(tmp_path / "second", **settings)
    shutil.rmtree(first.folder)
    assert train_tiny(second.folder, resume=True, **settings).accuracy == second.accuracy


def test_a_network_with_real_weights_is_not_packed(train_tiny: TrainTiny, tmp_path: Path) -> None:
    run = train_tiny(tmp_path / "run", epochs=1, knobs={"binary_weights": False})
    with pytest.raises(CaptureError, match="the weights are real"):
        pack_run(run.folder)


def test_weights_of_classes_change_what_is_learned(
    tiny_recipe: Callable[..., Recipe], pictures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "unequal"
    shutil.copytree(pictures, folder)
    for path in sorted((folder / "train" / "light").iterdir())[5:]:
        path.unlink()
    recipes = [tiny_recipe(data=str(folder), epochs=1, class_weights=weights) for weights in (False, True)]
    plain, weighted = [train(recipe, tmp_path / f"{at}").metrics["train_loss"] for at, recipe in enumerate(recipes)]
    assert plain != weighted


@pytest.mark.parametrize("measured", ["test", "validation"])
def test_the_line_of_an_epoch_fits_80_columns(measured: str) -> None:
    metrics = {"epoch": 100, "train_loss": 2.345, "train_accuracy": 100.0, f"{measured}_accuracy": 98.76}
    line = module._line({**metrics, "entropy": 0.987, "images_per_second": 1234.5}, 100)
    assert line.endswith("98.76 %  entropy 0.99  1234 img/s")
    assert len(line) <= 80
