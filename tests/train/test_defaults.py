from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evenbit.cli import main
from evenbit.data.folder import Part
from evenbit.errors import DataError
from evenbit.evaluation import score
from evenbit.train import defaults, load_recipe
from evenbit.train.checkpoint import read_checkpoint
from evenbit.train.defaults import advice, as_flags, fitting_recipe, folder_settings
from evenbit.train.metrics import read_metrics
from evenbit.train.recipe import parse_settings


def pretend(monkeypatch: pytest.MonkeyPatch, count: int, path: Path) -> None:
    """As if a folder held that many images to train on, all of them one file."""
    part = Part((path,) * count, (0,) * count)
    monkeypatch.setattr(defaults, "list_folder", lambda folder: (("a", "b"), part, part))


@pytest.mark.parametrize(
    ("count", "size", "wanted"),
    [
        (
            40,
            (50, 40),
            {"model": "resnet8", "epochs": 60, "image_size": 32, "batch_size": 16, "learning_rate": 7.1e-3, "pad": 4},
        ),
        (
            800,
            (640, 480),
            {"model": "resnet8", "epochs": 60, "image_size": 32, "batch_size": 32, "learning_rate": 1e-2, "pad": 4},
        ),
        (
            4_000,
            (64, 64),
            {"model": "evennet_m", "epochs": 25, "image_size": 64, "batch_size": 64, "learning_rate": 1.4e-2, "pad": 8},
        ),
        (
            50_000,
            (32, 32),
            {"model": "evennet_m", "epochs": 20, "image_size": 32, "batch_size": 128, "learning_rate": 2e-2, "pad": 4},
        ),
    ],
)
def test_the_images_choose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, size: tuple[int, int], wanted: dict
) -> None:
    Image.new("RGB", size).save(tmp_path / "x.png")
    pretend(monkeypatch, count, tmp_path / "x.png")
    chosen = folder_settings(tmp_path, {})
    assert chosen == wanted
    load_recipe(None, {"data": str(tmp_path), **chosen})


def test_what_is_given_is_not_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (100, 100)).save(tmp_path / "x.png")
    pretend(monkeypatch, 100, tmp_path / "x.png")
    chosen = folder_settings(tmp_path, {"image_size": 16, "model": "mlp", "method": "float"})
    assert chosen == {"epochs": 60, "batch_size": 16, "learning_rate": 1.4e-3, "pad": 2}
    assert as_flags(chosen) == "--epochs 60 --set batch_size=16 --set learning_rate=0.0014 --set pad=2"


def test_settings_are_told_as_the_command_takes_them() -> None:
    told = {"data": "my photos", "flip": False, "knobs": {"double_skip": True, "estimator": "ede"}, "keep": ["first"]}
    flags = shlex.split(as_flags(told))
    assert flags[:2] == ["--data", "my photos"]
    assert parse_settings([flag for flag in flags[2:] if flag != "--set"]) == {k: told[k] for k in list(told)[1:]}
    assert as_flags({"knobs": {}}) == ""


def test_a_batch_of_less_than_one_is_refused(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", str(pictures), "--set", "batch_size=-4"]) == 2
    assert "key 'batch_size'" in capsys.readouterr().err


def test_a_wrong_size_is_told_with_the_recipe(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--data", str(pictures), "--set", "image_size=big", "--out", str(tmp_path / "run")]
    assert main(command) == 2
    assert "key 'image_size'" in capsys.readouterr().err


def test_without_a_folder_nothing_is_chosen(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures)  # the folder that one is in is not meant
    assert main(["train", "--method", "none", "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr()
    assert "unknown method 'none'" in told.err


def test_images_that_cannot_be_read_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_text("no image")
    pretend(monkeypatch, 3, tmp_path / "x.png")
    assert folder_settings(tmp_path, {})["image_size"] == 32


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least two classes"):
        folder_settings(tmp_path, {})


def test_the_command_says_what_was_chosen_and_a_flag_wins(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    command = ["train", "--data", str(pictures), "--epochs", "1", "--set", "image_size=8", "--out", out]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "chosen for these images: --model resnet8 --set batch_size=16 --set learning_rate=0.0071 --set pad=1"
    )
    assert lines[1].startswith("no image is mirrored, since these images are too few or too hard to tell")
    assert lines[2] == f"{pictures}: 2 classes, 32 images to train on, 12 to test on, 16 of each class to train on"
    assert lines[3] == ("random changes of the images: pad=1; not set: area, flip, cutout, color, rotate, erase, mixup")
    recipe = read_checkpoint(Path(out)).recipe
    assert (recipe.epochs, recipe.image_size, recipe.batch_size, recipe.pad, recipe.flip) == (1, 8, 16, 1, False)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "more photos, a start from a trained network (--from bundled), more epochs (--epochs 36)"),
        ({"epochs": 2}, "more photos, a start from a trained network (--from bundled), more epochs (--epochs 20)"),
        ({"start": "bundled"}, "what helps, best first: more photos, more epochs (--epochs 36)"),
        ({"model": "own.py:make"}, "what helps, best first: more photos, more epochs (--epochs 36)"),
        ({"data": "digits"}, "what helps, best first: more photos, more epochs (--epochs 36)"),
    ],
)
def test_a_network_that_has_hardly_learned_is_told_what_may_help(settings: dict[str, Any], told: str) -> None:
    labels = np.array([0] * 18 + [1] * 2)
    recipe = load_recipe(None, {"data": "photos", "epochs": 12, **settings})
    always_the_first = score(np.tile(np.array([1, 0], np.float32), (20, 1)), labels)
    first, second = advice(recipe, always_the_first)
    assert first.endswith(told)
    assert second == "small classes are recognized less often than large ones; --set class_weights=true may help them"
    assert advice(recipe.model_copy(update={"class_weights": True}), always_the_first) == [first]
    assert advice(recipe, score(np.eye(2, dtype=np.float32)[labels], labels)) == []


def test_what_may_be_chance_is_told() -> None:
    labels = np.array([0] * 6 + [1] * 4)
    answers = np.where(np.arange(10) < 3, 1 - labels, labels)  # 70 % right, of 40 to 89 %; always the first gives 60 %
    found = advice(load_recipe(None, {"data": "photos"}), score(np.eye(2, dtype=np.float32)[answers], labels))
    assert [line.split(";")[0] for line in found] == ["this may be no better than always giving the same answer"]


def test_a_network_better_than_chance_may_still_hardly_tell_classes_apart() -> None:
    labels = np.tile(np.arange(50), 40)
    answers = np.where(np.arange(2_000) < 100, labels, (labels + 1) % 50)  # 5 % right; guessing gives 2 %
    found = advice(load_recipe(None, {"data": "photos"}), score(np.eye(50, dtype=np.float32)[answers], labels))
    told = "this hardly tells the classes apart, since guessing has a balanced accuracy of 2 %"
    assert [line.split(";")[0] for line in found] == [told]


def test_a_recipe_wins(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'data = "{pictures}"\nimage_size = 8\nepochs = 1\nbatch_size = 32\n')
    assert main(["train", str(recipe), "--data", str(pictures), "--out", str(tmp_path / "run")]) == 0
    assert "chosen" not in capsys.readouterr().out
    assert read_checkpoint(tmp_path / "run").recipe.batch_size == 32


@pytest.mark.parametrize(
    ("data", "given", "wanted"),
    [
        ("digits", {}, "digits-resnet8-fd"),
        ("digits", {"method": "float"}, "digits-resnet8-float"),
        ("digits", {"method": "bnn", "model": "mlp"}, "digits-resnet8-fd"),
        ("cifar10", {}, "cifar10-resnet20-fd"),
        ("cifar10", {"model": "resnet18", "method": "float"}, "cifar10-resnet18-float"),
        ("cifar100", {}, None),
    ],
)
def test_the_recipe_that_fits_a_data_set(data: str, given: dict, wanted: str | None) -> None:
    assert fitting_recipe(data, given) == wanted


def test_the_bare_command_takes_the_recipe_for_the_digits_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--epochs", "3", "--out", str(tmp_path / "run")]) == 0
    assert capsys.readouterr().out.splitlines()[0] == (
        "from the recipe digits-resnet8-fd: --data digits --model resnet8 --method fd --epochs 3 --set batch_size=32 "
        "--set learning_rate=0.004"
    )
    recipe = read_checkpoint(tmp_path / "run").recipe
    assert recipe == load_recipe("digits-resnet8-fd", {"epochs": 3})
    assert read_metrics(tmp_path / "run", 3)[-1]["test_accuracy"] > 90


def test_a_data_set_without_a_recipe_says_what_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", "svhn", "--data-root", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().out == (
        "evenbit has no recipe for these data; by default: --data svhn --model resnet8 --method fd --epochs 12 "
        "--set batch_size=128 --set learning_rate=0.02\n"
    )


@pytest.mark.parametrize(("text", "flag"), [("1.5", "--epochs"), ("0.5", "--seed")])
def test_a_number_that_is_not_whole_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, flag: str
) -> None:
    assert main(["train", flag, text, "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.startswith(f'evenbit: Invalid value for {flag}: unable to convert "{text}" into int')
