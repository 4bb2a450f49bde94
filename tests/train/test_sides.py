"""Whether images may be mirrored: arrows may not, pictures of either side may."""

from __future__ import annotations

import dataclasses
import io
import re
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
from evenbit.train import Recipe, load_recipe, sides, train
from evenbit.train.checkpoint import read_checkpoint
from evenbit.train.metrics import read_metrics
from evenbit.train.sides import judge_mirroring


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
    dataset = dataclasses.replace(load_dataset(str(signs)), classes=("a", "b"))  # whose names do not say it
    state = torch.get_rng_state()
    assert judge_mirroring(dataset, 0) == (False, "mirrored images of a, b look like another class")
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("seed", [0, 1])
def test_bars_are_not(seed: int) -> None:
    assert judge_mirroring(bars(seed), seed).allowed


def test_digits_read_otherwise_in_a_mirror() -> None:
    found = judge_mirroring(load_dataset("digits"), 0)
    assert not found.allowed
    assert re.search("mirrored images of 2, 3, 5 and [2-4] more look like another class", found.reason)


@pytest.mark.parametrize("images", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_of_a_few_images_nothing_can_be_told(images: int, seed: int) -> None:
    all_of_them = bars(0)
    few = Split(all_of_them.train.images[: 2 * images], all_of_them.train.labels[: 2 * images])
    found = judge_mirroring(Dataset("few", all_of_them.classes, few, few), seed)
    assert not found.allowed
    assert "too few or too hard" in found.reason


@pytest.mark.parametrize("each", [4, 6, 8, 12, 20])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_few_arrows_are_never_mirrored(signs: Path, each: int, seed: int) -> None:
    train = load_dataset(str(signs)).train
    places = np.concatenate([np.flatnonzero(train.labels == label)[:each] for label in (0, 1)])
    few = Split(train.images[:][places], train.labels[places])
    assert not judge_mirroring(Dataset("few", ("a", "b"), few, few), seed).allowed


@pytest.mark.parametrize(
    ("names", "pair"),
    [
        (("straight", "turn left", "turn right"), "turn left and turn right"),
        (("Links", "Rechts"), "Links and Rechts"),
        (("hand_droite", "hand_gauche"), "hand_gauche and hand_droite"),
    ],
)
def test_names_of_sides_are_enough(names: tuple[str, ...], pair: str) -> None:
    images = Split(np.zeros((3, 3, 8, 8), np.uint8), np.arange(3) % len(names))
    found = judge_mirroring(Dataset("signs", names, images, images), 0)
    assert found == (False, f"the classes {pair} are named after sides")


def answers(*rows: tuple[int, int, int, int]) -> list[np.ndarray]:
    """Labels, answers to images as they are, and to mirrored ones, from rows of these three and how often."""
    return list(np.repeat([row[:3] for row in rows], [row[3] for row in rows], axis=0).T)


@pytest.mark.parametrize(
    ("rows", "allowed", "reason"),
    [
        ([(0, 0, 0, 9), (1, 1, 1, 9)], True, "a quick test found no class"),
        # All of class 0 and none of class 1 change: 2^-7 < 0.01, but 2^-6 is not.
        ([(0, 0, 1, 7), (1, 1, 1, 9)], False, "mirrored images of a look like another class"),
        # Of neither class enough, but of both together.
        ([(0, 0, 1, 6), (0, 0, 0, 4), (1, 1, 0, 5), (1, 1, 1, 5)], False, "look like other classes too often"),
        # Three of four are right with mirroring: 0.75 of all that were, which is left.
        ([(0, 0, 1, 5), (0, 0, 0, 15), (1, 1, 0, 5), (1, 1, 1, 15)], True, "a quick test"),
        # Always the same answer, which mirroring does not change.
        ([(0, 0, 0, 30), (1, 0, 0, 30)], False, "too few or too hard"),
        # No answer to an image that was not tested.
        ([(0, -1, -1, 1), (1, -1, -1, 1)], False, "too few or too hard"),
    ],
)
def test_the_judgement_by_hand(rows: list[tuple[int, int, int, int]], allowed: bool, reason: str) -> None:
    found = sides._judge(("a", "b"), *answers(*rows))
    assert found.allowed is allowed
    assert reason in found.reason


def test_what_was_found_is_told_with_the_way_out() -> None:
    assert str(sides.Mirroring(False, "of x")) == "no image is mirrored, since of x; --set flip=true mirrors anyway"
    assert str(sides.Mirroring(True, "of x")).endswith("since of x; --set flip=false turns this off")


def told(recipe: Recipe, out: Path, resume: bool = False) -> str:
    text = io.StringIO()
    train(recipe, out, resume=resume, console=Console(width=1000, file=text))
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
