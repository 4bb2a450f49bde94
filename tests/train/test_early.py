"""Mistakes beside the images are told before the images are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evenbit.cli import main
from evenbit.errors import CheckpointError, RecipeError
from evenbit.train import Result, loop
from evenbit.train.checkpoint import read_checkpoint

NETWORK = """
from pathlib import Path
from torch import nn

with Path(__file__).with_name("count").open("a") as file:
    file.write("x")


def make_model(classes):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 4 * 4, classes)
    )
"""


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*arguments: Any, **options: Any) -> None:
        raise AssertionError("the images were read")

    monkeypatch.setattr(loop, "load_dataset", read)


@pytest.mark.usefixtures("unreadable")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "nowhere.py:make"}, RecipeError, "there is no file nowhere.py"),
        ({"model": "{file}:make_mode"}, RecipeError, "has no function 'make_mode'; it has make_model"),
        ({"weights": "{folder}/nowhere"}, RecipeError, "there are no weights at"),
        ({"weights": "{file}"}, RecipeError, "is damaged or not a safetensors file"),
        ({"start": "{folder}/nowhere"}, CheckpointError, "nowhere does not exist"),
        ({"start": "{run}", "model": "resnet20"}, RecipeError, "is a resnet8, not a resnet20; add --model resnet8"),
        ({"teacher": "{folder}/nowhere"}, CheckpointError, "nowhere does not exist"),
    ],
)
def test_what_a_recipe_names_is_opened_first(
    shared: Path,
    tmp_path: Path,
    train_tiny: Callable[..., Result],
    changes: dict[str, str],
    error: type[Exception],
    message: str,
) -> None:
    (tmp_path / "network.py").write_text(NETWORK)
    places = {"file": tmp_path / "network.py", "folder": tmp_path, "run": shared}
    given = {key: value.format(**places) for key, value in changes.items()}
    with pytest.raises(error, match=message):
        train_tiny(tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def shared(train_tiny: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.mktemp("shared") / "run", epochs=1, method="float").folder


def test_the_code_of_a_network_runs_once(train_tiny: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "network.py").write_text(NETWORK)
    train_tiny(tmp_path / "run", model=f"{tmp_path / 'network.py'}:make_model", epochs=1)
    assert (tmp_path / "count").read_text() == "x"


def test_a_folder_in_use_is_told_before_the_images_are_listed(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").touch()
    monkeypatch.setattr("evenbit.train.defaults.list_folder", lambda folder: pytest.fail("the images were listed"))
    assert main(["train", "--data", str(pictures), "--out", str(tmp_path / "run")]) == 2
    assert "exists and is not empty" in capsys.readouterr().err


def test_weights_of_a_run_bring_its_network_and_size(
    shared: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    command = ["train", "--data", str(pictures), "--weights", str(shared), "--epochs", "1", "--out"]
    assert main([*command, str(tmp_path / "run"), "--set", "flip=true"]) == 0
    assert f"taken from {shared}: --model resnet8 --set image_size=8\n" in capsys.readouterr().out
    recipe = read_checkpoint(tmp_path / "run").recipe
    assert (recipe.model, recipe.image_size, recipe.method) == ("resnet8", 8, "fd")
    assert main([*command, str(tmp_path / "other"), "--set", "flip=true", "--model", "resnet20"]) == 2


def test_a_recipe_wins_over_what_a_run_brings(shared: Path, pictures: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'data = "{pictures}"\nimage_size = 12\nepochs = 1\nflip = true\n')
    assert main(["train", str(recipe), "--weights", str(shared), "--out", str(tmp_path / "run")]) == 0
    assert read_checkpoint(tmp_path / "run").recipe.image_size == 12


def test_a_network_of_the_users_own_has_to_be_named_again(
    train_tiny: Callable[..., Result], tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "network.py").write_text(NETWORK)
    train_tiny(tmp_path / "own", model=f"{tmp_path / 'network.py'}:make_model", method="float", epochs=1)
    command = ["train", "--data", str(pictures), "--weights", str(tmp_path / "own"), "--out", str(tmp_path / "run")]
    assert main(command) == 2
    assert "do not fit the network" in capsys.readouterr().err
    assert (tmp_path / "count").read_text() == "x"
