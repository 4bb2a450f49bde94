"""How the shapes of `evenbit.models.evennet` were chosen: short trainings on held-out images, and the engine's time.

    python benchmarks/shapes.py train 32,64,128x4 64,128,256x2 ... [--teacher RUN] [--data-root FOLDER]
    python benchmarks/shapes.py time [--isa avx2]

A shape is the width of each stage, and how many convolutions each has: one number for all, or one for each stage
(32,64,128,256x4,4,4,2). `train` trains it as the method `fd` on nine tenths of CIFAR-10's training images, for four
epochs, and keeps its accuracy on the others in results/shapes.json. A teacher must be trained on the same nine tenths:
`evenbit train --data cifar10 --set validation=0.1 --model patch14 --method float --epochs 12 --out runs/patch14`.
`time` adds bytes and milliseconds of all that are kept, one image and one thread, in turns.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from evenbit import plan_file
from evenbit.bench import interleave, statistics
from evenbit.deploy import pack_untrained, quantize_float_layers
from evenbit.models.evennet import evennet
from evenbit.models.registry import register_model
from evenbit.nn.method import Method
from evenbit.runtime.engine import Engine
from origin import ROOT, origin
from short_training import held_out_accuracy

KEPT = ROOT / "results/shapes.json"
RUNS = ROOT / "runs/shapes"
ROUNDS = 60


def register(shape: str) -> str:
    """Registers the network of a shape and returns its name."""
    if not re.fullmatch(r"\d+(,\d+)*x\d+(,\d+)*", shape):
        raise SystemExit(f"a shape is written as 32,64,128x4, not {shape}")
    widths, convs = (tuple(map(int, part.split(","))) for part in shape.split("x"))

    def network(method: Method, channels: int, classes: int, size: tuple[int, int]) -> nn.Sequential:
        return evennet(method, channels, classes, size, widths, convs if len(convs) > 1 else convs[0])

    network.__name__ = f"shape_{shape}"
    register_model(network)
    return network.__name__


def train_shape(shape: str, teacher: str | None, data_root: str | None) -> dict[str, Any]:
    """Trains a shape, unless that is done, and returns what is kept of it."""
    settings = {"model": register(shape), "method": "fd", "teacher": teacher}
    accuracy = held_out_accuracy(settings, RUNS / name_of(shape, teacher), data_root)
    return {"shape": shape, "teacher": teacher, "validation_accuracy": accuracy, **origin()}


def name_of(shape: str, teacher: str | None) -> str:
    """What a training is kept as."""
    return f"{shape} from {Path(teacher).name}" if teacher else shape


def time_shapes(kept: dict[str, Any], isa: str) -> None:
    """Adds bytes and milliseconds of every shape."""
    image = np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)
    runners, sizes = {}, {}
    for shape in sorted({row["shape"] for row in kept.values()}):
        plan = quantize_float_layers(pack_untrained(register(shape), "fd", channels=3, size=32, classes=10), image)
        sizes[shape] = len(plan_file.to_bytes(plan))
        runners[shape] = functools.partial(Engine(plan, threads=1, isa=isa), image)
    times = interleave(runners, ROUNDS)
    for row in kept.values():
        row["bytes"] = sizes[row["shape"]]
        row.setdefault("ms", {})[isa] = statistics(times[row["shape"]])["ms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train")
    training.add_argument("shapes", nargs="+")
    training.add_argument("--teacher", help="folder of a float run")
    training.add_argument("--data-root", help="where CIFAR-10's files are")
    commands.add_parser("time").add_argument("--isa", default="avx2")
    asked = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    if asked.command == "time":
        time_shapes(kept, asked.isa)
    else:
        for shape in asked.shapes:
            name = name_of(shape, asked.teacher)
            kept[name] = {**kept.get(name, {}), **train_shape(shape, asked.teacher, asked.data_root)}
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
