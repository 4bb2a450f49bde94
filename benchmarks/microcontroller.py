"""Flash, RAM and instructions of a packed network on Cortex-M, on QEMU, kept as results/microcontroller-NAME.json.

    python benchmarks/microcontroller.py FILE.evb [FILE.evb ...] [--data-root DIR]

It needs arm-none-eabi-gcc with newlib and qemu-system-arm. The network is exported to C, built by examples/cortex-m
with -O2, its self-test is run, and then one inference is counted. Flash is code and constants of the network alone; RAM
is its arena, and stack is what a program that calls it takes; an image in memory comes on top. Instructions are not
cycles: how many cycles they take depends on the processor and its memory.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from evenbit import plan_file
from evenbit.data import load_dataset
from evenbit.evaluation import evaluate
from evenbit.export.c import export
from evenbit.runtime.engine import Engine
from evenbit.summary import summarize, total
from origin import commit

ROOT = Path(__file__).parent.parent
CPUS = ("cortex-m4", "cortex-m7")


def measure(path: Path, data_root: str | None) -> dict[str, Any]:
    """What results/microcontroller-NAME.json holds."""
    plan = plan_file.load(path)
    test = load_dataset(plan.info["data"], root=data_root).test
    sums = total(summarize(plan))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "network"
        told = export(plan, folder)
        rows = [_measure_on(cpu, folder) for cpu in CPUS]
    return {
        "command": f"python benchmarks/microcontroller.py {path.name}" + " --data-root DIR" * (data_root is not None),
        "commit": commit(),
        "compiler": _output("arm-none-eabi-gcc", "--version").splitlines()[0],
        "emulator": _output("qemu-system-arm", "--version").splitlines()[0],
        "network": dict(plan.info),
        "accuracy": evaluate(Engine(plan), test).accuracy,
        "image": [plan.height, plan.width, plan.channels],
        "binary_macs": sums["binary_macs"],
        "float_macs": sums["float_macs"],
        "constant_bytes": told["constant_bytes"],
        "microcontrollers": rows,
    }


def _measure_on(cpu: str, folder: Path) -> dict[str, Any]:
    def make(target: str) -> str:
        return _output("make", "-s", "-C", str(ROOT / "examples/cortex-m"), target, f"CPU={cpu}", f"EXPORT={folder}")

    if "equal bit for bit" not in make("test"):
        raise SystemExit(f"the self-test failed on {cpu}")
    text, data, bss = (int(size) for size in make("size").splitlines()[1].split()[:3])
    counted = {name: int(number) for name, number in re.findall(r"(\w+) (\d+)", make("count"))}
    return {"cpu": cpu, "flash_bytes": text + data, "ram_bytes": data + bss, "stack_bytes": counted["stack"]} | {
        "instructions": counted["instructions"]
    }


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.evb")
    parser.add_argument("--data-root")
    arguments = parser.parse_args()
    for path in arguments.files:
        row = measure(path, arguments.data_root)
        (ROOT / f"results/microcontroller-{path.stem}.json").write_text(json.dumps(row, indent=1) + "\n")
        print(json.dumps(row["microcontrollers"]))


if __name__ == "__main__":
    main()
