"""Finding the files of a data set that the user has downloaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from evenbit.errors import DataError

ROOT_VARIABLE = "EVENBIT_DATA"


@dataclass(frozen=True)
class Source:
    """Where the files of a data set come from.

    Attributes:
        name: Name of the data set, for the error.
        folder: Name of the folder in the official archive.
        files: Names of the files that must be there.
        page: Address of the page that offers them, for the error.
        system: Folders of system packages.
    """

    name: str
    folder: str
    files: tuple[str, ...]
    page: str
    system: tuple[str, ...] = ()

    def locate(self, root: str | os.PathLike[str] | None) -> Path:
        """The folder that holds all files.

        It may be `root` itself or a subfolder of it; if `root` is None, the same holds for the folder that
        `EVENBIT_DATA` names. After these, the folders of system packages are tried.

        Args:
            root: The user's folder.

        Raises:
            DataError: If no folder holds all files; the message names the files, the folders and the page.
        """
        given = root if root is not None else os.environ.get(ROOT_VARIABLE)
        places = [Path(given), Path(given) / self.folder] if given else []
        places += [Path(place) for place in self.system]
        for place in places:
            if all((place / file).is_file() for file in self.files):
                return place
        looked = "looked in " + ", ".join(map(str, places)) if places else f"give --data-root or set {ROOT_VARIABLE}"
        wanted = ", ".join(self.files)
        raise DataError(f"{self.name} not found: it needs {wanted}; {looked}; get them from {self.page}")
