"""Accuracy with each augmentation on a few photos: what it is worth where there are few images.

    python benchmarks/augmentations.py --data-root DIR

The photos are 60 of each of four classes of CIFAR-10's training images, as a folder; measured is on its test images.
Kept as results/augmentations.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from typing import Any

import numpy as np
from rich.console import Console

from evenbit.data import READERS, load_dataset
from evenbit.data.dataset import Dataset, Split
from evenbit.evaluation import evaluate
from evenbit.train import load_recipe, load_run, torch_predict, train
from origin import ROOT, origin

CLASSES = ("cat", "dog", "airplane", "automobile")
PHOTOS, WATCHED = 60, 10  # of each class, to train on and to look at after every epoch
EPOCHS, BATCH, SEEDS = 40, 16, (0, 1)
NOTHING = {"pad": 0, "flip": False}
SETTINGS: dict[str, dict[str, Any]] = {
    "nothing": NOTHING,
    "pad = 4": {"flip": False},
    "pad = 4, flip = true (plain)": {},
    "plain, cutout = 8": {"cutout": 8},
    "plain, area = 0.5": {"area": 0.5},
    "plain, color = 0.3": {"color": 0.3},
    "plain, rotate = 10": {"rotate": 10.0},
    "plain, erase = 0.25": {"erase": 0.25},
    "plain, mixup = 0.5": {"mixup": 0.5},
    'augment = "strong"': {"augment": "strong"},
}


def few_photos(root: str | None) -> tuple[Dataset, Split]:
    """The first images of some classes, and all of their test images."""
    whole = load_dataset("cifar10", root=root)

    def part(split: Split, count: int | None) -> Split:
        places = [np.flatnonzero(split.labels == whole.classes.index(name))[:count] for name in CLASSES]
        labels = np.repeat(np.arange(len(CLASSES)), [len(each) for each in places])
        return Split(split.images[:][np.concatenate(places)], labels)

    return Dataset("few-photos", CLASSES, part(whole.train, PHOTOS), part(whole.test, WATCHED)), part(whole.test, None)


def main() -> None:
    """Trains all settings with each seed and keeps the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root")
    arguments = parser.parse_args()
    dataset, test = few_photos(arguments.data_root)
    READERS["few-photos"] = lambda root: dataset
    rows = []
    for name, settings in SETTINGS.items():
        found = []
        for seed in SEEDS:
            keys = {"data": "few-photos", "epochs": EPOCHS, "batch_size": BATCH, "flip": True, "seed": seed, **settings}
            with tempfile.TemporaryDirectory() as folder:
                run = train(load_recipe(None, keys), f"{folder}/run", console=Console(quiet=True))
                found.append(evaluate(torch_predict(load_run(run.folder).model), test).accuracy)
        rows.append({"augmentation": name, "settings": settings, "accuracies": found, "mean": statistics.mean(found)})
        print(f"{rows[-1]['mean']:6.2f}  {name}", flush=True)
    kept = {
        **origin(),
        "command": "python benchmarks/augmentations.py --data-root DIR",
        "classes": CLASSES,
        "photos_of_a_class": PHOTOS,
        "test_images": len(test),
        "recipe": {"model": "resnet8", "method": "fd", "epochs": EPOCHS, "batch_size": BATCH},
        "seeds": SEEDS,
        "rows": rows,
    }
    (ROOT / "results" / "augmentations.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
