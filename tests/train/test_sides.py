"""Whether images may be mirrored: arrows may not, pictures of either side may."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

sys.path.append(str(Path(__file__).parents[2] / "examples"))
import arrows

from evenbit.data import load_dataset
from evenbit.data.dataset import Dataset, Split
from evenbit.train import Recipe, load_recipe, train
from evenbit.train.checkpoint import read_checkpoint
from evenbit.train.metrics import read_metrics
from evenbit.train.sides import classes_of_a_side, describe_sides


def bars(seed: int) -> Dataset:
    """Images with a bright bar across or upright, at any place: mirrored, they are still of their class."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 120, (80, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(80) % 2
    for image, label in zip(images, labels, strict=True):
        at = rng.integers(0, 28)
        (image if label else image.swapaxes(1, 2))[:, at : at + 4] += 100
    return Dataset("bars", ("upright", "across"), Split(images, labels), Split(images[:2], labels[:2]))


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signs") / "arrows"
    arrows.draw(folder)
    return folder


def test_arrows_are_of_a_side_and_the_same_seed_finds_the_same(signs: Path) -> None:
    dataset = load_dataset(str(signs))
    state = torch.get_rng_state()
    assert classes_of_a_side(dataset, 0) == ["left", "right"]
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("seed", [0, 1])
def test_bars_are_not(seed: int) -> None:
    assert classes_of_a_side(bars(seed), seed) == []


def test_digits_that_read_otherwise_in_a_mirror_are_named() -> None:
    found = classes_of_a_side(load_dataset("digits"), 0)
    assert {"2", "3", "5", "7"} <= set(found)
    assert not {"0", "1", "8"} & set(found)


@pytest.mark.parametrize("images", [1, 2])
def test_a_few_images_are_no_evidence(images: int) -> None:
    all_of_them = bars(0)
    few = Split(all_of_them.train.images[: 2 * images], all_of_them.train.labels[: 2 * images])
    assert classes_of_a_side(Dataset("few", all_of_them.classes, few, few), 0) == []


def test_what_was_found_is_told_with_the_way_out() -> None:
    assert describe_sides(["left", "right"]) == (
        "no image is mirrored, since left, right look like another class when mirrored; --set flip=true mirrors anyway"
    )
    assert "since a, b, c and 2 more look" in describe_sides(list("abcde"))
    assert "--set flip=false" in describe_sides([])


def told(recipe: Recipe, out: Path, resume: bool = False) -> str:
    text = io.StringIO()
    train(recipe, out, resume=resume, console=Console(width=200, file=text))
    return text.getvalue()


def test_training_on_arrows_turns_mirroring_off_says_so_and_keeps_it(signs: Path, tmp_path: Path) -> None:
    settings = {"data": str(signs), "method": "float", "epochs": 12, "batch_size": 16}
    recipe = load_recipe(None, settings)
    assert recipe.flip is None
    assert "no image is mirrored" in told(recipe, tmp_path / "run")
    kept = read_checkpoint(tmp_path / "run")
    assert kept.recipe == load_recipe(None, {**settings, "flip": False})
    assert "mirror" not in told(recipe, tmp_path / "run", resume=True)
    assert read_metrics(tmp_path / "run", 12)[-1]["test_accuracy"] > 90


def test_what_the_user_gives_is_not_looked_at(signs: Path, tmp_path: Path) -> None:
    recipe = load_recipe(None, {"data": str(signs), "image_size": 16, "epochs": 1, "flip": True, "method": "float"})
    assert "mirror" not in told(recipe, tmp_path / "run")
    assert read_checkpoint(tmp_path / "run").recipe.flip is True
