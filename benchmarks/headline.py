"""The paper's claim within a fixed time: a float network and its binary form, both trained for as many epochs as fit.

    python benchmarks/headline.py --seconds 540 --data-root DIR --out runs/headline

A trial of three epochs of each says how long an epoch takes, the compiling of the first one left out. From that and
the seconds that are left follows the number of epochs, the same for both. What is in the folder already is gone on
with, so a run that was stopped costs nothing but its last epoch. At the end there are the metrics of every epoch, the
packed binary network, and result.json: accuracies, gap, epochs, seconds an epoch, and what it was made with.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from evenbit import plan_file
from evenbit.cpu import machine
from evenbit.data import load_dataset
from evenbit.deploy import pack_run
from evenbit.evaluation import evaluate
from evenbit.files import is_run, write_atomically
from evenbit.runtime.engine import Engine
from evenbit.train import load_recipe, read_checkpoint, train
from evenbit.train.recipe import Recipe, change_recipe
from origin import commit

METHODS = ("float", "fd")
TRIAL_EPOCHS = 3
RESERVE = 0.07  # of the time, for packing and for epochs that take longer than those of the trial


def make_recipe(method: str, arguments: argparse.Namespace, epochs: int) -> Recipe:
    """The recipe that comes with evenbit, for so many epochs."""
    recipe = load_recipe(f"{arguments.data}-{arguments.model}-{method}", {})
    changed: dict[str, Any] = {"epochs": epochs, "warmup_epochs": min(recipe.warmup_epochs, epochs / 10)}
    if not torch.cuda.is_available():
        changed |= {"compile": False}
    return change_recipe(recipe.model_dump(), changed, "headline")


def seconds_per_epoch(method: str, arguments: argparse.Namespace) -> float:
    """Measured between the ends of the last two epochs of a trial, evaluation and saving included."""
    ends: list[float] = []

    def watch(done: int, total: int) -> None:
        if done % (total // TRIAL_EPOCHS) == 0:
            ends.append(time.perf_counter())

    kept = arguments.out / f"trial-{method}.json"
    if not kept.exists():
        recipe = make_recipe(method, arguments, TRIAL_EPOCHS)
        with tempfile.TemporaryDirectory() as folder:
            train(recipe, folder, data_root=arguments.data_root, console=Console(quiet=True), progress=watch)
        write_atomically(kept, json.dumps({"seconds_per_epoch": ends[-1] - ends[-2]}).encode())
    return float(json.loads(kept.read_text())["seconds_per_epoch"])


def planned_epochs(arguments: argparse.Namespace, started: float) -> tuple[int, dict[str, float]]:
    """The number of epochs, that of an earlier call if there was one, and the seconds that one takes."""
    seconds = {method: seconds_per_epoch(method, arguments) for method in METHODS}
    begun = [arguments.out / method for method in METHODS if is_run(arguments.out / method)]
    if begun:
        return read_checkpoint(begun[0]).recipe.epochs, seconds
    left = (arguments.seconds - (time.perf_counter() - started)) * (1 - RESERVE)
    return max(1, int(left / sum(seconds.values()))), seconds


def main() -> None:
    """Trains both and writes what they reach."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, required=True, help="that all of it may take")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-root")
    parser.add_argument("--model", default="resnet18")
    arguments = parser.parse_args()
    started = time.perf_counter()
    arguments.out.mkdir(parents=True, exist_ok=True)
    epochs, seconds = planned_epochs(arguments, started)
    print(f"{epochs} epochs of each: {', '.join(f'{m} {s:.2f} s an epoch' for m, s in seconds.items())}", flush=True)
    accuracy = {}
    for method in METHODS:
        folder = arguments.out / method
        resume = is_run(folder)
        recipe = make_recipe(method, arguments, epochs)
        accuracy[method] = train(recipe, folder, data_root=arguments.data_root, resume=resume).accuracy
    plan = pack_run(arguments.out / "fd")
    plan_file.save(plan, arguments.out / "fd.evb")
    test = load_dataset(arguments.data, root=arguments.data_root).test
    result = {
        "headline": arguments.model,
        "data": arguments.data,
        "epochs": epochs,
        "accuracy": accuracy,
        "gap": accuracy["float"] - accuracy["fd"],
        "engine_accuracy": evaluate(Engine(plan), test).accuracy,
        "seconds_per_epoch": seconds,
        "seconds": time.perf_counter() - started,
        "recipes": {method: make_recipe(method, arguments, epochs).model_dump() for method in METHODS},
        "command": f"python benchmarks/headline.py --seconds {arguments.seconds:g} --data-root DIR --out runs/headline",
        "commit": commit(),
        "torch": torch.__version__,
        "machine": machine() + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""),
    }
    (arguments.out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"float {accuracy['float']:.2f} %, fd {accuracy['fd']:.2f} %, gap {result['gap']:.2f} points")


if __name__ == "__main__":
    main()
