"""Makes the network that comes with evenbit from a run, and the card that says where it comes from.

`python benchmarks/pretrained.py RUN --commit COMMIT --data-root DIR` packs the run to
src/evenbit/pretrained/cifar10.evb, measures that file on the engine over all test images and writes cifar10.json.
COMMIT is that of the code which trained it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

from evenbit import plan_file
from evenbit.confidence import MOST_IMAGES, with_confidence
from evenbit.data import load_dataset
from evenbit.deploy import pack_run
from evenbit.evaluation import evaluate
from evenbit.files import write_atomically
from evenbit.pretrained import CARD, NETWORK
from evenbit.progress import bar
from evenbit.runtime.engine import Engine
from evenbit.train import Recipe, load_recipe, load_run
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


def make(folder: Path, commit: str, data_root: str | None) -> dict[str, Any]:
    """Writes both files."""
    run = load_run(folder)
    dataset = load_dataset(run.recipe.data, root=data_root)
    plan = pack_run(folder)
    plan = with_confidence(plan, Engine(plan), dataset)
    data = plan_file.to_bytes(plan)
    if len(data) > MOST_BYTES:
        raise SystemExit(f"the packed network has {len(data):,} bytes; at most {MOST_BYTES:,} come with evenbit")
    with bar("evaluating") as progress:
        accuracy = evaluate(Engine(plan_file.from_bytes(data)), dataset.test, progress=progress).accuracy
    card = {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        **{key: getattr(run.recipe, key) for key in ("data", "model", "method", "seed")},
        "epochs": run.epoch,
        "of_epochs": run.recipe.epochs,
        "command": training_command(run.recipe),
        "commit": commit,
        "accuracy": accuracy,
        "images": len(dataset.test),
        "calibrated_on": MOST_IMAGES,
    }
    write_atomically(NETWORK, data)
    write_atomically(CARD, (json.dumps(card, indent=1) + "\n").encode())
    return card


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--data-root")
    arguments = parser.parse_args()
    print(json.dumps(make(arguments.run, arguments.commit, arguments.data_root), indent=1))


if __name__ == "__main__":
    main()
