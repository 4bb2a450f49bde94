"""The whole path on small real images: train two networks, pack one to bits, run the bits, report on both."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from evenbit import plan_file
from evenbit.data import load_dataset
from evenbit.deploy import pack_run
from evenbit.evaluation import evaluate
from evenbit.files import is_run, write_atomically
from evenbit.progress import Report, part
from evenbit.report import make_report
from evenbit.runtime.engine import Engine
from evenbit.train import load_recipe, train

REPORT = "report.html"
TIMED_CALLS = 300


def run_demo(out: Path, console: Console, progress: Report | None = None) -> dict[str, Any]:
    """Trains the digits recipes, packs and evaluates the binary network, writes `result.json` and a report.

    A demo that was stopped continues where it was.

    Args:
        out: Folder for all that is made.
        console: Where a line for each epoch is printed.
        progress: Called now and then with the amount of training done and its total.

    Returns:
        What `result.json` holds; accuracies in percent, on the test images.
    """
    torch.set_num_threads(1)  # networks this small gain nothing from more, and the result is the same everywhere
    accuracy, sizes = {}, {}
    for index, method in enumerate(("float", "fd")):
        folder = out / method
        recipe = load_recipe(f"digits-resnet8-{method}", {})
        console.print(f"training {recipe.model} on {recipe.data}, {method}, {recipe.epochs} epochs")
        share = part(progress, index, 1, 2)
        resume = is_run(folder)
        accuracy[method] = train(recipe, folder, resume=resume, console=console, progress=share).accuracy
        path = out / f"{method}.evb"
        plan_file.save(pack_run(folder), path)
        sizes[method] = path.stat().st_size
    engine = Engine.load(out / "fd.evb", threads=1)
    test = load_dataset("digits").test
    on_engine = evaluate(engine, test).accuracy
    result = {
        "float_accuracy": accuracy["float"],
        "binary_accuracy": accuracy["fd"],
        "engine_accuracy": on_engine,
        "gap_points": accuracy["float"] - on_engine,
        "float_bytes": sizes["float"],
        "packed_bytes": sizes["fd"],
        "latency_ms": _latency(engine, test.images[:1]),
    }
    write_atomically(out / "result.json", json.dumps(result, indent=1).encode())
    make_report([out / "float", out / "fd"], out / REPORT, tell=console.print)
    return result


def _latency(engine: Engine, image: np.ndarray[Any, Any]) -> float:
    """Median time of one call, in milliseconds."""
    times = []
    for _ in range(TIMED_CALLS):
        start = time.perf_counter()
        engine(image)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))
