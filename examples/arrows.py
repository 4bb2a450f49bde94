"""Draws signs with an arrow to the left or to the right, as a folder of images with a subfolder for each class.

    python examples/arrows.py arrows

The arrows differ in place, size, slope and colours, and some noise lies over them. They are an example of classes that
are each other's mirror images: mirrored while training, a network cannot learn them.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COUNT = 60  # of each class
SIDE = 64  # pixels
SHAPE = ((-1, -0.25), (0.1, -0.25), (0.1, -0.7), (1, 0), (0.1, 0.7), (0.1, 0.25), (-1, 0.25))  # to the right


def arrow(rng: np.random.Generator, direction: int) -> Image.Image:
    """A sign, its arrow to the right for 1 and to the left for -1."""
    light, dark = rng.integers(200, 256, 3), rng.integers(0, 60, 3)
    image = Image.new("RGB", (SIDE, SIDE), tuple(map(int, light)))
    size, turn = rng.uniform(0.3, 0.4) * SIDE, math.radians(rng.uniform(-10, 10))
    x, y = SIDE / 2 + rng.uniform(-0.05, 0.05, 2) * SIDE
    points = [
        (
            x + size * (direction * a * math.cos(turn) - b * math.sin(turn)),
            y + size * (direction * a * math.sin(turn) + b * math.cos(turn)),
        )
        for a, b in SHAPE
    ]
    ImageDraw.Draw(image).polygon(points, fill=tuple(map(int, dark)))
    noisy = np.asarray(image) + rng.normal(0, 12, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def draw(folder: Path) -> None:
    """Writes all images; the same ones each time."""
    rng = np.random.default_rng(0)
    for name, direction in (("left", -1), ("right", 1)):
        (folder / name).mkdir(parents=True)
        for index in range(COUNT):
            arrow(rng, direction).save(folder / name / f"{index}.png")


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
