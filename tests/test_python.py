"""What people call from Python as they are used to: strings for paths, tensors, pillow's images, short reprs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch.utils.data import DataLoader

import evenbit
from evenbit import Engine, plan_file
from evenbit.data import Dataset, Split
from evenbit.data.image_files import ImageFiles
from evenbit.errors import InputError, PlanError, RecipeError
from evenbit.images import load_image
from evenbit.ops import Bits, Tail
from evenbit.pretrained import NETWORK


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(NETWORK, threads=1)


def test_an_engine_takes_a_plan_or_a_path_of_either_kind(engine: Engine) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    expected = engine(images)
    for given in (str(NETWORK), NETWORK, plan_file.load(NETWORK)):
        np.testing.assert_array_equal(Engine(given, threads=1)(images), expected)
    np.testing.assert_array_equal(Engine.load(str(NETWORK), threads=1)(images), expected)
    with pytest.raises(PlanError, match=r"cannot read gone\.evb: No such file"):
        Engine("gone.evb")


def test_tensors_are_taken_as_arrays(engine: Engine) -> None:
    images = torch.rand(2, 3, 32, 32, requires_grad=True)
    np.testing.assert_array_equal(engine(images), engine(images.detach().numpy()))
    levels = (images.detach() * 255).to(torch.uint8)
    np.testing.assert_array_equal(engine(levels), engine(levels.numpy()))
    sliced = images.detach().to(memory_format=torch.channels_last)
    np.testing.assert_array_equal(engine(sliced), engine(images))
    with pytest.raises(InputError, match=r"should be float32 or uint8, but are torch\.bfloat16"):
        engine(images.to(torch.bfloat16))
    with pytest.raises(InputError, match="should be float32 or uint8, but are float64"):
        engine(images.double())
    with pytest.raises(InputError, match="but are of type list"):
        engine([[1.0]])


def test_an_image_of_pillow_is_brought_to_size_as_its_file_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 30, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    expected = load_image(tmp_path / "x.png", 3, 16, 16)
    with Image.open(tmp_path / "x.png") as image:
        np.testing.assert_array_equal(load_image(image, 3, 16, 16), expected)
        np.testing.assert_array_equal(load_image(image, 3, 16, 16), expected)  # it was not closed
    np.testing.assert_array_equal(load_image(Image.fromarray(pixels), 3, 16, 16), expected)
    with pytest.raises(InputError, match="the image cannot be read as an image: it holds floating-point pixel values"):
        load_image(Image.new("F", (4, 4)), 3, 8, 8)


def check_short(value: object, *parts: str) -> None:
    text = repr(value)
    assert len(text) <= 5 * 80
    assert "\n" not in text
    assert all(part in text for part in parts), text


def test_reprs_are_at_most_five_lines(engine: Engine) -> None:
    check_short(engine.plan, "3x32x32", "10 classes", "data cifar10")
    check_short(engine, "1 thread", engine.isa, "3x32x32")
    for op in engine.plan.ops:
        check_short(op, type(op).__name__)
    assert repr(Tail()) == "Tail()"
    assert repr(Tail(scale="a", bits=Bits("b", "c", "d"))) == (
        "Tail(scale='a', bits=Bits(out='b', threshold='c', flip='d'))"
    )
    data = evenbit.load_dataset("digits")
    check_short(data.test, "359 images of 1x8x8 in 10 classes")
    check_short(data, "digits", "1,438 images", "359 images")
    many = Dataset("many", tuple(map(str, range(1000))), data.train, data.test)
    check_short(many, "1000 classes")


def test_a_split_is_a_sequence_of_pairs(tmp_path: Path) -> None:
    images = np.arange(5 * 3 * 4, dtype=np.uint8).reshape(5, 3, 2, 2)
    split = Split(images, np.array([0, 1, 0, 1, 1]))
    np.testing.assert_array_equal(split[1][0], images[1])
    assert [label for _, label in split] == [0, 1, 0, 1, 1]
    assert split[-1][1] == 1
    with pytest.raises(IndexError):
        split[5]
    batches = list(DataLoader(split, batch_size=2))
    assert [tuple(batch.shape) for batch, _ in batches] == [(2, 3, 2, 2), (2, 3, 2, 2), (1, 3, 2, 2)]
    assert torch.cat([batch for batch, _ in batches]).equal(torch.from_numpy(images))
    assert torch.cat([labels for _, labels in batches]).tolist() == [0, 1, 0, 1, 1]
    for level in (10, 20):
        Image.new("RGB", (8, 8), (level,) * 3).save(tmp_path / f"{level}.png")
    files = Split(ImageFiles([tmp_path / "10.png", tmp_path / "20.png"], 4), np.array([0, 1]))
    assert [(int(image.max()), image.shape, label) for image, label in files] == [
        (10, (3, 4, 4), 0),
        (20, (3, 4, 4), 1),
    ]


def test_a_subset_keeps_its_files() -> None:
    split = Split(np.zeros((3, 1, 1, 1), np.uint8), np.arange(3), tuple(map(Path, "abc")))
    assert split.subset(np.array([2, 0])).paths == (Path("c"), Path("a"))


def test_a_model_needs_its_name_alone() -> None:
    network = evenbit.create_model("resnet8").eval()
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    grey = evenbit.create_model("resnet8", method="bnn", channels=1, classes=3, height=16, width=16, mean=(0.1,))
    assert grey.normalize.mean.tolist() == [[[pytest.approx(0.1)]]]
    assert grey.normalize.std.tolist() == [[[0.25]]]
    with pytest.raises(RecipeError, match="unknown method 'fdd'"):
        evenbit.create_model("resnet8", method="fdd")


def test_a_run_and_what_comes_of_it_by_strings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = evenbit.Recipe(data="digits", epochs=1, method="bnn", batch_size=256)
    result = evenbit.train.train(recipe, "runs/api", console=Console(quiet=True))
    assert result.accuracy == result.evaluation.accuracy == pytest.approx(result.metrics["test_accuracy"])
    assert result.evaluation.classes == evenbit.load_dataset("digits").classes
    assert evenbit.train.read_checkpoint("runs/api").epoch == evenbit.load_run("runs/api").epoch == 1
    evenbit.save(evenbit.deploy.pack_run("runs/api"), "net.evb")
    assert evenbit.export.EXPORTERS["c"](evenbit.load("net.evb"), "device")
    assert (tmp_path / "device").is_dir()


def test_packages_are_there_without_another_import() -> None:
    code = (
        "import sys, evenbit\n"
        "assert 'torch' not in sys.modules\n"
        "assert callable(evenbit.train.train) and evenbit.nn.METHODS and evenbit.data.READERS"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
