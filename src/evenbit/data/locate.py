"""Finding the files of a data set that the user has downloaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from evenbit.errors import DataError

ROOT_VARIABLE = "EVENBIT_DATA"


def locate(
    name: str,
    folder: str,
    files: Sequence[str],
    page: str,
    root: str | os.PathLike[str] | None,
    system: Sequence[str] = (),
) -> Path:
    """The folder that holds all `files`.

    Looked for in `root` or, if that is None, in the folder that `EVENBIT_DATA` names; either may be the folder
    itself or its parent. Last comes where a system package puts it.

    Args:
        name: Name of the data set, for the error.
        folder: Name of the folder in the official archive.
        files: Names of the files that must be there.
        page: Address of the page that offers them, for the error.
        root: The user's folder.
        system: Folders of system packages.

    Raises:
        DataError: If no folder holds all files; names the files, the folders and the page.
    """
    given = root if root is not None else os.environ.get(ROOT_VARIABLE)
    places = [Path(given), Path(given) / folder] if given else []
    places += [Path(place) for place in system]
    for place in places:
        if all((place / file).is_file() for file in files):
            return place
    looked = ", ".join(str(place) for place in places) or f"nowhere: give --data-root or set {ROOT_VARIABLE}"
    raise DataError(f"{name} not found: wanted {', '.join(files)}; looked in {looked}; get them from {page}")
