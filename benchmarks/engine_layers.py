"""Speed of the engine's binary 3x3 convolutions, a table for each instruction set.

    python benchmarks/engine_layers.py [instruction set ...]

Each layer runs on its own, with the Tail that a residual block gives it (scale, bias, residual, PReLU, next bits), in a
Plan of few and of many such layers; the difference of the two times is that of the layers alone.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from evenbit.bits import pack_bits, words
from evenbit.ops import BinaryConv, Bits, Conv, Normalize, Tail
from evenbit.plan import Plan
from evenbit.runtime.engine import Engine, isas

LAYERS = [(64, 32), (128, 16), (256, 8), (512, 4), (64, 56), (256, 14), (512, 7)]  # channels, height and width
FEW, MANY = 2, 18


def chain(channels: int, size: int, layers: int) -> Plan:
    """A Plan of so many equal layers."""
    rng = np.random.default_rng(0)
    tensors: dict[str, npt.NDArray[Any]] = {
        "vector": rng.standard_normal(channels).astype(np.float32),
        "flip": np.zeros(words(channels), np.uint64),
        "dense": np.zeros((1, size, size, channels), np.float32),
        "stem": rng.standard_normal((channels, 1, 1, 1)).astype(np.float32),
    }
    stem = Conv("stem", "image", "x0", Tail(bits=Bits("b0", "vector", "flip")), weight="stem")
    ops = [Normalize("images", "images", "image"), stem]
    for layer in range(layers):
        tensors[f"weight{layer}"] = pack_bits(rng.random((channels, 3, 3, channels)) < 0.5)
        bits = Bits(f"b{layer + 1}", "vector", "flip")
        tail = Tail("vector", "vector", f"x{layer}", activation="prelu", slope="vector", bits=bits)
        ops.append(BinaryConv("layer", f"b{layer}", f"x{layer + 1}", tail, weight=f"weight{layer}", padding=(1, 1)))
    ops.append(Conv("dense", f"x{layers}", "logits", weight="dense"))
    return Plan(1, size, size, ("class",), tuple(ops), "logits", tensors)


def seconds(engine: Engine, size: int) -> float:
    """Shortest time of a call."""
    image = np.zeros((1, 1, size, size), np.float32)
    times = []
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        start = time.perf_counter()
        engine(image)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    for isa in sys.argv[1:] or isas()[:-1]:
        print(f"{isa}, 1 thread\n{'layer':>18} {'us':>8} {'GMAC/s':>8}")
        for channels, size in LAYERS:
            few, many = (seconds(Engine(chain(channels, size, n), threads=1, isa=isa), size) for n in (FEW, MANY))
            layer = (many - few) / (MANY - FEW)
            macs = size * size * channels * channels * 9
            print(f"{channels:>5} @ {size:>2}x{size:<2} 3x3 {layer * 1e6:>8.1f} {macs / layer / 1e9:>8.0f}")


if __name__ == "__main__":
    main()
