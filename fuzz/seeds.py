"""Writes the corpus that fuzzing starts from: `python fuzz/seeds.py`. The same files each time."""

from __future__ import annotations

import gzip
import io
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.io
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "runtime"))
CORPUS = ROOT / "fuzz" / "corpus"
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


def evb() -> Iterator[bytes]:
    """A network with every op, and one with two."""
    from plans import PlanMaker, small

    from evenbit import plan_file

    yield plan_file.to_bytes(small())
    make = PlanMaker(1, 1, 2, 2)
    yield plan_file.to_bytes(make.plan(make.flatten(make.normalize()), classes=2))


def checkpoint() -> Iterator[bytes]:
    """A fresh network of two methods, without anything of an optimizer."""
    from evenbit.train.recipe import load_recipe
    from targets import scratch
    from targets.checkpoint import checkpoint as runs

    task = runs.Task(("a", "b"), 1, 2, 1, (0.5,), (0.25,))
    for method in ("fd", "float"):
        recipe = load_recipe(None, {"model": "smallest", "method": method})
        model = runs.build_model(recipe, task)
        runs.write_checkpoint(scratch.FOLDER, recipe, task, 1, model, torch.optim.AdamW(model.parameters()))
        yield (scratch.FOLDER / runs.FILE).read_bytes()


def images() -> Iterator[bytes]:
    """Every format and mode that is read."""
    colour = Image.fromarray(PIXELS)
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(PIXELS[..., 0].astype(np.uint16) << 8)
    options = [(colour, kind, {}) for kind in ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")]
    options += [(colour.convert("L"), kind, {}) for kind in ("JPEG", "PNG", "PPM", "BMP")]
    options += [(colour.convert("1"), "PNG", {}), (colour.convert("P"), "PNG", {"transparency": 0})]
    options += [(colour.convert("CMYK"), "JPEG", {}), (deep, "PNG", {}), (deep, "TIFF", {"compression": "tiff_lzw"})]
    options += [(colour.convert("RGBA"), "PNG", {}), (colour.convert("LA"), "PNG", {})]
    options += [(colour, "JPEG", {"progressive": True}), (colour.convert("RGBA"), "WEBP", {"lossless": True})]
    options += [(colour, "JPEG", {"exif": exif}), (colour, "PNG", {"exif": exif})]
    options += [(Image.fromarray(PIXELS[..., 0].astype(np.float32)), "TIFF", {})]
    for image, kind, settings in options:
        file = io.BytesIO()
        image.save(file, kind, **settings)
        yield file.getvalue()


def cifar() -> Iterator[bytes]:
    """Two records of each form, and three names."""
    yield b"\0cat\ndog\nbird\n"
    yield b"\1" + b"".join(bytes([label]) + bytes(3072) for label in (3, 9))
    yield b"\2" + b"".join(bytes([label, 99]) + bytes(3072) for label in (3, 19))


def idx() -> Iterator[bytes]:
    """As it is, and unpacked."""
    data = struct.pack(">HBB3I", 0, 8, 3, 4, 3, 5) + bytes(range(60))
    yield b"\0" + gzip.compress(data, mtime=0)
    yield b"\xff" + data


def mat() -> Iterator[bytes]:
    """As scipy writes it, and the elements alone."""
    arrays = {"X": np.arange(36, dtype=np.uint8).reshape(3, 2, 3, 2), "y": np.array([[1], [10]], np.uint8)}
    for compressed in (True, False):
        file = io.BytesIO()
        scipy.io.savemat(file, arrays, do_compression=compressed)
        data = b"fuzz".ljust(124) + file.getvalue()[124:]  # without the date
        yield b"\0" + data
    border = 136 + int.from_bytes(data[132:136], "little")  # where the second element begins
    yield b"\xff" + data[128:border] + b"next" + data[border:]


def folder() -> Iterator[bytes]:
    """Both ways to lay it out."""
    yield b"cat/1.png\ncat/2.JPG\ndog/1.png\ndog/2.gif\ndog/.hidden.png\ndog/notes.txt\n!dog/notes/x"
    yield b"train/cat/1.png\ntrain/dog/1.png\nval/cat/1.png\nval/dog/1.png"
    yield b"cat/1.png\ncat/2.png\ndog/1.png\n!dog/2.png"


def tiny_imagenet() -> Iterator[bytes]:
    """The two files."""
    yield b"n1\nn2\n\x000.JPEG\tn2\t0\t0\t62\t62\n0.JPEG\tn1\t0\n"


def recipe() -> Iterator[bytes]:
    """A packaged recipe with knobs, and settings."""
    text = (ROOT / "src/evenbit/recipes/digits-resnet8-fd.toml").read_bytes()
    yield b"\0" + text
    yield b"\0epochs = 3\nlearning_rate = 1e-3\n[knobs]\nestimator = 'ede'\nexcitation_groups = 2\n"
    yield b"\xffepochs=3\nflip=false\nknobs.estimator=ede\nteacher=runs/a=b\nprecision=bf16"


def sweep() -> Iterator[bytes]:
    """One of two runs."""
    yield (
        b'name = "methods"\nseeds = [0, 1]\n[base]\ndata = "cifar10"\nknobs = {zero_point = true}\n[[run]]\n'
        b'method = "float"\n[[run]]\nlabel = "fd"\nseeds = [2]\nmethod = "fd"\nknobs = { excitation_groups = 0 }\n'
    )


def words() -> dict[str, list[str]]:
    """What libFuzzer may put in, by target."""
    from evenbit.models import model_names
    from evenbit.nn.method import METHODS, Method
    from evenbit.train.recipe import Recipe

    recipe = [*Recipe.model_fields, *model_names(), *METHODS, *Method.__dataclass_fields__, "nan", "inf", "[[", "]]"]
    return {"recipe": recipe, "sweep": [*recipe, "name", "seeds", "base", "run", "label"]}


def main() -> None:
    """Writes each corpus into a folder of its target's name."""
    sys.path.insert(0, str(Path(__file__).parent))
    for make in (evb, checkpoint, images, cifar, idx, mat, folder, tiny_imagenet, recipe, sweep):
        place = CORPUS / make.__name__
        place.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(make()):
            (place / f"{number:02}").write_bytes(data)
    for target, own in words().items():
        (CORPUS / f"{target}.dict").write_text("".join(f'"{word}"\n' for word in own))


if __name__ == "__main__":
    main()
