"""One training at a time in a folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from evenbit.errors import CheckpointError

LOCK = ".lock"


class AlreadyLockedError(CheckpointError):
    """Another process is training in the folder."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks a folder. It is created if it is missing, and removed again if it stays empty.

    The lock ends with the process, even if the process is killed.

    Raises:
        AlreadyLockedError: If another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyLockedError(f"another process is training in {folder}") from None
        if os.fstat(file.fileno()).st_nlink == 0:  # the process that held the lock has just deleted the file
            raise AlreadyLockedError(f"another process has just stopped training in {folder}; try again")
        try:
            yield
        finally:
            path.unlink()
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
