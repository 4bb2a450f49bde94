"""Makes the networks that come with evenbit from runs, and the cards that say where they come from.

- `python benchmarks/pretrained.py packed RUN --commit COMMIT --data-root DIR` packs the run, with its real layers in
  8 bits, to src/evenbit/pretrained/cifar10.evb, measures that file on the engine over all test images and writes
  cifar10.json;
- `python benchmarks/pretrained.py start RUN --commit COMMIT --data-root DIR` writes the run's checkpoint without the
  optimizer's state to src/evenbit/pretrained/start, measures it in torch and writes start.json.

COMMIT is that of the code which trained it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import torch

from evenbit import plan_file
from evenbit.confidence import MOST_IMAGES, with_confidence
from evenbit.data import Split, load_dataset
from evenbit.deploy import calibration_split, pack_run, quantize_float_layers
from evenbit.evaluation import Predict, evaluate
from evenbit.files import CHECKPOINT, write_atomically, write_together
from evenbit.pretrained import CARD, NETWORK, START, START_CARD
from evenbit.progress import bar
from evenbit.runtime.engine import Engine
from evenbit.train import Recipe, Run, load_recipe, load_run, torch_predict
from evenbit.train.checkpoint import write_checkpoint
from evenbit.train.recipe import packaged_recipes

MOST_BYTES = 300_000


def training_command(recipe: Recipe) -> str:
    """The command that trains by this recipe: the nearest one that comes with evenbit, and what differs from it."""
    differences = {}
    for name in packaged_recipes():
        known = load_recipe(name, {})
        keys = [key for key in Recipe.model_fields if getattr(recipe, key) != getattr(known, key)]
        differences[name] = keys
    nearest = min(differences, key=lambda name: len(differences[name]))
    settings = [f"--set={key}={json.dumps(getattr(recipe, key))}" for key in differences[nearest]]
    return shlex.join(["evenbit", "train", nearest, *settings, "--data-root", "DIR", "--out", f"runs/{nearest}"])


def make_packed(folder: Path, commit: str, data_root: str | None) -> dict[str, Any]:
    """Writes the packed network and its card."""
    run = load_run(folder)
    dataset = load_dataset(run.recipe.data, root=data_root)
    plan = quantize_float_layers(pack_run(folder), calibration_split(folder, data_root).images[:])
    plan = with_confidence(plan, Engine(plan), dataset)
    data = plan_file.to_bytes(plan)
    if len(data) > MOST_BYTES:
        raise SystemExit(f"the packed network has {len(data):,} bytes; at most {MOST_BYTES:,} come with evenbit")
    known = card_of(run, data, Engine(plan_file.from_bytes(data)), dataset.test, commit)
    known |= {"float_layers": plan.info["float_layers"], "calibrated_on": MOST_IMAGES}
    write_together({NETWORK: data, CARD: text_of(known)})
    return known


def make_start(folder: Path, commit: str, data_root: str | None) -> dict[str, Any]:
    """Writes the checkpoint to start from and its card."""
    run = load_run(folder)
    test = load_dataset(run.recipe.data, root=data_root).test
    START.mkdir(exist_ok=True)
    untouched = torch.optim.SGD(run.model.parameters())  # without a state
    write_checkpoint(START, run.recipe, run.task, run.epoch, run.model, untouched)
    known = card_of(run, (START / CHECKPOINT).read_bytes(), torch_predict(load_run(START).model), test, commit)
    write_atomically(START_CARD, text_of(known))
    return known


def card_of(run: Run, data: bytes, predict: Predict, test: Split, commit: str) -> dict[str, Any]:
    """Where a network comes from, and how good it is."""
    with bar("evaluating") as progress:
        accuracy = evaluate(predict, test, progress=progress).accuracy
    return {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        **{key: getattr(run.recipe, key) for key in ("data", "model", "method", "seed")},
        "epochs": run.epoch,
        "of_epochs": run.recipe.epochs,
        "command": training_command(run.recipe),
        "commit": commit,
        "accuracy": accuracy,
        "images": len(test),
    }


def text_of(card: dict[str, Any]) -> bytes:
    """A card as its file holds it."""
    return (json.dumps(card, indent=1) + "\n").encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("packed", "start"))
    parser.add_argument("run", type=Path)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--data-root")
    arguments = parser.parse_args()
    make = {"packed": make_packed, "start": make_start}[arguments.kind]
    print(json.dumps(make(arguments.run, arguments.commit, arguments.data_root), indent=1))


if __name__ == "__main__":
    main()
