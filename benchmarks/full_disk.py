"""What commands do on a full and on a read-only disk: they should fail in one line and leave every file as it was."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commands import run, run_well
from evenbit.train import read_checkpoint
from tiny_digits import recipe_toml, train_command, write_digits

DISK_MIB = 8
EPOCHS = 3


def measure(folder: Path) -> dict[str, Any]:
    """Runs every case on a file system of its own, mounted in `folder`.

    Returns:
        For each case and condition the message, and whether all files are as they were.
    """
    log, disk = folder / "log.txt", folder / "disk"
    write_digits(folder / "digits")
    for name, seed in (("old", 1), ("new", 2)):
        run_well(train_command(folder / "digits", folder / name, 1, seed), log)
        run_well(["pack", str(folder / name), "-o", str(folder / f"{name}.evb")], log)
    (folder / "sweep.toml").write_text(f"[base]\n{recipe_toml(folder / 'digits')}epochs = 1\n[[run]]\nmethod = 'fd'\n")
    run_well(["sweep", str(folder / "sweep.toml"), "--out", str(folder / "sweep")], log)
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(disk)], check=True)
    try:
        for command in _writers(folder, disk, "old").values():
            run_well(command, log)
        run_well(train_command(folder / "digits", disk / "run", 1), log)
        rows = []
        for condition, holds in (("full", _full), ("read-only", _read_only)):
            with holds(disk):
                for name, command in _writers(folder, disk, "new").items():
                    rows.append({"case": name, "condition": condition, **_fail(command, disk, log)})
                command = train_command(folder / "digits", disk / "another", 1)
                rows.append({"case": "train", "condition": condition, **_fail(command, disk, log)})
        return {"cases": rows, "training_that_ran_out": _run_out(folder, disk, log)}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _writers(folder: Path, disk: Path, run: str) -> dict[str, list[str]]:
    """A command for each kind of file; of two runs, so that the second's files differ from the first's."""
    packed = str(folder / f"{run}.evb")
    sweep = ["sweep", str(folder / "sweep.toml"), "--out", str(folder / "sweep")]
    return {
        "pack": ["pack", str(folder / run), "-o", str(disk / "net.evb")],
        "export --to c": ["export", packed, "--to", "c", "-o", str(disk / "c")],
        "export --to onnx": ["export", packed, "--to", "onnx", "-o", str(disk / "net.onnx")],
        "export --to qonnx": ["export", packed, "--to", "qonnx", "-o", str(disk / "net.qonnx")],
        "sweep --results": [*sweep, "--results", str(disk / "rows.json")],
    }


def _fail(command: list[str], disk: Path, log: Path) -> dict[str, Any]:
    """Runs a command that cannot succeed."""
    before = _contents(disk)
    status = run(command, log)
    lines = [line for line in log.read_text().splitlines() if line.startswith("evenbit: ")]
    message = _without(disk, lines[-1]) if lines else log.read_text()
    as_expected = status == 2 and len(lines) == 1 and "Traceback" not in log.read_text()
    return {"message": message, "one_line": as_expected, "unchanged": _contents(disk) == before}


def _run_out(folder: Path, disk: Path, log: Path) -> dict[str, Any]:
    """A training whose disk fills up in its midst, and what becomes of it when there is room again."""
    command, out = train_command(folder / "digits", disk / "late", EPOCHS), disk / "late"
    run_well(train_command(folder / "digits", folder / "straight", EPOCHS), log)
    # The first checkpoint has no state of an optimizer yet and takes a third of the later ones, and the old one stays
    # until the new one is written: there is room for the second beside the first, not for the third beside the second.
    size = (folder / "straight" / "checkpoint.safetensors").stat().st_size
    with _full(disk, free=size // 3 * 5):
        status = run(command, log)
        message = _without(disk, log.read_text().strip().splitlines()[-1])
        epochs = read_checkpoint(out).epoch
        left = sorted(path.name for path in out.rglob("*.part"))
    run_well(["train", "--resume", "--out", str(out)], log)
    tensors, others = (read_checkpoint(run).tensors for run in (out, folder / "straight"))
    same = all(bool((tensors[name] == others[name]).all()) for name in others)
    return {
        "message": message,
        "status": status,
        "epochs_kept": epochs,
        "left": left,
        "same_weights_when_resumed": same and tensors.keys() == others.keys(),
    }


@contextlib.contextmanager
def _full(disk: Path, free: int = 0) -> Iterator[None]:
    """A file takes all the room but `free` bytes."""
    filling = disk / "filling"
    space = os.statvfs(disk)
    filling.write_bytes(bytes(space.f_bavail * space.f_frsize - free))
    try:
        yield
    finally:
        filling.unlink()


@contextlib.contextmanager
def _read_only(disk: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


def _without(disk: Path, message: str) -> str:
    """The message with paths as seen from the disk."""
    return message.replace(f"{disk}/", "").replace(str(disk), ".")


def _contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, and its folders."""
    paths = sorted(folder.rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in paths}
