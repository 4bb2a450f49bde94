"""What `benchmarks/headline.py` needs on a machine that has a GPU and torch, but can download nothing.

    python benchmarks/bare_machine.py pack --python PYTHON3.12 --data-root DIR --out kit        here
    python benchmarks/bare_machine.py unpack kit/*.webp kit/*.txt --data-root DIR               there

`pack` puts two kinds of files into the folder `kit`:

- wheels of evenbit and of packages that such a machine lacks, for the version of the given Python; there,
  `pip install --no-index --no-deps --target SITE kit/wheels/*` and `PYTHONPATH=SITE` make them importable;
- CIFAR-10, each of its six files as a lossless WebP image of 17 MB instead of 31 MB, to be carried in parts, and the
  names of its classes.

`unpack` needs numpy and Pillow, and writes the original files.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

ROOT = Path(__file__).parent.parent
FOLDER = "cifar-10-batches-bin"
NAMES = "batches.meta.txt"
IMAGES, SIDE, COLUMNS = 10_000, 32, 100  # in a file; pixels; images in a row of the WebP image
# What evenbit.train and its command line import, beyond what machines for training with torch have.
PACKAGES = (
    "pydantic",
    "pydantic-core",
    "annotated-types",
    "typing-inspection",
    "typing-extensions",
    "cyclopts",
    "docstring-parser",
    "rich-rst",
)


def to_image(data: bytes) -> Image.Image:
    """A file's images side by side; the labels are the last row of pixels, in red."""
    rows = np.frombuffer(data, np.uint8).reshape(IMAGES, 1 + 3 * SIDE * SIDE)
    grid = rows[:, 1:].reshape(IMAGES // COLUMNS, COLUMNS, 3, SIDE, SIDE).transpose(0, 3, 1, 4, 2)
    pixels = grid.reshape(IMAGES // COLUMNS * SIDE, COLUMNS * SIDE, 3)
    labels: npt.NDArray[np.uint8] = np.zeros((-(-IMAGES // pixels.shape[1]), pixels.shape[1], 3), np.uint8)
    labels[..., 0].flat[:IMAGES] = rows[:, 0]
    return Image.fromarray(np.concatenate((pixels, labels)))


def to_data(image: Image.Image) -> bytes:
    """The file that an image was made from."""
    pixels = np.asarray(image)
    height = IMAGES // COLUMNS * SIDE
    labels = pixels[height:, :, 0].reshape(-1)[:IMAGES, None]
    grid = pixels[:height].reshape(IMAGES // COLUMNS, SIDE, COLUMNS, SIDE, 3).transpose(0, 2, 4, 1, 3)
    return np.concatenate((labels, grid.reshape(IMAGES, -1)), axis=1).tobytes()


def pack(python: str, data_root: Path, out: Path) -> None:
    """Fills the folder."""
    wheels = out / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    subprocess.run([python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), str(ROOT)], check=True)
    subprocess.run([python, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheels), *PACKAGES], check=True)
    for file in sorted((data_root / FOLDER).glob("*.bin")):
        to_image(file.read_bytes()).save(out / f"{file.stem}.webp", lossless=True, method=4)
    shutil.copy(data_root / FOLDER / NAMES, out)
    for file in sorted(file for file in out.rglob("*") if file.is_file()):
        print(f"{file.stat().st_size / 1e6:6.1f} MB  {file.name}")


def unpack(files: list[Path], data_root: Path) -> None:
    """Writes those of CIFAR-10's files that are given."""
    (data_root / FOLDER).mkdir(parents=True, exist_ok=True)
    for file in files:
        if file.name == NAMES:
            shutil.copy(file, data_root / FOLDER)
            continue
        with Image.open(file) as image:
            (data_root / FOLDER / f"{file.stem}.bin").write_bytes(to_data(image))


def main() -> None:
    """See the module's page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["pack", "unpack"])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--python", default=sys.executable, help="a Python of the version that the machine has")
    parser.add_argument("--data-root", type=Path, required=True, help="folder that holds cifar-10-batches-bin")
    parser.add_argument("--out", type=Path, default=Path("kit"))
    options = parser.parse_args()
    if options.what == "pack":
        pack(options.python, options.data_root, options.out)
    else:
        unpack(options.files, options.data_root)


if __name__ == "__main__":
    main()
