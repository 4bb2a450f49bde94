"""Fuzzes each target for a bounded time; what it finds is kept in fuzz/crashes, and a count may be added to a file.

make fuzz FUZZ_SECONDS=60 FUZZ_OPTIONS="--target idx --json results/fuzzing.json"
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nlohmann_json

ROOT = Path(__file__).parents[1]
FUZZ = ROOT / "fuzz"
BUILD = ROOT / "build" / "fuzz-c"
C_LOADER = "c_loader"  # the one that is C++; it shares its corpus with `evb`
NOT_TARGETS = ("__init__", "scratch", "structure")
PYTHON_TARGETS = sorted(path.stem for path in (FUZZ / "targets").glob("*.py") if path.stem not in NOT_TARGETS)
LIMITS = ("-timeout=20", "-rss_limit_mb=4096", "-max_len=20000", "-print_final_stats=1", "-verbosity=1")


def build_c_loader() -> Path:
    """Builds the C++ target and returns its path."""
    environment = {**os.environ, "CMAKE_PREFIX_PATH": str(Path(nlohmann_json.__file__).parent)}
    options = ("-DCMAKE_CXX_COMPILER=clang++", "-DEVENBIT_FUZZ=ON")
    for command in (("cmake", "-S", str(ROOT), "-B", str(BUILD), *options), ("cmake", "--build", str(BUILD))):
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return BUILD / "fuzz" / "fuzz_c_loader"


def fuzz(target: str, seconds: int) -> tuple[int, float, list[Path]]:
    """Runs one target; executions, seconds and the files of its findings."""
    corpus = FUZZ / "corpus" / ("evb" if target == C_LOADER else target)
    found = ROOT / "build" / "fuzz-corpus" / target  # grows from run to run
    crashes = FUZZ / "crashes" / target
    for folder in (found, crashes):
        folder.mkdir(parents=True, exist_ok=True)
    before = set(crashes.iterdir())
    program = [build_c_loader()] if target == C_LOADER else [sys.executable, FUZZ / "fuzz_target.py", target]
    words = corpus.with_suffix(".dict")
    options = [*LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={crashes}/"]
    options += [f"-dict={words}"] if words.exists() else []
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        environment = {**os.environ, "TMPDIR": scratch, "OMP_NUM_THREADS": "1"}
        start = time.monotonic()
        result = subprocess.run(
            [*map(str, program), *options, str(found), str(corpus)],
            env=environment,
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
        elapsed = time.monotonic() - start
    findings = sorted(set(crashes.iterdir()) - before)
    with contextlib.suppress(OSError):  # not empty
        crashes.rmdir()
    done = re.findall(r"number_of_executed_units: (\d+)|^#(\d+)\t", result.stdout, re.MULTILINE)
    if not done or (result.returncode != 0 and not findings):
        raise SystemExit(f"{target} did not run:\n{result.stdout[-4000:]}")
    if findings:
        print(result.stdout[-4000:])
    return max(int(a or b) for a, b in done), elapsed, findings


def add(path: Path, target: str, executions: int, seconds: float, crashes: int) -> None:
    """Adds a run to the file that counts them."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"targets": {}}
    old = kept["targets"].get(target, {"executions": 0, "seconds": 0, "crashes": 0})
    kept["targets"][target] = {
        "executions": old["executions"] + executions,
        "seconds": round(old["seconds"] + seconds),
        "crashes": old["crashes"] + crashes,
    }
    commit = subprocess.run(
        ("git", "rev-parse", "--short=12", "HEAD"), cwd=ROOT, capture_output=True, text=True, check=True
    )
    result = {
        "command": 'make fuzz FUZZ_OPTIONS="--json results/fuzzing.json"',
        "commit": commit.stdout.strip(),
        "targets": dict(sorted(kept["targets"].items())),
        "total": sum(each["executions"] for each in kept["targets"].values()),
    }
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Runs the targets one after the other; 1 if something was found."""
    targets = [*PYTHON_TARGETS, C_LOADER]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", action="append", choices=targets, help="may be repeated; all if left out")
    parser.add_argument("--json", type=Path, help="file that the executions are added to")
    arguments = parser.parse_args()
    total = 0
    for target in arguments.target or targets:
        executions, seconds, findings = fuzz(target, arguments.seconds)
        total += len(findings)
        print(f"{target:15} {executions:>9,} executions in {seconds:4.0f} s  {len(findings)} findings", flush=True)
        for path in findings:
            print(f"  {path.relative_to(ROOT)}")
        if arguments.json:
            add(arguments.json, target, executions, seconds, len(findings))
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
