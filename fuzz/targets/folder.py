"""Reading a folder of images, whose names are the input: a path a line, each to an image or, after a `!`, to none."""

from __future__ import annotations

import io
from pathlib import PurePosixPath

from PIL import Image

from evenbit.data.folder import read_folder
from targets import scratch

LONGEST = 100
DEPTH = 4


def _png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(file, "PNG")
    return file.getvalue()


PNG = _png()


def check(data: bytes) -> None:
    """Lays the files out and reads them."""
    folder = scratch.empty_folder()
    for line in data.split(b"\n")[:50]:
        name = line.removeprefix(b"!").replace(b"\0", b"").decode(errors="surrogateescape")[:LONGEST]
        parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..", ".")][:DEPTH]
        if not parts:
            continue
        path = folder.joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"no image" if line.startswith(b"!") else PNG)
        except OSError:  # a file is where a folder should be, or the other way round
            continue
    data_set = read_folder(folder, 8)
    if len(data_set.classes) < 2 or not len(data_set.train):
        raise AssertionError("a data set without classes or images")
