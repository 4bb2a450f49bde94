"""examples/c/classify.c, a C99 program that knows nothing but evenbit.h, gives what `evenbit predict` gives."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plans import PlanMaker, everything
from toolchain import ROOT, Toolchain

from evenbit import plan_file
from evenbit.plan import Plan
from evenbit.predict import predict_images
from evenbit.runtime.engine import Engine

Classify = Callable[..., subprocess.CompletedProcess[str]]


def grey() -> Plan:
    make = PlanMaker(8, 1, 6, 4)
    return make.plan(make.conv(make.normalize(), 3, (3, 3), (1, 1), (1, 1), 1, "prelu"), classes=3)


@pytest.fixture(scope="session")
def classify(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Classify:
    program = tmp_path_factory.mktemp("classify") / "classify"
    command = toolchain.build_program(ROOT / "examples" / "c" / "classify.c", program)

    def run(*arguments: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize(("plan", "mode", "suffix"), [(everything(2, 20), "RGB", "ppm"), (grey(), "L", "pgm")])
def test_classes_and_logits_are_those_of_python(
    plan: Plan, mode: str, suffix: str, classify: Classify, tmp_path: Path
) -> None:
    network, picture, pixels = tmp_path / "net.evb", tmp_path / f"image.{suffix}", tmp_path / "image.raw"
    plan_file.save(plan, network)
    shape = (plan.height, plan.width, plan.channels)
    image = np.random.default_rng(4).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(image.squeeze(-1) if mode == "L" else image, mode).save(picture)
    planes = image.transpose(2, 0, 1)
    pixels.write_bytes(planes.tobytes())

    result = classify(network, picture)
    assert result.returncode == 0, result.stderr
    assert classify(network, pixels).stdout == result.stdout
    names, shares, logits = zip(*(line.split("\t") for line in result.stdout.splitlines()), strict=True)
    expected = Engine(plan)(planes[None])[0]
    assert np.array(logits, np.float32).tobytes() == np.sort(expected)[::-1].tobytes()
    predicted = predict_images(network, [picture])[0]["classes"]
    assert list(names) == [row["class"] for row in predicted]
    assert list(shares) == [f"{row['probability']:.6f}" for row in predicted]


@pytest.mark.parametrize(
    ("network", "image", "message"),
    [
        ("gone", "good.ppm", "gone: cannot be opened"),
        ("good.ppm", "good.ppm", "good.ppm: is not an .evb file"),
        ("net.evb", "gone", "gone: cannot be opened"),
        ("net.evb", "small.ppm", "small.ppm: should have 7 x 9 pixels (width x height) of 3 channels"),
        ("net.evb", "grey.pgm", "grey.pgm: should have 7 x 9 pixels (width x height) of 3 channels"),
        ("net.evb", "short.ppm", "short.ppm: ends too early"),
        ("net.evb", "header.ppm", "header.ppm: should have 7 x 9"),
        ("net.evb", "short.raw", "short.raw: is no PPM or PGM, and not the 189 bytes of one image"),
    ],
)
def test_bad_input_is_named(network: str, image: str, message: str, classify: Classify, tmp_path: Path) -> None:
    plan_file.save(everything(2, 20), tmp_path / "net.evb")
    files = {
        "good.ppm": b"P6\n# a comment\n7 9\n255\n" + bytes(189),
        "small.ppm": b"P6 7 8 255\n" + bytes(168),
        "grey.pgm": b"P5 7 9 255\n" + bytes(63),
        "short.ppm": b"P6 7 9 255\n" + bytes(188),
        "header.ppm": b"P6 7",
        "short.raw": bytes(188),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert classify(tmp_path / "net.evb", tmp_path / "good.ppm").returncode == 0
    result = classify(tmp_path / network, tmp_path / image)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"classify: {tmp_path / message}")
    assert result.stderr.count("\n") == 1
