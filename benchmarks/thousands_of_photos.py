"""Which network to choose for a folder of some thousand photos.

    python benchmarks/thousands_of_photos.py photos DIR --data-root ROOT
    OMP_NUM_THREADS=1 evenbit train --data DIR --model MODEL --out runs/MODEL      # for each network
    python benchmarks/thousands_of_photos.py keep runs/MODEL ... [--commit COMMIT]

The photos are the first 500 training and 300 test images of each class of CIFAR-10. What the commands do not say is
what `evenbit train` chooses for such a folder. Kept as results/thousands-of-photos.json, in which the rows of other
networks stay.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
from pathlib import Path
from typing import Any

from evenbit import plan_file
from evenbit.data import load_dataset
from evenbit.deploy import pack_run
from evenbit.export.c.size import memory_of
from evenbit.train import load_run
from evenbit.train.metrics import read_metrics
from origin import ROOT
from photos import write_photos
from results import origin_of

TRAIN, TEST = 500, 300  # of a class
KEPT = ROOT / "results" / "thousands-of-photos.json"


def row_of(folder: Path, commit: str | None) -> dict[str, Any]:
    """What a finished run reached, and what it takes."""
    run, metrics = load_run(folder), read_metrics(folder, 1_000)
    plan = pack_run(folder)
    origin = origin_of(folder, commit)
    origin["command"] = re.sub(r"--data[ =]\S+", "--data DIR", origin["command"])
    return {
        "model": run.recipe.model,
        "seed": run.recipe.seed,
        "epochs": run.epoch,
        "accuracy": metrics[-1]["test_accuracy"],
        "seconds_per_epoch": statistics.median(line["seconds"] for line in metrics),
        "bytes": len(plan_file.to_bytes(plan)),
        "ram": memory_of(plan).ram,
        **origin,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    photos = actions.add_parser("photos")
    photos.add_argument("folder", type=Path)
    photos.add_argument("--data-root")
    keep = actions.add_parser("keep")
    keep.add_argument("runs", type=Path, nargs="+")
    keep.add_argument("--commit", help="of runs whose code was no git checkout")
    arguments = parser.parse_args()
    if arguments.action == "photos":
        cifar = load_dataset("cifar10", root=arguments.data_root)
        write_photos(arguments.folder, cifar, cifar.classes, TRAIN, TEST)
        return
    kept = json.loads(KEPT.read_text())["thousands_of_photos"] if KEPT.exists() else []
    rows = {(row["model"], row["seed"]): row for row in kept}
    for folder in arguments.runs:
        row = row_of(folder, arguments.commit)
        rows[row["model"], row["seed"]] = row
    text = json.dumps({"thousands_of_photos": [rows[key] for key in sorted(rows)]}, indent=1)
    KEPT.write_text(text + "\n")


if __name__ == "__main__":
    main()
