"""What docs/front.md is made of: for each trained network its accuracy as it is deployed, its bytes and its time.

- `python benchmarks/front.py keep RUN...` measures finished runs over all test images and keeps each as
  results/front/NAME.json: a binary one on the engine, its real layers in 8 bits; a float one both as it is and in the
  8 bits of ONNX Runtime (static quantization, per channel, calibrated on training images), which run there;
- `python benchmarks/front.py time` times all networks that are kept, one image and one thread, those of a data set in
  turns, and keeps results/front/times-ISA-CPU.json for each instruction set that is asked for with `--isa`, with the
  maker of the CPU and whether it has AMX: ours by the engine, rivals by ONNX Runtime, in float32 and in 8 bits, and by
  OpenVINO. Times do not depend on weights, so fresh ones are taken;
- `python benchmarks/results.py render` writes the page.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evenbit import plan_file
from evenbit.bench import interleave, statistics
from evenbit.bench.peers import PEERS, onnxruntime_predict, quantize, to_onnx
from evenbit.data import Split, load_dataset
from evenbit.deploy import calibration_split, pack_run, pack_untrained, quantize_float_layers
from evenbit.evaluation import collect_logits, score
from evenbit.plan import Plan
from evenbit.runtime.engine import Engine
from evenbit.train import load_run
from front_page import RUNTIMES, YARDSTICK, kept_rows, kind_of_cpu
from origin import ROOT, origin
from results import origin_of

KEPT = ROOT / "results/front"
IMAGES = {"cifar10": (3, 32), "fashion-mnist": (1, 28)}  # channels, height and width
BATCH = 100  # the 8-bit rivals are exported for so many images at once
CALIBRATION = 1_000  # training images that give the ranges of activations
ROUNDS = 30


def keep(folder: Path, commit: str | None, data_root: str | None) -> None:
    """Measures a finished run as it is deployed."""
    run = load_run(folder)
    recipe = run.recipe
    if run.epoch != recipe.epochs or recipe.validation:
        raise SystemExit(f"{folder}: only finished runs that are measured on test images go into the front")
    test = load_dataset(recipe.data, root=data_root, size=recipe.image_size).test
    calibration = calibration_split(folder, data_root, CALIBRATION)
    row: dict[str, Any] = {"name": folder.name, **origin_of(folder, commit), "recipe": recipe.model_dump()}
    if recipe.resolved_method().binary:
        plan = pack_run(folder)
        row["float_layers_accuracy"] = _accuracy(Engine(plan), test)
        plan = quantize_float_layers(plan, calibration.images[:])
        row |= {"kind": "binary", "accuracy": _accuracy(Engine(plan), test), "bytes": len(plan_file.to_bytes(plan))}
    else:
        batches = [_floats(calibration.images[start : start + BATCH]) for start in range(0, len(calibration), BATCH)]
        model = to_onnx(run.model, batches[0])
        quantized = quantize(model, batches)
        row["float_accuracy"] = _accuracy(_on_floats(onnxruntime_predict(model, 1)), test)
        row |= {"kind": "int8", "accuracy": _accuracy(_on_floats(onnxruntime_predict(quantized, 1)), test)}
        row |= {"bytes": len(quantized), "float_bytes": len(model)}
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{folder.name}.json").write_text(json.dumps(row, indent=1) + "\n")
    print(f"{folder.name}: {row['kind']}, {row['accuracy']:.2f} %, {row['bytes']:,} bytes")


def _accuracy(predict: Callable[..., npt.NDArray[np.float32]], test: Split) -> float:
    return score(collect_logits(predict, test.images, batch_size=BATCH), test.labels).accuracy


def _floats(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return images.astype(np.float32) / np.float32(255)


def _on_floats(predict: Callable[..., npt.NDArray[np.float32]]) -> Callable[..., npt.NDArray[np.float32]]:
    return lambda images: predict(_floats(images))


def time_networks(isa: str) -> None:
    """Times every network that is kept."""
    networks: dict[str, set[tuple[str, str, str]]] = {}
    for row in kept_rows(KEPT):
        recipe = row["recipe"]
        networks.setdefault(recipe["data"], set()).add((row["kind"], recipe["model"], recipe["method"]))
    ms = {data: _times(data, kept, isa) for data, kept in sorted(networks.items())}
    made = {**origin(), "isa": isa, "bound": True, "ms": ms}
    path = KEPT / f"times-{isa}-{kind_of_cpu(made['machine']).lower().replace(' ', '-')}.json"
    path.write_text(json.dumps(made, indent=1) + "\n")


def _times(data: str, kept: set[tuple[str, str, str]], isa: str) -> dict[str, dict[str, float]]:
    """Times the networks of a data set, and the yardstick, in turns."""
    channels, size = IMAGES[data]
    image = np.random.default_rng(0).random((1, channels, size, size), dtype=np.float32)
    runners = {}
    for kind, model, method in sorted(kept | {("int8", YARDSTICK, "float")}):
        plan = pack_untrained(model, method, channels=channels, size=size, classes=10)
        if kind == "int8":
            peers = itertools.chain(*RUNTIMES.values())
            runners |= {f"{model} {peer}": PEERS[peer](plan, image, 1).run for peer in peers}
        else:
            runners[f"{model} {method}"] = _ours(plan, image, isa)
    return {name: statistics(turns) for name, turns in interleave(runners, ROUNDS).items()}


def _ours(plan: Plan, image: npt.NDArray[np.float32], isa: str) -> Callable[[], object]:
    engine = Engine(quantize_float_layers(plan, image), threads=1, isa=isa)
    return lambda: engine(image)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    keeping = commands.add_parser("keep")
    keeping.add_argument("runs", nargs="+", type=Path)
    keeping.add_argument("--commit", help="of runs whose code was no git checkout")
    keeping.add_argument("--data-root", help="where the data set's files are")
    timing = commands.add_parser("time")
    timing.add_argument("--isa", nargs="+", default=["avx512", "avx2"])
    asked = parser.parse_args()
    if asked.command == "keep":
        for folder in asked.runs:
            keep(folder, asked.commit, asked.data_root)
    else:
        for isa in asked.isa:
            time_networks(isa)


if __name__ == "__main__":
    main()
