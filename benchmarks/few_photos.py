"""Accuracy on a few hundred photos at several sizes, and from a trained start: what to choose for a folder.

    python benchmarks/few_photos.py --stamps DIR [SETTING ...]

The photos are those of Debian's package `tuxpaint-stamps-default`, of which DIR is the folder `stamps`: things cut out
of photos, in five classes. Everything that a setting does not say is what `evenbit train` chooses for such a folder.
The photos are divided into as many parts as there are seeds, and each seed tests on another. Kept as
results/few-photos.json, in which the rows of other settings stay.
"""

from __future__ import annotations

import argparse
import json
import shlex
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from evenbit.data.dataset import mixed
from evenbit.deploy import pack_run
from evenbit.errors import unknown
from evenbit.export.c.size import memory_of
from evenbit.train import load_recipe, train
from evenbit.train.defaults import folder_settings
from evenbit.train.start import like_start
from origin import ROOT, origin

CLASSES = ("animals", "food", "plants", "town", "vehicles")
DRAWN = "cartoon"  # folders of drawings, which are left out
SETTINGS: dict[str, dict[str, Any]] = {
    **{f"image_size={size}": {"image_size": size} for size in (24, 32, 48, 64)},
    "--from bundled": {"start": "bundled"},
}
PARTS = 5
KEPT = ROOT / "results/few-photos.json"


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


def measure(setting: str, stamps: Path) -> dict[str, Any]:
    """Trains with a setting, once for each part of the photos."""
    row: dict[str, Any] = {"setting": setting, **origin(), "accuracies": [], "always_the_largest": []}
    row["command"] = shlex.join(["python", "benchmarks/few_photos.py", "--stamps", "DIR", setting])
    for part in range(PARTS):
        with tempfile.TemporaryDirectory() as name:
            photos, out = Path(name) / "photos", Path(name) / "run"
            row["photos"] = lay_out(stamps, photos, part)
            given = {"data": str(photos), "seed": part, **SETTINGS[setting]}
            if "start" in given:
                given = like_start(given["start"]) | given
            recipe = load_recipe(None, {**given, **folder_settings(photos, given)})
            result = train(recipe, out, console=Console(quiet=True))
            row["accuracies"].append(result.accuracy)
            row["always_the_largest"].append(result.evaluation.constant.accuracy)
            row |= {key: getattr(recipe, key) for key in ("model", "epochs", "image_size")}
            row["ram"] = memory_of(pack_run(out)).ram
            print(f"{setting}, part {part}: {result.accuracy:.2f} %", flush=True)
    return row


def main() -> None:
    """Keeps a row for each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamps", type=Path, required=True)
    parser.add_argument("settings", nargs="*", default=list(SETTINGS), metavar="SETTING", help=", ".join(SETTINGS))
    arguments = parser.parse_args()
    if missing := [setting for setting in arguments.settings if setting not in SETTINGS]:
        parser.error(unknown("setting", missing[0], SETTINGS))
    for setting in arguments.settings:
        row = measure(setting, arguments.stamps)
        rows = json.loads(KEPT.read_text(encoding="utf-8"))["few_photos"] if KEPT.exists() else []
        by_setting = {one["setting"]: one for one in [*rows, row]}
        rows = [by_setting[setting] for setting in SETTINGS if setting in by_setting]
        KEPT.write_text(json.dumps({"few_photos": rows, "classes": list(CLASSES)}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
