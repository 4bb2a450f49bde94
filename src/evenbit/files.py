"""Writing files so that a crash never leaves half of one.

What is written goes to a hidden file beside its place, `.NAME.part`, and takes that place when it is whole on disk. A
process that is killed leaves that file at most; its name says what it is, nobody reads it, and who writes next to the
same place takes it away.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

PART = ".part"
OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW  # a link here is nothing that a writer has left


def write_atomically(path: Path, data: bytes) -> None:
    """Writes `data` to `path`: the old content stays until the new one is whole on disk.

    Of several processes that write to one path at a time, each waits for the others, and the last one's content stays.

    Raises:
        OSError: If the folder cannot be written or the disk is full; names `path`, whose old content is unchanged.
    """
    write_together({path: data})


def write_together(files: Mapping[Path, bytes]) -> None:
    """Writes files that belong together: all are whole on disk before the first of them is replaced.

    Raises:
        OSError: If one cannot be written, which is named; all are then as they were.
    """
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
        OSError: If that fails; names `path`, which may then end in a part of the line.
    """
    with _naming(path), path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def check_target(path: Path) -> None:
    """Refuses, before long work starts, a path to which its result cannot be written.

    Raises:
        OSError: If the folder is missing or cannot be written, or the path is that of a folder.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(path.parent))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, "folder cannot be written", str(path.parent))


def part_path(path: Path) -> Path:
    """Where the new content of `path` is while it is not whole."""
    return path.with_name(f".{path.name}{PART}")


def is_part(path: Path) -> bool:
    """Whether a file is what a killed process has left of one."""
    return path.name.startswith(".") and path.name.endswith(PART)


@contextlib.contextmanager
def _written_beside(path: Path, data: bytes) -> Iterator[None]:
    """Holds `data`, whole on disk, beside `path`; at the end it is gone if it is still there."""
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
    """Makes `part` and locks it; the lock tells a writer at work from the rest of a killed one.

    The file is always a new one, so that neither its owner nor its mode nor what it links to is somebody else's.
    """
    while True:
        with contextlib.suppress(FileExistsError):
            file = part.open("xb")
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_still(part, file):
                return file
            file.close()  # another process took it for a killed one's between these two lines
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
    """Puts the folder's names on disk, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Lets errors name `path` where they name the file beside it or none at all."""
    try:
        yield
    except OSError as error:
        if error.filename not in (None, str(part_path(path))):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
