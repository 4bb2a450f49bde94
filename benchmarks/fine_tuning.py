"""What a start from a trained network is worth: binary networks trained from scratch and from a real one.

    python benchmarks/fine_tuning.py same --data digits --model resnet8 --float-epochs 12 --epochs 2 \
      --starts scratch taught weights teacher steps
    python benchmarks/fine_tuning.py same --data cifar10 --model resnet20 --float-epochs 24 --epochs 10 --longer 30 \
      --starts scratch teacher --seeds 1 --learning-rate 2e-2 --precision bf16 --data-root DIR
    python benchmarks/fine_tuning.py photos --data-root DIR
    python benchmarks/fine_tuning.py start --real RUN --data-root DIR
    python benchmarks/fine_tuning.py page

`same` goes from a real network to its binary form on the data it was trained on, with `--longer` also from scratch for
more epochs; `photos` to a folder of 60 photos for each of four classes of CIFAR-10 from a network trained on the other
six, at the learning rates that evenbit chooses. `start` measures the binary form of a run's real network before any
training. All keep what they measured in results/fine-tuning.json; `page` writes the tables into
docs/bring-your-own-network.md from it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from evenbit.data import Dataset, Split, load_dataset
from evenbit.evaluation import evaluate
from evenbit.files import write_atomically
from evenbit.nn import binarize
from evenbit.nn.conv import latent_weights
from evenbit.nn.conversion.fit import fit
from evenbit.train import load_recipe, load_run, torch_predict, train
from evenbit.train.loop import Given
from evenbit.train.metrics import read_metrics
from origin import ROOT, origin
from photos import write_photos
from sections import write_section

KEPT = ROOT / "results" / "fine-tuning.json"
PAGE = ROOT / "docs" / "bring-your-own-network.md"
BEGIN = "<!-- table: benchmarks/fine_tuning.py writes what follows -->"
END = "<!-- end of the table -->"
START_IMAGES = (64, 256, 512)
NEW_CLASSES = ("bird", "cat", "frog", "ship")
PHOTOS, TEST_PHOTOS = 60, 100  # of a class
# What the recipes that come with evenbit say of these data sets.
OF_DATA: dict[str, dict[str, Any]] = {
    "digits": {"flip": False, "pad": 1, "batch_size": 64},
    "cifar10": {"warmup_epochs": 2.0},
}
STARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "scratch": ("from scratch", {}),
    "taught": ("from scratch, with the real network as teacher", {"teacher": "real"}),
    "weights": ("from the real weights", {"weights": True}),
    "teacher": ("from the real weights, with the real network as teacher", {"weights": True, "teacher": "self"}),
    "attention": (
        "the same, and with its maps of where the real network looks (attention 30)",
        {"weights": True, "teacher": "self", "attention": 30.0},
    ),
    "steps": (
        "the same in two steps, half of the epochs with binary activations alone",
        {"weights": True, "teacher": "self"},
    ),
}

DEFAULT_STARTS = ["scratch", "weights", "teacher"]


def run(recipe: dict[str, Any], out: Path, data_root: str | None, given: Given | None = None) -> dict[str, Any]:
    """Trains, unless that is done, and gives the first and the last line of the metrics in one."""
    result = train(
        load_recipe(None, recipe),
        out,
        data_root=data_root,
        console=Console(),
        given=given or Given(),
        resume=out.exists(),
    )
    return {**result.metrics, **{k: v for k, v in read_metrics(out, 1)[0].items() if k.endswith("_at_start")}}


def compare(
    settings: dict[str, Any], real: Path, folder: Path, options: argparse.Namespace, data_root: str | None
) -> list[dict[str, Any]]:
    """A row for each start: accuracies at the start and after training, of each seed."""
    cases = [(start, options.epochs) for start in options.starts]
    if options.longer:
        cases.append(("scratch", options.longer))
    signs = real_signs(real)
    rows = []
    for start, epochs in cases:
        label, changes = STARTS[start]
        found, same_signs = [], []
        for seed in range(options.seeds):
            recipe = {**settings, **changes, "epochs": epochs, "seed": seed}
            if changes.get("teacher") == "real":
                recipe["teacher"] = str(real)
            if "weights" in changes:
                recipe |= {"weights": str(real), **({"learning_rate": options.rate} if options.rate else {})}
            out = folder / f"{start}-{epochs}-{seed}"
            if start == "steps":
                found.append(in_steps(recipe, real, out, data_root))
            else:
                found.append(run(recipe, out, data_root))
            if "weights" in changes:
                same_signs.append(100 * (latent_signs(load_run(out).model) == signs).float().mean().item())
        at_start = [one["test_accuracy_at_start"] for one in found if "test_accuracy_at_start" in one]
        row = {"start": label, "epochs": epochs, "at_start": at_start, "same_signs": same_signs}
        rows.append({**row, "accuracy": [one["test_accuracy"] for one in found]})
        print(rows[-1], flush=True)
    return rows


def real_signs(folder: Path) -> Tensor:
    """Signs of the real weights that become binary, of all layers in one vector."""
    real = load_run(folder)
    image = torch.zeros(1, real.task.channels, real.task.height, real.task.width)
    return latent_signs(binarize(real.model, image).network)


def latent_signs(network: nn.Module) -> Tensor:
    """Signs of a binary network's weights, of all layers in one vector."""
    return torch.cat([weight.flatten() >= 0 for weight in latent_weights(network)])


def in_steps(recipe: dict[str, Any], real: Path, out: Path, data_root: str | None) -> dict[str, Any]:
    """Half of the epochs with binary activations and real weights, the rest with both binary."""
    activations = out.with_name(f"{out.name}-activations")
    half = recipe["epochs"] // 2
    first = run({**recipe, "epochs": half, "knobs": {"binary_weights": False}}, activations, data_root)
    second = run({**recipe, "epochs": recipe["epochs"] - half, "start": str(activations)}, out, data_root)
    return {**second, "test_accuracy_at_start": first["test_accuracy_at_start"]}


def same(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """From a real network to its binary form."""
    settings: dict[str, Any] = {"data": options.data, "model": options.model, "learning_rate": options.learning_rate}
    settings["precision"] = options.precision
    base = {**settings, **OF_DATA.get(options.data, {})}
    if options.warmup_epochs is not None:
        base["warmup_epochs"] = options.warmup_epochs
    real = options.real or folder / "real"
    if options.real is None:
        run({**base, "method": "float", "epochs": options.float_epochs}, real, options.data_root)
    lines = read_metrics(real, 10_000)
    rows = compare(base, real, folder, options, options.data_root)
    return {**settings, **origin(), "float": lines[-1]["test_accuracy"], "float_epochs": len(lines), "rows": rows}


def photos(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """From a network for six classes to photos of four others."""
    cifar = load_dataset("cifar10", root=options.data_root)
    old = [cifar.classes.index(name) for name in cifar.classes if name not in NEW_CLASSES]

    def only(split: Split) -> Split:
        part = split.subset(np.flatnonzero(np.isin(split.labels, old)))
        return Split(part.images, np.searchsorted(old, part.labels))

    six = Dataset("six", tuple(cifar.classes[i] for i in old), only(cifar.train), only(cifar.test))
    real = folder / "real"
    settings = {"data": ":six", "model": options.model, "method": "float", "epochs": options.float_epochs}
    found = run({**settings, "learning_rate": 1e-2, "warmup_epochs": 0.3}, real, None, Given(dataset=six))
    images = folder / "photos"
    write_photos(images, cifar, NEW_CLASSES, PHOTOS, TEST_PHOTOS)
    own = {"data": str(images), "model": options.model, "batch_size": 16}
    rows = compare(own, real, folder, options, None)
    row = {"model": options.model, **origin(), "float": found["test_accuracy"], "float_epochs": options.float_epochs}
    return {**row, "rows": rows}


def start(options: argparse.Namespace) -> dict[str, Any]:
    """Accuracy of a run's network made binary, before any training, by the images that it is fitted to."""
    real = load_run(options.real)
    data = load_dataset(real.recipe.data, root=options.data_root)
    rows = []
    for count in (0, *START_IMAGES):
        torch.manual_seed(0)
        images = torch.from_numpy(data.train.images[: max(count, 1)]) / 255
        network = binarize(real.model, images[:1]).network
        if count:
            fit(network, real.model, images)
        accuracy = evaluate(torch_predict(network.eval()), data.test).accuracy
        rows.append({"start": f"fitted to {count} images" if count else "not fitted", "at_start": [accuracy]})
        print(rows[-1], flush=True)
    accuracy = evaluate(torch_predict(real.model), data.test).accuracy
    row = {"data": data.name, "model": real.recipe.model, **origin(), "float": accuracy, "float_epochs": real.epoch}
    return {**row, "rows": rows}


def table(rows: list[dict[str, Any]]) -> str:
    """Means and deviations over the seeds."""

    def cell(values: list[float]) -> str:
        if not values:
            return ""
        return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")

    if "accuracy" not in rows[0]:
        lines = ["| start | before training |", "|---|---|"]
        return "\n".join([*lines, *(f"| {row['start']} | {cell(row['at_start'])} |" for row in rows)])
    signs = any(row.get("same_signs") for row in rows)
    head, rule = "| start | epochs | before training | after it |", "|---|--:|---|---|"
    lines = [f"{head} signs as in the real network |", f"{rule}---|"] if signs else [head, rule]
    for row in rows:
        cells = [row["start"], str(row["epochs"]), cell(row["at_start"]), cell(row["accuracy"])]
        cells += [cell(row["same_signs"])] if signs else []
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page(kept: dict[str, Any]) -> str:
    """The tables with what they are of."""
    parts = []
    for key, one in sorted(kept.items()):
        if key == "photos":
            text = (
                f"{one['model']}, trained for {one['float_epochs']} epochs on six classes of CIFAR-10 "
                f"({one['float']:.1f} % of their test images), then {PHOTOS} photos for each of four others, "
                f"{', '.join(NEW_CLASSES)}, and {TEST_PHOTOS} to measure on."
            )
        else:
            text = f"{one['model']} on {one['data']}, {one['float']:.1f} % in float after {one['float_epochs']} epochs."
        parts.append(f"{text} {_of(one['rows'])}, in percent:\n\n{table(one['rows'])}\n\n{_from(one)}")
    return "\n\n".join(parts)


def _of(rows: list[dict[str, Any]]) -> str:
    if "accuracy" not in rows[0]:
        return "The binary network before any training"
    seeds = len(rows[0]["accuracy"])
    return f"The binary network, {f'mean and standard deviation of {seeds} seeds' if seeds > 1 else 'one seed'}"


def _from(one: dict[str, Any]) -> str:
    return f"`{one['command']}`, commit {one['commit']}, {one['machine']}."


def keep(key: str, found: dict[str, Any]) -> None:
    """Puts what was measured into the file, in the place of what was there of it."""
    kept = json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    write_atomically(KEPT, (json.dumps({**kept, key: found}, indent=1) + "\n").encode())


def main() -> None:
    """See the module's page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["same", "photos", "start", "page"])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--data-root")
    parser.add_argument("--model", default="resnet8")
    parser.add_argument("--real", type=Path, help="a finished run of the real network")
    parser.add_argument("--float-epochs", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--longer", type=int, help="also from scratch for so many epochs")
    parser.add_argument("--starts", nargs="+", choices=list(STARTS), default=DEFAULT_STARTS)
    parser.add_argument("--precision", default="no", help="of training: no or bf16")
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--warmup-epochs", type=float, help="if others than the data's own")
    parser.add_argument("--rate", type=float, help="learning rate of what starts from real weights, if another one")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, help="where runs are kept, so that what is finished is not repeated")
    options = parser.parse_args()
    if options.what == "start":
        found = start(options)
        keep(f"start-{found['data']}-{found['model']}", found)
    elif options.what != "page":
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.runs or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            if options.what == "same":
                keep("-".join([options.data, options.model, *options.starts]), same(options, folder))
            else:
                keep("photos", photos(options, folder))
    kept = json.loads(KEPT.read_text("utf-8"))
    write_section(PAGE, BEGIN, END, page(kept))


if __name__ == "__main__":
    main()
