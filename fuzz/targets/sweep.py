"""Reading a sweep."""

from __future__ import annotations

from pathlib import Path

from evenbit.sweep import load_sweep
from targets import scratch


def check(data: bytes) -> None:
    """Reads a sweep's file and names the folders of its runs."""
    sweep = load_sweep(scratch.write("sweep.toml", data))
    for entry in sweep.entries:
        for recipe in entry.recipes:
            sweep.folder(Path("runs"), entry, recipe)
