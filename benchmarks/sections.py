"""Parts of hand-written pages that benchmarks write."""

from __future__ import annotations

from pathlib import Path

from evenbit.files import write_atomically


def write_section(page: Path, begin: str, end: str, text: str) -> None:
    """Puts the text between two lines of a page, in the place of what was there."""
    old = page.read_text("utf-8")
    before, after = old.split(begin)[0], old.split(end)[1]
    write_atomically(page, f"{before}{begin}\n\n{text}\n\n{end}{after}".encode())
