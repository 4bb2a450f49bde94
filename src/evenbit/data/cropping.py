"""How much of long photos is cut away when they are brought to a square."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evenbit.images import some_sizes

LONG = 1.5  # sides; a third of such a photo is cut away
OFTEN = 0.1  # of the photos


def describe_cropping(paths: Sequence[Path]) -> str:
    """What is not seen of long photos, in one line; empty if few are long."""
    sizes = some_sizes(paths)
    share = sum(max(size) >= LONG * min(size) for size in sizes) / max(1, len(sizes))
    if share < OFTEN:
        return ""
    return (
        f"{100 * share:.0f} % of the images have one side at least 1.5 times as long as the other; a third or more of "
        "each is cut away, since the network sees only the middle square"
    )
