"""Writing files so that a crash never leaves half of one.

Data are written to a hidden file beside the target, `.NAME.part`, which replaces the target once it is complete on
disk. A killed process leaves at most this hidden file. Its name says what it is, nothing reads it, and the next writer
to the same target removes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

PART = ".part"
CHECKPOINT = "checkpoint.safetensors"  # in the folder of a run
OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW  # a link here was not left by a writer


def write_atomically(path: Path, data: bytes) -> None:
    """Writes `data` to `path`: the old content stays until the new one is whole on disk.

    If several processes write to one path at a time, each waits for the others, and the last one's content stays.

    Raises:
        OSError: If the folder cannot be written or the disk is full; the error names `path`, whose old content stays.
    """
    write_together({path: data})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Writes files that belong together: all are whole on disk before the first of them is replaced.

    Where a path is a link, the file that it points to is written.

    Raises:
        OSError: If a file cannot be written; the error names it, and all files are then unchanged.
    """
    files = {path.resolve() if path.is_symlink() else path: data for path, data in files.items()}
    with contextlib.ExitStack() as parts:
        for path, data in files.items():
            parts.enter_context(_written_beside(path, data))
        for path in files:
            with _naming(path):
                part_path(path).replace(path)
    for folder in {path.parent for path in files}:
        _sync_folder(folder)


def append_line(path: Path, line: str) -> None:
    """Adds a line to a text file, and returns when it is on disk.

    Raises:
        OSError: If that fails; the error names `path`, which may then end in part of the line.
    """
    with _naming(path), path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def check_target(path: Path) -> None:
    """Checks, before long work starts, that its result can be written to a path.

    Raises:
        OSError: If the folder is missing or cannot be written, or the path is that of a folder or a device.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(path.parent))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "is not a file that can be replaced", str(path))
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, "folder cannot be written", str(path.parent))


def check_result(path: Path) -> None:
    """The same for what a command makes, which is never the checkpoint of a run.

    Raises:
        OSError: Also if the path is that of a checkpoint.
    """
    check_target(path)
    if path.name == CHECKPOINT and is_run(path.parent):
        raise FileExistsError(errno.EEXIST, "is the checkpoint of a run, which is not replaced", str(path))


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether a path is the folder of a run."""
    return os.path.isfile(Path(path) / CHECKPOINT)  # noqa: PTH113  (False where the folder may not be entered)


def pack_command(run: str | os.PathLike[str]) -> str:
    """The command that makes a packed network of a run."""
    return shlex.join(["evenbit", "pack", str(run), "-o", "model.evb"])


def resume_command(run: str | os.PathLike[str], data_root: str | None) -> str:
    """The command that goes on with a run."""
    root = ["--data-root", data_root] if data_root else []
    return shlex.join(["evenbit", "train", "--resume", "--out", str(run), *root])


def part_path(path: Path) -> Path:
    """Where the new content of `path` is until it is complete."""
    return path.with_name(f".{path.name}{PART}")


def is_part(path: Path) -> bool:
    """Whether a file is the incomplete one that a killed process has left."""
    return path.name.startswith(".") and path.name.endswith(PART)


@contextlib.contextmanager
def _written_beside(path: Path, data: bytes) -> Iterator[None]:
    """Writes `data` beside `path`, complete on disk; at the end, that file is removed if it is still there."""
    check_target(path)
    part = part_path(path)
    with _naming(path), _claim(part) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            yield
        finally:
            if _is_still(part, file):
                part.unlink()


def _claim(part: Path) -> BinaryIO:
    """Creates `part` and locks it; the lock distinguishes the file of an active writer from that of a killed one.

    The file is always a new one, so that its owner and its mode are right and it is not somebody else's link.
    """
    while True:
        with contextlib.suppress(FileExistsError):
            file = part.open("xb")
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_still(part, file):
                return file
            file.close()  # before it was locked, another process took it for that of a killed one
        with contextlib.suppress(FileNotFoundError), os.fdopen(os.open(part, OPEN_FLAGS), "rb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            if _is_still(part, other):
                part.unlink()


def _is_still(path: Path, file: BinaryIO) -> bool:
    """Whether an open file is the one that is at `path` now."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    """Writes the folder's entries to disk, if the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Makes errors name `path` if they name the file beside it or none at all."""
    try:
        yield
    except OSError as error:
        if error.filename not in (None, str(part_path(path))):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
