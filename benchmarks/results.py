"""Keeps what a run reached, and writes docs/results.md, docs/performance.md and docs/front.md from what is kept.

- `python benchmarks/results.py collect runs/NAME` measures a finished run and keeps it as results/NAME.json and
  results/NAME.jsonl;
- `python benchmarks/results.py collect-sweep sweeps/NAME.toml` keeps what a sweep has reached as
  results/sweep-NAME.json, with the metrics of its epochs in results/sweep-NAME; runs of code that is no git checkout
  need `--commit`;
- `python benchmarks/results.py bench` packs untrained networks, runs `evenbit bench` on them beside the peers and op by
  op, and keeps each result as results/bench-NAME.json or results/layers-NAME.json; on a CPU with AMX, which only the
  peers use, the former as results/bench-NAME-amx.json and not the latter; best on a machine that does nothing else, and
  with EVENBIT_LARQ_PYTHON set;
- `python benchmarks/exports.py FILE.evb` keeps what `evenbit export` makes of a network as results/exports-FILE.json;
- `python benchmarks/results.py render` writes the pages and their figures.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import front_page
from agreement import compare
from evenbit import plan_file
from evenbit.bench.peers import LARQ_PYTHON
from evenbit.cpu import machine
from evenbit.data import load_dataset
from evenbit.deploy import pack_run
from evenbit.evaluation import collect_logits, score
from evenbit.export.c.size import in_kib
from evenbit.nn.method import Method
from evenbit.runtime.engine import Engine, isas
from evenbit.sweep import compared_with_twins, finished_rows, load_sweep, table
from evenbit.train import load_run, read_checkpoint, torch_predict
from evenbit.train.metrics import METRICS, read_metrics
from evenbit.train.recipe import EARLIER, Recipe, make_recipe
from origin import has_amx, optimizer
from plots import plot_peers, plot_shares

# Model, float layers, instruction set, batch, threads.
BENCHES = [("resnet18", "int8", isa, 1, 1) for isa in ("avx512", "avx512bw", "avx2")]
BENCHES += [("resnet18", "float32", "avx512", 1, 1), ("resnet18", "int8", "avx512", 1, 2)]
BENCHES += [("resnet18", "int8", "avx512", batch, threads) for batch in (8, 32) for threads in (1, 2)]
BENCHES += [("resnet18_imagenet", layers, "avx512", 1, 1) for layers in ("int8", "float32")]
# Of rows without `bound`.
PLAIN_CALLS = [
    "",
    "In rows marked *, the peers got the images anew in each call, which costs OpenVINO 0.1 to 0.15 ms and ONNX",
    "Runtime 0.03 ms: little for ResNet-18, but much for small networks, which look better there than they are.",
]
SMALL = ("resnet8", "resnet20", "resnet20_wide", "vgg_slim", "mobilenet")
BENCHES += [(model, "int8", isa, 1, 1) for model in SMALL for isa in ("avx512", "avx512bw", "avx2")]
BENCHES += [(model, "int8", "avx512", 8, threads) for model in ("resnet20", "mobilenet") for threads in (1, 2)]
PROFILED = ("resnet18", "resnet18_imagenet", "resnet20", "resnet20_wide", "vgg_slim")

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "results"


def origin_of(folder: Path, commit: str | None) -> dict[str, str]:
    """What has to be known to make a run again: command, commit, torch, machine and threads."""
    origin = read_checkpoint(folder).origin
    if origin is None or (origin.commit or commit) is None:
        sys.exit(f"{folder}: which commit it is of was not recorded; say it with --commit")
    command = re.sub(r"--data-root[ =]\S+", "--data-root DIR", origin.command)
    command = re.sub(r"--out[ =]\S+", f"--out runs/{folder.name}", command)
    if origin.threads is not None:
        command = f"OMP_NUM_THREADS={origin.threads} {command}"
    return {
        "command": command,
        "commit": re.sub("([0-9a-f]{7})[0-9a-f]{33}", r"\1", origin.told("commit") if origin.commit else commit or ""),
        "machine": origin.told("machine"),
        "torch": origin.told("torch"),
    }


def collect(folder: Path, commit: str | None, data_root: str | None) -> None:
    """Measures a finished run in torch and on the engine, over all test images."""
    run = load_run(folder)
    test = load_dataset(run.recipe.data, root=data_root, size=run.recipe.image_size).test
    plan = pack_run(folder)
    packed = plan_file.to_bytes(plan)
    engine = Engine(plan)
    in_torch = collect_logits(torch_predict(run.model), test.images)
    on_engine = collect_logits(engine, test.images)
    metrics = read_metrics(folder, run.epoch)
    row = {
        "name": folder.name,
        **origin_of(folder, commit),
        "recipe": run.recipe.model_dump(),
        "settings": asdict(run.recipe.resolved_method()),
        "images": len(test),
        "accuracy": score(in_torch, test.labels).accuracy,
        "engine_accuracy": score(on_engine, test.labels).accuracy,
        "balance": metrics[-1].get("balance"),
        "entropy": metrics[-1].get("entropy"),
        "seconds_per_epoch": float(np.median([line["seconds"] for line in metrics])),
        "packed_bytes": len(packed),
        "agreement": compare(run.model, plan, test.images, in_torch, on_engine),
    }
    _keep(folder.name, row)
    shutil.copyfile(folder / METRICS, KEPT / f"{folder.name}.jsonl")


def collect_sweep(path: Path, out: Path | None, commit: str | None) -> None:
    """Keeps the finished rows of a sweep, and for each epoch of their runs the metrics of the whole network.

    Rows that were kept before stay where this folder has nothing new for them and the sweep still asks for them.
    """
    plan = load_sweep(path)
    folder = out or ROOT / "runs" / plan.name
    finished = {row["label"]: row for row in finished_rows(plan, folder)}
    kept = KEPT / f"sweep-{plan.name}"
    kept.mkdir(exist_ok=True)
    file = kept.with_suffix(".json")
    before = {row["label"]: row for row in json.loads(file.read_text())["rows"]} if file.exists() else {}
    rows = []
    for entry in plan.entries:
        asked = [_whole(recipe.model_dump()) for recipe in entry.recipes]
        row, new = before.get(entry.label), finished.get(entry.label)
        if new is not None and (row is None or row["accuracies"] != new["accuracies"]):
            runs = [plan.folder(folder, entry, recipe) for recipe in entry.recipes]
            row = {**new, **_common_origin(runs, commit)}
            _keep_metrics(runs, kept, new["epochs"])
        of_today = row is not None and _is_of_today(row["settings"], entry.recipes[0])
        if row is None or not of_today or [_whole(row["recipe"])] * len(row["seeds"]) != asked:
            print(f"not finished yet, left out: {entry.label}", file=sys.stderr)
        else:
            rows.append(row)
    command = path.read_text("utf-8").splitlines()[1].removeprefix("# ")
    _keep(kept.name, {"sweep": plan.name, "command": command, "rows": compared_with_twins(rows)})


def _is_of_today(settings: dict[str, Any], recipe: Recipe) -> bool:
    """Whether the kept settings of a method are those of today; knobs that came later were as they are by default."""
    method = recipe.resolved_method()
    return asdict(Method(method.name)) | settings == asdict(method)


def _whole(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe without its seed, and with the keys that came after it was kept, as they were then."""
    return make_recipe(EARLIER | recipe, "a kept row").model_dump(mode="json", exclude={"seed"})


def _common_origin(runs: list[Path], commit: str | None) -> dict[str, str]:
    """Machine and torch of several runs, which must be the same, and their commits."""
    origins = [origin_of(run, commit) for run in runs]
    if len({(origin["machine"], origin["torch"]) for origin in origins}) > 1:
        sys.exit(f"{runs[0]} and its other seeds are of several machines; train them again")
    commits = dict.fromkeys(origin["commit"] for origin in origins)
    return {"commit": " and ".join(commits), "machine": origins[0]["machine"], "torch": origins[0]["torch"]}


def _keep_metrics(runs: list[Path], kept: Path, epochs: int) -> None:
    """Those of the whole network, without its layers'."""
    for run in runs:
        lines = read_metrics(run, epochs)
        for line in lines:
            line.pop("layers", None)
            line.pop("weights", None)
        (kept / f"{run.name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def bench(chosen: Sequence[str]) -> None:
    """Runs and keeps all benchmarks that this CPU can run; those of Larq only where there is an environment for it.

    Args:
        chosen: Instruction sets of our engine. The other runtimes take the best that the CPU has, so that rows of AVX2
            compare like with like only on a CPU that has no more.
    """
    evenbit = str(Path(sys.executable).with_name("evenbit"))
    peers = ["onnxruntime", "onnxruntime-int8", "openvino-int8"]
    amx = has_amx(machine())  # our engine does not use it, but the others do
    with tempfile.TemporaryDirectory() as folder:
        for model, float_layers, isa, batch, threads in (one for one in BENCHES if one[2] in set(chosen) & set(isas())):
            path = Path(folder) / f"{model}-{float_layers}.evb"
            if not path.exists():
                shape = ("--size", "224", "--classes", "1000") if model == "resnet18_imagenet" else ()
                layers = ("--float-layers", float_layers)
                subprocess.run([evenbit, "pack", "--untrained", model, *shape, *layers, "-o", path], check=True)
            names = [*peers, "larq"] if LARQ_PYTHON in os.environ and batch == threads == 1 else peers
            options = ["--batch", str(batch), "--threads", str(threads), "--isa", isa, "--rounds", "20"]
            name = f"{path.stem}-{isa}"
            row = json.loads(_output(evenbit, "bench", str(path), "--against", ",".join(names), *options, "--json"))
            _keep(f"bench-{name}-b{batch}-t{threads}{'-amx' if amx else ''}", {**row, "file": path.name, "bound": True})
            if (batch, threads, float_layers) == (1, 1, "int8") and model in PROFILED and not amx:
                row = json.loads(_output(evenbit, "bench", str(path), "--per-layer", "--isa", isa, "--json"))
                _keep(f"layers-{name}", row)


def _keep(name: str, row: dict[str, Any]) -> None:
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps(row, indent=1) + "\n")


def _rows() -> list[dict[str, Any]]:
    """All that is kept."""
    return [json.loads(path.read_text()) for path in sorted(KEPT.glob("*.json"))]


def pages() -> dict[str, str]:
    """The pages by their paths."""
    rows = _rows()
    runs = [row for row in rows if "packed_bytes" in row]
    benches = [row for row in rows if "ours" in row]
    exports = [row for row in rows if "forms" in row]
    others = [row for row in rows if "networks" in row]
    controllers = [row for row in rows if "microcontrollers" in row]
    sweeps = [row for row in rows if "sweep" in row]
    steps = [row for row in rows if "train_steps" in row]
    page = _results_page(runs, sweeps, steps, exports) + "".join(_third_party_section(row) for row in others)
    page += _microcontrollers_section(controllers)
    page += "".join(_unsure_section(row) for row in rows if "unsure" in row)
    page += "".join(_few_photos_section(row) for row in rows if "few_photos" in row)
    page += "".join(_thousands_section(row) for row in rows if "thousands_of_photos" in row)
    page += "".join(_augmentations_section(row) for row in rows if "photos_of_a_class" in row)
    page += "".join(_excitations_section(row) for row in rows if "excitations" in row)
    layers = [row for row in rows if "layers" in row]
    scaling = [row for row in rows if "ms_of_batch" in row]
    lines = [line for row in rows if "half_precision" in row for line in _half_precision_section(row)]
    lines += [line for row in rows if "latency" in row for line in _latency_section(row)]
    lines += [line for row in rows if "published" in row for line in _published_section(row)]
    lines += [line for row in rows if "web" in row for line in _web_section(row)]
    lines += [line for row in rows if "newcomer" in row for line in _newcomer_section(row)]
    performance = _performance_page(benches, layers, scaling) + "\n".join([*lines, ""])
    return {
        "docs/results.md": page,
        "docs/performance.md": performance,
        "docs/front.md": front_page.page(KEPT / "front", KEPT / "shapes.json"),
    }


def render() -> None:
    """Writes the pages and their figures."""
    for path, text in pages().items():
        (ROOT / path).write_text(text, encoding="utf-8")
    rows = _rows()
    one = [row for row in rows if "ours" in row and (row["batch"], row["threads"], row["isa"]) == (1, 1, "avx512")]
    titles = [f"{_network(row)}, {row['isa']}{', with AMX' if has_amx(row['machine']) else ''}" for row in one]
    plot_peers(list(zip(titles, one, strict=True)), ROOT / "docs/performance-peers.svg")
    plot_shares([row for row in rows if "layers" in row], ROOT / "docs/performance-shares.svg")
    front_page.draw(KEPT / "front", ROOT / "docs/front.svg")


def _microcontrollers_section(rows: list[dict[str, Any]]) -> str:
    """What benchmarks/microcontroller.py kept."""
    lines = [
        "",
        "## On a microcontroller",
        "",
        "Networks exported to C (`evenbit export --to c`) for Arm Cortex-M, run in QEMU, where their logits equal the",
        "engine's bit for bit. Accuracy is the engine's on all test images; flash holds code and constants; RAM is the",
        "static arena, and the stack is needed in addition; instructions are those of one image",
        "(`benchmarks/microcontroller.py`).",
        "",
        "| network | accuracy % | CPU | flash bytes | RAM bytes | stack bytes | instructions |",
        "|---|--:|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        network = row["network"]
        head = [f"{network['model']}, {network['method']}, {network['data']}", f"{row['accuracy']:.2f}"]
        for found in row["microcontrollers"]:
            numbers = [f"{found[key]:,}" for key in ("flash_bytes", "ram_bytes", "stack_bytes", "instructions")]
            lines.append(f"| {' | '.join([*head, found['cpu'], *numbers])} |")
    lines += ["", *(f"- `{row['command']}`, commit {row['commit']}" for row in rows)]
    lines += [
        "",
        "For comparison: CBin-NN (Sakr et al., Electronics 2024, 13(9):1624) reports for CIFAR-10 that its inference",
        "is 3.6 times faster than other engines' for microcontrollers, with 7.5 times less memory for weights and 28",
        "times less for activations, at 2.5 % less accuracy.",
    ]
    return "\n".join(lines) + "\n"


def _unsure_section(kept: dict[str, Any]) -> str:
    """What benchmarks/unsure.py kept."""
    known, keys = kept["known"], ("unsure", "certainty", "contrast", "detail", "colour")
    rows = [{"images": f"CIFAR-10's test images, the last {known['number']:,}", **known}, *kept["strangers"]]
    missed = [100 - row["unsure"] for row in kept["strangers"] if row["images"].startswith("windows")]
    grey_is_usual = float(kept["info"]["colour"].split(" to ")[0]) == 0
    lines = [
        "",
        "## What the bundled network is unsure of",
        "",
        "`evenbit predict` marks an answer as unsure if the probability of the likeliest class is too low, or if the",
        "contrast, detail or colour of the photo lies outside its usual range (`evenbit.confidence`). The limits were",
        "measured on the first 5,000 test images of CIFAR-10, the ranges also on 5,000 training images. The table",
        "shows the other test images, and images that show none of the classes. Shares are in %; an image may be",
        "unsure for several reasons.",
        "",
        "| images | number | unsure | for its certainty | contrast | detail | colour |",
        "|---|--:|--:|--:|--:|--:|--:|",
        *(f"| {row['images']} | {row['number']:,} | {' | '.join(f'{row[key]:.1f}' for key in keys)} |" for row in rows),
        "",
        f"The network is unsure of {known['of_right']:.1f} % of the images of its own classes that it classifies",
        f"right, and of {known['of_wrong']:.1f} % of those that it classifies wrong. Its accuracy is",
        f"{known['accuracy_of_sure']:.2f} % on the sure answers and {known['accuracy']:.2f} % on all. The temperature",
        f"{kept['info']['temperature']} takes the loss from {known['loss']:.4f} to {known['loss_at_temperature']:.4f}.",
        "",
        "**What it misses** are photos that look like the training images and show something else: of the windows of",
        f"two ordinary photos, {min(missed):.0f} to {max(missed):.0f} % get a sure answer, and each of these is",
        "wrong. "
        + (
            "An image without any colour is not unsure for that, since more than 1 % of the images are grey."
            if grey_is_usual
            else "An image that is all grey is unsure, since hardly any training image is."
        ),
        "That the ranges leave out 1 % of the images at each end was chosen with these images in view, so the table is",
        "somewhat too favourable.",
        "",
        f"- `{kept['command']}`, commit {kept['commit']}",
    ]
    return "\n".join(lines) + "\n"


def _augmentations_section(kept: dict[str, Any]) -> str:
    """What benchmarks/augmentations.py kept."""
    recipe, seeds = kept["recipe"], len(kept["seeds"])
    spread = max(max(row["accuracies"]) - min(row["accuracies"]) for row in kept["rows"])
    lines = [
        "",
        "## Augmentation on a few photos",
        "",
        f"{recipe['model']}, {recipe['method']}, {recipe['epochs']} epochs on {kept['photos_of_a_class']} photos",
        f"of each of {len(kept['classes'])} classes of CIFAR-10, on their {kept['test_images']:,} test images,",
        f"the mean of {seeds} seeds, which lie up to {spread:.1f} points apart. What each key does is in",
        "[data.md](data.md).",
        "",
        f"| augmentation | accuracy % | {' | '.join(f'seed {seed}' for seed in kept['seeds'])} |",
        f"|---|--:|{'--:|' * seeds}",
    ]
    for row in kept["rows"]:
        numbers = [row["mean"], *row["accuracies"]]
        lines.append(f"| `{row['augmentation']}` | {' | '.join(f'{number:.2f}' for number in numbers)} |")
    return "\n".join([*lines, "", f"- `{kept['command']}`, commit {kept['commit']}", ""])


def _few_photos_section(kept: dict[str, Any]) -> str:
    """What benchmarks/few_photos.py kept."""
    rows = kept["few_photos"]
    parts, always = len(rows[0]["accuracies"]), statistics.fmean(rows[0]["always_the_largest"])
    lines = [
        "",
        "## A few hundred photos",
        "",
        f"{rows[0]['photos']} photos of {', '.join(kept['classes'])}: things cut out of photos, from Debian's package",
        "tuxpaint-stamps-default. What a setting does not name is what `evenbit train` chooses for such a folder.",
        f"The photos are divided into {parts} parts (cross-validation): each part is the test set of one run, which is",
        f"trained on the others. Always answering the largest class would give {always:.1f} %.",
        "",
        f"| setting | model | size | epochs | mean % | {' | '.join(f'part {part}' for part in range(parts))} | RAM |",
        f"|---|---|---|--:|--:|{'--:|' * parts}--:|",
    ]
    for row in rows:
        numbers = [statistics.fmean(row["accuracies"]), *row["accuracies"]]
        size = f"{row['image_size']}x{row['image_size']}"
        cells = [f"`{row['setting']}`", row["model"], size, str(row["epochs"]), *(f"{n:.1f}" for n in numbers)]
        lines.append(f"| {' | '.join([*cells, in_kib(row['ram'])])} |")
    commits = ", ".join(dict.fromkeys(row["commit"] for row in rows))
    return "\n".join([*lines, "", f"- `python benchmarks/few_photos.py --stamps DIR`, commit {commits}", ""])


def _thousands_section(kept: dict[str, Any]) -> str:
    """What benchmarks/thousands_of_photos.py kept."""
    rows = kept["thousands_of_photos"]
    lines = [
        "",
        "## Some thousand photos",
        "",
        "The first 500 training and 300 test images of each class of CIFAR-10 as a folder, so 5,000 photos to train",
        "on. What the commands do not say is what `evenbit train` chooses for such a folder. Bytes and RAM are those",
        "of `evenbit pack`, with real layers in float32.",
        "",
        "| model | seed | epochs | test % | seconds an epoch | bytes | RAM |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = [row["model"], str(row["seed"]), str(row["epochs"]), f"{row['accuracy']:.2f}"]
        cells += [f"{row['seconds_per_epoch']:.0f}", f"{row['bytes']:,}", in_kib(row["ram"])]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- `{row['command']}`, commit {row['commit']}, {row['machine']}" for row in rows)]
    return "\n".join([*lines, ""])


def _excitations_section(kept: dict[str, Any]) -> str:
    """What benchmarks/excitations.py kept."""
    rows = list(kept["excitations"].values())
    seeds = sorted({row["seed"] for row in rows})
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        found.setdefault(row["variant"], {})[row["seed"]] = row["validation_accuracy"]
    lines = [
        "",
        "## What a zero point could follow",
        "",
        "A ResNet-8 (or the network that a row names) on nine tenths of CIFAR-10's training images, 4 epochs, accuracy",
        "on the others. The rows differ in what the zero points follow, as",
        "[the benchmark](../benchmarks/excitations.py) defines; `fd` and `insta` are the methods. *Gain* is the mean",
        "difference to `fd` with the same seeds, ± twice its standard error.",
        "",
        f"| zero points | {' | '.join(f'seed {seed}' for seed in seeds)} | mean % | gain |",
        f"|---|{'--:|' * (len(seeds) + 2)}",
    ]
    for variant, accuracies in sorted(found.items(), key=lambda item: statistics.fmean(item[1].values())):
        cells = [f"{accuracies[seed]:.2f}" if seed in accuracies else "" for seed in seeds]
        gains = [accuracies[seed] - found["fd"][seed] for seed in accuracies]
        gain = "" if variant == "fd" or variant.startswith(("float", "evennet")) else f"{statistics.fmean(gains):+.2f}"
        if gain and len(gains) > 1:
            gain += f" ± {2 * statistics.stdev(gains) / math.sqrt(len(gains)):.2f}"
        lines.append(f"| {variant} | {' | '.join(cells)} | {statistics.fmean(accuracies.values()):.2f} | {gain} |")
    places = dict.fromkeys(f"commit {row['commit']}, {row['machine']}" for row in rows)
    return "\n".join([*lines, "", f"- `python benchmarks/excitations.py --data-root DIR`, {'; '.join(places)}", ""])


def _third_party_section(kept: dict[str, Any]) -> str:
    """What benchmarks/third_party.py kept."""
    lines = [
        "",
        "## Networks from the Hugging Face library, made binary",
        "",
        "Built from a configuration, made binary with `evenbit.binarize`, trained for one epoch on",
        f"{kept['train_images']:,} images of CIFAR-10, packed, and run on {kept['test_images']:,} test images",
        "(`benchmarks/third_party.py`). One epoch is far from what they can reach; their real twins had the same.",
        "",
        "| network | binary MACs | .evb bytes | real % | binary, torch % | binary, engine % | top class differs "
        "| of these explained |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in kept["networks"]:
        accuracies = [f"{row[key]:.1f}" for key in ("accuracy_real", "accuracy_torch", "accuracy_engine")]
        found = row["agreement"]
        name = f"{row['network']}, keep {', '.join(row['keep'])}"
        cells = [name, f"{row['binary_macs_percent']:.0f} %", f"{row['packed_bytes']:,}", *accuracies]
        lines.append(f"| {' | '.join([*cells, str(found['differing']), str(found['explained'])])} |")
    lines += ["", f"- `{kept['command']}`, commit {kept['commit']}, torch {kept['torch']}, {kept['machine']}"]
    return "\n".join(lines) + "\n"


def _sweep_section(kept: dict[str, Any]) -> list[str]:
    """The table of a sweep, and in words how far its rows lie from each other."""
    rows = kept["rows"]
    one = rows[0]
    images = "test images" if one["measured"] == "test" else "training images held out"
    other = (
        ", if the row does not name another optimizer" if len({optimizer(row["recipe"]) for row in rows}) > 1 else ""
    )
    lines = [
        "",
        f"## {one['model']} on {one['dataset']}, {one['epochs']} epochs, {images}: {kept['sweep']}",
        "",
        f"Weights are updated by {optimizer(one['recipe'])}{other}.",
        "All rows were trained for the same number of epochs, and have the same blocks unless a row says otherwise.",
        "*Accuracy* is the mean over the seeds; *spread* is the difference between the best seed and the worst.",
        "*Frozen* is the accuracy with each group excitation and third moment replaced by its mean over training",
        "images. *Gap* is the distance to the best float row. *Balance* is the mean distance of the share of +1 from",
        "1/2, and *entropy* the mean entropy of the bits. *Window* is the share of values at which the estimator's",
        "gradient is at least a tenth of its largest value.",
        "",
        *table(rows).splitlines(),
        "",
    ]
    lines += _compared(rows)
    name = f"results/sweep-{kept['sweep']}"
    lines.append(f"- `{kept['command']}`; metrics of every epoch in [{name}](../{name}).")
    labels: dict[str, list[str]] = {}
    for row in rows:
        labels.setdefault(f"commit {row['commit']}, torch {row['torch']}, {row['machine']}", []).append(row["label"])
    return lines + [f"- {origin}: {'; '.join(labels[origin])}." for origin in sorted(labels)]


def _compared(rows: list[dict[str, Any]]) -> list[str]:
    """How far `fd`, as it is used, lies from each other way to binarize and from itself with one part changed."""
    fd = next((row for row in rows if row["label"] == "fd"), None)
    binary = [row for row in rows if row["method"] != "float" and row is not fd]
    freedom = sum(len(row["seeds"]) - 1 for row in rows if row["method"] != "float")
    if fd is None or not binary or not freedom:
        return []
    squares = [(len(row["seeds"]) - 1) * np.var(row["accuracies"], ddof=1) for row in [fd, *binary] if row["seeds"][1:]]
    deviation = math.sqrt(sum(squares) / freedom)
    groups: dict[str, list[str]] = {"better than": [], "level with": [], "worse than": []}
    for row in sorted(binary, key=lambda row: row["accuracy_mean"]):
        difference = fd["accuracy_mean"] - row["accuracy_mean"]
        margin = 2 * deviation * math.sqrt(1 / len(fd["seeds"]) + 1 / len(row["seeds"]))
        word = "level with" if abs(difference) <= margin else "better than" if difference > 0 else "worse than"
        groups[word].append(f"{row['label']} ({difference:+.2f} ± {margin:.2f})")
    return [
        f"Accuracies of different seeds have a standard deviation of {deviation:.2f} points (pooled over the binary",
        f"rows, {freedom} degrees of freedom). What follows is the accuracy of `fd` minus that of the row, in points,",
        "± twice the standard error of the difference. Where a row leaves out one part of `fd`, this is what that",
        "part gains.",
        "",
        *(f"- `fd` is {word}: {'; '.join(found)}." for word, found in groups.items() if found),
        "",
    ]


def _results_page(
    runs: list[dict[str, Any]],
    sweeps: list[dict[str, Any]],
    steps: list[dict[str, Any]],
    exports: list[dict[str, Any]],
) -> str:
    floats: dict[tuple[Any, ...], float] = {}
    for row in runs:
        if row["recipe"]["method"] == "float":
            floats[_task(row)] = max(row["accuracy"], floats.get(_task(row), 0.0))
    lines = [
        "# Results",
        "",
        "Generated by `make results` from the kept runs in [results](../results). Accuracy is that of the last epoch",
        "on all test images; balance is the mean over layers and channels of |share of +1 - 1/2|, entropy that of the",
        "bits (at most 1); the gap is to the float twin: the same network, epochs and seed, with the better of its",
        "rates. *Taught* networks learned from a float teacher too (distillation); their commands name it. Seconds per",
        "epoch are the median, on a machine that was also doing other work.",
        "",
        "| model | data | method | optimizer | rate | epochs | torch % | engine % | gap | balance | entropy | s/epoch "
        "| .evb bytes |",
        "|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in sorted(runs, key=lambda row: (_task(row), row["recipe"]["method"] != "float", row["name"])):
        recipe, twin = row["recipe"], floats.get(_task(row))
        gap = "" if twin is None or recipe["method"] == "float" else f"{twin - row['accuracy']:.2f}"
        evenness = ["" if row[key] is None else f"{row[key]:.3f}" for key in ("balance", "entropy")]
        numbers = [f"{row['accuracy']:.2f}", f"{row['engine_accuracy']:.2f}", gap, *evenness]
        numbers += [f"{row['seconds_per_epoch']:.0f}", f"{row['packed_bytes']:,}"]
        rate = f"{recipe['learning_rate']:g}"
        method = ", ".join([recipe["method"], *(f"{knob} {value}" for knob, value in recipe["knobs"].items())])
        method += ", taught" if recipe.get("teacher") else ""
        if not _is_of_today(row["settings"], make_recipe(recipe, row["name"])):
            method += ", an earlier form"
        head = [recipe["model"], recipe["data"], method, optimizer(recipe), rate, str(recipe["epochs"])]
        lines.append(f"| {' | '.join(head + numbers)} |")
    for kept in sweeps:
        lines += _sweep_section(kept)
    lines += ["", "## Engine and torch", ""]
    lines += [
        "The engine's float operations are rounded in another order than torch's, so a value that lies at its",
        "threshold may fall on the other side. For each image whose top class differs, the first layer whose bits",
        "differ is found; its differing bits are explained if their values lay within 1e-4 of the zero point.",
        "",
        "| run | images | top class differs | of these explained | largest distance |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in runs:
        found = row["agreement"]
        distance = "" if found["largest_distance"] is None else f"{found['largest_distance']:.1e}"
        cells = [row["name"], row["images"], found["differing"], found["explained"], distance]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for row in steps:
        lines += _train_step_section(row)
    lines += _exports_section(exports)
    lines += [
        "",
        "## Commands",
        "",
        "Runs with AdamW whose command does not name the optimizer are from before Muon became the default. To repeat",
        "one, add `--set optimizer=adamw`.",
        "",
    ]
    for row in runs:
        place = f"commit {row['commit']}, torch {row['torch']}, {row['machine']}"
        lines += [
            f"- `{row['command']}`: seed {row['recipe']['seed']}, {place};",
            f"  metrics: [{row['name']}.jsonl](../results/{row['name']}.jsonl)",
        ]
    return "\n".join(lines) + "\n"


def _train_step_section(kept: dict[str, Any]) -> list[str]:
    """What benchmarks/train_step.py printed."""
    gpu = "--device cuda" in kept["command"]
    timed, where = ("wall_seconds", "a GPU") if gpu else ("cpu_seconds", "a CPU")
    precisions = dict.fromkeys({"bf16": "bfloat16"}.get(row["precision"], "float32") for row in kept["train_steps"])
    several = " and ".join(precisions)
    lines = [
        "",
        f"## A training step on {where}" + f", in {several}" * (len(precisions) > 1),
        "",
        f"{kept['model']}, batches of {kept['batch']}, {several}, {kept['threads']} thread of {kept['machine']}, torch",
        f"{kept['torch']}: {'seconds' if gpu else 'processor seconds'} of a step, steps of all rows in turns, medians;",
        f"and how much more {'GPU memory' if gpu else 'memory'} a process takes at its peak, with one network each.",
        "Compiled is `compile = true` of a recipe, without the minutes that compiling takes; captured is one CUDA",
        "graph, which `evenbit train` takes where it can.",
        "",
        "| method | way | seconds | of eager float | of compiled float | memory MB |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for row in kept["train_steps"]:
        memory = "" if row.get("memory_bytes") is None else f"{row['memory_bytes'] / 1e6:.0f}"
        ways = ["bfloat16"] * (row["precision"] == "bf16" and len(precisions) > 1)
        ways += [way for way in ("compiled", "captured") if row.get(way)]
        cells = [row["method"], ", ".join(ways), f"{row[timed]:.3f}"]
        of_compiled = f"{row['of_compiled_float']:.2f}" if row["compiled"] else ""
        cells += [f"{row['of_eager_float']:.2f}", of_compiled, memory]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", f"- `{kept['command']}`, commit {kept['commit']}"]


def _exports_section(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "",
        "## Exported networks",
        "",
        "What `evenbit export` makes of a packed network: sizes in bytes, and the least time of a call with one image",
        "on one thread, in turns, on a machine that was also doing other work, which slows longer calls more.",
        "",
        "| network | .evb | ONNX | QONNX | ISA | evenbit ms | ONNX Runtime ms |",
        "|---|--:|--:|--:|---|--:|--:|",
    ]
    for row in rows:
        sizes = [f"{row['forms'][form]:,}" for form in ("evb", "onnx", "qonnx")]
        times = [f"{row['ms'][runtime]:.3g}" for runtime in ("evenbit", "onnxruntime")]
        lines.append(f"| {' | '.join([row['name'], *sizes, row['isa'], *times])} |")
    lines += [
        "",
        "How many test images get another top class than on the engine, and how many get the same logits to within",
        "1e-3. Where logits differ more, a float sum was added in another order, and a value fell on the other side of",
        "its threshold. For each image that gets another class in ONNX Runtime, the first map whose bits differ from",
        "the reference's was found; *largest distance* says how far its values lie from their thresholds at most.",
        "",
        "| network | runtime | images | top class differs | same logits | largest distance |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        for runtime, found in row.get("agreement", {}).items():
            counts = [found["images"], len(found["differing"]), found["logits_equal_within_1e-3"]]
            distance = f"{max(found['distances']):.1e}" if found.get("distances") else ""
            cells = [row["name"], f"{runtime} {row['versions'][runtime]}", *counts, distance]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", *(f"- `{row['command']}`, commit {row['commit']}, {row['machine']}" for row in rows)]
    return lines


def _performance_page(
    benches: list[dict[str, Any]], profiles: list[dict[str, Any]], scaling: list[dict[str, Any]]
) -> str:
    names = sorted({row["machine"] for row in benches})
    machines = dict(zip(names, "ABCDEF", strict=False))
    lines = [
        "# Performance",
        "",
        "Generated by `make results` from the kept benchmarks in [results](../results). Each is one run of `evenbit",
        "bench`, in which all runtimes take turns. The other runtimes (peers) run the float twin, the same",
        "architecture with real weights, or that twin in 8 bits. No network here was trained: all weights are fresh.",
        "For each runtime, the table gives the median time in milliseconds with its quartiles, and the least time of",
        "any call; the ratios are the peer's time divided by ours. Load is the average number of processes that wanted",
        "a CPU. Under a high load, medians are too long, and least times favour short calls, which are more likely to",
        "run undisturbed. Only rows with a load near the number of threads can be relied on.",
        "",
        *(f"- {letter}: {machine}" for machine, letter in machines.items()),
        "",
        "AMX is a set of instructions that multiply matrices of 8-bit numbers. The peers may use it; our engine does",
        "not: see [Decisions](architecture.md#decisions).",
        *PLAIN_CALLS,
        "",
        "![One image, one thread](performance-peers.svg)",
        "",
        "| network | batch | threads | ISA | CPU | load | evenbit ms | least | peer | its ms | least | ratio | least |",
        "|---|--:|--:|---|---|--:|--:|--:|---|--:|--:|--:|--:|",
    ]
    for row in sorted(benches, key=lambda row: (_network(row), row["isa"], row["batch"], row["threads"])):
        told = row["isa"] + ("" if row.get("bound") else " *")
        head = [_network(row), row["batch"], row["threads"], told, machines[row["machine"]], f"{row['load']:.1f}"]
        for name, peer in row["peers"].items():
            label = name if "int8" in name or name == "larq" else f"{name} float32"
            cells = [*head, _time(row["ours"]), f"{row['ours']['least_ms']:.3g}", label, _time(peer)]
            cells += [f"{peer['least_ms']:.3g}", f"{peer['ratio']:.1f}", f"{peer['least_ratio']:.1f}"]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    for row in scaling:
        lines += _growth(row)
    lines += [
        "",
        "## The limit",
        "",
        "The limit is the speed of the inner step of a binary convolution when all operands are in registers, measured",
        "by `evenbit bench --per-layer`. With VPOPCNTDQ, the step is an xor, a popcount and an addition of 512 bits; a",
        "core that does four vector operations a cycle does 4/3 steps a cycle. Without VPOPCNTDQ, the step looks up",
        "256 bits in a table of the numbers of differing signs, which gives 256 products: four inputs of two pixels",
        "with the weights of 32 outputs, the counts of both pixels in one byte. Three lookups are added before the two",
        "counts are separated. That takes nine instructions; a lookup and an addition for each pixel would take",
        "twelve. Each binary convolution is also timed without its Tail (column *sums us*) and without its sums",
        "(column *Tail us*). The CPU works on both at once, so the two add up to more than the whole.",
        "",
        "A tile takes a step for every 32 bits of its inputs: 18 steps for 3x3 convolutions of 64 channels, 36 for 128",
        "and 72 for 256. What it does before and after them takes as long for few steps as for many: that is why the",
        "sums of the former stay further below the limit. Unrolled kernel rows, one flat loop in place of two, and",
        "other tiles were tried: they are slower or the same.",
        "",
        "Re-encoded operands, which save one of six operations on a pair of words by carrying ones over, were tried:",
        "on registers alone they reach 1.09 times the plain limit on a Zen 5, where a ternary operation costs more",
        "than an xor, and in a whole convolution at most 1.03 times; they are not used.",
        "",
        "We tried to sum the cubes of the third moment in the Tail that writes the map, which saves a pass over the",
        "map. There, each addition waits for the one before it, and on a Zen 3 the networks took as long as before.",
        "",
        "![Share of the limit, layer by layer](performance-shares.svg)",
    ]
    lines += _shares(profiles)
    for profile in profiles:
        lines += [
            "",
            f"## {_network(profile)}, op by op, {profile['isa']}",
            "",
            "One image, one thread, each op with its Tail (`evenbit bench --per-layer`), microseconds. Limit:",
            f"{profile['limit_gmacs']:.0f} GMAC/s. Ops of one kind and shape are put together.",
            "",
            "| op | output | number | us each | GMAC/s | of limit | sums us | of limit | Tail us |",
            "|---|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        kinds: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
        for layer in profile["layers"]:
            kinds.setdefault((layer["op"], layer["output"], layer.get("macs", 0)), []).append(layer)
        for (op, output, _), same in kinds.items():
            median = {key: float(np.median([layer[key] for layer in same])) for key in same[0] if key in NUMBERS}
            cells = [
                op,
                output,
                len(same),
                *(form(median[key]) if key in median else "" for key, form in NUMBERS.items()),
            ]
            lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "To repeat all rows:", "", "```sh no-run", "python benchmarks/results.py bench", "```"]
    return "\n".join(lines) + "\n"


def _shares(profiles: list[dict[str, Any]]) -> list[str]:
    """How much of each network's time is binary sums, and how near these are to the limit."""
    lines = [
        "",
        "## Where the time goes",
        "",
        "Of the time of all ops, the share that is binary sums, and how much of the limit they reach: for all binary",
        "convolutions of a network, and for the one that is furthest from it. The rest of the time are passes over",
        "real values, which bits do not make shorter. Narrow networks have more of them for each binary sum, and sums",
        "of 16 channels fill only a part of each step, so they gain less from bits than wide ones do.",
        "",
        "| network | ISA | us in all | binary sums | of the limit | least | the next kinds of ops |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for profile in profiles:
        sums = [layer for layer in profile["layers"] if "sums_us" in layer]
        spent, whole = sum(layer["sums_us"] for layer in sums), sum(layer["us"] for layer in profile["layers"])
        reached = sum(layer["macs"] for layer in sums) / spent / 1e3 / profile["limit_gmacs"]
        others = {kind: us / whole for kind, us in profile["kinds"].items() if kind != "binary_conv"}
        largest = sorted(others, key=lambda kind: -others[kind])[:3]
        cells = [_network(profile), profile["isa"], f"{whole:.0f}", _percent(spent / whole), _percent(reached)]
        cells += [_percent(min(layer["sums_share"] for layer in sums))]
        cells += [", ".join(f"{kind} {_percent(others[kind])}" for kind in largest)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _latency_section(kept: dict[str, Any]) -> list[str]:
    """What benchmarks/latency.py kept."""
    lines = [
        "",
        f"## A model of the time, {kept['isa']}",
        "",
        "What each class of op costs, fitted to the least times of all ops of the registered networks",
        "([latency.py](../src/evenbit/bench/latency.py)): it tells the time of a network that was never run, and of a",
        "CPU that is not at hand. Microseconds of a call; the last column is by a model that has not seen the network,",
        "and is empty where no other network has such an op.",
        "",
        "| network | measured | predicted | error | error unseen |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in kept["latency"]:
        measured, unseen = row["measured_us"], row["predicted_unseen_us"]
        errors = [f"{100 * (row['predicted_us'] / measured - 1):+.1f} %"]
        errors.append("" if unseen is None else f"{100 * (unseen / measured - 1):+.1f} %")
        lines.append(f"| {row['network']} | {measured:.0f} | {row['predicted_us']:.0f} | {errors[0]} | {errors[1]} |")
    return [*lines, "", f"- `{kept['command']}`, commit {kept['commit']}, {kept['machine']}"]


def _web_section(kept: dict[str, Any]) -> list[str]:
    """What benchmarks/web.py kept."""
    lines = [
        "",
        "## In a browser",
        "",
        "One image, one thread, evenbit's WebAssembly module and ONNX Runtime Web (WebAssembly SIMD) in turns;",
        "milliseconds and ratios as above. The peers run the float twin and the twin in 8 bits.",
        "",
        "| network | in | evenbit ms | least | KB | peer | peer ms | least | KB | ratio | of least |",
        "|---|---|--:|--:|--:|---|--:|--:|--:|--:|--:|",
    ]
    for network in kept["web"]:
        kilobytes = {name: f"{size / 1000:.0f}" for name, size in network["bytes"].items()}
        for place in ("chromium", "node"):
            ours, *peers = sorted(network[place], key=lambda row: row["name"] != "evenbit")
            for peer in peers:
                cells = [network["model"], place, f"{ours['median_ms']:.3g}", f"{ours['least_ms']:.3g}"]
                cells += [kilobytes["model.evb"], peer["name"], f"{peer['median_ms']:.3g}", f"{peer['least_ms']:.3g}"]
                cells += [kilobytes[f"{peer['name'].split()[-1]}.onnx"]]
                cells += [f"{peer[key] / ours[key]:.1f}" for key in ("median_ms", "least_ms")]
                lines.append(f"| {' | '.join(cells)} |")
    versions = f"Chromium {kept['chromium']}, Node.js {kept['node']}, onnxruntime-web {kept['onnxruntime_web']}"
    return [*lines, "", f"`{kept['command']}`, commit {kept['commit']}, {kept['machine']}; {versions}."]


def _published_section(kept: dict[str, Any]) -> list[str]:
    """What benchmarks/networks_of_others.py kept."""
    lines = [
        "",
        "## Published networks, made binary",
        "",
        "Made binary with `evenbit.binarize`: networks of papers at their published size, with photos of",
        f"{kept['size']} pixels, and TC-ResNet8 with a second of sound. What stayed real is float32. One image on one",
        "thread, beside the real network in ONNX Runtime. Torch and engine name the top classes of",
        f"{kept['test_images']} images, U-Net that of each pixel; a difference is explained by a value that lay at its",
        "zero point but for rounding. The last column says how far the logits of the exported ONNX file, run by ONNX",
        "Runtime, are from the engine's, in parts of the largest one. ONNX Runtime adds real numbers in another order;",
        "where that turns a bit round, as in ResNet-50, it shows in these logits of untrained weights.",
        "",
        "| network | binary layers | binary multiply-adds | ms | ONNX Runtime ms | faster | engine = reference "
        "| top class differs | of these explained | C = engine | ONNX |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in kept["published"]:
        ours, theirs, found = row["ours"]["ms"], row["onnxruntime"]["ms"], row["agreement"]
        cells = [row["network"], f"{row['binary_layers']} of {row['layers']}", f"{row['binary_macs_percent']:.0f} %"]
        cells += [f"{ours:.3g}", f"{theirs:.3g}", f"{theirs / ours:.1f}x", _yes(row["engine_is_reference"])]
        cells += [str(found["differing"]), str(found["explained"])]
        cells += [_yes(row["c_is_engine"]), f"{row['onnx_distance']:.0e}"]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", f"- `{kept['command']}`, commit {kept['commit']}, torch {kept['torch']}, {kept['machine']}"]


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _newcomer_section(kept: dict[str, Any]) -> list[str]:
    """What benchmarks/newcomer.py kept."""
    total = sum(step["seconds"] for step in kept["newcomer"])
    return [
        "",
        "## From a clone to a device",
        "",
        f"How long a newcomer waits, {total / 60:.1f} minutes in all: clone, demo, then the",
        f"[tutorial](tutorial.md) with {kept['photos']} photos (`{kept['command']}`, commit {kept['commit']},",
        f"{kept['machine']}; packages come from an index nearby).",
        "",
        "| up to | seconds |",
        "|---|--:|",
        *(f"| `{step['step']}` | {step['seconds']:.1f} |" for step in kept["newcomer"]),
    ]


def _half_precision_section(row: dict[str, Any]) -> list[str]:
    """What benchmarks/half_precision.py printed."""
    network = f"{row['info']['model']}, {row['info']['method']}, {row['info']['data']}"
    return [
        "",
        "## Why maps stay in single precision",
        "",
        f"Kept in float16, the real-valued maps of {network}",
        f"would change the top class of {row['differing']:,} of {row['images']:,} test images (accuracy",
        f"{row['accuracy']:.2f} % before, {row['accuracy_half']:.2f} % after), so there is no such option",
        "(`python benchmarks/half_precision.py`).",
    ]


def _growth(row: dict[str, Any]) -> list[str]:
    first, threads = row["first_answer_s"], row["ms_of_8_by_threads"]
    batches = " | ".join(f"{ms / int(batch):.3f}" for batch, ms in row["ms_of_batch"].items())
    sizes = " | ".join(f"{ms:.2f}" for ms in row["ms_of_size"].values())
    return [
        "",
        "## Growth and memory",
        "",
        "Binary ResNet-18 with 8-bit stem, downsample and head (`python benchmarks/scaling.py`), least times of many",
        f"interleaved runs, {row['isa']}; those of one thread are CPU time.",
        "",
        f"| images per call, 1 thread | {' | '.join(row['ms_of_batch'])} |",
        "|---" + "|--:" * len(row["ms_of_batch"]) + "|",
        f"| ms per image | {batches} |",
        "",
        f"| height and width, 1 image | {' | '.join(row['ms_of_size'])} |",
        "|---" + "|--:" * len(row["ms_of_size"]) + "|",
        f"| ms | {sizes} |",
        "",
        f"Two threads take {threads['2']:.2f} ms for 8 images, one takes {threads['1']:.2f} ms:"
        f" {threads['1'] / threads['2']:.2f} times as fast. Loading the file",
        f"takes {row['load_ms']:.1f} ms, the values of an image {row['arena_bytes'] / 1e6:.2f} MB, the process"
        f" {row['resident_bytes'] / 1e6:.1f} MB more than Python with numpy.",
        f"`evenbit predict` answers {first['predict']:.2f} s after its start (importing numpy alone takes"
        f" {first['numpy']:.2f} s).",
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


NUMBERS: dict[str, Callable[[float], str]] = {
    "us": "{:.2f}".format,
    "gmacs": "{:.0f}".format,
    "share": _percent,
    "sums_us": "{:.2f}".format,
    "sums_share": _percent,
    "tail_us": "{:.2f}".format,
}


def _network(row: dict[str, Any]) -> str:
    """Model, method, and how its float layers are stored."""
    info = row["info"]
    return f"{info['model']}, {info['method']}, {info.get('float_layers', 'float32')}"


def _time(row: dict[str, float]) -> str:
    return f"{row['ms']:.3g} ({row['low_ms']:.3g}-{row['high_ms']:.3g})"


def _task(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row["recipe"][key] for key in ("data", "model", "epochs", "seed"))


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="action")
    commands.add_parser("render")
    commands.add_parser("bench").add_argument("--isa", nargs="+", default=["avx512", "avx512bw", "avx2"])
    keep = commands.add_parser("collect")
    keep.add_argument("folder", type=Path)
    keep.add_argument("--data-root")
    sweep = commands.add_parser("collect-sweep")
    sweep.add_argument("path", type=Path)
    sweep.add_argument("--out", type=Path, help="folder of its runs, runs/NAME if not given")
    for each in (keep, sweep):
        each.add_argument("--commit", help="that made the runs, where they do not say it themselves")
    arguments = parser.parse_args()
    if arguments.action == "render":
        render()
    elif arguments.action == "bench":
        bench(arguments.isa)
    elif arguments.action == "collect-sweep":
        collect_sweep(arguments.path, arguments.out, arguments.commit)
    else:
        collect(arguments.folder, arguments.commit, arguments.data_root)


if __name__ == "__main__":
    main()
