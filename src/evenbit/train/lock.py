"""One training at a time in a folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from evenbit.errors import CheckpointError

FILE = ".lock"


class AlreadyLockedError(CheckpointError):
    """Another process trains into the folder."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder, which is made if it is not there and goes again if it stays empty.

    The lock ends with the process, however that ends.

    Raises:
        AlreadyLockedError: If another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyLockedError(f"another training is at work in {folder}") from None
        if os.fstat(file.fileno()).st_nlink == 0:  # who held it has just ended and taken the file away
            raise AlreadyLockedError(f"another training was at work in {folder}")
        try:
            yield
        finally:
            path.unlink()
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
