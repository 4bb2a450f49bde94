"""Kills trainings, packings and sweeps, looks at what they leave, and lets them go on.

    python benchmarks/kills.py --kills 52 --json results/kills.json

Every command runs as the command line runs it, in a process forked from one that has torch loaded already, and ends by
SIGKILL: every second one at a moment drawn from all the time that it takes, every other one while it writes a file.
After each kill

- at most the running epoch is lost: the checkpoint is that of the last epoch in `metrics.jsonl` or of the one before,
  and never older than the one before the kill;
- every file that is there loads, and a packed file is the old one or the new one;
- any other file is one that `evenbit.files.is_part` tells, and the next whole run of the command takes it away.

A training or sweep is then started again with the same command (`--resume` for the former), killed again, and so on
until it finishes; its weights and results then have to be those of one that was never stopped, bit for bit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from commands import run_well, start
from evenbit import plan_file
from evenbit.files import CHECKPOINT, is_part, is_run, write_atomically
from evenbit.train import read_checkpoint
from evenbit.train.lock import LOCK
from evenbit.train.loop import METRICS
from origin import origin
from tiny_digits import recipe_toml, train_command, write_digits

EPOCHS = 12
POLL_SECONDS = 0.0005
WRITING_SECONDS = 0.004  # after a part appears, the longest wait for the kill
TIMES = ("seconds", "images_per_second", "seconds_per_epoch")

SWEEP = """
name = "killed"
[base]
{recipe}epochs = 4
[[run]]
method = "float"
[[run]]
method = "fd"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, required=True, help="in all; half of them of trainings")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--json", type=Path, required=True, help="the file to keep the counts in")
    arguments = parser.parse_args()
    quarter = arguments.kills // 4
    shares = {Training: arguments.kills - 2 * quarter, Packing: quarter, Sweeping: quarter}
    began, counts = origin(), {}
    for kind, kills in shares.items():
        with tempfile.TemporaryDirectory() as folder:
            print(f"{kind.name}: {kills} kills", flush=True)
            counts[kind.name] = kind(Path(folder), random.Random(f"{arguments.seed} {kind.name}")).strike(kills)
            print(json.dumps(counts[kind.name]), flush=True)
    row = {**began, "seed": arguments.seed, "kills": sum(shares.values()), "killed": counts}
    write_atomically(arguments.json, (json.dumps(row, indent=1) + "\n").encode())
    wrong = [line for count in counts.values() for line in count["wrong"]]
    if wrong:
        sys.exit("\n".join(wrong))


class Victim(ABC):
    """A command that is killed.

    Args:
        folder: For all that it makes.
        draw: Where the moments come from.
    """

    name: str
    writing_chance: float  # of a file that it writes to be the one at which it is killed

    def __init__(self, folder: Path, draw: random.Random) -> None:
        self.folder, self.draw = folder, draw
        self.log = folder / "log.txt"
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.straight = folder / "straight"
        self.place = folder / "killed"
        self.data = folder / "digits"
        write_digits(self.data)
        self.prepare()
        run_well(["--version"], self.log)  # a first process, for which the others' modules are loaded
        begin = time.perf_counter()
        run_well(self.command(self.straight), self.log)
        self.seconds = time.perf_counter() - begin

    @abstractmethod
    def prepare(self) -> None:
        """Makes what the command needs."""

    @abstractmethod
    def command(self, place: Path) -> list[str]:
        """The command that begins or goes on in a place."""

    @abstractmethod
    def look(self) -> None:
        """Checks what a kill has left."""

    @abstractmethod
    def compare(self) -> None:
        """Checks what a finished command has left against the one that was never stopped."""

    def strike(self, kills: int) -> dict[str, Any]:
        """Kills that many times, and lets the last one finish."""
        while self.counts["kills"] < kills:
            while_writing = self.counts["kills"] % 2 == 1
            process = start(self.command(self.place), self.log)
            if while_writing:
                self.wait_for_part(process)
                time.sleep(self.draw.uniform(0, WRITING_SECONDS))
            else:
                process.join(self.draw.uniform(0, self.seconds))
            process.kill()
            process.join()
            if process.exitcode == -signal.SIGKILL:
                self.counts["kills"] += 1
                self.counts["kills_while_writing"] += while_writing
                self.survey()
                self.look()
            else:
                self.end(process.exitcode)
        process = start(self.command(self.place), self.log)
        process.join()
        self.end(process.exitcode)
        return {**self.counts, "seconds_of_one": self.seconds, "wrong": self.wrong}

    def wait_for_part(self, process: BaseProcess) -> None:
        """Returns when a file begins to be written, at a random one of those that the command writes."""
        before: set[int] = set()
        while process.is_alive():
            parts = set()
            for path in filter(is_part, self.place.rglob(".*")):
                with contextlib.suppress(FileNotFoundError):
                    parts.add(path.stat().st_ino)
            if parts - before and self.draw.random() < self.writing_chance:
                return
            before = parts
            time.sleep(POLL_SECONDS)

    def survey(self) -> None:
        """Counts the parts, and checks that whatever else there is is known and loads."""
        for path in self.place.rglob("*"):
            if path.is_dir() or "tensorboard" in path.parts or path.name in (LOCK, METRICS):
                continue
            if is_part(path):
                self.counts["parts_left"] += 1
            elif path.name == CHECKPOINT:
                read_checkpoint(path.parent)
            elif path.suffix == ".evb":
                plan_file.load(path)
            else:
                json.loads(path.read_text())

    def end(self, status: int | None) -> None:
        """What a command has left that came to its end, before the kill or since it was the last."""
        if status != 0:
            self.wrong.append(f"{self.name}: {self.log.read_text().strip()}")
        else:
            self.counts["finished"] += 1
            self.survey()
            self.compare()
            left = [path.name for path in self.place.rglob("*") if is_part(path)]
            if left:
                self.wrong.append(f"{self.name}: {', '.join(left)} stayed")
        shutil.rmtree(self.place)

    def look_at_run(self, folder: Path, before: int) -> int:
        """Checks that a killed training has lost its running epoch at most; returns the epochs that it has kept."""
        path = folder / METRICS
        logged = path.read_text().count("\n") if path.exists() else 0
        kept = read_checkpoint(folder).epoch if is_run(folder) else 0
        if kept < max(before, logged - 1) or kept > logged:
            self.wrong.append(f"{self.name}: {kept} epochs kept of {logged} logged, {before} before")
        self.counts["finished_epochs_lost"] += logged - kept  # its line was written, its checkpoint was not yet
        return kept

    def compare_runs(self, one: Path, other: Path) -> None:
        """Checks that two trainings ended with the same weights and metrics."""
        tensors, others = (read_checkpoint(folder).tensors for folder in (one, other))
        same = tensors.keys() == others.keys() and all(torch.equal(tensors[name], others[name]) for name in tensors)
        logs = [[timeless(json.loads(line)) for line in (folder / METRICS).open()] for folder in (one, other)]
        if not same or logs[0] != logs[1]:
            self.wrong.append(f"{self.name}: {one.name} differs from one that was never stopped")


class Training(Victim):
    """`evenbit train`, and `evenbit train --resume` as soon as there is a checkpoint."""

    name = "train"
    writing_chance = 0.1

    def prepare(self) -> None:
        self.kept = 0

    def command(self, place: Path) -> list[str]:
        if is_run(place):
            return ["train", "--resume", "--out", str(place)]
        return train_command(self.data, place, EPOCHS)

    def look(self) -> None:
        self.kept = self.look_at_run(self.place, self.kept)

    def compare(self) -> None:
        self.compare_runs(self.place, self.straight)
        self.kept = 0


class Packing(Victim):
    """`evenbit pack` over the packed file of another run."""

    name = "pack"
    writing_chance = 1.0

    def prepare(self) -> None:
        for run, seed in (("old", 1), ("new", 2)):
            run_well(train_command(self.data, self.folder / run, 1, seed), self.log)
        self.straight.mkdir()
        run_well(["pack", str(self.folder / "old"), "-o", str(self.folder / "old.evb")], self.log)
        self.old = (self.folder / "old.evb").read_bytes()

    def command(self, place: Path) -> list[str]:
        place.mkdir(exist_ok=True)
        if place == self.place:
            (place / "net.evb").write_bytes(self.old)
        return ["pack", str(self.folder / "new"), "-o", str(place / "net.evb")]

    def look(self) -> None:
        found, new = (self.place / "net.evb").read_bytes(), (self.straight / "net.evb").read_bytes()
        self.counts["old_file_found" if found == self.old else "new_file_found"] += 1
        if found not in (self.old, new):
            self.wrong.append("pack: the file is neither the old one nor the new one")

    def compare(self) -> None:
        if (self.place / "net.evb").read_bytes() != (self.straight / "net.evb").read_bytes():
            self.wrong.append("pack: the file is not that of a packing that was never stopped")


class Sweeping(Victim):
    """`evenbit sweep` of two runs, with its rows kept in a file."""

    name = "sweep"
    writing_chance = 0.1

    def prepare(self) -> None:
        (self.folder / "killed.toml").write_text(SWEEP.format(recipe=recipe_toml(self.data)))
        self.kept = {"float-seed0": 0, "fd-seed0": 0}

    def command(self, place: Path) -> list[str]:
        place.mkdir(exist_ok=True)
        return ["sweep", str(self.folder / "killed.toml"), "--out", str(place), "--results", str(place / "rows.json")]

    def look(self) -> None:
        self.kept = {run: self.look_at_run(self.place / run, before) for run, before in self.kept.items()}

    def compare(self) -> None:
        rows = [json.loads((folder / "rows.json").read_text())["rows"] for folder in (self.place, self.straight)]
        if list(map(timeless, rows[0])) != list(map(timeless, rows[1])):
            self.wrong.append("sweep: the rows are not those of one that was never stopped")
        for run in self.kept:
            self.compare_runs(self.place / run, self.straight / run)
        self.kept = dict.fromkeys(self.kept, 0)


def timeless(row: dict[str, Any]) -> dict[str, Any]:
    """All but the times."""
    return {key: value for key, value in row.items() if key not in TIMES}


if __name__ == "__main__":
    main()
