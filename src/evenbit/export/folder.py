"""Writes an export that is a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evenbit.errors import ExportError
from evenbit.files import write_together


def write_folder(folder: Path, files: Mapping[str, bytes], mark: str, marked: Mapping[str, str]) -> None:
    """Writes the files of an export together. An earlier export is replaced; any other file is left alone.

    Args:
        folder: Created if it is missing; its parent has to exist.
        files: Their contents by their names.
        mark: Text in the first lines of a file that shows that the file comes from an export.
        marked: For each file, the name of the file whose first lines hold the mark for it.

    Raises:
        ExportError: If a file that would be replaced does not come from an export.
        OSError: If the folder cannot be written.
    """
    for name in files:
        if (folder / name).exists() and not _is_marked(folder / marked[name], mark):
            raise ExportError(f"{folder / name} exists and was not made by this command; export to another folder")
    made = not folder.is_dir()
    if made:
        folder.mkdir()
    try:
        write_together({folder / name: content for name, content in files.items()})
    except BaseException:
        if made:
            folder.rmdir()
        raise


def _is_marked(path: Path, mark: str) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as file:
        return mark.encode() in file.read(200)
