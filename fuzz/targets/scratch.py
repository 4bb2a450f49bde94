"""Files for readers that take a path."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

FOLDER = Path(tempfile.mkdtemp(prefix="evenbit-fuzz-"))


def write(name: str, data: bytes) -> Path:
    """A file that holds `data`; the next one of that name takes its place."""
    path = FOLDER / name
    path.write_bytes(data)
    return path


def empty_folder() -> Path:
    """A folder with nothing in it, each time the same one."""
    path = FOLDER / "folder"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path
