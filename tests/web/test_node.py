"""The WebAssembly module in Node.js: the reference's logits and bits, Pillow's pixels, and what it refuses."""

from __future__ import annotations

import gzip
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from cases import LOADED, REFUSED, Case, case, kernel_cases, network_cases, write
from node import must_run
from PIL import Image
from plans import everything
from test_hostile import FILE, RAW, mutants, python_takes, too_large

from evenbit import plan_file, pretrained
from evenbit.bits import unpack_bits
from evenbit.deploy import pack
from evenbit.deploy.quantize import quantize_float_layers
from evenbit.export.web import SITE
from evenbit.images import load_image
from evenbit.models import create_model
from evenbit.nn import resolve_method
from evenbit.plan import Plan
from evenbit.predict import softmax
from evenbit.runtime import reference

pytestmark = pytest.mark.web
GOLDEN = Path(__file__).parents[1] / "golden"
CORPUS = Path(__file__).parents[2] / "fuzz" / "corpus" / "evb"


def assert_exact(cases: Any, folder: Path) -> None:
    count = write(cases, folder / "cases")
    assert must_run("check_cases.mjs", str(folder / "cases")) == f"{count} cases 0 failures\n"


def pixels(plan: Plan, count: int) -> npt.NDArray[np.uint8]:
    size = (count, plan.channels, plan.height, plan.width)
    return np.random.default_rng(count).integers(0, 256, size, dtype=np.uint8)


def untrained(model: str, method: str) -> Plan:
    torch.manual_seed(0)
    size: Any = {"channels": 3, "classes": 10, "height": 32, "width": 32, "mean": (0.5,) * 3, "std": (0.25,) * 3}
    module = create_model(model, method=resolve_method(method, {}), **size)
    with torch.no_grad():
        module(torch.rand(8, 3, 32, 32))  # statistics of its batch normalizations
    return pack(module.eval(), torch.zeros(1, 3, 32, 32), classes=tuple("abcdefghij"))


def test_kernels(tmp_path: Path) -> None:
    assert_exact(kernel_cases(), tmp_path)


def test_trained_and_golden_networks(tmp_path: Path) -> None:
    cases = [
        case(folder.name, plan_file.load(folder / "network.evb"), np.load(folder / "images.npy"))
        for folder in sorted(GOLDEN.glob("evb-v*"))
    ]
    cases += network_cases(tmp_path / "run", epochs=2)
    bundled = plan_file.load(pretrained.NETWORK)
    assert_exact([*cases, case("bundled", bundled, pixels(bundled, 4))], tmp_path)


@pytest.mark.parametrize("model", ["resnet20", "resnet18", "mobilenet"])
def test_registered_networks(model: str, tmp_path: Path) -> None:
    plan = untrained(model, "fd")
    assert_exact([case(model, plan, pixels(plan, 1))], tmp_path)


def test_int8_layers(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((8, 3, 32, 32), np.float32)
    plan = quantize_float_layers(untrained("resnet20", "react"), images)
    assert any(op.kind == "int8_conv" for op in plan.ops)
    assert_exact([case("int8", plan, pixels(plan, 2))], tmp_path)


def test_hostile_files(tmp_path: Path) -> None:
    """What Python refuses is refused with a reason, what it takes gives its logits, and nothing traps."""
    cases = [*mutants(1500), Case("as it is", FILE, LOADED)]
    cases += [Case(name, data, REFUSED) for name, data in RAW.items()]
    for reason, plan in too_large().items():
        cases.append(Case(reason, plan_file._file(plan_file._head(plan), plan.tensors), REFUSED))
    corpus = [path.read_bytes() for path in sorted(CORPUS.iterdir())]
    assert corpus
    cases += [Case(f"corpus {i}", data, REFUSED) for i, data in enumerate(corpus) if python_takes(data) is None]
    assert_exact(cases, tmp_path)


def test_damaged_files(tmp_path: Path) -> None:
    """Every truncation, and bits flipped all over."""
    cut = [FILE[:length] for length in range(len(FILE))]
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(FILE), 2000):
        flipped = bytearray(FILE)
        flipped[at] ^= 1 << int(rng.integers(8))
        cut.append(bytes(flipped))
    refused = [data for data in cut if python_takes(data) is None]
    assert len(refused) > len(cut) - 100
    assert_exact([Case(f"damaged {i}", data, REFUSED) for i, data in enumerate(refused)], tmp_path)


@pytest.fixture
def said(tmp_path: Path) -> tuple[Plan, npt.NDArray[np.uint8], dict[str, Any]]:
    plan = plan_file.load(pretrained.NETWORK)
    image = pixels(plan, 1)
    (tmp_path / "pixels").write_bytes(image.tobytes())
    shutil.copy(pretrained.NETWORK, tmp_path / "a network.evb")
    return plan, image, json.loads(must_run("use.mjs", str(tmp_path / "a network.evb"), str(tmp_path / "pixels")))


def test_the_package_says_what_python_says(said: tuple[Plan, npt.NDArray[np.uint8], dict[str, Any]]) -> None:
    plan, image, result = said
    logits = reference.run(plan, image)
    assert result["size"] == {"channels": plan.channels, "height": plan.height, "width": plan.width}
    assert tuple(result["classNames"]) == plan.classes
    assert bytes.fromhex(result["logits"]) == logits.tobytes()
    shares = softmax(logits)[0]
    order = np.argsort(-shares)
    assert [score["name"] for score in result["classes"]] == [plan.classes[i] for i in order]
    np.testing.assert_allclose([score["probability"] for score in result["classes"]], shares[order])


def assert_bits(plan: Plan, image: npt.NDArray[np.uint8], result: dict[str, Any]) -> int:
    """Compares all maps of bits with the reference's; returns their number."""
    values, shapes = reference.values(plan, image), plan.shapes()
    maps = [op.tail.bits.out for op in plan.ops if op.tail.bits is not None]
    for name, size, bits in zip(maps, result["bitMaps"], result["bits"], strict=True):
        shape = shapes[name]
        assert size == {"channels": shape.channels, "height": shape.height, "width": shape.width}
        expected = unpack_bits(values[name], shape.channels)[0].transpose(2, 0, 1)
        assert bytes.fromhex(bits) == expected.astype(np.uint8).tobytes(), name
    return len(maps)


def test_bits_are_those_of_the_reference(said: tuple[Plan, npt.NDArray[np.uint8], dict[str, Any]]) -> None:
    assert assert_bits(*said) == 6


def test_errors_are_one_line(said: tuple[Plan, npt.NDArray[np.uint8], dict[str, Any]]) -> None:
    _, _, result = said
    assert result["errors"] == [
        "RangeError: an image should have 3x32x32 bytes, which are 3072, but has 3071",
        "RangeError: an image of 1x1 does not have 3 bytes",
        f"RangeError: there is no map of bits -1; there are {len(result['bitMaps'])}",
        "Error: the network cannot be loaded: is not an .evb file",
        result["errors"][4],
        result["errors"][5],
        "TypeError: an image should have levels from 0 to 255, in a Uint8Array or Uint8ClampedArray",
        "TypeError: an image should have levels from 0 to 255, in a Uint8Array or Uint8ClampedArray",
        "Error: the network has been freed",
    ]
    assert result["errors"][4].startswith("CompileError: WebAssembly.compile()")
    assert result["errors"][5].startswith("Error: http://127.0.0.1:1/network.evb cannot be fetched: ")


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Over 10,000 runs, and a hundred networks loaded and freed."""
    (tmp_path / "pixels").write_bytes(pixels(plan_file.load(pretrained.NETWORK), 1).tobytes())
    said = json.loads(must_run("use.mjs", str(pretrained.NETWORK), str(tmp_path / "pixels"), "10000"))
    assert said["grown"] <= 2**20


SIZES = [(1, 1), (5, 7), (32, 32), (33, 32), (64, 64), (100, 37), (37, 100), (257, 190), (31, 900), (640, 480)]


def test_images_are_prepared_as_by_pillow(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines, expected = [], []
    targets = [(3, 32, 32), (1, 28, 28), (3, 24, 40)]
    for (width, height), (channels, rows, columns) in itertools.product(SIZES, targets):
        for opaque in (True, False):
            rgba = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
            if opaque:
                rgba[..., 3] = 255
            Image.fromarray(rgba).save(tmp_path / "image.png")
            lines.append(f"{width} {height} {channels} {rows} {columns} {rgba.tobytes().hex()}")
            expected.append(load_image(tmp_path / "image.png", channels, rows, columns).tobytes().hex())
    (tmp_path / "in").write_text("\n".join(lines))
    must_run("prepare.mjs", str(tmp_path / "in"), str(tmp_path / "out"))
    results = (tmp_path / "out").read_text().split("\n")
    wrong = [line[:30] for line, result, right in zip(lines, results, expected, strict=True) if result != right]
    assert wrong == []


def test_the_module_is_small() -> None:
    assert len(gzip.compress((SITE / "evenbit.wasm").read_bytes(), 9)) <= 150_000


def test_networks_of_every_op_have_their_bits(tmp_path: Path) -> None:
    plan = everything(1, 20)
    image = pixels(plan, 1)
    (tmp_path / "network.evb").write_bytes(plan_file.to_bytes(plan))
    (tmp_path / "pixels").write_bytes(image.tobytes())
    assert_bits(plan, image, json.loads(must_run("use.mjs", str(tmp_path / "network.evb"), str(tmp_path / "pixels"))))
