"""The networks that come with evenbit."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from evenbit import plan_file
from evenbit.confidence import Confidence
from evenbit.files import CHECKPOINT
from evenbit.predict import predict_images
from evenbit.pretrained import CARD, NETWORK, START, START_CARD, card
from evenbit.runtime import reference
from evenbit.runtime.engine import Engine
from evenbit.train import load_run


def test_the_card_is_that_of_the_file() -> None:
    data, origin = NETWORK.read_bytes(), card()
    assert len(data) == origin["bytes"] <= 300_000
    assert hashlib.sha256(data).hexdigest() == origin["sha256"]
    info = plan_file.load(NETWORK).info
    known = {key: str(origin[key]) for key in ("data", "model", "method", "seed", "epochs", "float_layers")}
    confidence = Confidence.of_info(info)
    assert confidence is not None
    assert known | confidence.as_info() == info
    assert origin["epochs"] <= origin["of_epochs"]
    assert origin["images"] == 10_000
    assert 70 < origin["accuracy"] < 100
    assert origin["command"].startswith("evenbit train ")
    assert re.fullmatch("[0-9a-f]{7,40}", origin["commit"])


def test_it_knows_the_classes_of_cifar10() -> None:
    plan = plan_file.load(NETWORK)
    assert (plan.channels, plan.height, plan.width) == (3, 32, 32)
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    assert plan.classes == tuple(names.split())


def test_the_engine_gives_the_logits_of_the_reference() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    plan = plan_file.load(NETWORK)
    np.testing.assert_array_equal(Engine(plan)(images), reference.run(plan, images))


def test_photos_of_any_size_get_a_class_always_the_same(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    for index, size in enumerate([(32, 32, 3), (300, 400, 3), (77, 20)]):
        Image.fromarray(draw.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / f"{index}.png")
    first, second = (predict_images(None, [tmp_path], top=10) for _ in range(2))
    assert first == second
    for item in first:
        assert sum(guess["probability"] for guess in item["classes"]) > 0.999
        assert {guess["class"] for guess in item["classes"]} == set(plan_file.load(NETWORK).classes)


def test_the_command_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    Image.new("RGB", (50, 50), "red").save(tmp_path / "x.png")
    code = (
        "import sys; from evenbit.cli import main\n"
        f"assert main(['predict', {str(tmp_path / 'x.png')!r}]) == 0\n"
        "heavy = {'torch', 'scipy', 'sklearn', 'pydantic', 'rich.progress', 'rich.markdown', 'asyncio'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_start_is_that_of_its_card_and_small() -> None:
    data, origin = (START / CHECKPOINT).read_bytes(), card(START_CARD)
    assert len(data) == origin["bytes"] <= 500_000
    assert hashlib.sha256(data).hexdigest() == origin["sha256"]
    run = load_run(START)
    assert {key: getattr(run.recipe, key) for key in ("data", "model", "method", "seed")}.items() <= origin.items()
    assert run.epoch == run.recipe.epochs == origin["epochs"]
    assert run.origin is None
    assert 70 < origin["accuracy"] < 100


def test_its_files_are_in_the_package() -> None:
    assert {path.parent.name for path in (NETWORK, CARD, START, START_CARD)} == {"pretrained"}
