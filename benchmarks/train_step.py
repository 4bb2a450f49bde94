"""Times a training step of each method beside the float one, and the memory it takes.

    python benchmarks/train_step.py --methods float,react,fd --compiled float,fd > results/train-step.json
    python benchmarks/train_step.py --methods float,fd --precision float32,bf16 --model evennet_m
    python benchmarks/train_step.py --device cuda --precision bf16 --model resnet18 --batch 256 --captured float,fd

A step is that of `evenbit train` without augmentation; compiled ones are captured too where `--captured` names them.
Steps are interleaved (float, react, fd, float, ...) and the least and the median of each is kept: of the processor's
time, which other processes on the machine hardly disturb, and of the time that passed, which alone counts on a GPU.
Memory is the growth of the peak, of the process or on the GPU, over the first steps, each method in a process of its
own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from evenbit.cpu import machine
from evenbit.nn._training import keep_freed_memory
from evenbit.train.checkpoint import Task, build_model
from evenbit.train.compilation import compile_network
from evenbit.train.objective import Objective
from evenbit.train.optimizer import make_optimizer
from evenbit.train.recipe import Recipe
from evenbit.train.step import Batch, CapturedStep, CudaGraph, Step
from origin import commit

TASK = Task(tuple("0123456789"), 3, 32, 32, (0.5,) * 3, (0.25,) * 3)


class Case(NamedTuple):
    """A way to do a step.

    Attributes:
        method: The way to binarize.
        compiled: Whether the network is compiled.
        captured: Whether the step is one CUDA graph.
        precision: "float32" or "bf16".
    """

    method: str
    compiled: bool
    captured: bool
    precision: str


def make_step(case: Case, arguments: argparse.Namespace) -> Callable[[], None]:
    """A function that does one step on the same random images."""
    device = arguments.device
    torch.manual_seed(0)
    bf16 = case.precision == "bf16"
    recipe = Recipe(model=arguments.model, method=case.method, precision="bf16" if bf16 else "no")
    network = build_model(recipe, TASK).to(device, memory_format=torch.channels_last).train()
    run = compile_network(network) if case.compiled else network
    optimizer = make_optimizer(recipe, network)
    labels = torch.randint(0, 10, (arguments.batch,), device=device)
    objective = Objective(recipe, TASK, network, labels)
    update = Step(run, network, objective, optimizer, bf16=bf16)
    images = torch.randint(0, 256, (arguments.batch, 32, 32, 3), dtype=torch.uint8).permute(0, 3, 1, 2).to(device)
    batch = Batch(images, labels)
    captured = CapturedStep(update, batch, CudaGraph()) if case.captured else None

    def step() -> None:
        (captured or update)(batch, 1e-3)
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def peak_bytes(device: str) -> int:
    """Most memory that this process has held."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure_memory(arguments: argparse.Namespace) -> int:
    """Growth of the peak over three steps."""
    step = make_step(Case(arguments.memory_of, False, False, arguments.precision), arguments)
    before = peak_bytes(arguments.device)
    for _ in range(3):
        step()
    return peak_bytes(arguments.device) - before


def main() -> None:
    """Parses the arguments and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="float,react,irnet,fd")
    parser.add_argument("--compiled", default="")
    parser.add_argument("--captured", default="", help="on a GPU: these as one graph too, plain and compiled")
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", default="float32", help="float32, bf16, or both with a comma")
    parser.add_argument("--memory-of")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as `evenbit train` does
    if arguments.memory_of:
        print(measure_memory(arguments))
        return
    compiled, captured = arguments.compiled.split(","), arguments.captured.split(",")
    precisions = arguments.precision.split(",")
    ways = [(method, False) for method in arguments.methods.split(",")] + [(each, True) for each in compiled if each]
    cases = [Case(*way, captured=False, precision=precision) for precision in precisions for way in ways]
    cases += [case._replace(captured=True) for case in cases if case.method in captured]
    steps = {case: make_step(case, arguments) for case in cases}
    times: dict[Case, list[tuple[float, float]]] = {case: [] for case in cases}
    for turn in range(arguments.rounds + 3):
        for case, step in steps.items():
            start, wall = time.process_time(), time.perf_counter()
            step()
            if turn >= 3:
                times[case].append((time.process_time() - start, time.perf_counter() - wall))
    rows = []
    for case, pairs in times.items():
        row = case._asdict()
        for index, key in enumerate(("cpu", "wall")):
            values = [pair[index] for pair in pairs]
            row |= {f"{key}_seconds": statistics.median(values), f"least_{key}_seconds": min(values)}
        if not case.compiled and not case.captured:
            command = [sys.executable, *sys.argv, "--memory-of", case.method, "--precision", case.precision]
            row["memory_bytes"] = int(subprocess.run(command, capture_output=True, check=True).stdout)
        rows.append(row)
    timed = "cpu_seconds" if arguments.device == "cpu" else "wall_seconds"
    for row in rows:
        for twin in rows:
            if twin["method"] == "float" and not twin["captured"] and twin["precision"] == precisions[0]:
                key = "of_compiled_float" if twin["compiled"] else "of_eager_float"
                row[key] = row[timed] / twin[timed]
    head = {
        "command": " ".join(["python", *sys.argv]),
        "commit": commit(),
        "machine": machine() + (f", {torch.cuda.get_device_name()}" if arguments.device == "cuda" else ""),
        "torch": torch.__version__,
        "model": arguments.model,
    }
    print(
        json.dumps(
            {**head, "batch": arguments.batch, "threads": 1, "train_steps": rows},
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
