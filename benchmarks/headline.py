"""The paper's claim within a fixed time: a float network and its binary form, both trained for as many epochs as fit.

    python benchmarks/headline.py --seconds 540 --data-root DIR --out runs/headline

A trial of three epochs of each says how long an epoch takes, and how long everything before the first one does, such
as compiling. From that and the seconds that are left follows the number of epochs, the same for both. What is in the
folder already is gone on with, so a run that was stopped costs nothing but its last epoch. There are the metrics of
every epoch, the packed binary network, and result.json, which is written as soon as one of the two is trained:
accuracies, gap, epochs, seconds an epoch, and what it was made with. On a machine without git, `--commit` says of which
commit the sources are; `benchmarks/bare_machine.py` has what else may be missing there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

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
RESERVE = 0.07  # of the time, for epochs that take longer than those of the trial
PACKING = 20  # seconds on a GPU's machine, for the excitations' means, packing and measuring on the engine


def make_recipe(method: str, arguments: argparse.Namespace, epochs: int) -> Recipe:
    """The recipe that comes with evenbit, for so many epochs."""
    recipe = load_recipe(f"{arguments.data}-{arguments.model}-{method}", {})
    changed: dict[str, Any] = {"epochs": epochs, "warmup_epochs": min(recipe.warmup_epochs, epochs / 10)}
    if not torch.cuda.is_available():
        changed |= {"compile": False}
    return change_recipe(recipe.model_dump(), changed, "headline")


class Pace(NamedTuple):
    """How long a run takes.

    Attributes:
        epoch: Seconds of an epoch, its evaluation and saving included.
        before: Seconds before the first epoch, the extra time of the first one included.
    """

    epoch: float
    before: float


def pace(method: str, arguments: argparse.Namespace) -> Pace:
    """Measured between the ends of the last two epochs of a trial."""
    ends: list[float] = []

    def watch(done: float, total: float) -> None:
        if done % (total // TRIAL_EPOCHS) == 0:
            ends.append(time.perf_counter())

    kept = arguments.out / f"trial-{method}.json"
    if not kept.exists():
        recipe = make_recipe(method, arguments, TRIAL_EPOCHS)
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            train(recipe, folder, data_root=arguments.data_root, console=Console(), progress=watch)
        epoch = ends[-1] - ends[-2]
        found = Pace(epoch, max(0.0, ends[0] - started - epoch))
        write_atomically(kept, json.dumps(found._asdict()).encode())
    return Pace(**json.loads(kept.read_text()))


def planned_epochs(arguments: argparse.Namespace, started: float) -> tuple[int, dict[str, Pace]]:
    """The number of epochs, that of an earlier call if there was one, and how long both runs take."""
    paces = {method: pace(method, arguments) for method in METHODS}
    begun = [arguments.out / method for method in METHODS if is_run(arguments.out / method)]
    if begun:
        return read_checkpoint(begun[0]).recipe.epochs, paces
    left = arguments.seconds - (time.perf_counter() - started) - PACKING - sum(each.before for each in paces.values())
    return max(1, int(left * (1 - RESERVE) / sum(each.epoch for each in paces.values()))), paces


def main() -> None:
    """Trains both and writes what they reach."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, required=True, help="that all of it may take")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--data-root")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--commit", help="of the sources; asked of git if not given")
    arguments = parser.parse_args()
    started = time.perf_counter()
    known = arguments.commit or commit()
    arguments.out.mkdir(parents=True, exist_ok=True)
    epochs, paces = planned_epochs(arguments, started)
    told = ", ".join(f"{method} {each.epoch:.2f} s an epoch" for method, each in paces.items())
    print(f"{epochs} epochs of each: {told}", flush=True)
    result: dict[str, Any] = {
        "headline": arguments.model,
        "data": arguments.data,
        "epochs": epochs,
        "accuracy": {},
        "seconds_per_epoch": {method: each.epoch for method, each in paces.items()},
        "recipes": {method: make_recipe(method, arguments, epochs).model_dump() for method in METHODS},
        "command": f"python benchmarks/headline.py --seconds {arguments.seconds:g} --data-root DIR --out runs/headline",
        "commit": known,
        "torch": torch.__version__,
        "machine": machine() + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""),
    }

    def keep(**found: Any) -> None:
        result.update(found, seconds=time.perf_counter() - started)
        write_atomically(arguments.out / "result.json", (json.dumps(result, indent=1) + "\n").encode())

    accuracy: dict[str, float] = result["accuracy"]
    for method in METHODS:
        folder = arguments.out / method
        recipe = make_recipe(method, arguments, epochs)
        resume = is_run(folder)
        accuracy[method] = train(recipe, folder, data_root=arguments.data_root, resume=resume).accuracy
        keep()
    keep(gap=accuracy["float"] - accuracy["fd"])
    plan = pack_run(arguments.out / "fd")
    plan_file.save(plan, arguments.out / "fd.evb")
    test = load_dataset(arguments.data, root=arguments.data_root).test
    keep(engine_accuracy=evaluate(Engine(plan), test).accuracy)
    print(f"float {accuracy['float']:.2f} %, fd {accuracy['fd']:.2f} %, gap {result['gap']:.2f} points")


if __name__ == "__main__":
    main()
