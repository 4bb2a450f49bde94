"""Networks that fit a device, and what they take, beside what compilers and emulators have measured."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evenbit import device, plan_file
from evenbit.cli import main
from evenbit.data.folder import list_folder
from evenbit.deploy import pack_run, quantize_float_layers
from evenbit.device import fit_device
from evenbit.errors import ExportError, RecipeError
from evenbit.export.c.size import Memory, memory_of, parse_memory
from evenbit.plan import Plan
from evenbit.pretrained import NETWORK
from evenbit.train import Recipe, load_recipe
from evenbit.train.checkpoint import read_checkpoint

RESULTS = Path(__file__).parents[2] / "results"
DIGITS = tuple("0123456789")
CASES = [("cifar10-resnet20-fd", "resnet20", 3, 32), ("digits-resnet8-fd", "resnet8", 1, 8)]


@pytest.mark.parametrize(("kept", "model", "channels", "size"), CASES)
def test_what_is_told_is_what_compiled_networks_take(kept: str, model: str, channels: int, size: int) -> None:
    measured = json.loads((RESULTS / f"microcontroller-{kept}.json").read_text())["microcontrollers"]
    told = memory_of(device.untrained_plan(load_recipe(None, {"model": model}), model, channels, size, DIGITS))
    for row in measured:
        assert told.ram == row["ram_bytes"]
        assert told.flash == pytest.approx(row["flash_bytes"], rel=0.01)


@pytest.fixture(autouse=True, scope="module")
def built_once() -> Iterator[None]:
    """Each network of these tests is built once, which takes longer than all else in them."""
    build = device.untrained_plan
    known: dict[str, Plan] = {}

    def plan(recipe: Recipe, model: str, channels: int, size: int, classes: tuple[str, ...]) -> Plan:
        method = recipe.resolved_method()
        key = repr((method, model, channels, size, classes))
        if key not in known:
            known[key] = build(recipe, model, channels, size, classes)
        return known[key]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(device, "untrained_plan", plan)
        yield


def settings(pictures: Path, **changes: object) -> Recipe:
    return load_recipe(None, {"data": str(pictures), "model": "resnet20", "image_size": 64, "pad": 8, **changes})


@pytest.mark.parametrize(
    ("flash", "ram", "given", "wanted"),
    [
        ("256K", "128K", (), {"model": "resnet20", "image_size": 32, "pad": 4}),
        ("64K", "200K", (), {"model": "resnet8", "image_size": 48, "pad": 6}),
        (None, "60K", ("model", "pad"), {"model": "resnet20", "image_size": 24, "pad": 8}),
    ],
)
def test_the_largest_that_fits_is_chosen(
    pictures: Path, flash: str | None, ram: str, given: tuple[str, ...], wanted: dict[str, object]
) -> None:
    changed, told = fit_device(settings(pictures), given, parse_memory(flash, ram), None)
    assert changed == wanted
    assert f"{wanted['model']} on {wanted['image_size']}x{wanted['image_size']} pixels takes about" in told
    if changed["image_size"] == 48:
        assert re.search(r" as C; resnet8 on 64x64 would take \d+\.\d KiB of flash and 273.0 KiB of RAM$", told)


@pytest.mark.parametrize(
    ("flash", "ram", "given", "message"),
    [
        (
            "64K",
            "200K",
            ("model",),
            r"nothing fits 64.0 KiB of flash .*resnet20 on 16x16 pixels, takes about 9\d\.\d",
        ),
        (
            None,
            "128K",
            ("image_size",),
            r"nothing fits 128.0 KiB of RAM: .*resnet8 on 64x64 .* 273.0 KiB of RAM",
        ),
    ],
)
def test_nothing_that_fits_says_what_the_smallest_takes(
    pictures: Path, flash: str | None, ram: str | None, given: tuple[str, ...], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        fit_device(settings(pictures), given, parse_memory(flash, ram), None)


def test_images_of_a_named_data_set_keep_their_size() -> None:
    recipe = load_recipe("digits-resnet8-fd", {"model": "resnet20"})
    assert fit_device(recipe, (), parse_memory("64K", None), None)[0] == {"model": "resnet8"}


@pytest.mark.parametrize(
    ("model", "ram", "size"),
    [("resnet8", "100K", 32), ("vgg_slim", "100K", 24), ("resnet18_imagenet", "160K", 48)],
)
def test_what_is_told_of_a_size_is_what_the_network_of_that_size_takes(
    pictures: Path, model: str, ram: str, size: int
) -> None:
    recipe = settings(pictures, model=model)
    changed, told = fit_device(recipe, ("model",), parse_memory(None, ram), None)
    assert changed["image_size"] == size
    assert (
        f"takes about {memory_of(device.untrained_plan(recipe, model, 3, size, list_folder(pictures)[0]))} as C" in told
    )


def test_sizes_that_a_network_refuses_are_not_chosen(pictures: Path) -> None:
    with pytest.raises(RecipeError, match="images of 16x16 are too small for this network; it needs 32x32"):
        fit_device(settings(pictures, model="resnet18_imagenet"), ("model",), parse_memory(None, "40K"), None)


@pytest.mark.parametrize(("text", "size"), [("256K", 2**18), ("1M", 2**20), ("70296", 70296), ("64KiB", 2**16)])
def test_memory_is_a_number_of_bytes(text: str, size: int) -> None:
    assert parse_memory(text, None) == Memory(size, None)
    assert parse_memory(None, text) == Memory(None, size)


@pytest.mark.parametrize("text", ["much", "-1K", "1.5K", "1G", "", "64\N{KELVIN SIGN}"])
def test_what_is_no_memory_is_refused(text: str) -> None:
    with pytest.raises(ExportError, match="--fit-ram should be a number of bytes such as 256K"):
        parse_memory("1K", text)


def test_train_chooses_tells_and_export_refuses(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = tmp_path / "run", tmp_path / "net.evb"
    command = ["train", "--data", str(pictures), "--epochs", "1", "--set", "flip=true", "--fit-flash", "64K"]
    assert main([*command, "--fit-ram", "32K", "--out", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("chosen for these images: --model resnet8 --set image_size=16 ")
    assert lines[1].startswith("fits 64.0 KiB of flash and 32.0 KiB of RAM: resnet8 on 16x16 pixels takes about ")
    assert read_checkpoint(run).recipe.image_size == 16
    plan = pack_run(run)
    needed = memory_of(plan)
    assert lines[-1] == f"as C for a device it takes about {needed}"
    told = memory_of(device.untrained_plan(read_checkpoint(run).recipe, "resnet8", 3, 16, plan.classes))
    assert told.ram == needed.ram
    assert told.flash == pytest.approx(needed.flash, rel=0.01)
    plan_file.save(plan, file)
    export = ["export", str(file), "--to", "c", "-o", str(tmp_path / "c")]
    assert main([*export, "--fit-ram", "4K"]) == 2
    assert f"takes about {needed} as C, more than 4.0 KiB of RAM" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
    assert main([*export, "--fit-ram", "32K", "--fit-flash", "64K"]) == 0
    capsys.readouterr()
    assert main([*export, "--fit-flash", ""]) == 2
    assert "--fit-flash should be a number of bytes such as 256K, but is ''" in capsys.readouterr().err
    assert main(["train", "--resume", "--out", str(run), "--epochs", "2", "--fit-flash", "64K"]) == 2
    assert "choose the network of a new run; leave them out with --resume" in capsys.readouterr().err
    before = file.read_bytes()
    assert main(["export", str(file), "--to", "onnx", "-o", str(file)]) == 2
    assert "net.evb is the network itself; name another file with -o" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_a_trained_network_takes_no_more_than_was_told() -> None:
    trained = plan_file.load(NETWORK)
    recipe = load_recipe(None, {"model": trained.info["model"], "method": trained.info["method"]})
    images = np.random.default_rng(0).random((8, 3, 32, 32), np.float32)
    told = memory_of(quantize_float_layers(device.untrained_plan(recipe, recipe.model, 3, 32, trained.classes), images))
    assert 0.99 * told.flash < memory_of(trained).flash <= told.flash


def test_a_smaller_network_than_the_recipe_that_fits_the_data_may_be_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("evenbit.train.defaults.fitting_recipe", lambda data, given: "cifar10-resnet20-fd")
    command = ["train", "--data", "digits", "--epochs", "1", "--fit-flash", "64K", "--out", str(tmp_path / "run")]
    assert main([*command, "--set", "flip=false", "--set", "batch_size=128"]) == 0
    assert "fits 64.0 KiB of flash: resnet8 on 8x8 pixels takes about " in capsys.readouterr().out
