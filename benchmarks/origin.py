"""Where a kept number comes from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from evenbit.cpu import machine
from evenbit.train.recipe import EARLIER

ROOT = Path(__file__).parent.parent


def origin() -> dict[str, str]:
    """The command that runs, the commit it runs at, and the machine."""
    script = Path(sys.argv[0]).resolve().relative_to(ROOT)
    return {"command": " ".join(["python", str(script), *sys.argv[1:]]), "commit": commit(), "machine": machine()}


def commit() -> str:
    """The commit of this checkout, with "-dirty" behind it if files of it were changed."""
    described = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(described, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def has_amx(machine: str) -> bool:
    """Whether the CPU of a machine that `evenbit.cpu.machine` describes has AMX."""
    return ", AMX)" in machine


def optimizer(recipe: dict[str, Any]) -> str:
    """Name of the optimizer of a kept recipe."""
    return {"adamw": "AdamW", "muon": "Muon"}[(EARLIER | recipe)["optimizer"]]
