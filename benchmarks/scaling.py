"""How time and memory grow: batch sizes, threads, image sizes, loading, and the first answer of the command line.

    python benchmarks/scaling.py > results/scaling-resnet18.json

The network is an untrained binary ResNet-18 (CIFAR form) with 8-bit stem, downsample and head. All runs take turns;
times are the least of many, since what else the machine does only ever adds to them, and those of one thread are CPU
time, which does not count when others run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from evenbit import plan_file
from evenbit.cpu import machine
from evenbit.deploy import pack_untrained, quantize_float_layers
from evenbit.plan import Plan
from evenbit.runtime.engine import Engine

BATCHES = (1, 2, 4, 8, 16, 32, 64)
SIZES = (32, 64, 96, 128, 160, 192, 224)
ROUNDS = 15
MEMORY = """
import sys, numpy as np
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
before = resident()
from evenbit import Engine
Engine.load(sys.argv[1], threads=1)(np.zeros((1, 3, 32, 32), np.uint8))
print(resident() - before)
"""


def network(size: int) -> Plan:
    floats = pack_untrained("resnet18", "fd", channels=3, size=size, classes=10)
    return quantize_float_layers(floats, np.random.default_rng(0).random((2, 3, size, size), np.float32))


def images(batch: int, size: int = 32) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).random((batch, 3, size, size), np.float32)


def milliseconds(
    runs: dict[str, tuple[Engine, np.ndarray[Any, Any]]], clock: Callable[[], float], rounds: int
) -> dict[str, float]:
    """Least time of a call by that clock; all take turns."""
    best = dict.fromkeys(runs, np.inf)
    for _ in range(rounds):
        for name, (engine, batch) in runs.items():
            engine(batch[:8])  # whose memory others may have pushed out of the caches
            start = clock()
            engine(batch)
            best[name] = min(best[name], 1000 * (clock() - start))
    return best


def first_answer(path: Path, photo: Path) -> dict[str, float]:
    """Seconds of `evenbit predict` from start to end, and of an interpreter that only imports numpy."""
    program = [str(Path(sys.executable).with_name("evenbit")), "predict", str(path), str(photo)]
    times: dict[str, list[float]] = {"predict": [], "numpy": []}
    for _ in range(ROUNDS):
        for name, command in (("predict", program), ("numpy", [sys.executable, "-c", "import numpy"])):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - start)
    return {name: min(values) for name, values in times.items()}


def main() -> None:
    plan = network(32)
    one, two = Engine(plan, threads=1), Engine(plan, threads=2)
    cpu, wall = time.process_time, time.perf_counter
    batches = milliseconds({str(batch): (one, images(batch)) for batch in BATCHES}, cpu, 10 * ROUNDS)
    threads = milliseconds({"1": (one, images(8)), "2": (two, images(8))}, wall, 100 * ROUNDS)
    engines = {str(size): (Engine(network(size), threads=1), images(1, size)) for size in SIZES}
    sizes = milliseconds(engines, cpu, 5 * ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        path, photo = Path(folder) / "net.evb", Path(folder) / "photo.png"
        plan_file.save(plan, path)
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(photo)
        loads = []
        for _ in range(5 * ROUNDS):
            start = time.perf_counter()
            Engine.load(path, threads=1)
            loads.append(time.perf_counter() - start)
        memory = subprocess.run([sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, check=True)
        first = first_answer(path, photo)
    row = {
        "machine": machine(),
        "isa": one.isa,
        "ms_of_batch": batches,
        "ms_of_8_by_threads": threads,
        "ms_of_size": sizes,
        "load_ms": 1000 * min(loads),
        "arena_bytes": one.arena_bytes,
        "resident_bytes": int(memory.stdout),
        "first_answer_s": first,
    }
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
