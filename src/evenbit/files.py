"""Writing files so that a crash never leaves half of one."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Writes `data` to `path`: the old content stays until the new one is whole on disk.

    Raises:
        OSError: If the folder cannot be written or the disk is full; the old content is then unchanged.
    """
    import tempfile  # takes memory that running a file does not need

    check_target(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        part.replace(path)
    except BaseException:
        part.unlink()
        raise


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
