"""Measures every op of the registered networks and fits `evenbit.bench.latency` to them.

    python benchmarks/latency.py measure [--isa avx2] [--seconds 240]
    python benchmarks/latency.py predict FILE.evb ... [--isa avx2]

`measure` keeps results/latency-ISA.json: the model, and for each network the measured time, the predicted one, and the
one that a model predicts which has not seen that network. All networks take turns, each with its least times, so that
what else the machine does falls on none of them. `predict` tells the time of packed files by the kept model, on any
machine.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from evenbit import plan_file
from evenbit.bench.latency import LatencyModel
from evenbit.deploy import pack_untrained, quantize_float_layers
from evenbit.errors import EvenbitError, RecipeError
from evenbit.models.registry import model_names
from evenbit.plan import Plan
from evenbit.runtime.engine import Engine, isas
from origin import ROOT, origin

ROUNDS = 15  # of a turn
LARGE = 2  # of these, for networks of images of 224 pixels
Measured = tuple[Plan, list[float], float]


def networks() -> dict[str, Plan]:
    """All registered networks that can be binary, with float and with 8-bit layers."""
    plans: dict[str, Plan] = {}
    for model in model_names():
        size = 224 if model.endswith("_imagenet") else 32
        try:
            plan = pack_untrained(model, "fd", channels=3, size=size, classes=10)
        except RecipeError:
            continue  # for the method float alone
        images = np.random.default_rng(0).random((4, 3, size, size), dtype=np.float32)
        plans |= {model: plan, f"{model}, int8": quantize_float_layers(plan, images)}
    return plans


def measure(isa: str, seconds: float) -> dict[str, Measured]:
    """Least microseconds of each op and of a whole call."""
    plans = networks()
    engines = {name: Engine(plan, threads=1, isa=isa) for name, plan in plans.items()}
    ops = {name: np.full(len(plan.ops), np.inf) for name, plan in plans.items()}
    whole = dict.fromkeys(engines, np.inf)
    shapes = {name: (1, plan.channels, plan.height, plan.width) for name, plan in plans.items()}
    images = {name: np.random.default_rng(0).random(shape, dtype=np.float32) for name, shape in shapes.items()}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, engine in engines.items():
            image = images[name]
            rounds = LARGE if plans[name].height > 32 else ROUNDS
            ops[name] = np.minimum(ops[name], [1e6 * op.seconds for op in engine.profile(image, rounds)])
            for _ in range(rounds):
                start = time.perf_counter()
                engine(image)
                whole[name] = min(whole[name], 1e6 * (time.perf_counter() - start))
    return {name: (plan, list(map(float, ops[name])), whole[name]) for name, plan in plans.items()}


def keep(isa: str, seconds: float) -> dict[str, Any]:
    measured = measure(isa, seconds)
    model = LatencyModel.fit(measured.values())

    @functools.cache  # for the network with float and with 8-bit layers
    def fit_without(name: str) -> LatencyModel:
        return LatencyModel.fit(found for other, found in measured.items() if _model(other) != name)

    rows = []
    for name, (plan, _, whole) in measured.items():
        row = {"network": name, "measured_us": whole, "predicted_us": model.predict(plan)}
        rows.append(row | {"predicted_unseen_us": _predicted(fit_without(_model(name)), plan)})
        print(*rows[-1].values())
    return {**origin(), "isa": isa, "call_us": model.call, "costs_us": model.costs, "latency": rows}


def _model(network: str) -> str:
    return network.split(",")[0]


def _predicted(model: LatencyModel, plan: Plan) -> float | None:
    try:
        return model.predict(plan)
    except EvenbitError:
        return None  # it alone has such an op


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(required=True, dest="action")
    measuring, predicting = actions.add_parser("measure"), actions.add_parser("predict")
    measuring.add_argument("--seconds", type=float, default=240)
    predicting.add_argument("files", type=Path, nargs="+")
    for each in (measuring, predicting):
        each.add_argument("--isa", default=isas()[0])
    arguments = parser.parse_args()
    path = ROOT / "results" / f"latency-{arguments.isa}.json"
    if arguments.action == "measure":
        path.write_text(json.dumps(keep(arguments.isa, arguments.seconds), indent=1) + "\n", encoding="utf-8")
        return
    kept = json.loads(path.read_text(encoding="utf-8"))
    model = LatencyModel(kept["call_us"], kept["costs_us"])
    for file in arguments.files:
        print(f"{file}  {model.predict(plan_file.load(file)) / 1e3:.3f} ms with {arguments.isa} on {kept['machine']}")


if __name__ == "__main__":
    main()
