"""Measures which tile of a binary convolution is fastest for which shape, and writes csrc/kernels/choices.inc.

    python benchmarks/tiles.py

Each shape is that of a chain of equal residual layers (see engine_layers.py); all tiles take turns and the shortest
times are compared. A tile is chosen over the first one of its instruction set if it is 2 % faster. What was chosen for
instruction sets that this machine lacks stays.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from engine_layers import chain
from evenbit.runtime.engine import Engine, isas, tiles

SHAPES = [(16, 32), (16, 16), (32, 32), (32, 16), (48, 16), (64, 8), (64, 16), (64, 32), (64, 56), (96, 8), (128, 8)]
SHAPES += [(128, 16), (128, 28), (256, 4), (256, 8), (256, 14), (512, 4), (512, 7), (512, 14)]  # channels, side
CHOICES = Path(__file__).parent.parent / "csrc/kernels/choices.inc"
LAYERS = 10
SECONDS = 1.0  # for each tile and shape
WORTH = 0.98
HEAD = "// Written by benchmarks/tiles.py: the tile for so many blocks of outputs and a map of that width, or near.\n"


def fastest(isa: str, channels: int, size: int) -> tuple[str, dict[str, float]]:
    """The tile to take, and the shortest time of each in microseconds a layer."""
    plan = chain(channels, size, LAYERS)
    engines = {tile: Engine(plan, threads=1, isa=isa, tile=tile) for tile in tiles(isa)}
    image = np.zeros((1, 1, size, size), np.float32)
    best = dict.fromkeys(engines, np.inf)
    end = time.perf_counter() + SECONDS * len(engines)
    while time.perf_counter() < end:
        for tile, engine in engines.items():
            start = time.perf_counter()
            engine(image)
            best[tile] = min(best[tile], time.perf_counter() - start)
    first, least = tiles(isa)[0], min(best, key=lambda tile: best[tile])
    chosen = least if best[least] < WORTH * best[first] else first
    return chosen, {tile: 1e6 * seconds / LAYERS for tile, seconds in best.items()}


def main() -> None:
    known = CHOICES.read_text(encoding="utf-8").splitlines(keepends=True)[1:]
    lines = [HEAD, *(line for line in known if line.split('"')[1] not in isas())]
    for isa in isas():
        for channels, size in SHAPES if len(tiles(isa)) > 1 else []:
            chosen, times = fastest(isa, channels, size)
            print(
                f"{isa} {channels:>4} @ {size}x{size}: {chosen}  ", {tile: round(us, 1) for tile, us in times.items()}
            )
            lines.append(f'{{"{isa}", {channels // 16}, {size}, "{chosen}"}},\n')
    CHOICES.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
