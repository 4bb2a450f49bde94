"""Measures what may be relied on, and writes docs/reliability.md from what is kept.

- `unshare --map-root-user --mount python benchmarks/reliability.py disk` runs the commands that write files on a full
  and on a read-only disk, which is mounted for this process alone, and keeps results/reliability-disk.json;
- `python benchmarks/reliability.py threads` lets 8 threads call one engine for a minute and compares every answer;
- `python benchmarks/reliability.py soak` runs a small network a million times and looks at the memory of the process;
- `python benchmarks/kills.py --kills 52 --json results/kills.json` kills commands, see there;
- `python benchmarks/reliability.py render` writes the page.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import full_disk
from evenbit.deploy import pack_untrained
from evenbit.errors import InputError
from evenbit.files import write_atomically
from evenbit.plan import Plan
from evenbit.runtime.engine import Engine
from origin import ROOT, origin
from reliability_page import page

THREADS = 8
ENGINE_THREADS = 2
IMAGES = 64
PRIVATE_MOUNTS = "unshare --map-root-user --mount"  # in front of a command, lets anyone mount for it alone
REFUSED_EVERY = 1000  # calls of the soak, one is of an image that is refused


def share_engine(seconds: float) -> dict[str, Any]:
    """Calls one engine from many threads, with batches of 1 to 8 images, and compares with one thread's answers."""
    plan = pack_untrained("resnet20", "fd", channels=3, size=32, classes=10)
    images = _images(plan)
    expected = Engine(plan, threads=1)(images)
    engine = Engine(plan, threads=ENGINE_THREADS)
    calls, wrong = [0] * THREADS, [0] * THREADS
    end = time.monotonic() + seconds

    def work(thread: int) -> None:
        draw = np.random.default_rng(thread)
        while time.monotonic() < end:
            first, count = draw.integers(IMAGES - 8), draw.integers(1, 9)
            answer = engine(images[first : first + count])
            calls[thread] += 1
            wrong[thread] += answer.tobytes() != expected[first : first + count].tobytes()

    workers = [threading.Thread(target=work, args=(thread,)) for thread in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    row = {"network": _name(plan), "threads": THREADS, "engine_threads": ENGINE_THREADS, "seconds": seconds}
    return {**row, "calls": sum(calls), "fewest_calls_of_a_thread": min(calls), "wrong": sum(wrong)}


def soak(calls: int) -> dict[str, Any]:
    """Calls an engine again and again, compares every answer, and reads the memory of the process on the way."""
    plan = pack_untrained("resnet8", "fd", channels=1, size=8, classes=10)
    images = _images(plan)
    engine = Engine(plan, threads=1)
    expected = [engine(image[None]).tobytes() for image in images]
    refused = np.full_like(images[:1], np.nan)
    wrong, resident = 0, {0: _resident_bytes()}
    start = time.monotonic()
    for call in range(calls):
        if call % REFUSED_EVERY == REFUSED_EVERY - 1:
            try:
                engine(refused)
                wrong += 1
            except InputError:
                pass
        else:
            index = call % IMAGES
            wrong += engine(images[index : index + 1]).tobytes() != expected[index]
        if call + 1 in (calls // 10, calls // 2, calls):
            resident[call + 1] = _resident_bytes()
    seconds = time.monotonic() - start
    return {"network": _name(plan), "calls": calls, "seconds": seconds, "wrong": wrong, "resident_bytes": resident}


def _images(plan: Plan) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).random((IMAGES, plan.channels, plan.height, plan.width), np.float32)


def _name(plan: Plan) -> str:
    return f"{plan.info['model']}, {plan.info['method']}, {plan.channels}x{plan.height}x{plan.width}"


def _resident_bytes() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["disk", "threads", "soak", "render"])
    parser.add_argument("--seconds", type=float, default=60, help="of threads")
    parser.add_argument("--calls", type=int, default=1_000_000, help="of soak")
    parser.add_argument("--json", type=Path, help="the file to keep, results/reliability-ACTION.json if not given")
    arguments = parser.parse_args()
    if arguments.action == "render":
        write_atomically(ROOT / "docs/reliability.md", page(ROOT / "results").encode())
        return
    began = origin()
    if arguments.action == "disk":
        began["command"] = f"{PRIVATE_MOUNTS} {began['command']}"
        with tempfile.TemporaryDirectory() as folder:
            found = full_disk.measure(Path(folder))
    else:
        found = share_engine(arguments.seconds) if arguments.action == "threads" else soak(arguments.calls)
    row = {**began, arguments.action: found}
    print(json.dumps(row, indent=1))
    kept = arguments.json or ROOT / f"results/reliability-{arguments.action}.json"
    write_atomically(kept, (json.dumps(row, indent=1) + "\n").encode())
    if found.get("wrong"):
        sys.exit(f"{found['wrong']} answers are wrong")


if __name__ == "__main__":
    main()
