"""Times the way of somebody who is new: clone, `make demo`, then the tutorial from photos to a device.

    python benchmarks/newcomer.py --data-root DIR

The clone gets an environment of its own, so what pip has to fetch counts too. The photos are 600 of CIFAR-10's cats and
dogs; the commands are those of docs/tutorial.md, in their order. Kept as results/newcomer.json, from which
`make results` writes a table in docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from PIL import Image

from evenbit.data import load_dataset
from origin import ROOT, origin

BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PHOTOS = 300  # of each class
CLASSES = ("cat", "dog")


def write_photos(folder: Path, data_root: str | None) -> None:
    """A folder of photos with a subfolder for each class."""
    dataset = load_dataset("cifar10", root=data_root)
    train = dataset.train
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        label = dataset.classes.index(name)
        for index, image in enumerate(train.images[train.labels == label][:PHOTOS]):
            Image.fromarray(image.transpose(1, 2, 0)).save(folder / name / f"{index}.png")


def main() -> None:
    """Runs all steps and keeps their times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root")
    arguments = parser.parse_args()
    steps: list[dict[str, object]] = []

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clone = folder / "evenbit"
        path = f"{clone / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"} | {"PATH": path}

        def step(what: str, command: list[str], cwd: Path) -> None:
            start = time.monotonic()
            subprocess.run(command, cwd=cwd, env=environment, check=True, stdout=subprocess.DEVNULL)
            steps.append({"step": what, "seconds": round(time.monotonic() - start, 1)})
            print(f"{steps[-1]['seconds']:>7} s  {what}", flush=True)

        step("git clone", ["git", "clone", "--quiet", str(ROOT), str(clone)], folder)
        step("make install", ["make", "install"], clone)
        step("make demo", ["make", "demo"], clone)
        write_photos(folder / "photos", arguments.data_root)
        for language, text in BLOCK.findall((clone / "docs" / "tutorial.md").read_text(encoding="utf-8")):
            command = ["bash", "-euc", text] if language == "sh" else ["python", "-c", text]
            step(text.splitlines()[-1] if language == "sh" else "the Python of step 4", command, folder)

    kept = {
        **origin(),
        "command": "python benchmarks/newcomer.py --data-root DIR",
        "photos": PHOTOS * len(CLASSES),
        "newcomer": steps,
    }
    (ROOT / "results" / "newcomer.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
