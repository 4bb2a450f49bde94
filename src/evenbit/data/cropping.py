"""How much of long photos is cut away when they are brought to a square."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evenbit.errors import InputError
from evenbit.images import open_image

LOOKED_AT = 200  # files, at most, evenly spaced
LONG = 1.5  # sides; a third of such a photo is cut away
OFTEN = 0.1  # of the photos


def describe_cropping(paths: Sequence[Path]) -> str:
    """What is not seen of long photos, in one line; empty if few are long."""
    taken = paths[:: -(-len(paths) // LOOKED_AT)] if paths else ()
    share = sum(_is_long(path) for path in taken) / max(1, len(taken))
    if share < OFTEN:
        return ""
    return (
        f"{100 * share:.0f} % of the images are at least half as long again as they are wide or high; a third or more "
        "of each is cut away, since only the middle square is seen"
    )


def _is_long(path: Path) -> bool:
    try:
        with open_image(path) as image:
            return max(image.size) >= LONG * min(image.size)
    except InputError:  # is told when it is read
        return False
