"""Runs a script of this folder in Node.js, with the module that comes with evenbit."""

from __future__ import annotations

import subprocess
from pathlib import Path

from evenbit.export.web import SITE

HERE = Path(__file__).parent


def must_run(script: str, *arguments: str) -> str:
    """What it prints; its exit status has to be 0."""
    done = subprocess.run(
        ["node", str(HERE / script), str(SITE), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
