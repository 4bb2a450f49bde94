"""Size and time of the compared networks in this engine, and of a float and an 8-bit twin in another runtime."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evenbit.bench import interleave, statistics
from evenbit.bench.peers import PEERS, Runner
from evenbit.cpu import machine
from evenbit.errors import EvenbitError
from evenbit.report.collect import Measured, Packed
from evenbit.runtime.engine import Engine

TWINS = {
    "onnxruntime": "the same network in float32, ONNX Runtime",
    "onnxruntime-int8": "the same network in 8 bits, ONNX Runtime",
}
ROUNDS = 10
OP_ROUNDS = 30


@dataclass(frozen=True)
class Timing:
    """One network in one runtime.

    Attributes:
        name: The network and its runtime.
        bytes: Size of its file; None if it was not made.
        ms: Median time of one image, in milliseconds; None if it was not measured.
        least_ms: The least time.
        reason: Why it was not measured.
    """

    name: str
    bytes: int | None = None
    ms: float | None = None
    least_ms: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Timings:
    """Networks timed in turns, on one thread, one image per call.

    Attributes:
        rows: One for each network.
        model: Name of the network that the twins copy; empty if it is not known.
        machine: Model and number of the CPUs.
        isa: Instruction set of the engine.
        load: Mean number of processes that wanted a CPU in the minute before.
        ops: For each of our networks the microseconds of each of its ops.
    """

    rows: list[Timing]
    model: str
    machine: str
    isa: str
    load: float
    ops: dict[str, list[float]]


def time_networks(runs: Sequence[Measured]) -> Timings | None:
    """Times all packed runs, and twins of the first one (of the first binary one, if any); None if no run is packed."""
    packed = {run.label: run.packed for run in runs if isinstance(run.packed, Packed)}
    if not packed:
        return None
    load = os.getloadavg()[0]
    plans = {label: one.plan for label, one in packed.items()}
    engines = {label: Engine(plan, threads=1) for label, plan in plans.items()}
    first = next(iter(plans.values()))
    images = np.random.default_rng(0).random((1, first.channels, first.height, first.width), dtype=np.float32)
    runners: dict[str, Runner] = {label: _call(engine, images) for label, engine in engines.items()}
    sizes = {label: one.bytes for label, one in packed.items()}
    twin_of = next((one.plan for one in packed.values() if one.sums["binary_macs"]), first)
    twins: dict[str, int | str] = {}
    for name in TWINS:
        try:
            peer = PEERS[name](twin_of, images, 1)
        except EvenbitError as error:
            twins[name] = str(error)
            continue
        twins[name], runners[name] = peer.bytes or 0, peer.run
    times = {name: statistics(turns) for name, turns in interleave(runners, ROUNDS).items()}
    rows = [
        Timing(f"{label}, evenbit", sizes[label], times[label]["ms"], times[label]["least_ms"]) for label in engines
    ]
    for name, found in twins.items():
        if isinstance(found, str):
            rows.append(Timing(TWINS[name], reason=found))
        else:
            rows.append(Timing(TWINS[name], found, times[name]["ms"], times[name]["least_ms"]))
    isa = next(iter(engines.values())).isa
    ops = {label: [1e6 * op.seconds for op in engine.profile(images, OP_ROUNDS)] for label, engine in engines.items()}
    return Timings(rows, twin_of.info.get("model", ""), machine(), isa, load, ops)


def _call(engine: Engine, images: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Runner:
    return lambda: engine(images)
