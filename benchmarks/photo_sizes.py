"""Accuracy on a few hundred photos at several sizes: what `evenbit train` should choose for a folder.

    python benchmarks/photo_sizes.py --stamps DIR

The photos are those of Debian's package `tuxpaint-stamps-default`, of which DIR is the folder `stamps`: things cut out
of photos, in five classes. Everything but the size is what `evenbit train` chooses for such a folder. The photos are
divided into as many parts as there are seeds, and each seed tests on another. Kept as results/photo-sizes.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from rich.console import Console

from evenbit.data.dataset import mixed
from evenbit.deploy import pack_run
from evenbit.export.c.size import memory_of
from evenbit.train import load_recipe, train
from evenbit.train.defaults import folder_settings
from origin import ROOT, origin

CLASSES = ("animals", "food", "plants", "town", "vehicles")
DRAWN = "cartoon"  # folders of drawings, which are left out
SIZES = (24, 32, 48, 64)
PARTS = 5


def lay_out(stamps: Path, folder: Path, part: int) -> int:
    """Links the photos into a folder with `train` and `test`; returns how many there are."""
    count = 0
    for name in CLASSES:
        found = sorted(path for path in (stamps / name).rglob("*.png") if DRAWN not in path.parts)
        count += len(found)
        for place, index in enumerate(mixed(len(found))):
            target = folder / ("test" if place % PARTS == part else "train") / name
            target.mkdir(parents=True, exist_ok=True)
            (target / f"{index}.png").symlink_to(found[index].resolve())
    return count


def main() -> None:
    """Trains at each size and keeps the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, required=True)
    arguments = parser.parse_args()
    head = {**origin(), "classes": list(CLASSES)}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for size in SIZES:
            row: dict[str, object] = {"size": size}
            accuracies, always = [], []
            for part in range(PARTS):
                photos, out = Path(name) / f"photos{part}", Path(name) / f"{size}-{part}"
                if not photos.exists():
                    head["photos"] = lay_out(arguments.stamps, photos, part)
                given = {"data": str(photos), "image_size": size, "seed": part}
                recipe = load_recipe(None, {**given, **folder_settings(photos, given)})
                result = train(recipe, out, console=Console(quiet=True))
                accuracies.append(result.accuracy)
                always.append(result.evaluation.constant.accuracy)
                row |= {"model": recipe.model, "epochs": recipe.epochs, "ram": memory_of(pack_run(out)).ram}
                print(f"{size}x{size}, part {part}: {result.accuracy:.2f} %", flush=True)
            rows.append({**row, "accuracies": accuracies})
            head["always_the_largest"] = sum(always) / len(always)
    kept = ROOT / "results/photo-sizes.json"
    kept.write_text(json.dumps({**head, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
