"""Where a run comes from: what is needed, besides its recipe, to repeat it."""

from __future__ import annotations

import dataclasses
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from evenbit.cpu import machine
from evenbit.data import READERS
from evenbit.printable import is_text

PACKAGES = ("evenbit", "torch", "numpy")


@dataclass(frozen=True)
class Origin:
    """What a run was started with.

    Attributes:
        command: The command line.
        versions: Versions of Python and of each of `PACKAGES`.
        machine: Model and number of the CPUs, and the GPU that trained.
        commit: Commit of evenbit's source, ending in "-dirty" if files were changed; None if evenbit was not run from
            a git checkout.
        threads: Threads of torch, which change how sums are rounded; None if it was not recorded.
        epoch: The first epoch that was trained this way.
        later: A further origin for each time the run was resumed with a change to anything but command and folder.
        folder: The working directory, to which the recipe's paths are relative; empty if it was not recorded.
    """

    command: str
    versions: dict[str, str]
    machine: str
    commit: str | None
    threads: int | None = None
    epoch: int = 1
    later: tuple[Origin, ...] = ()
    folder: str = ""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Origin:
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**values, "later": tuple(map(cls.from_dict, values.get("later", ())))})

    @classmethod
    def here(cls, device: torch.device | None = None) -> Origin:
        """The origin of what this process trains on the device."""
        versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
        commit = source_commit(Path(__file__).parents[1])
        gpu = f", {torch.cuda.get_device_name(device)}" if device is not None and device.type == "cuda" else ""
        folder = str(Path.cwd())
        told = folder if is_text(folder) else ""
        return cls(command_line(sys.argv), versions, machine() + gpu, commit, torch.get_num_threads(), folder=told)

    def resumed(self, here: Origin, epoch: int) -> Origin:
        """This origin, with `here` added from that epoch on if it differs."""
        last = self.later[-1] if self.later else self
        kept = {key: getattr(last, key) for key in ("command", "epoch", "later", "folder")}
        if dataclasses.replace(here, **kept) == last:
            return self
        return dataclasses.replace(self, later=(*self.later, dataclasses.replace(here, epoch=epoch)))

    def told(self, key: str) -> str:
        """The history of one attribute or version in words, such as "A, from epoch 49 on B"."""
        text, last = "", ""
        for one in (self, *self.later):
            value = str(one.versions[key] if key in one.versions else getattr(one, key) or "unknown")
            if value != last:
                text += f", from epoch {one.epoch} on {value}" if text else value
            last = value
        return text


def find_data(data: str, origin: Origin | None) -> str:
    """The data of a recipe: a name, or a folder where `find_path` finds it."""
    return data if data in READERS else find_path(data, origin)


def find_path(path: str, origin: Origin | None) -> str:
    """A path of a recipe; a relative one starts where training was started, if that is still there."""
    if origin is None or not origin.folder or Path(origin.folder) == Path.cwd():
        return path
    there = Path(origin.folder) / path
    return str(there) if there.exists() else path


def command_line(arguments: list[str]) -> str:
    """The command as it would be typed, with the program's name and not its path."""
    program = Path(arguments[0])
    ours = program.name == "evenbit" or program.parts[-2:] == ("evenbit", "__main__.py")
    start = ["evenbit"] if ours else ["python", program.name]
    return shlex.join(start + arguments[1:])


def source_commit(package: Path) -> str | None:
    """The commit of a package's source; None if its folder is not part of a git checkout."""
    # A package may lie inside a checkout that does not track it, such as an environment in a project's folder.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(package, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None if there is no git or it fails."""
    try:
        result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
