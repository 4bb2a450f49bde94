from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from evenbit.cli import main
from evenbit.data.folder import Part
from evenbit.errors import DataError
from evenbit.train import defaults, load_recipe
from evenbit.train.checkpoint import read_checkpoint
from evenbit.train.defaults import as_flags, folder_settings


def pretend(monkeypatch: pytest.MonkeyPatch, count: int, path: Path) -> None:
    """As if a folder held that many images to train on, all of them one file."""
    part = Part((path,) * count, (0,) * count)
    monkeypatch.setattr(defaults, "list_folder", lambda folder: (("a", "b"), part, part))


@pytest.mark.parametrize(
    ("count", "size", "wanted"),
    [
        (40, (50, 40), {"model": "resnet8", "epochs": 60, "image_size": 32, "batch_size": 16, "pad": 4}),
        (800, (640, 480), {"model": "resnet8", "epochs": 60, "image_size": 64, "batch_size": 32, "pad": 8}),
        (4_000, (64, 64), {"model": "resnet20", "epochs": 25, "image_size": 64, "batch_size": 64, "pad": 8}),
        (50_000, (32, 32), {"model": "resnet20", "epochs": 20, "image_size": 32, "batch_size": 128, "pad": 4}),
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
    chosen = folder_settings(tmp_path, {"image_size": 16, "model": "mlp"})
    assert chosen == {"epochs": 60, "batch_size": 16, "pad": 2}
    assert as_flags(chosen) == "--epochs 60 --set batch_size=16 --set pad=2"


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
    assert told.out == ""
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
    assert lines[0] == "chosen by the images: --model resnet8 --set batch_size=16 --set pad=1"
    assert lines[1] == f"{pictures}: 2 classes, 32 images to train on, 12 to test on, 16 of each class to train on"
    recipe = read_checkpoint(Path(out)).recipe
    assert (recipe.epochs, recipe.image_size, recipe.batch_size, recipe.pad) == (1, 8, 16, 1)


def test_a_recipe_wins(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'data = "{pictures}"\nimage_size = 8\nepochs = 1\nbatch_size = 32\n')
    assert main(["train", str(recipe), "--data", str(pictures), "--out", str(tmp_path / "run")]) == 0
    assert "chosen" not in capsys.readouterr().out
    assert read_checkpoint(tmp_path / "run").recipe.batch_size == 32
