"""Our engine and other runtimes side by side.

All runtimes get the same float images. They take turns (ours, A, B, ours, A, B, ...), so that other work of the
machine slows all of them alike. A turn is a rest, one call that is not timed, and a few calls that are; its time is
their mean. The results are the median over the turns with its quartiles, and the least time of any call. On a busy
machine, the medians depend more on the other work, and the ratio of the least times is the better measure.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evenbit import plan_file
from evenbit.bench.peers import PEERS, Runner
from evenbit.cpu import machine
from evenbit.errors import EvenbitError, unknown
from evenbit.progress import Report
from evenbit.runtime.engine import Engine

TURN_SECONDS = 0.02  # a turn makes at least one call and goes on for about this long
REST_SECONDS = 0.05  # before a turn, so that threads of the one before that still spin for work go to sleep
WARMUP_CALLS = 5
MOST = 2**31 - 1


def run_benchmark(
    path: Path,
    peers: Sequence[str],
    *,
    threads: int,
    batch: int,
    rounds: int,
    isa: str | None = None,
    progress: Report | None = None,
) -> dict[str, Any]:
    """Times a packed network and its float twins.

    Args:
        path: An `.evb` file.
        peers: Keys of `evenbit.bench.peers.PEERS`.
        threads: Threads of every runtime.
        batch: Images per call.
        rounds: How many turns each runtime takes.
        isa: Instruction set of our engine, None for the best one.
        progress: Called after each round with the number of rounds done and their total.

    Returns:
        `ours` and, by name, `peers`: `ms`, `low_ms`, `high_ms` and `least_ms` (median, quartiles and least time of a
        call) and for peers `ratio` and `least_ratio`, theirs over ours; the machine's `load` (average of the last
        minute); and what was measured.

    Raises:
        EvenbitError: If a peer is unknown or cannot be used, or a number is out of range.
    """
    missing = [name for name in peers if name not in PEERS]
    if missing:
        raise EvenbitError(unknown("peer", missing[0], PEERS))
    if not all(1 <= number <= MOST for number in (threads, batch, rounds)):
        raise EvenbitError(f"threads, batch and rounds should be from 1 to {MOST:,}")
    plan = plan_file.load(path)
    engine = Engine(plan, threads=threads, isa=isa)
    shape = (batch, plan.channels, plan.height, plan.width)
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    runners: dict[str, Runner] = {"ours": lambda: engine(images)}
    runners |= {name: PEERS[name](plan, images, threads).run for name in peers}
    times = interleave(runners, rounds, progress)
    rows = {name: statistics(turns) for name, turns in times.items()}
    for name in peers:
        rows[name]["ratio"] = rows[name]["ms"] / rows["ours"]["ms"]
        rows[name]["least_ratio"] = rows[name]["least_ms"] / rows["ours"]["least_ms"]
    return {
        "file": str(path),
        "info": dict(plan.info),
        "machine": machine(),
        "load": os.getloadavg()[0],
        "batch": batch,
        "threads": threads,
        "isa": engine.isa,
        "rounds": rounds,
        "ours": rows.pop("ours"),
        "peers": rows,
    }


def interleave(
    runners: Mapping[str, Runner], rounds: int, progress: Report | None = None
) -> dict[str, list[list[float]]]:
    """Seconds of each call, for each runner and round."""
    calls = {}
    for name, run in runners.items():
        for _ in range(WARMUP_CALLS):
            run()
        start = time.perf_counter()
        run()
        calls[name] = max(1, round(TURN_SECONDS / (time.perf_counter() - start)))
    times: dict[str, list[list[float]]] = {name: [] for name in runners}
    for done in range(rounds):
        for name, run in runners.items():
            time.sleep(REST_SECONDS)
            run()
            turn = []
            for _ in range(calls[name]):
                start = time.perf_counter()
                run()
                turn.append(time.perf_counter() - start)
            times[name].append(turn)
        if progress is not None:
            progress(done + 1, rounds)
    return times


def statistics(turns: Sequence[Sequence[float]]) -> dict[str, float]:
    """Median and quartiles over the turns' mean times, and the least time of a call, in milliseconds."""
    means = [1000 * float(np.mean(turn)) for turn in turns]
    low, median, high = (float(value) for value in np.percentile(means, (25, 50, 75)))
    return {"ms": median, "low_ms": low, "high_ms": high, "least_ms": 1000 * min(map(min, turns))}
